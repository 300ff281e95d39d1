/**
 * One user's presence: a status merged over his connections on this node, and who watches it. The user's actor calls it;
 * it commits nothing but `presence` and tells nobody but watchers. A change is told at once, further ones at most once per
 * `changesEveryMs`: a client that flaps must not cost every watcher a push per flap. `current` is never held back.
 */
import type { Presence, Status } from '../protocol/pushes.ts';
import { FewMap } from '../thread/few.ts';
import type { ConnectionId, Operation } from '../thread/messages.ts';
import type { Connection, Effects, Waker } from './actor.ts';
import { type Keeper, Kept } from './kept.ts';

const changesEveryMs = 1_000;
/** What speaks against a connection's being present, added up: a number where an object would be one for each. */
const away = 1;
const idle = 2;

/** `told`: the status this watcher knows. `asking`: the answer to its command will tell it; `unknown`: only the next push will. */
type Watcher = { readonly connection: Connection; told: Status | 'asking' | 'unknown' };
type Moment = Pick<Effects, 'now' | 'tick'>;

export class UserPresence implements Keeper<Status | null> {
  readonly #user: string;
  readonly #graceMs: number;
  readonly #owner: Waker;
  readonly #kept: Kept<Status | null>;
  readonly #connected = new FewMap<ConnectionId, number>();
  /** Null while there is none, as for most users: ten thousand empty maps are two megabytes. */
  #watchers: Map<ConnectionId, Watcher> | null = null;
  /** Connections whose `connect` is on its way: the grace of an earlier one does not end before it is answered. */
  #expected = 0;
  /** Null: not read from the store yet, and nobody connected. */
  #status: Status | null = null;
  #lastSeen: number | null = null;
  /** When (`tick`) the last connection's grace ends; null while somebody is connected or the status is the store's. */
  #deadline: number | null = null;
  #lastClosed = 0;
  /** The status changed since watchers were told. */
  #changed = false;
  #told: Status | null = null;
  #toldAt = 0;

  constructor(user: string, graceMs: number, owner: Waker) {
    this.#user = user;
    this.#graceMs = graceMs;
    this.#owner = owner;
    this.#kept = new Kept<Status | null>(null, this);
  }

