/**
 * The rooms this client follows: subscribes them, brings them back after every reconnect (`resume`, many at once), hands
 * pushes to their streams. The broadcast room is one of them that nobody asks for. Called by the client only.
 */
import { type ErrorCode, errorCodes } from '../protocol/codes.ts';
import type { Position } from '../protocol/inputs.ts';
import { listMax } from '../protocol/limits.ts';
import { allRoom } from '../protocol/names.ts';
import type { Gap, Push, Welcome } from '../protocol/pushes.ts';
import { bounded, type CallOptions } from './bounded.ts';
import { Backoff, type BackoffLimits, type Cancel, type ClientClock } from './clock.ts';
import { HubError } from './errors.ts';
import type { Positions } from './positions.ts';
import { Room, type RoomActions } from './room.ts';
import type { Session } from './session.ts';
import { Stream, type StreamOwner } from './stream.ts';
import { type Entry, withBytes } from './wire.ts';

export type SubscribeOptions = CallOptions & {
  /** Be told who follows the room. */
  presence?: boolean;
  /** Send `received` marks after the handlers ran. */
  receipts?: boolean;
  /** Where to begin: after a position, or at this user's received mark. Otherwise at a stored position, or live. */
  position?: Position | 'mark';
};

type RoomsOwner = {
  readonly clock: ClientClock;
  readonly positions: Positions;
  readonly backoff: BackoffLimits;
  readonly timeoutMs: number;
  failed(cause: unknown): void;
  gap(gap: Gap): void;
  broadcast(entry: Entry): boolean | Promise<boolean>;
  /** The inbox waits for what a room hands on. */
  settled(stream: Stream): void;
};
type Followed = { stream: Stream; room: Room; waiters: Set<(error: HubError | null) => void>; cancelRetry?: Cancel };

export class Rooms {
  readonly #owner: RoomsOwner;
  readonly #actions: RoomActions;
  readonly #streamOwner: StreamOwner;
  readonly #rooms = new Map<string, Followed>();
  readonly #backoff: Backoff;
  /** Rooms whose end the hub did not take yet. */
  readonly #leaving = new Map<string, Cancel>();
  #session: Session | null = null;
  #epoch = '';

