/**
 * The durable queue of this user: hands items to the `inbox` listeners one after the other, acks cumulatively what they
 * handled. An item whose handler failed is not acked, so it (and whatever came after it, silently) is sent again with the next
 * connection. An item of a followed room is handed on by that room alone. Items wait here until somebody listens.
 */
import type { Push } from '../protocol/pushes.ts';
import type { ClientClock } from './clock.ts';
import { Cursor } from './cursor.ts';
import type { HubError } from './errors.ts';
import type { Session } from './session.ts';
import { type Entry, withBytes } from './wire.ts';

/** `n`: its number in the inbox. The rest is the entry of the room it was written to. */
export type InboxItem = Entry & { n: number };

type InboxOwner = {
  failed(error: HubError): void;
  listening(): boolean;
  handle(item: InboxItem): boolean | Promise<boolean>;
  covers(room: string, seq: number): 'done' | 'later' | 'never';
};

/** Items that may wait for a listener or a slow handler; the hub keeps what does not fit. */
const queueMax = 2_000;
/** Items remembered that were handled but could not be acked yet, so that they are not handled twice. */
const handledMax = 10_000;

export class Inbox {
  readonly #owner: InboxOwner;
  readonly #acks: Cursor;
  #session: Session | null = null;
  #queue: InboxItem[] = [];
  /** Items that a followed room will hand on. */
  #delegated: InboxItem[] = [];
  /** By their numbers what they were: after a restored backup the hub gives the same numbers to others. */
  readonly #handled = new Map<number, string>();
  #running: { item: InboxItem; session: Session | null } | null = null;
  /** The highest n that came on this connection; a restart inside the hub may send items twice. */
  #received = 0;
  #overflowed = false;

  constructor(clock: ClientClock, owner: InboxOwner) {
    this.#owner = owner;
    this.#acks = new Cursor(clock, owner.failed, (through, done) => {
      this.#session?.request('ack', { through }, (answer) => {
        if (answer.ok) for (const n of this.#handled.keys()) if (n <= through) this.#handled.delete(n);
        done(answer.ok ? null : answer.error);
      });
      return this.#session !== null;
    });
  }

  /** A new connection sends everything above `acked` again; only what it has sent may be acked on it. */
  opened(session: Session, acked: number): void {
    this.#session = session;
    this.#queue = [];
    this.#delegated = [];
    this.#overflowed = false;
    this.#received = acked;
    this.#acks.reset(acked);
  }

  lost(): void {
    this.#session = null;
    this.#acks.stop();
  }

  /** Says once more how far it got, for a connection that is about to be closed. */
  goodbye(): void {
    if (this.#acks.unsent) this.#session?.tell('ack', { through: this.#acks.through });
  }

  push(push: Push & { op: 'inbox' }): void {
    // Past an overflow nothing is taken before the hub sends it all again: acks are cumulative and must not pass over it.
    if (this.#overflowed || push.n <= this.#received) return;
    if (this.#queue.length + this.#delegated.length >= queueMax) {
      this.#overflowed = true;
      return;
    }
    const { op: _, ...item } = push;
    this.#received = item.n;
    this.#acks.add(item.n);
    if (this.#handled.get(item.n) === identityOf(item)) this.#acks.done(item.n);
    else if (this.#running !== null && item.n === this.#running.item.n && identityOf(item) === identityOf(this.#running.item)) {
      this.#running.session = this.#session; // sent again while its handler runs
    } else {
      this.#queue.push(withBytes(item));
      this.pump();
    }
  }

  /** Goes on with what waits, where somebody listens. */
  pump(): void {
    while (this.#running === null && this.#owner.listening()) {
      const item = this.#queue.shift();
      if (item === undefined) {
        // Everything that fitted is handled: have the rest sent again.
        if (this.#overflowed && this.#delegated.length === 0) this.#session?.drop(null);
        return;
      }
      const covered = this.#owner.covers(item.room, item.seq);
      if (covered === 'done') this.#finish(item, true);
      else if (covered === 'later') this.#delegated.push(item);
      else this.#hand(item);
    }
  }

  /** A room got further, or ended: what it was to hand on is settled, or comes back here. */
  settled(room: string): void {
    if (this.#delegated.length === 0) return;
    const delegated = this.#delegated;
    this.#delegated = [];
    const back: InboxItem[] = [];
    for (const item of delegated) {
      const covered = item.room === room ? this.#owner.covers(room, item.seq) : 'later';
      if (covered === 'done') this.#finish(item, true);
      else if (covered === 'later') this.#delegated.push(item);
      else back.push(item);
    }
    this.#queue.unshift(...back);
    this.pump();
  }

  #hand(item: InboxItem): void {
    this.#running = { item, session: this.#session };
    const outcome = this.#owner.handle(item);
    if (typeof outcome === 'boolean') this.#finish(item, outcome);
    else
      void outcome.then((fine) => {
        this.#finish(item, fine);
        this.pump();
      });
  }

  #finish(item: InboxItem, fine: boolean): void {
    const session = this.#running?.item === item ? this.#running.session : this.#session;
    if (this.#running?.item === item) this.#running = null;
    if (!fine) return;
    if (this.#handled.size >= handledMax) this.#handled.delete(this.#handled.keys().next().value ?? 0);
    this.#handled.set(item.n, identityOf(item));
    // Of an earlier connection and not sent again on this one: its number may be another item's by now.
    if (session === this.#session) this.#acks.done(item.n);
  }
}

function identityOf({ room, seq, mid, ts }: InboxItem | (Push & { op: 'inbox' })): string {
  return `${room} ${seq} ${mid ?? ts}`;
}