  operation(status: Status | null): Operation {
    return { type: 'presence', user: this.#user, status: status ?? 'offline', lastSeen: this.#lastSeen ?? this.#lastClosed };
  }

  wake(): void {
    this.#owner.wake();
  }

  expect(): void {
    this.#expected++;
  }

  /** The expected `connect` was answered, whatever the answer. */
  expected(): void {
    this.#expected--;
  }

  /** `stored`: the store has just been set to online by the same `connect`. */
  connected(id: ConnectionId, stored: boolean, moment: Moment): void {
    this.#connected.set(id, 0);
    if (stored) this.#kept.learn('online');
    this.#refresh(moment);
  }

  closed(id: ConnectionId, clean: boolean, moment: Moment): void {
    if (!this.#connected.delete(id) || this.#connected.size > 0) return;
    this.#lastClosed = moment.now;
    // Even without grace not at once: a connection that takes over in the same turn must not look like a change.
    this.#deadline = moment.tick + (clean ? 0 : this.#graceMs);
  }

  /** The store has found nobody of the user left, and set him offline: the end of his last connection went down with a shard. */
  ended(moment: Moment): void {
    if (this.#connected.size > 0 || this.#expected > 0 || this.#deadline !== null) return;
    this.#kept.learn('offline');
    this.#lastClosed = moment.now;
    if (this.#status !== 'offline') this.#become('offline', moment.now);
  }

  /** What the connection says of itself (`away`) or its silence says of it (`idle`). */
  note(id: ConnectionId, what: { away?: boolean; idle?: boolean }, moment: Moment): void {
    const against = this.#connected.get(id);
    if (against === undefined) return;
    this.#connected.set(id, put(put(against, away, what.away), idle, what.idle));
    this.#refresh(moment);
  }

  /** The status now, or null where only the store knows it. */
  current(moment: Moment): Presence | null {
    this.#refresh(moment);
    return this.#presence();
  }

  /** What the store said, taken where nothing newer is known. */
  load(presence: Presence): void {
    if (this.#status !== null) return;
    this.#status = presence.status;
    this.#lastSeen = presence.lastSeen;
  }

  watch(connection: Connection): void {
    this.#watchers ??= new Map();
    if (!this.#watchers.has(connection.id)) this.#watchers.set(connection.id, { connection, told: 'asking' });
  }

  /** It watches, and was told nothing yet. */
  asking(id: ConnectionId): boolean {
    return this.#watchers?.get(id)?.told === 'asking';
  }

  unwatch(id: ConnectionId): void {
    if (this.#watchers?.delete(id) && this.#watchers.size === 0) this.#watchers = null;
  }

  /**
   * The answer to the watcher's command carries this status: it needs no push of it. One who watched before takes what is pushed before the
   * answer for newer (P2), and the push of what he was told last may be on its way to him: where the answer says otherwise, either may be what he
   * believes, and the change that is held back is pushed to him whatever it has become by then.
   */
  told(id: ConnectionId, status: Status | 'unknown'): void {
    const watcher = this.#watchers?.get(id);
    if (watcher === undefined) return;
    if (watcher.told === 'asking') watcher.told = status;
    else if (watcher.told !== status) watcher.told = 'unknown';
  }

  flush(effects: Effects, ticking: boolean): void {
    this.#refresh(effects);
    const presence = this.#changed && !this.#early(effects) ? this.#presence() : null;
    if (presence !== null) this.#tell(presence, effects);
    // A change held back is not told and not saved: the store and the watchers agree.
    if (this.#told !== null && !this.#changed) this.#kept.save(this.#told, effects, ticking);
  }

  /** Whether a tick is needed. */
  get due(): boolean {
    return this.#changed || this.#deadline !== null || this.#kept.stalled;
  }

  get idle(): boolean {
    return this.#connected.size === 0 && this.#watchers === null && this.#expected === 0 && this.#kept.settled && !this.due;
  }

  #early(moment: Moment): boolean {
    return this.#told !== null && moment.tick - this.#toldAt < changesEveryMs;
  }

  #tell(presence: Presence, effects: Effects): void {
    this.#changed = false;
    this.#told = presence.status;
    this.#toldAt = effects.tick;
    const listeners: Connection[] = [];
    for (const watcher of this.#watchers?.values() ?? []) {
      if (watcher.told === 'asking' || watcher.told === presence.status) continue;
      watcher.told = presence.status;
      listeners.push(watcher.connection);
    }
    if (listeners.length > 0) effects.pushAll(listeners, { op: 'presence', ...presence });
  }

  #refresh(moment: Moment): void {
    const status = this.#merged(moment);
    if (status === null || status === this.#status) return;
    this.#become(status, status === 'offline' ? this.#lastClosed : moment.now);
  }

  #become(status: Status, lastSeen: number): void {
    this.#status = status;
    this.#lastSeen = lastSeen;
    this.#changed = true;
  }

  #presence(): Presence | null {
    return this.#status === null ? null : { user: this.#user, status: this.#status, lastSeen: this.#lastSeen };
  }

  /** The most present of the connections; null where nothing of this node says otherwise than the status held. */
  #merged(moment: Moment): Status | null {
    if (this.#connected.size > 0) {
      this.#deadline = null;
      for (const against of this.#connected.values()) if (against === 0) return 'online';
      return 'away';
    }
    if (this.#deadline === null || this.#expected > 0 || moment.tick < this.#deadline) return null;
    this.#deadline = null;
    return 'offline';
  }
}

/** The sum with or without that; as it was where nothing is said of it. */
function put(sum: number, bit: number, there: boolean | undefined): number {
  if (there === undefined) return sum;
  return there ? sum | bit : sum & ~bit;
}
