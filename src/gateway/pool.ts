/**
 * The connection pool: every connection with its socket, by number and by user, and how a connection ends. Whoever closes one
 * does it here, so that shards, slots and counts always hear of it, once.
 */
import { type CloseReason, closeCodes } from '../protocol/codes.ts';
import { FewMap } from '../thread/few.ts';
import type { ConnectionId } from '../thread/messages.ts';
import { type Connection, closed, type PhaseName } from './connection.ts';
import type { ConnectionInfo, Counters } from './counters.ts';
import type { Outbox } from './outbox.ts';
import type { Shards } from './shards.ts';
import { leaveAll } from './subscriptions.ts';

/** Close frames of the peer that are a goodbye: normal, going away, and one without a code (what browsers send by default). */
const goodbyes: ReadonlySet<number> = new Set([1000, 1001, 1005]);

export class Pool {
  /** Every socket that is there, closing ones included. */
  readonly connections = new Map<ConnectionId, Connection>();
  readonly #users = new Map<string, FewMap<Connection, true>>();
  readonly #outbox: Outbox;
  readonly #shards: Shards;
  readonly #counters: Counters;
  #ended: (() => void) | null = null;
  peak = 0;
  perUserPeak = 0;

  constructor(outbox: Outbox, shards: Shards, counters: Counters) {
    this.#outbox = outbox;
    this.#shards = shards;
    this.#counters = counters;
  }

  get size(): number {
    return this.connections.size;
  }
  get users(): number {
    return this.#users.size;
  }

  add(connection: Connection): void {
    this.connections.set(connection.number, connection);
    if (this.size > this.peak) this.peak = this.size;
  }

  /** The connection is authenticated: from now on it is one of its user's. */
  identify(connection: Connection): void {
    let own = this.#users.get(connection.user);
    if (own === undefined) {
      own = new FewMap();
      this.#users.set(connection.user, own);
    }
    own.set(connection, true);
    if (own.size > this.perUserPeak) this.perUserPeak = own.size;
  }

  of(user: string): Iterable<Connection> {
    return this.#users.get(user)?.keys() ?? [];
  }

  /** Says why, and lets go of everything but the socket, which ends with the close handshake or its time-out. */
  close(connection: Connection, reason: CloseReason, clean = false): void {
    if (connection.phase.is === 'closed') return;
    this.#counters.closed.set(reason, (this.#counters.closed.get(reason) ?? 0) + 1);
    this.#outbox.last(connection);
    // What waits for a slow reader was for who had the right to it; also what has just made him one.
    if (reason === 'revoked' && connection.backed) return this.terminate(connection);
    this.#leave(connection, clean);
    // A paused socket would never see the peer's answer to the close frame.
    connection.ws.resume();
    connection.ws.close(closeCodes[reason].code, reason);
  }

  /** For a socket that takes nothing: a close frame would never arrive. */
  terminate(connection: Connection): void {
    this.#counters.terminated++;
    this.#leave(connection, false);
    connection.ws.terminate();
  }

  /** The socket is gone. */
  gone(connection: Connection, code: number): void {
    this.#leave(connection, goodbyes.has(code));
    this.#outbox.forget(connection);
    this.connections.delete(connection.number);
    if (this.size === 0) this.#ended?.();
  }

  /** Resolves when the last socket is gone. */
  empty(): Promise<void> {
    if (this.size === 0) return Promise.resolve();
    return new Promise((resolve) => {
      this.#ended = resolve;
    });
  }

  states(): Record<PhaseName, number> {
    const states: Record<PhaseName, number> = { hello: 0, opening: 0, open: 0, draining: 0, closed: 0 };
    for (const { phase } of this.connections.values()) states[phase.is]++;
    return states;
  }

  commandsOpen(): number {
    let open = 0;
    for (const { commands } of this.connections.values()) open += commands.size;
    return open;
  }

  describe(connection: Connection, now: number): ConnectionInfo {
    const { id, user, device, phase, format, address, openedAt, framesIn, socket, rooms } = connection;
    return {
      connection: id,
      user,
      device,
      state: phase.is,
      format,
      address,
      openedAt,
      idleMs: Math.max(0, Math.round(now - connection.commandAt)),
      framesIn,
      bytesIn: socket.bytesRead,
      subscriptions: rooms.size,
      unsentBytes: this.#outbox.unsent(connection),
    };
  }

  #leave(connection: Connection, clean: boolean): void {
    if (connection.phase.is === 'closed') return;
    connection.phase = closed;
    leaveAll(connection);
    connection.watches.clear();
    connection.commands.clear();
    this.#shards.close(connection, clean);
    const own = this.#users.get(connection.user);
    if (own?.delete(connection) && own.size === 0) this.#users.delete(connection.user);
  }
}
