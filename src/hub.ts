/**
 * The composition root: starts the threads, links them, and puts the gateway and HTTP in front. The only file that knows
 * all parts; the parts know each other through `thread/messages.ts`. Nothing here is kept outside of one hub, so two of them
 * live in one process.
 */
import { availableParallelism } from 'node:os';
import { resolve as resolvePath } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { HubStats } from './http/deps.ts';
import type { Http } from './http/http.ts';
import { fillOptions, type HubOptions } from './options.ts';
import type { Clock } from './thread/clock.ts';
import { systemClock } from './thread/clock.ts';
import type { Log } from './thread/log.ts';
import { Threads } from './threads.ts';

export type Hub = {
  readonly port: number;
  readonly opsPort: number | null;
  readonly about: { readonly shards: number; readonly sqlite: string };
  /** Settles once: with an Error when the hub ended by itself, with null after `close`. */
  readonly closed: Promise<Error | null>;
  stats(): HubStats;
  /** Takes the certificate from its files again; throws `OptionError` where that cannot be, and keeps the old one. False: there is none. */
  reload(): boolean;
  /** Drains within `drainMs`: no new connections, clients told, commits finished, everything released. */
  close(): Promise<void>;
};

/** For the command line, which knows no part but this one. */
export const mintToken: typeof import('./gateway/authenticate.ts').mintToken = async (...given) =>
  (await import('./gateway/authenticate.ts')).mintToken(...given);

/** A crowd coming back at once: the kernel keeps so many handshakes for us (its own limit permitting). */
const backlogMax = 4_096;

export async function startHub(given: HubOptions, deps: { clock?: Clock; log: Log }): Promise<Hub> {
  const options = fillOptions(given);
  const { clock = systemClock, log } = deps;
  const data = resolvePath(options.data);
  const shards = options.shards > 0 ? options.shards : Math.max(1, availableParallelism() - 1);

  let settleClosed: (error: Error | null) => void = () => {};
  const closed = new Promise<Error | null>((resolve) => {
    settleClosed = resolve;
  });
  const threads = new Threads({ ...options, data }, shards, { clock, log, gaveUp: (error) => settleClosed(error) });
  const undo: (() => Promise<unknown>)[] = [];
  try {
    // What only this thread needs is loaded while the others load what they need.
    const [{ createAuthenticator }, { createGateway }, { createHttp }, sqlite] = await Promise.all([
      import('./gateway/authenticate.ts'),
      import('./gateway/gateway.ts'),
      import('./http/http.ts'),
      sqliteVersion(),
    ]);
    const authenticate = await createAuthenticator(options, clock, log);
    const gateway = createGateway({ options, clock, log, authenticate, shards });
    undo.push(async () => gateway.close());
    const stats = (): HubStats => ({ gateway: { ...gateway.stats() }, http: http.stats(), ...threads.stats() });
    const http: Http = await createHttp({
      options,
      clock,
      log,
      pageDir: fileURLToPath(new URL('./page', import.meta.url)),
      hub: {
        command: (principal, command) => gateway.command(principal, command),
        connectionsOf: (user) => gateway.connectionsOf(user),
        disconnect: (user, connection) => gateway.disconnect(user, connection),
        stats,
        ready: () => {
          const { ready, reasons } = threads.ready();
          const behind = gateway.overloaded().map((shard) => `shard ${shard} is overloaded`);
          return { ready: ready && behind.length === 0, reasons: [...reasons, ...behind], warnings: threads.warnings() };
        },
        quarantine: () => threads.quarantine.list(),
        lift: (room) => threads.quarantine.lift(room),
      },
    });
    const { public: app, ops } = http;
    undo.push(() => app.close());
    if (ops !== app) undo.push(() => ops.close());
    app.server.on('upgrade', (request, socket, head) => gateway.upgrade(request, socket, head));
    await threads.start(gateway);
    await app.listen({ host: options.host, port: options.port, backlog: backlogMax });
    if (ops !== app) await ops.listen({ host: options.opsHost, port: options.opsPort });

    if (http.socketsMax > 0 && http.socketsMax < options.connectionsMax)
      log('info', `the process may open files for ${http.socketsMax} connections only, fewer than connectionsMax: raise its limit (ulimit -n)`);

    let closing: Promise<void> | null = null;
    const close = async (): Promise<void> => {
      await gateway.drain(options.drainMs);
      await app.close();
      if (ops !== app) await ops.close();
      await threads.stop(options.drainMs);
      gateway.close();
      settleClosed(null);
    };
    return {
      port: portOf(app.server.address()),
      opsPort: ops === app ? null : portOf(ops.server.address()),
      about: { shards, sqlite },
      closed,
      stats,
      reload: () => http.reload(),
      close: () => (closing ??= close()),
    };
  } catch (error) {
    for (const step of [() => threads.stop(options.drainMs), ...undo.reverse()])
      await step().catch((failure: unknown) => log('warn', 'could not undo a failed start', { error: String(failure) }));
    throw error;
  }
}

/** Loaded here too: an addon that only a worker has loaded can take the process down when that worker ends. */
async function sqliteVersion(): Promise<string> {
  const { default: Database } = await import('better-sqlite3');
  const memory = new Database(':memory:');
  const version = memory.prepare('select sqlite_version()').pluck().get() as string;
  memory.close();
  return version;
}

function portOf(address: ReturnType<import('node:net').Server['address']>): number {
  return typeof address === 'object' && address !== null ? address.port : 0;
}
