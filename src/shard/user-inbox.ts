/**
 * Delivery of one user's inbox to his connections (DESIGN 11.7). The user's actor calls it with what persistence announces
 * and with `ack`s. It never holds items: what cannot be pushed at once is read from the store later.
 *
 *   item n ──▶ sent = n − 1, nothing owed, window and pace open ──▶ push, sent = n
 *         └──▶ otherwise ──▶ drain: feed ──turn──▶ read after `sent` ──▶ page ──▶ again while sent < head
 *   ack through t ──▶ commit ──▶ acked = t, window opens ──▶ drain
 *   item n, or the reading, set aside ──▶ stopped, told so ──▶ (no longer, lost, or acked) drain
 */
import { CodedError } from '../protocol/codes.ts';
import type { Command } from '../protocol/commands.ts';
import { FewMap } from '../thread/few.ts';
import type { ConnectionId, EntryRecord, InboxItem, InboxLoss, StoredInbox } from '../thread/messages.ts';
import { suspectOfItem, suspectOfRead } from '../thread/suspects.ts';
import type { Connection, Effects, Waker } from './actor.ts';
import { gapAfter, inboxPage, type Stop } from './inbox-page.ts';
import { Kept } from './kept.ts';
import { UserCursor } from './user-cursor.ts';

const pageItemsMax = 100;
const pageBytesMax = 256 * 1024;
/** What an item takes in a frame besides its body, roughly. */
const envelopeBytes = 200;

/** One connection. Items through `sent` are done with: pushed, told to be lost, acked, or the device's own. */
type Reader = {
  readonly connection: Connection;
  readonly cursor: UserCursor;
  sent: number;
  /** The highest n really pushed, and how many pushed items are unacked: at `inboxItemsMax` of them it gets no more. */
  pushed: number;
  unacked: number;
  /** What an earlier incarnation of this shard may have sent, so may be acked. */
  ackable: number;
  /** Bytes pushed since its last turn: past a page's worth it must take its turn, which waits for the socket. */
  unpaced: number;
  drain: 'no' | 'asked' | 'failed' | Stop;
  /** Announcements may have been lost: the store is asked even where nothing more is known of. */
  suspect: boolean;
};

export class UserInbox {
  readonly #user: string;
  readonly #itemsMax: number;
  /** Null until something is pushed. */
  #sent: Kept<number> | null = null;
  readonly #owner: Waker;
  readonly #readers = new FewMap<ConnectionId, Reader>();
  readonly #cursors = new FewMap<string, UserCursor>();
  /** The highest n known to be assigned. */
  #head = 0;
  /** The highest n pushed to anybody. */
  #pushed = 0;

  constructor(user: string, itemsMax: number, owner: Waker) {
    this.#user = user;
    this.#itemsMax = itemsMax;
    this.#owner = owner;
  }

