/** Start, stop and refusals of `hubbub serve`, on a hub that only pretends and signals that are emitted. */
import { EventEmitter } from 'node:events';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { type RunningHub, StartError, type StartHub, serve } from '../src/cli/serve.ts';
import { type FilledOptions, fillOptions, type HubOptions } from '../src/options.ts';
import { systemClock } from '../src/thread/clock.ts';
import type { LogLevel } from '../src/thread/log.ts';
import { StuckError } from '../src/thread/supervisor.ts';

afterEach(() => {
  vi.useRealTimers();
});

type Deferred<T> = { promise: Promise<T>; resolve(value: T): void; reject(error: unknown): void };
function deferred<T>(): Deferred<T> {
  const made = {} as Deferred<T>;
  made.promise = new Promise((resolve, reject) => Object.assign(made, { resolve, reject }));
  return made;
}

function stage(given: HubOptions = { dev: true }, start?: StartHub) {
  const events = new EventEmitter();
  const lines: { level: LogLevel; message: string }[] = [];
  const listening = deferred<void>();
  const closed = deferred<Error | null>();
  const drained = deferred<void>();
  const closing = deferred<void>();
  let closes = 0;
  const reload: { outcome: boolean | Error } = { outcome: true };
  const hub: RunningHub = {
    port: 8080,
    opsPort: null,
    closed: closed.promise,
    about: { shards: 1, sqlite: '3.53.2' },
    reload: () => {
      if (reload.outcome instanceof Error) throw reload.outcome;
      return reload.outcome;
    },
    close: () => {
      closes++;
      closing.resolve();
      return drained.promise;
    },
  };
  const log = (level: LogLevel, message: string) => {
    lines.push({ level, message });
    if (message.startsWith('hubbub listening')) listening.resolve();
  };
  const options: FilledOptions = fillOptions(given);
  const code = serve(options, { startHub: start ?? (async () => hub), clock: systemClock, log, events });
  return { events, lines, listening: listening.promise, closing: closing.promise, closed, drained, hub, code, reload, closes: () => closes };
}

