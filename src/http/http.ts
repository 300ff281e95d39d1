/**
 * Puts HTTP together: which routes are on which listener. Called by the composition root, which listens, hands upgrades of
 * `app.server` to the gateway, and closes.
 *
 *   development   one instance: health, operations, backend API, page
 *   otherwise     public: /healthz (and the upgrades) · ops: health, operations, backend API
 *
 * With a certificate the public listener speaks TLS only, and so does the other unless it is on loopback.
 */
import fastify, { type FastifyInstance } from 'fastify';
import type { FilledOptions } from '../options.ts';
import type { Clock } from '../thread/clock.ts';
import type { Log } from '../thread/log.ts';
import { addApi } from './api.ts';
import type { HttpDeps } from './deps.ts';
import { socketLimits } from './descriptors.ts';
import { handleErrors, refusePath } from './errors.ts';
import { createKeyCheck, createKeyRate, guardDevelopment } from './guard.ts';
import { addSecurityHeaders } from './headers.ts';
import { addHealth, addOperations } from './health.ts';
import { addPage } from './page.ts';
import { exchangePair, httpServer, onClientError, type ServerCounts, type ServerSettings } from './server.ts';
import { opsSpeakTls, type Pair, readPair } from './tls.ts';

/** The public listener has no use for idle connections; backends keep theirs, longer than load balancers do (60 s). */
const publicKeepAliveMs = 5_000;
const opsKeepAliveMs = 65_000;
/** Longer than any request takes. */
const stalledMs = 30_000;
/** Requests under way when closing begins get so long to end. */
const closeGraceMs = 1_000;
/** A room name is at most 128 bytes, percent-encoded for a DM and once more for the path. */
const pathPartMax = 2_048;

export type HttpSettings = {
  options: FilledOptions;
  clock: Clock;
  log: Log;
  hub: HttpDeps;
  /** Folder of the built page (development only). */
  pageDir?: string;
};

export type Http = {
  public: FastifyInstance;
  ops: FastifyInstance;
  /** Connections that the process has descriptors for; 0: not known. */
  socketsMax: number;
  stats(): ServerCounts;
  /** Takes the certificate from its files again. Throws `OptionError` where it cannot be served; the old one stays. False: there is none. */
  reload(): boolean;
};

/**
 * Ready to listen, not listening. In development both are the same instance. `close` of each waits for every socket of its
 * server, upgraded ones too: close those first. The owner may add listeners (`upgrade`) to `server`; `clientError` has one.
 */
export async function createHttp(settings: HttpSettings): Promise<Http> {
  const { options, log, hub, clock } = settings;
  const checkKey = createKeyCheck(options);
  const counts: ServerCounts = { tlsFailed: 0, dropped: 0, pipelined: 0 };
  const load = (): Pair | null => {
    const pair = readPair(options, clock.now());
    if (pair?.expired) log('warn', `the certificate of ${pair.subject} has expired: ${pair.until}`);
    else if (pair) log('info', `the certificate of ${pair.subject} is valid until ${pair.until}`);
    return pair;
  };
  const pair = load();
  const sockets = socketLimits();
  const forPublic = { keepAliveMs: publicKeepAliveMs, socketsMax: sockets.public, pair, counts };
  const ops = instance(
    settings,
    options.dev
      ? { ...forPublic, keepAliveMs: opsKeepAliveMs }
      : { keepAliveMs: opsKeepAliveMs, socketsMax: sockets.operations, pair: opsSpeakTls(options) ? pair : null, counts },
  );
  if (options.dev) guardDevelopment(ops);
  addHealth(ops);
  addOperations(ops, hub);
  await addApi(ops, hub, checkKey, createKeyRate(options));
  if (options.dev && settings.pageDir !== undefined) await addPage(ops, settings.pageDir, log);
  await ops.ready();
  const open = options.dev ? ops : instance(settings, forPublic);
  if (!options.dev) {
    addHealth(open);
    await open.ready();
  }
  const reload = (): boolean => {
    const fresh = load();
    if (fresh !== null) for (const { server } of new Set([open, ops])) exchangePair(server, fresh);
    return fresh !== null;
  };
  return { public: open, ops, socketsMax: sockets.public, stats: () => ({ ...counts }), reload };
}

function instance({ options, log }: HttpSettings, listener: Omit<ServerSettings, 'handshakeMs' | 'stalledMs'>): FastifyInstance {
  const app = fastify({
    logger: false,
    bodyLimit: options.frameBytesMax,
    serverFactory: (handler) => httpServer(handler, { ...listener, handshakeMs: options.handshakeMs, stalledMs }),
    clientErrorHandler: onClientError,
    frameworkErrors: (_, __, reply) => refusePath(reply),
    forceCloseConnections: 'idle',
    routerOptions: { maxParamLength: pathPartMax },
  });
  addSecurityHeaders(app, listener.pair !== null && !options.dev);
  handleErrors(app, log);
  let forced: NodeJS.Timeout | undefined;
  app.addHook('preClose', (done) => {
    forced = setTimeout(() => app.server.closeAllConnections(), closeGraceMs);
    done();
  });
  app.addHook('onClose', () => clearTimeout(forced));
  return app;
}
