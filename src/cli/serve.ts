/**
 * `hubbub serve`: starts a hub whose settings were found safe, waits for a signal or its end, and resolves to the exit code. What it
 * works with (hub, signals) is handed in, so that tests need no process.
 *
 *   0 drained · 1 did not drain in time, a second signal, could not start (thrown) · 2 bad settings (thrown) · 70 a fault
 *   137 (by SIGKILL) a thread in a native call that does not return: an orderly exit would wait for it
 */
import { type FilledOptions, OptionError } from '../options.ts';
import { isLoopbackHost } from '../protocol/loopback.ts';
import type { Clock } from '../thread/clock.ts';
import type { Log } from '../thread/log.ts';
import { Failure, UsageError } from './format.ts';

/** What serve needs of a running hub. `closed` settles once: an Error when the hub ended by itself, else null. */
export type RunningHub = {
  readonly port: number;
  readonly opsPort: number | null;
  readonly closed: Promise<Error | null>;
  /** For the first line of the log. */
  readonly about?: { readonly shards: number; readonly sqlite: string };
  /** Drains within `drainMs`. */
  close(): Promise<void>;
  /** Takes the certificate from its files again, or throws and keeps the old one. False: there is none. */
  reload(): boolean;
};
export type StartHub = (options: FilledOptions, deps: { clock: Clock; log: Log }) => Promise<RunningHub>;
/** The part of `process` that serve listens to. */
export type ProcessEvents = {
  on(event: string, listener: (...args: unknown[]) => void): unknown;
  off(event: string, listener: (...args: unknown[]) => void): unknown;
};
export type ServeDeps = { startHub: StartHub; clock: Clock; log: Log; events: ProcessEvents };

export const exitCodes = { ok: 0, failed: 1, usage: 2, fault: 70, stuck: 137 } as const;
/** The hub could not start. */
export class StartError extends Failure {}

/** Beyond `drainMs`: a hub that has not drained by then is stuck. */
const overrunMs = 1_000;

export async function serve(options: FilledOptions, deps: ServeDeps): Promise<number> {
  const { log, events } = deps;
  let exit: (code: number) => void = () => {};
  const exited = new Promise<number>((resolve) => {
    exit = resolve;
  });
  let hub: RunningHub | null = null;
  let stopping = false;
  let overrun: NodeJS.Timeout | undefined;

  const stop = (signal: unknown): void => {
    if (stopping) {
      log('warn', `${String(signal)} again: stopping at once`);
      exit(exitCodes.failed);
      return;
    }
    stopping = true;
    log('info', `${String(signal)}: draining`);
    overrun = setTimeout(() => {
      log('error', `not drained after ${options.drainMs + overrunMs} ms: stopping`);
      exit(exitCodes.failed);
    }, options.drainMs + overrunMs);
    if (hub !== null) void drain(hub);
  };
  const drain = async (running: RunningHub): Promise<void> => {
    try {
      await running.close();
      log('info', 'hubbub stopped');
      exit(exitCodes.ok);
    } catch (error) {
      log('error', 'stopping failed', { error });
      exit(exitCodes.failed);
    }
  };
  const fault = (error: unknown): void => {
    log('error', 'a fault that nothing caught: exiting', { error });
    exit(exitCodes.fault);
  };

  const reload = (): void => {
    try {
      if (hub?.reload()) log('info', 'SIGHUP: the certificate was read again');
      else log('info', 'SIGHUP: there is nothing to reload');
    } catch (error) {
      log('error', `SIGHUP: the certificate stays as it was: ${error instanceof Error ? error.message : String(error)}`);
    }
  };

  // In development a terminal that closes ends the hub, as it ends everything else in it.
  const hangup = options.dev && options.tlsCert === '' ? {} : { SIGHUP: reload };
  const listeners = { SIGTERM: stop, SIGINT: stop, ...hangup, uncaughtException: fault, unhandledRejection: fault };
  for (const [event, listener] of Object.entries(listeners)) events.on(event, listener);
  try {
    // A signal during the start waits in `stopping`; a fault during it ends the race.
    const started = await Promise.race([deps.startHub(options, deps), exited]);
    if (typeof started === 'number') return started;
    hub = started;
    log('info', listeningLine(options, started));
    // Ended by itself: while stopping that is what was asked for, and `drain` gives the code.
    void started.closed.then((error) => {
      if (error === null && stopping) return;
      log('error', 'the hub ended', error === null ? {} : { error });
      exit(error?.name === 'StuckError' ? exitCodes.stuck : exitCodes.fault);
    });
    if (stopping) void drain(started);
    return await exited;
  } catch (error) {
    const problem = startProblem(error, options);
    throw problem === null ? error : new StartError(problem);
  } finally {
    clearTimeout(overrun);
    for (const [event, listener] of Object.entries(listeners)) events.off(event, listener);
  }
}

function listeningLine(options: FilledOptions, hub: RunningHub): string {
  const shards = hub.about ? `, ${hub.about.shards} ${hub.about.shards === 1 ? 'shard' : 'shards'}, SQLite ${hub.about.sqlite}` : '';
  const secure = options.tlsCert !== '';
  const ops =
    hub.opsPort === null || hub.opsPort === hub.port ? '' : `; operations on ${url(options.opsHost, hub.opsPort, secure && !isLoopbackHost(options.opsHost))}`;
  return `hubbub listening on ${url(options.host, hub.port, secure)} (data ${options.data}${shards}, ${options.durability})${ops}`;
}

function url(host: string, port: number, secure: boolean): string {
  return `${secure ? 'https' : 'http'}://${host.includes(':') ? `[${host}]` : host}:${port}`;
}

/** Which of the two hosts: an error of listening names the address, one of looking it up the name. */
function hostOf(error: Error): string | null {
  if ('address' in error && typeof error.address === 'string') return error.address;
  return 'hostname' in error && typeof error.hostname === 'string' ? error.hostname : null;
}

/** One line for what operators get wrong; null for faults of the program, which deserve their stack. */
function startProblem(error: unknown, options: FilledOptions): string | null {
  if (!(error instanceof Error) || error instanceof UsageError || error instanceof OptionError) return null;
  // What a thread could not do arrives as a plain Error: its class and code do not cross, its sentence does.
  if (!('code' in error) || typeof error.code !== 'string') return error.name === 'Error' ? `could not start: ${error.message.split('\n')[0]}` : null;
  const port = 'port' in error && typeof error.port === 'number' ? error.port : options.port;
  switch (error.code) {
    case 'EADDRINUSE':
      return `port ${port} is in use (another hub?): choose a free one with ${port === options.opsPort && !options.dev ? '--ops-port' : '--port'}`;
    case 'EADDRNOTAVAIL':
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
      return `cannot listen on ${hostOf(error) ?? options.host}: this machine has no such address`;
  }
  if (error.code === 'EACCES' && 'syscall' in error && error.syscall === 'listen') return `port ${port} may not be opened by this user: choose one above 1023`;
  const reasons: Record<string, string> = {
    EACCES: 'permission denied',
    EPERM: 'permission denied',
    EROFS: 'the disk is read-only',
    ENOTDIR: 'it is not a folder',
    EEXIST: 'it is not a folder',
    ENOENT: 'it does not exist and cannot be made',
    ENOSPC: 'the disk is full',
  };
  const reason = reasons[error.code] ?? (error.code.startsWith('SQLITE_') ? `${error.message} (${error.code})` : undefined);
  return reason === undefined ? null : `cannot use the data folder ${options.data}: ${reason}`;
}
