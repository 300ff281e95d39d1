/**
 * The one place that writes to sockets. During a flush each connection collects ranges of the shard's arena; adjoining ranges
 * become one, so that most sockets get one write, and those that need more are corked (DESIGN 11.9).
 *
 *   put … put, send … ─▶ range of the arena ─▶ end() ─▶ socket.write(view)      a view, shared by all who get that range
 *                                                 └─▶ backed up: a copy, if it is under a quarter of the arena (11.12);
 *                                                     small ones are joined (tail.ts), so that memory is what the bytes say
 *
 * It also knows what is unsent: of a connection (its socket's queue) and in all (a shared arena counted once). It never
 * decides what a connection gets; delivery.ts asks it and does.
 */
import { WebSocket } from 'ws';
import type { Connection, Fields } from './connection.ts';
import type { Counters } from './counters.ts';
import { DirectWrite } from './direct-write.ts';
import { frameOf } from './frame.ts';
import { blockBytes, joinedBytesMax, Tail } from './tail.ts';

/** A copy pays when the write would otherwise keep an arena (or a block) of this many times its size in memory. */
const copyBelow = 1 / 4;
/** Deliveries stop at the hard mark and pages are paced: what goes so far beyond it are answers to somebody who reads none. */
const repliesFactor = 4;
/** What one flush may bring to a connection that is up to date: below what would count as reading none. */
const shareFactor = 3;
/** Answers to one read that are written at once; what the socket does not take of them makes those that follow be joined. */
const answersAtOnce = 64;

export type OutboxLimits = { outboxBytesMax: number; outboxLowBytes: number; outboxTotalBytesMax: number };

/** Memory that unfinished writes keep: an arena (for all who were written views of it) or one connection's own bytes. */
type Hold = { bytes: number; holders: number };

/** The arena between flushes. */
const nothing = Buffer.alloc(0);

export class Outbox {
  /** Those whose socket did not take all that was written. */
  readonly backed = new Set<Connection>();
  readonly #direct = new DirectWrite();
  readonly #limits: OutboxLimits;
  readonly #counters: Counters;
  /** Tells a shard that the connection's next page may come. */
  readonly #drained: (connection: Connection, shard: number) => void;
  #arena: Buffer = nothing;
  #arenaHold: Hold = { bytes: 0, holders: 0 };
  readonly #touched: Connection[] = [];
  #view: Buffer = nothing;
  #viewFrom = -1;
  #viewTo = -1;
  #total = 0;

  constructor(limits: OutboxLimits, counters: Counters, drained: (connection: Connection, shard: number) => void) {
    this.#limits = limits;
    this.#counters = counters;
    this.#drained = drained;
  }

  /** Bytes that unfinished writes keep in memory. */
  get total(): number {
    return this.#total;
  }
  /** By how much that is more than it may be: above 1, too much. */
  get pressure(): number {
    return this.#total / this.#limits.outboxTotalBytesMax;
  }

  begin(arena: Buffer): void {
    this.#arena = arena;
    this.#arenaHold = { bytes: arena.length, holders: 0 };
    this.#viewFrom = -1;
    this.#counters.flushes++;
  }

  /** Adds bytes of the arena to what the connection gets in this flush. */
  put(connection: Connection, from: number, length: number): void {
    if (connection.from < 0) {
      connection.from = from;
      connection.to = from + length;
      if (!connection.touched) this.#touch(connection);
    } else if (connection.to === from) {
      connection.to += length;
    } else {
      this.#spill(connection);
      connection.from = from;
      connection.to = from + length;
    }
  }

  end(): void {
    for (const connection of this.#touched) {
      connection.touched = false;
      this.finish(connection);
    }
    this.#touched.length = 0;
    this.#arena = nothing;
    this.#view = nothing;
  }

  /** Writes what the connection has collected so far; before a close, and at the end of a flush. */
  finish(connection: Connection): void {
    if (connection.from >= 0) {
      const { from, to } = connection;
      connection.from = -1;
      this.#write(connection, this.#range(from, to), true);
    }
    if (connection.corked > 0) {
      connection.corked = 0;
      connection.socket.uncork();
    }
    this.#settle(connection);
  }

  /** Before a close frame, which nothing may follow. */
  last(connection: Connection): void {
    this.finish(connection);
    this.#seal(connection);
  }

  /** One map of the gateway's own, behind whatever the flush under way has for the connection. */
  send(connection: Connection, fields: Fields): void {
    this.sendFrame(connection, frameOf(fields, connection.format));
  }

  sendFrame(connection: Connection, frame: Buffer): void {
    if (connection.from >= 0) this.#spill(connection);
    else if (connection.corked > 0) connection.corked++;
    else if (!connection.touched) this.#gather(connection);
    this.#write(connection, frame, false);
    this.#counters.framesOut++;
    if (connection.corked >= answersAtOnce) this.finish(connection);
  }

  unsent(connection: Connection): number {
    const queued = connection.socket.writableLength + (connection.tail?.length ?? 0);
    return connection.from < 0 ? queued : queued + connection.to - connection.from;
  }

  /** Whether the connection has enough: more than `bytes` unsent, or in this flush, before its socket had a chance, more than it may get at once. */
  exceeds(connection: Connection, bytes: number): boolean {
    if (connection.backed) return this.unsent(connection) > bytes;
    const share = this.#limits.outboxBytesMax * shareFactor;
    return (connection.corked > 0 || connection.to - connection.from > share) && this.unsent(connection) > share;
  }