  constructor(owner: RoomsOwner, actions: Pick<RoomActions, 'publish' | 'ephemeral' | 'command'>) {
    this.#owner = owner;
    this.#backoff = new Backoff(owner.clock, owner.backoff);
    this.#actions = { ...actions, unsubscribe: (stream) => this.#unsubscribe(stream, 'unsubscribed'), hold: (stream, full) => this.#hold(stream, full) };
    this.#streamOwner = {
      clock: owner.clock,
      failed: owner.failed,
      gap: owner.gap,
      settled: owner.settled,
      hole: (stream) => this.#session?.drop(new HubError('hole', `an entry of ${stream.name} after ${stream.position?.seq} is missing`)),
      moved: (stream) => {
        const { stream: current } = this.#rooms.get(stream.name) ?? { stream }; // a handler may end after another subscription has begun
        if (current === stream && stream.handled !== null) owner.positions.set(stream.name, stream.handled);
      },
      received: (stream, through, done) => {
        this.#session?.request('mark', { room: stream.name, received: through }, (answer) => done(answer.ok ? null : answer.error));
        return this.#session !== null;
      },
    };
  }

  /** The stored positions are loaded: the broadcast room begins after its own. */
  followBroadcasts(): void {
    const { stream } = this.#add(allRoom, { presence: false, receipts: true, start: this.#owner.positions.get(allRoom) });
    stream.events.on('entry', (entry) => this.#owner.broadcast(entry));
  }

  /** The room, once it is attached. A room that is followed already is the same handle. */
  subscribe(name: string, options: SubscribeOptions): Promise<Room> {
    if (name === allRoom) return Promise.reject(new HubError('bad-request', 'broadcasts need no subscription: on("broadcast")', { field: 'room' }));
    const limits = { signal: options.signal, timeoutMs: options.timeoutMs ?? this.#owner.timeoutMs };
    return bounded<Room>(this.#owner.clock, limits, 'subscribe', (resolve, reject) => {
      const followed = this.#rooms.get(name) ?? this.#begin(name, options);
      const { stream, room, waiters } = followed;
      const waiter = (error: HubError | null) => (error === null ? resolve(room) : reject(error));
      if (options.presence && !stream.presence) {
        // Only `subscribe` asks for it: attach again, at the position.
        stream.presence = true;
        stream.detach();
        this.#attach(followed);
      }
      if (stream.state === 'live') resolve(room);
      else waiters.add(waiter);
      return () => {
        waiters.delete(waiter);
        if (!stream.begun && waiters.size === 0) this.#unsubscribe(stream, 'unsubscribed'); // nobody has it
      };
    });
  }

  /** Whether the stream of a followed room hands this entry on. */
  covers(name: string, seq: number): 'done' | 'later' | 'never' {
    return this.#rooms.get(name)?.stream.covers(seq) ?? 'never';
  }

  opened(session: Session, welcome: Welcome): void {
    this.#session = session;
    this.#epoch = welcome.epoch;
    const byEpoch = new Map<string, Followed[]>();
    for (const followed of this.#rooms.values()) {
      const { stream } = followed;
      const { position } = stream;
      if (stream.holders > 0) continue;
      if (position !== null && !stream.presence) {
        const same = byEpoch.get(position.epoch);
        if (same === undefined) byEpoch.set(position.epoch, [followed]);
        else same.push(followed);
      } else if (stream.name === allRoom) stream.follow(welcome.epoch);
      else this.#attach(followed);
    }
    for (const [epoch, all] of byEpoch) for (const part of parts(all, session.limits.frameBytesMax)) this.#resume(epoch, part);
  }

  lost(): void {
    this.#session = null;
    for (const stop of this.#leaving.values()) stop();
    this.#leaving.clear();
    for (const followed of this.#rooms.values()) {
      followed.cancelRetry?.();
      followed.stream.detach();
    }
  }

  close(error: HubError): void {
    this.lost();
    for (const followed of [...this.#rooms.values()]) this.#end(followed, error, 'closed');
  }

  /** True where the push was about a room. */
  push(push: Push): boolean {
    switch (push.op) {
      case 'entry': {
        const { op: _, ...entry } = push;
        this.#rooms.get(push.room)?.stream.entry(withBytes(entry));
        return true;
      }
      case 'ephemeral':
        this.#rooms.get(push.room)?.stream.tell(withBytes(push) as typeof push);
        return true;
      case 'audience':
      case 'behind':
        this.#rooms.get(push.room)?.stream.tell(push);
        return true;
      case 'gap':
        this.#rooms.get(push.room)?.stream.gaps(push.gaps);
        return true;
      case 'resumed': {
        const followed = this.#rooms.get(push.room);
        if (followed?.stream.state === 'waiting' && followed.stream.holders === 0) this.#attached(followed, push, followed.stream.asked);
        return true;
      }
      case 'unsubscribed':
        this.#dropped(push.room, push.reason);
        return true;
      default:
        return false;
    }
  }

  #begin(name: string, options: SubscribeOptions): Followed {
    const { presence = false, receipts = false, position = this.#owner.positions.get(name) } = options;
    const followed = this.#add(name, { presence, receipts, start: position });
    this.#attach(followed);
    return followed;
  }

  #add(name: string, options: { presence: boolean; receipts: boolean; start: Position | 'mark' | null }): Followed {
    const stream = new Stream(name, this.#streamOwner, options);
    const followed: Followed = { stream, room: new Room(stream, this.#actions), waiters: new Set() };
    this.#rooms.set(name, followed);
    return followed;
  }

  /** Subscribes one room where it stands. Without a connection the next welcome does it. */
  #attach(followed: Followed): void {
    const session = this.#session;
    const { stream } = followed;
    const { asked, presence } = stream;
    followed.cancelRetry?.();
    session?.request('subscribe', { room: stream.name, position: asked ?? undefined, presence: presence || undefined }, (answer) => {
      if (session !== this.#session || stream.state !== 'waiting' || stream.presence !== presence || stream.holders > 0) return;
      if (answer.ok) this.#attached(followed, answer.reply, asked);
      else if (answer.error.retry) this.#later(followed, answer.error.retryAfterMs);
      else this.#end(followed, answer.error, answer.error.code);
    });
  }

  #resume(epoch: string, part: readonly Followed[]): void {
    const session = this.#session;
    const rooms = Object.fromEntries(part.map(({ stream }) => [stream.name, stream.position?.seq ?? 0]));
    session?.request('resume', { epoch, rooms }, (answer) => {
      if (session !== this.#session) return;
      for (const followed of part) {
        // `resumed` or `unsubscribed` came for each; whoever was left out asks for itself.
        if (followed.stream.state !== 'waiting' || followed.stream.holders > 0 || followed.cancelRetry !== undefined) continue;
        if (!answer.ok && answer.error.retry) this.#later(followed, answer.error.retryAfterMs);
        else this.#attach(followed);
      }
    });
  }

  #attached(followed: Followed, reply: Parameters<Stream['attach']>[0], asked: Position | 'mark' | null): void {
    this.#backoff.reset();
    followed.stream.attach(reply, asked);
    for (const waiter of followed.waiters) waiter(null);
    followed.waiters.clear();
  }

  #later(followed: Followed, retryAfterMs?: number): void {
    followed.cancelRetry?.();
    const cancel = this.#owner.clock.after(retryAfterMs ?? this.#backoff.next(), () => this.#attach(followed));
    followed.cancelRetry = () => {
      cancel();
      followed.cancelRetry = undefined;
    };
  }

  #dropped(name: string, reason: ErrorCode): void {
    const followed = this.#rooms.get(name);
    if (followed === undefined || followed.stream.holders > 0) return;
    if (errorCodes[reason]?.retry) {
      followed.stream.detach();
      this.#later(followed);
    } else this.#end(followed, new HubError(reason, errorCodes[reason]?.text ?? reason, { of: 'subscribe' }), reason);
  }

  #hold(stream: Stream, full: boolean): void {
    const followed = this.#rooms.get(stream.name);
    if (followed?.stream !== stream) return;
    stream.holders += full ? 1 : -1;
    if (full && stream.holders === 1) {
      followed.cancelRetry?.();
      stream.detach();
      this.#leave(stream.name);
    } else if (stream.holders === 0) this.#attach(followed);
  }

  #unsubscribe(stream: Stream, reason: string): void {
    const followed = this.#rooms.get(stream.name);
    if (followed?.stream !== stream) return;
    this.#leave(stream.name);
    this.#end(followed, new HubError('closed', 'unsubscribed', { of: 'subscribe' }), reason);
  }

  /** Until the hub has taken it, behind what was sent of the room before; unless it is followed again. */
  #leave(room: string): void {
    const session = this.#session;
    session?.request('unsubscribe', { room }, (answer) => {
      if (answer.ok || !answer.error.retry || session !== this.#session) return;
      const again = () => {
        this.#leaving.delete(room);
        if (this.#rooms.get(room)?.stream.holders !== 0) this.#leave(room);
      };
      this.#leaving.get(room)?.();
      this.#leaving.set(room, this.#owner.clock.after(answer.error.retryAfterMs ?? this.#backoff.next(), again));
    });
  }

  #end(followed: Followed, error: HubError, reason: string): void {
    followed.cancelRetry?.();
    // Nobody subscribed the broadcast room, so nobody can lose it: it goes on with whatever comes next.
    if (followed.stream.name === allRoom && this.#session !== null) {
      followed.stream.follow(this.#epoch);
      return;
    }
    this.#rooms.delete(followed.stream.name);
    followed.stream.end(reason);
    for (const waiter of followed.waiters) waiter(error);
    followed.waiters.clear();
  }
}

/** Splits a resume so that no part has too many rooms or makes too long a frame. */
function* parts(all: readonly Followed[], frameBytesMax: number): Generator<Followed[]> {
  let part: Followed[] = [];
  let bytes = 0;
  for (const followed of all) {
    // A character takes at most three bytes in UTF-8, six as an escape; names are short, so the estimate may be rough.
    const size = followed.stream.name.length * 6 + 24;
    if (part.length === listMax || (part.length > 0 && bytes + size > frameBytesMax - 256)) {
      yield part;
      part = [];
      bytes = 0;
    }
    part.push(followed);
    bytes += size;
  }
  if (part.length > 0) yield part;
}