  /** A connection that the store has admitted, with its device's cursor. `again`: it was fed by an earlier incarnation. */
  open(connection: Connection, acked: number, head: number, again: boolean): void {
    this.#head = Math.max(this.#head, head);
    let cursor = this.#cursors.get(connection.device);
    if (cursor === undefined) {
      cursor = new UserCursor(this.#user, connection.device, acked, this);
      this.#cursors.set(cursor.device, cursor);
    }
    cursor.readers++;
    cursor.acked = Math.max(cursor.acked, acked);
    this.#readers.set(connection.id, {
      connection,
      cursor,
      sent: cursor.acked,
      pushed: cursor.acked,
      unacked: 0,
      ackable: again ? head : 0,
      unpaced: 0,
      drain: 'no',
      suspect: false,
    });
  }

  /** The writer was replaced, and what it had committed last may never have been announced. */
  recheck(effects: Effects): void {
    for (const reader of this.#readers.values()) {
      reader.suspect = true;
      this.#drain(reader, effects);
    }
  }

  /** Feeds what waits; after `open`, once the client has been welcomed. */
  feed(id: ConnectionId, effects: Effects): void {
    const reader = this.#readers.get(id);
    if (reader !== undefined) this.#drain(reader, effects);
  }

  close(id: ConnectionId): void {
    const reader = this.#readers.get(id);
    if (reader === undefined) return;
    this.#readers.delete(id);
    if (--reader.cursor.readers === 0) this.#cursors.delete(reader.cursor.device);
  }

  item(item: InboxItem, effects: Effects): void {
    this.#head = Math.max(this.#head, item.n);
    for (const reader of this.#readers.values()) {
      if (reader.sent >= item.n) continue;
      if (!this.#live(reader, item.n)) {
        this.#drain(reader, effects);
        continue;
      }
      const by = suspectOfItem(item.entry);
      const own = reader.cursor.device === item.origin; // his own words; the client has them
      if (!own && effects.bars(by)) {
        this.#stop(reader, { n: item.n, by }, effects);
        continue;
      }
      reader.sent = item.n;
      if (own) continue;
      reader.unpaced += sizeOf(item.entry);
      this.#count(reader, item.n);
      effects.push(reader.connection, { n: item.n, stored: item.entry });
    }
  }

  loss(loss: InboxLoss, effects: Effects): void {
    this.#head = Math.max(this.#head, loss.to);
    for (const reader of this.#readers.values()) {
      if (reader.sent >= loss.to) continue; // it has had them
      if (typeof reader.drain === 'object' && reader.drain.n <= loss.to) reader.drain = 'no';
      if (!this.#live(reader, Math.max(loss.from, reader.sent + 1))) {
        this.#drain(reader, effects);
        continue;
      }
      effects.push(reader.connection, gapAfter(reader.sent, loss));
      reader.sent = loss.to;
      this.#drain(reader, effects); // where it was stopped there is more
    }
  }

  ack(connection: Connection, command: Command<'ack'>, effects: Effects): void {
    const reader = this.#readers.get(connection.id);
    if (reader === undefined) return;
    const stopped = typeof reader.drain === 'object' ? reader.drain.n : 0; // who does not want to wait for it
    if (command.through > Math.max(reader.sent, reader.ackable, reader.cursor.acked, stopped))
      effects.refuse(connection, command.id, 'ack', new CodedError('bad-request', `nothing above ${reader.sent} was sent`, 'through'));
    else reader.cursor.ack(connection, command, effects);
  }

  flush(effects: Effects, ticking: boolean): void {
    if (this.#pushed > 0) this.#save(effects, ticking);
    if (!ticking) return;
    for (const reader of this.#readers.values()) {
      if (reader.drain !== 'failed' && typeof reader.drain !== 'object') continue;
      if (reader.drain === 'failed') reader.drain = 'no';
      this.#drain(reader, effects);
    }
  }

  /** Whether a tick is needed. */
  get due(): boolean {
    if (this.#sent?.stalled) return true;
    for (const { drain } of this.#readers.values()) if (drain === 'failed' || typeof drain === 'object') return true;
    return false;
  }

  get idle(): boolean {
    return this.#readers.size === 0 && (this.#sent?.settled ?? true);
  }

  #save(effects: Effects, ticking: boolean): void {
    this.#sent ??= new Kept<number>(0, { operation: (through) => ({ type: 'sent', user: this.#user, through }), wake: () => this.#owner.wake() });
    this.#sent.save(this.#pushed, effects, ticking);
  }

  #live(reader: Reader, n: number): boolean {
    return reader.sent === n - 1 && reader.drain === 'no' && reader.unacked < this.#itemsMax && reader.unpaced < pageBytesMax;
  }

  #count(reader: Reader, n: number): void {
    reader.pushed = n;
    reader.unacked++;
    if (n > this.#pushed) this.#pushed = n;
    this.#owner.wake();
  }

  #drain(reader: Reader, effects: Effects): void {
    if (typeof reader.drain === 'object' && (reader.sent >= reader.drain.n || !effects.bars(reader.drain.by))) reader.drain = 'no';
    if (reader.drain !== 'no' || !this.#wants(reader)) return;
    reader.drain = 'asked';
    effects.feed(reader.connection, () => this.#turn(reader, effects));
  }

  #turn(reader: Reader, effects: Effects): void {
    const after = reader.sent;
    const limit = Math.min(pageItemsMax, this.#itemsMax - reader.unacked);
    reader.unpaced = 0;
    if (!this.#wants(reader)) {
      reader.drain = 'no';
      effects.skip(reader.connection);
      return;
    }
    reader.suspect = false;
    const query = { read: 'inbox', user: this.#user, device: reader.cursor.device, after, limit, bytesMax: pageBytesMax } as const;
    effects.read(
      query,
      (reply) => this.#page(reader, after, reply, effects),
      ({ code }) => {
        reader.suspect = true;
        effects.skip(reader.connection);
        if (code === 'quarantined') return this.#stop(reader, { n: after + 1, by: suspectOfRead(query) }, effects);
        reader.drain = 'failed';
        this.#owner.wake();
      },
    );
  }

  /** Nothing can be left out: an ack of what comes behind it would pass over it. */
  #stop(reader: Reader, stop: Stop, effects: Effects): void {
    reader.drain = stop;
    effects.push(reader.connection, { op: 'inbox-stopped', n: stop.n, reason: 'quarantined' });
    this.#owner.wake();
  }

  #page(reader: Reader, after: number, reply: StoredInbox, effects: Effects): void {
    reader.drain = 'no';
    if (!this.#has(reader)) {
      effects.skip(reader.connection);
      return;
    }
    this.#head = Math.max(this.#head, reply.head);
    const { pushes, items, sent, stop } = inboxPage(reader.sent, reply, (suspect) => effects.bars(suspect));
    reader.sent = sent;
    for (const n of items) this.#count(reader, n);
    if (pushes.length > 0) effects.page(reader.connection, pushes);
    else {
      // Nothing is left above `sent`: the rest was acked by every device that had to.
      if (reply.items.length === 0) reader.sent = Math.max(reader.sent, reply.head);
      effects.skip(reader.connection);
    }
    if (stop !== null) return this.#stop(reader, stop, effects);
    if (reader.sent > after || reader.sent >= this.#head) {
      this.#drain(reader, effects);
      return;
    }
    // The store's reader lags behind what was announced; asking again at once would turn in a circle.
    reader.drain = 'failed';
    this.#owner.wake();
  }

  moved(cursor: UserCursor, effects: Effects): void {
    const through = cursor.acked;
    for (const reader of this.#readers.values()) {
      if (reader.cursor !== cursor) continue;
      // Counts of a slow acker are an upper bound: numbers that were never pushed lie between.
      reader.unacked = through >= reader.pushed ? 0 : Math.min(reader.unacked, reader.pushed - through);
      reader.sent = Math.max(reader.sent, through);
      this.#drain(reader, effects);
    }
  }

  #wants(reader: Reader): boolean {
    return this.#has(reader) && reader.unacked < this.#itemsMax && (reader.suspect || reader.sent < this.#head);
  }

  #has(reader: Reader): boolean {
    return reader.connection.open && this.#readers.get(reader.connection.id) === reader;
  }
}

function sizeOf(entry: EntryRecord): number {
  return envelopeBytes + (entry.body?.length ?? 0);
}
