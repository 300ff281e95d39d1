/**
 * The one timer of all connections: time-outs of hello, heartbeats, slow sockets, idleness and tokens. It keeps a time of
 * its own, which stands still while the event loop stalls: what a peer sent meanwhile is still unread, so a late sweep
 * judges nobody.
 */
import type { FilledOptions } from '../options.ts';
import type { Clock } from '../thread/clock.ts';
import type { Backend } from './backend.ts';
import type { Backlog } from './backlog.ts';
import type { Connection } from './connection.ts';
import { pingFrame } from './frame.ts';
import type { Limits } from './limits.ts';
import type { Outbox } from './outbox.ts';
import type { Pool } from './pool.ts';
import type { Shards } from './shards.ts';

const intervalMinMs = 20;
const intervalMaxMs = 1_000;

export type SweepDeps = {
  options: FilledOptions;
  clock: Clock;
  pool: Pool;
  outbox: Outbox;
  shards: Shards;
  backend: Backend;
  rates: Limits;
  backlog: Backlog;
  time: SweepTime;
};

/** Milliseconds that the hub could have listened. */
export type SweepTime = { now: number };

export class Sweep {
  readonly #deps: SweepDeps;
  readonly intervalMs: number;
  #last: number;

  constructor(deps: SweepDeps) {
    this.#deps = deps;
    const { helloTimeoutMs, heartbeatMs, heartbeatGraceMs, slowMs } = deps.options;
    this.intervalMs = Math.min(intervalMaxMs, Math.max(intervalMinMs, Math.floor(Math.min(helloTimeoutMs, heartbeatMs, heartbeatGraceMs, slowMs) / 5)));
    this.#last = deps.clock.tick();
  }

  run(): void {
    const { clock, pool, backend, backlog, time } = this.#deps;
    const tick = clock.tick();
    // Whole milliseconds: what each connection keeps of it then needs no memory of its own.
    const passed = Math.floor(tick - this.#last);
    const late = passed > this.intervalMs * 2;
    time.now += late ? this.intervalMs : passed;
    this.#last += passed;
    if (late) return;
    backend.sweep();
    backlog.sweep();
    for (const connection of pool.connections.values()) this.#check(connection, tick);
  }

  #check(connection: Connection, tick: number): void {
    const { pool, time } = this.#deps;
    const { phase } = connection;
    switch (phase.is) {
      case 'hello':
        if (time.now >= phase.deadline) pool.close(connection, 'hello-timeout');
        return;
      case 'opening':
        // A token was shown; what is slow is the hub.
        if (time.now >= phase.deadline) pool.close(connection, 'overloaded');
        return;
      case 'open':
      case 'draining':
        if (!this.#moves(connection) || !this.#lives(connection) || !this.#inTime(connection, tick)) return;
        this.#idles(connection);
        this.#deps.rates.rest(connection);
        return;
      case 'closed':
        return;
    }
  }

  /** False: the socket took nothing for too long, and is gone. */
  #moves(connection: Connection): boolean {
    if (!connection.backed) return true;
    const { time, options, pool, outbox } = this.#deps;
    const unsent = connection.socket.writableLength;
    if (unsent === 0) {
      outbox.progress(connection);
      return true;
    }
    const queue = handleQueue(connection);
    if (connection.movedAt === null || queue !== connection.queue || unsent < connection.unsent) connection.movedAt = time.now;
    connection.queue = queue;
    connection.unsent = unsent;
    if (time.now - connection.movedAt < options.slowMs) return true;
    pool.terminate(connection);
    return false;
  }

  /**
   * Any byte is a sign of life. Nothing is expected while the hub itself does not read, nor of a peer with so much to take
   * that a ping would come last; that one is judged by its write queue.
   */
  #lives(connection: Connection): boolean {
    const { time, options, pool, outbox } = this.#deps;
    const read = connection.socket.bytesRead;
    if (read !== connection.bytesRead || connection.paused.outbox || connection.paused.backlog || connection.backed) {
      connection.bytesRead = read;
      connection.aliveAt = time.now;
      connection.pingedAt = null;
      return true;
    }
    if (connection.pingedAt === null) {
      if (time.now - connection.aliveAt < connection.pingAfterMs) return true;
      connection.pingedAt = time.now;
      outbox.sendFrame(connection, pingFrame);
      return true;
    }
    if (time.now - connection.pingedAt < options.heartbeatGraceMs) return true;
    pool.close(connection, 'silent');
    return false;
  }

  #inTime(connection: Connection, tick: number): boolean {
    const { expiresAt } = connection;
    if (expiresAt === null) return true;
    const { options, pool } = this.#deps;
    const left = expiresAt - tick;
    if (!connection.warned && left <= connection.noticeMs) {
      connection.warned = true;
      connection.answer({ op: 'token-expiring', expiresInMs: Math.max(0, Math.round(left)) });
    }
    if (left > -options.refreshGraceMs) return true;
    pool.close(connection, 'token-expired');
    return false;
  }

  #idles(connection: Connection): void {
    const { time, options, pool, shards } = this.#deps;
    const silent = time.now - connection.commandAt;
    if (options.idleMs > 0 && silent >= options.idleMs) pool.close(connection, 'idle');
    else if (!connection.idle && options.awayAfterMs > 0 && silent >= options.awayAfterMs) {
      connection.idle = true;
      shards.tell(connection.home, { t: 'idle', connection: connection.number, idle: true });
    }
  }
}

/**
 * What the kernel has not taken of the write under way. Node's own socket time-out watches the same number; `writableLength`
 * shrinks only when a whole write is done, which for a slow reader of a large one is too late to tell slow from dead.
 */
function handleQueue({ socket }: Connection): number {
  const { _handle: handle } = socket as { _handle?: { writeQueueSize?: number } | null };
  return handle?.writeQueueSize ?? socket.writableLength;
}
