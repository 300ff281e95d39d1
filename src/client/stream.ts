/**
 * One room as this client follows it: applies exactly head + 1, drops what it has, states every gap. A pure machine fed by
 * rooms.ts, which sends the commands and decides when to attach. It never skips an entry silently: what is missing without
 * a gap is a `hole`, for which the connection is given up and resumed.
 *
 *   waiting (to be attached; deaf) → live → waiting (connection lost, or held by a slow reader) → live … → ended
 */

import type { Position } from '../protocol/inputs.ts';
import type { Audience, Gap, Push, Replies } from '../protocol/pushes.ts';
import type { Cancel, ClientClock } from './clock.ts';
import { Cursor } from './cursor.ts';
import type { HubError } from './errors.ts';
import { Emitter } from './events.ts';
import type { Entry, Ephemeral } from './wire.ts';

export type RoomEvents = {
  entry: Entry;
  ephemeral: Ephemeral;
  /** Who follows the room, after a change. Only with `presence`. */
  audience: Audience;
  /** Entries this client will not get. */
  gap: Gap;
  /** This connection was too slow: the entries up to `head` follow at its own pace. */
  behind: { room: string; head: number };
  /** The end of the subscription: `unsubscribed` or `closed` by this side, or the code with which the hub ended or refused it. */
  unsubscribed: { room: string; reason: string };
};

export type StreamOwner = {
  readonly clock: ClientClock;
  failed(cause: unknown): void;
  hole(stream: Stream): void;
  /** How far the handlers got changed. */
  moved(stream: Stream): void;
  /** The handlers of everything up to `settled` ran, or the stream began at another place. */
  settled(stream: Stream): void;
  gap(gap: Gap): void;
  /** Sends the received mark. */
  received(stream: Stream, through: number, done: (error: HubError | null) => void): boolean;
};

export class Stream {
  readonly name: string;
  readonly events: Emitter<RoomEvents>;
  readonly receipts: boolean;
  presence: boolean;
  state: 'waiting' | 'live' | 'ended' = 'waiting';
  audience: Audience | null = null;
  /** Readers whose buffer is full; the stream is not attached while there are any. */
  holders = 0;
  readonly #owner: StreamOwner;
  readonly #handled: Cursor;
  #epoch: string | null = null;
  #head: number | null = null;
  /** Nothing at or below this seq was handed on by this stream. */
  #base: number | null = null;
  /** First attachment only: what arrives before the subscriber could add his listeners. */
  #held: (() => void)[] | null = null;
  #stopHold: Cancel | undefined;
  #fresh = true;
  /** Rises with every new beginning: from there on a number may be another entry's. */
  #life = 0;
  #start: Position | 'mark' | null;

  constructor(name: string, owner: StreamOwner, options: { presence: boolean; receipts: boolean; start: Position | 'mark' | null }) {
    this.name = name;
    this.presence = options.presence;
    this.receipts = options.receipts;
    this.events = new Emitter((cause) => owner.failed(cause));
    this.#owner = owner;
    this.#start = options.start;
    this.#handled = new Cursor(owner.clock, owner.failed, (through, done) => this.receipts && owner.received(this, through, done));
    if (options.start !== null && options.start !== 'mark') this.#reset(options.start);
  }

  get position(): Position | null {
    return this.#epoch === null || this.#head === null ? null : { epoch: this.#epoch, seq: this.#head };
  }

  /** The last entry up to which all handlers ran: where a reload goes on. */
  get handled(): Position | null {
    return this.#epoch === null || this.#head === null ? null : { epoch: this.#epoch, seq: this.#handled.through };
  }

  /** Whether it was attached ever. */
  get begun(): boolean {
    return !this.#fresh;
  }

  /** Where to attach: its position, or while it has none what the subscriber asked for (null: the head). */
  get asked(): Position | 'mark' | null {
    return this.position ?? this.#start;
  }