describe('serve', () => {
  it('says where it listens and with what', async () => {
    const { lines, listening, events, drained, code } = stage();
    await listening;
    expect(lines[0]?.message).toBe('hubbub listening on http://127.0.0.1:8080 (data ./data, 1 shard, SQLite 3.53.2, power-loss)');
    drained.resolve();
    events.emit('SIGTERM', 'SIGTERM');
    expect(await code).toBe(0);
  });

  it.each(['SIGTERM', 'SIGINT'])('%s drains once and exits 0, leaving no listener behind', async (signal) => {
    const at = stage();
    await at.listening;
    at.events.emit(signal, signal);
    await at.closing;
    at.drained.resolve();
    at.closed.resolve(null);
    expect(await at.code).toBe(0);
    expect(at.closes()).toBe(1);
    expect(at.events.eventNames()).toEqual([]);
  });

  it('SIGHUP reads the certificate again; where that fails, the hub goes on and says why', async () => {
    const at = stage({ origins: ['https://a'], jwtSecrets: ['x'] });
    await at.listening;
    for (const outcome of [true, false, new Error('option tlsKey: cannot read it')]) {
      at.reload.outcome = outcome;
      at.events.emit('SIGHUP', 'SIGHUP');
    }
    expect(at.lines.slice(1)).toEqual([
      { level: 'info', message: 'SIGHUP: the certificate was read again' },
      { level: 'info', message: 'SIGHUP: there is nothing to reload' },
      { level: 'error', message: 'SIGHUP: the certificate stays as it was: option tlsKey: cannot read it' },
    ]);
    at.drained.resolve();
    at.events.emit('SIGTERM', 'SIGTERM');
    expect(await at.code).toBe(0);
  });

  it('SIGHUP in development without a certificate ends the hub with its terminal', async () => {
    const at = stage();
    await at.listening;
    expect(at.events.listenerCount('SIGHUP')).toBe(0);
    at.drained.resolve();
    at.events.emit('SIGTERM', 'SIGTERM');
    await at.code;
  });

  it('a second signal exits at once with 1', async () => {
    const at = stage();
    await at.listening;
    at.events.emit('SIGTERM', 'SIGTERM');
    at.events.emit('SIGINT', 'SIGINT');
    expect(await at.code).toBe(1);
  });

  it('a signal during the start drains as soon as the hub is there', async () => {
    const starting = deferred<RunningHub>();
    const at = stage({ dev: true }, () => starting.promise);
    at.events.emit('SIGTERM', 'SIGTERM');
    starting.resolve(at.hub);
    await at.closing;
    at.drained.resolve();
    expect(await at.code).toBe(0);
  });

  it('a hub that does not drain within drainMs and a second is left with 1', async () => {
    vi.useFakeTimers();
    const at = stage({ dev: true, drainMs: 2_000 });
    await at.listening;
    at.events.emit('SIGTERM', 'SIGTERM');
    let ended = false;
    void at.code.then(() => {
      ended = true;
    });
    await vi.advanceTimersByTimeAsync(2_999);
    expect(ended).toBe(false);
    await vi.advanceTimersByTimeAsync(1);
    expect(await at.code).toBe(1);
  });

  it('a drain that fails exits 1', async () => {
    const at = stage();
    await at.listening;
    at.events.emit('SIGTERM', 'SIGTERM');
    at.drained.reject(new Error('disk'));
    expect(await at.code).toBe(1);
  });

  it.each(['uncaughtException', 'unhandledRejection'])('%s is logged and exits 70', async (event) => {
    const at = stage();
    await at.listening;
    at.events.emit(event, new Error('boom'));
    expect(await at.code).toBe(70);
    expect(at.lines.at(-1)?.level).toBe('error');
  });

  it('a hub that ends by itself exits 70', async () => {
    const at = stage();
    await at.listening;
    at.closed.resolve(new Error('persistence gave up'));
    expect(await at.code).toBe(70);
  });

  it('a thread that will not end is fatal: an orderly exit would wait for it', async () => {
    const at = stage();
    await at.listening;
    at.closed.resolve(new StuckError('persistence gave up'));
    expect(await at.code).toBe(137);
  });

  const failures: [object, RegExp][] = [
    [{ code: 'EADDRINUSE', port: 8080 }, /^port 8080 is in use .*--port$/],
    [{ code: 'EACCES', syscall: 'listen', port: 80 }, /^port 80 may not be opened/],
    [{ code: 'EADDRNOTAVAIL', syscall: 'listen' }, /^cannot listen on 127\.0\.0\.1/],
    [{ code: 'EADDRNOTAVAIL', syscall: 'listen', address: '10.9.9.9', port: 8081 }, /^cannot listen on 10\.9\.9\.9/],
    [{ code: 'ENOTFOUND', syscall: 'getaddrinfo', hostname: 'ops.invalid' }, /^cannot listen on ops\.invalid/],
    [{ code: 'EACCES', syscall: 'mkdir' }, /^cannot use the data folder \.\/data: permission denied$/],
    [{ code: 'SQLITE_NOTADB' }, /^cannot use the data folder \.\/data: it broke \(SQLITE_NOTADB\)$/],
  ];
  it.each(failures)('a start that fails with %o is one line', async (properties, line) => {
    const at = stage({ dev: true }, () => Promise.reject(Object.assign(new Error('it broke'), properties)));
    await expect(at.code).rejects.toThrow(StartError);
    await expect(at.code).rejects.toThrow(line);
  });

  it('the operations port in use names its own flag', async () => {
    const secure = { jwtSecrets: ['x'], origins: ['https://a'] };
    const at = stage(secure, () => Promise.reject(Object.assign(new Error('x'), { code: 'EADDRINUSE', port: 8081 })));
    await expect(at.code).rejects.toThrow('--ops-port');
  });

  it('what a thread could not do is the sentence of its error', async () => {
    const at = stage({ dev: true }, () => Promise.reject(new Error('the database x.db is not one of Hubbub’s\n  at somewhere')));
    await expect(at.code).rejects.toThrow(/^could not start: the database x\.db is not one of Hubbub’s$/);
    await expect(at.code).rejects.toThrow(StartError);
  });

  it('a fault of the program is thrown with its stack', async () => {
    const at = stage({ dev: true }, () => Promise.reject(new TypeError('a bug')));
    await expect(at.code).rejects.toThrow('a bug');
    expect(at.events.eventNames()).toEqual([]);
  });
});