  /** Called when a write has finished, and when the socket says that it drained. */
  progress(connection: Connection): void {
    connection.blocked?.();
    if (connection.socket.writableLength === 0) this.#seal(connection);
    const unsent = this.unsent(connection);
    if (unsent === 0) this.#clear(connection);
    if (unsent > this.#limits.outboxLowBytes) return;
    this.#grant(connection);
    if (connection.paused.outbox) connection.unpause('outbox');
  }

  /** Reads nothing more from a connection that does not take its answers, until it has. */
  restrain(connection: Connection): void {
    if (connection.paused.outbox || this.unsent(connection) <= this.#limits.outboxBytesMax) return;
    connection.pause('outbox');
  }

  /** The connection is closed: nothing of it is waited for. */
  forget(connection: Connection): void {
    this.#clear(connection);
    connection.tail?.take()?.release();
    connection.paced = null;
    connection.from = -1;
  }

  #touch(connection: Connection): void {
    connection.touched = true;
    this.#touched.push(connection);
  }

  /** Answers to what came in one read, or in one batch, leave in one write. */
  #gather(connection: Connection): void {
    connection.corked = 1;
    connection.socket.cork();
    if (this.#arena === nothing) queueMicrotask(() => this.finish(connection));
    else this.#touch(connection);
  }

  #spill(connection: Connection): void {
    if (connection.corked === 0) {
      connection.corked = 1;
      connection.socket.cork();
    }
    const { from, to } = connection;
    connection.from = -1;
    this.#write(connection, this.#range(from, to), true);
  }

  /** A view of the arena; the last one again where the range is the same, as it is for all subscribers of a room. */
  #range(from: number, to: number): Buffer {
    if (from !== this.#viewFrom || to !== this.#viewTo) {
      this.#view = this.#arena.subarray(from, to);
      this.#viewFrom = from;
      this.#viewTo = to;
    }
    return this.#view;
  }

  #write(connection: Connection, bytes: Buffer, ofArena: boolean): void {
    // Beside ws only while it is open: after its close frame nothing may follow (DESIGN 11.8).
    if (connection.ws.readyState !== WebSocket.OPEN) return;
    this.#counters.bytesOut += bytes.length;
    if (!connection.backed && connection.paced === null) return this.#direct.write(connection.socket, bytes);
    if (connection.backed && bytes.length <= joinedBytesMax) return this.#join(connection, bytes);
    const copied = ofArena && connection.backed && bytes.length < this.#arena.length * copyBelow;
    const release = ofArena && !copied ? this.#hold(this.#arenaHold) : this.#holdOwn(bytes.length);
    this.#queue(connection, copied ? Buffer.from(bytes) : bytes, release);
  }

  /** Behind all that waits. */
  #queue(connection: Connection, bytes: Buffer, release: () => void): void {
    this.#seal(connection);
    connection.tail ??= new Tail();
    this.#watched(connection, connection.tail, bytes, release);
  }

  #join(connection: Connection, bytes: Buffer): void {
    const { tail } = connection;
    // With no write whose end takes it along it is that write.
    if (tail === null) return this.#queue(connection, Buffer.from(bytes), this.#holdOwn(bytes.length));
    if (!tail.fits(bytes.length)) this.#seal(connection);
    tail.add(bytes, (length) => this.#holdOwn(length));
  }

  /** Writes what waits behind unfinished writes. */
  #seal(connection: Connection): void {
    const { tail } = connection;
    const sealed = tail?.take();
    if (tail === null || !sealed) return;
    const { bytes, release } = sealed;
    const open = connection.ws.readyState === WebSocket.OPEN;
    if (open && bytes.length >= blockBytes * copyBelow) return this.#watched(connection, tail, bytes, release);
    release();
    if (open) this.#watched(connection, tail, Buffer.from(bytes), this.#holdOwn(bytes.length));
  }

  #watched(connection: Connection, tail: Tail, bytes: Buffer, release: () => void): void {
    tail.writes++;
    connection.socket.write(bytes, () => {
      release();
      if (--tail.writes === 0) this.#seal(connection);
      if (tail.writes === 0) connection.tail = null;
      this.progress(connection);
    });
  }

  #settle(connection: Connection): void {
    const unsent = this.unsent(connection);
    if (unsent > 0 && !connection.backed && connection.phase.is !== 'closed') {
      connection.backed = true;
      if (!connection.drains) this.#listen(connection);
      connection.movedAt = null;
      this.backed.add(connection);
      const release = this.#arena.length > 0 ? this.#hold(this.#arenaHold) : this.#holdOwn(unsent);
      connection.blocked = () => {
        connection.blocked = null;
        release();
      };
    }
    if (unsent > this.#limits.outboxBytesMax * repliesFactor) {
      this.#counters.terminated++;
      connection.ws.terminate();
    } else if (unsent <= this.#limits.outboxLowBytes) this.#grant(connection);
  }

  /** Most sockets never back up, and a listener of each would take memory. */
  #listen(connection: Connection): void {
    connection.drains = true;
    connection.socket.on('drain', () => this.progress(connection));
  }

  #grant(connection: Connection): void {
    if (connection.phase.is === 'closed') return;
    for (const shard of connection.paced ?? []) this.#drained(connection, shard);
    connection.paced = null;
  }

  #clear(connection: Connection): void {
    connection.blocked?.();
    if (!connection.backed) return;
    connection.backed = false;
    this.backed.delete(connection);
  }

  #holdOwn(bytes: number): () => void {
    return this.#hold({ bytes, holders: 0 });
  }

  #hold(hold: Hold): () => void {
    if (hold.holders++ === 0) this.#total += hold.bytes;
    return () => {
      if (--hold.holders === 0) this.#total -= hold.bytes;
    };
  }
}