  /** Whether this stream hands (room, seq) on: it did and the handlers ran, it will, or it will not. */
  covers(seq: number): 'done' | 'later' | 'never' {
    // Not before it is attached: where the log went back, what it handed on at that seq may have been another entry.
    if (this.state === 'waiting') return 'later';
    if (this.#base === null) return 'never';
    if (seq <= this.#base || this.state === 'ended') return 'never';
    return seq <= this.#handled.through ? 'done' : 'later';
  }

  /** The hub attached it; entries follow. `asked` is what the command said. */
  attach(reply: Replies['subscribe'], asked: Position | 'mark' | null): void {
    this.state = 'live';
    if (asked === null) {
      this.#reset(reply.position);
      this.#owner.moved(this);
    }
    if (this.#fresh) this.#hold();
    this.#fresh = false;
    // With the gaps: by the new epoch the old position would pass for one of it.
    this.#next(() => {
      this.#epoch = reply.position.epoch;
    });
    this.gaps(reply.gaps ?? []);
    if (reply.audience !== undefined) {
      this.audience = reply.audience;
      this.tell({ op: 'audience', room: this.name, ...reply.audience });
    }
    this.#handled.flush();
    this.#owner.settled(this);
  }

  /** The broadcast room without a position: followed without a command, from wherever its first entry says. */
  follow(epoch: string): void {
    this.state = 'live';
    this.#epoch = epoch;
    this.#head = null;
    this.#fresh = false;
  }

  detach(): void {
    if (this.state === 'live') this.state = 'waiting';
    this.#release(); // what was held was not applied, so the position does not cover it: it comes again
  }

  end(reason: string): void {
    if (this.state === 'ended') return;
    this.#release();
    this.state = 'ended';
    this.events.emit('unsubscribed', { room: this.name, reason });
    this.#owner.settled(this);
  }

  entry(entry: Entry): void {
    if (this.state === 'live') this.#next(() => this.#apply(entry));
  }

  gaps(gaps: readonly Gap[]): void {
    if (this.state === 'live') this.#next(() => this.#skip(gaps));
  }

  tell(push: Push & { op: 'ephemeral' | 'audience' | 'behind' }): void {
    if (this.state === 'live') this.#next(() => this.#tell(push));
  }

  #next(step: () => void): void {
    if (this.#held === null) step();
    else this.#held.push(step);
  }

  #apply(entry: Entry): void {
    const { seq } = entry;
    if (this.state !== 'live') return;
    if (this.#head === null) this.#reset({ seq: seq - 1 });
    const head = this.#head ?? 0;
    if (seq <= head) return;
    if (seq > head + 1) {
      this.#owner.hole(this);
      return;
    }
    this.#head = seq;
    this.#handled.add(seq);
    const life = this.#life;
    const outcome = this.events.run('entry', entry);
    if (typeof outcome === 'boolean') this.#settle(seq, life);
    else void outcome.then(() => this.#settle(seq, life));
  }

  /** A handler that failed counts as run: the room's log can be read again, and its order is worth more than one entry. */
  #settle(seq: number, life: number): void {
    if (life !== this.#life) return;
    this.#handled.done(seq);
    this.#owner.moved(this);
    this.#owner.settled(this);
  }

  #skip(gaps: readonly Gap[]): void {
    for (const gap of gaps) {
      if (this.state !== 'live') return;
      // Another life of the data has its own numbers: the position moves there, even back.
      if (gap.reason !== 'epoch' && this.#head !== null && gap.to <= this.#head) continue;
      this.#reset({ seq: gap.to });
      this.#owner.moved(this);
      this.events.emit('gap', gap);
      this.#owner.gap(gap);
    }
    this.#owner.settled(this);
  }

  #tell(push: Push & { op: 'ephemeral' | 'audience' | 'behind' }): void {
    if (this.state !== 'live') return;
    const { op, ...event } = push;
    if (push.op !== 'audience') {
      this.events.emit(op, event as never);
      return;
    }
    const { count, users, joined = [], left = [] } = push;
    const known = new Set(users ?? this.audience?.users ?? []);
    for (const user of joined) known.add(user);
    for (const user of left) known.delete(user);
    // Above some size the hub tells numbers only; a list that does not match the number is not one.
    this.audience = known.size === count ? { count, users: [...known] } : { count };
    this.events.emit('audience', this.audience);
  }

  #reset(to: { epoch?: string; seq: number }): void {
    this.#epoch = to.epoch ?? this.#epoch;
    this.#head = to.seq;
    this.#base = to.seq;
    this.#life++;
    this.#handled.reset(to.seq);
  }

  #hold(): void {
    this.#held = [];
    this.#stopHold = this.#owner.clock.after(0, () => {
      const held = this.#held ?? [];
      this.#held = null;
      for (const step of held) step();
    });
  }

  #release(): void {
    this.#handled.stop();
    this.#held = null;
    this.#stopHold?.();
  }
}
