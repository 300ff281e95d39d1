/**
 * The user actors of one shard: finds and makes them, wakes those that asked, drops those with nothing left. The shard's
 * loop calls every method within a turn, and `flush` at the end of each. It keeps count of what each connection watches.
 */
import { CodedError } from '../protocol/codes.ts';
import type { Command } from '../protocol/commands.ts';
import type { ConnectionId, InboxItem, InboxLoss, Operation } from '../thread/messages.ts';
import type { Connection, Effects } from './actor.ts';
import { UserActor } from './user.ts';
import { listRooms } from './user-rooms.ts';
import type { Hello, UserLimits } from './user-session.ts';

type Prune = Extract<Operation, { type: 'prune' }>;

export class UserDirectory {
  readonly #epoch: string;
  readonly #limits: UserLimits;
  readonly #actors = new Map<string, UserActor>();
  /** What each connection watches in this shard. */
  readonly #watches = new Map<ConnectionId, Set<string>>();
  /** Of those, what each watch that is not answered yet is to bring; an unwatch takes its users out of it. */
  readonly #asking = new Map<ConnectionId, Set<Set<string>>>();
  /** Actors to flush at the end of this turn. */
  #woken = new Set<UserActor>();
  /** Actors that need the tick. */
  readonly #due = new Set<UserActor>();
  readonly #wake = (actor: UserActor): void => {
    this.#woken.add(actor);
  };
  /** Refused by a full queue or a failing store. */
  #prune: Prune | null = null;

  constructor(epoch: string, limits: UserLimits) {
    this.#epoch = epoch;
    this.#limits = limits;
  }

  get size(): number {
    return this.#actors.size;
  }

  find(user: string): UserActor | undefined {
    return this.#actors.get(user);
  }

  hello(connection: Connection, hello: Hello, effects: Effects): void {
    this.#open(connection.user).hello(connection, hello, effects);
  }

  /** Last of a connection, in every shard that knew it. */
  close(connection: Connection, clean: boolean, effects: Effects): void {
    const watched = this.#watches.get(connection.id);
    if (watched !== undefined) this.unwatch(connection, watched);
    this.#asking.delete(connection.id);
    this.#actors.get(connection.user)?.close(connection, clean, effects);
  }

  command(connection: Connection, command: Command<'ack' | 'status' | 'rooms'>, effects: Effects): void {
    if (command.op === 'rooms') listRooms(connection, command, effects);
    else {
      const actor = this.#actors.get(connection.user);
      if (actor === undefined) effects.refuse(connection, command.id, command.op, new CodedError('unauthenticated'));
      else actor.command(connection, command, effects);
    }
  }

  inactive(connection: Connection, idle: boolean, effects: Effects): void {
    this.#actors.get(connection.user)?.inactive(connection, idle, effects);
  }

  /** After a shard's death: connections of which the gateway knows no more are gone in the store as well, or will be at a tick. */
  prune(prune: Prune, effects: Effects): void {
    this.#prune = null;
    const accepted = effects.commit(prune, (outcome) => {
      if (typeof outcome === 'number' || outcome.code !== 'pruned') {
        this.#prune = prune;
        return;
      }
      for (const user of outcome.users) {
        const actor = this.#actors.get(user);
        if (actor === undefined) continue;
        actor.presence.ended(effects);
        this.#woken.add(actor);
      }
    });
    if (!accepted) this.#prune = prune;
  }

  /** What persistence announces of an inbox; nobody connected, nobody to tell: it waits in the store. */
  notice(notice: InboxItem | InboxLoss, effects: Effects): void {
    const actor = this.#actors.get(notice.user);
    if (actor === undefined) return;
    if (notice.t === 'inbox') actor.inbox(notice, effects);
    else actor.loss(notice, effects);
  }

  /** A writer was let in after another: announcements of what that one committed last may be lost. */
  recheck(effects: Effects): void {
    for (const actor of this.#actors.values()) actor.recheck(effects);
  }

  /** Adds watches, all or none: the users it asks for, to be handed to `granted` or `failed`. Null where the connection would have more than it may. */
  watch(connection: Connection, users: Iterable<string>): ReadonlySet<string> | null {
    const watched = this.#watches.get(connection.id) ?? new Set();
    const asked = new Set(users);
    const added = [...asked].filter((user) => !watched.has(user));
    if (watched.size + added.length > this.#limits.watchesMax) return null;
    if (added.length > 0) this.#watches.set(connection.id, watched);
    for (const user of added) {
      watched.add(user);
      this.#open(user).presence.watch(connection);
    }
    const asking = this.#asking.get(connection.id) ?? new Set();
    this.#asking.set(connection.id, asking.add(asked));
    return asked;
  }

  /** The watch is answered. */
  granted(connection: Connection, asked: ReadonlySet<string>): void {
    const asking = this.#asking.get(connection.id);
    if (asking?.delete(asked as Set<string>) && asking.size === 0) this.#asking.delete(connection.id);
  }

  /** The watch is refused: whom no other one has brought, or is to bring, is watched no more. */
  failed(connection: Connection, asked: ReadonlySet<string>): void {
    this.granted(connection, asked);
    const others = [...(this.#asking.get(connection.id) ?? [])];
    const alone = (user: string): boolean => this.find(user)?.presence.asking(connection.id) === true && !others.some((other) => other.has(user));
    this.unwatch(connection, [...asked].filter(alone));
  }

  unwatch(connection: Connection, users: Iterable<string>): void {
    const watched = this.#watches.get(connection.id);
    if (watched === undefined) return;
    const asking = this.#asking.get(connection.id) ?? [];
    for (const user of users) {
      if (!watched.delete(user)) continue;
      for (const asked of asking) asked.delete(user);
      const actor = this.#actors.get(user);
      if (actor === undefined) continue;
      actor.presence.unwatch(connection.id);
      this.#woken.add(actor); // it may have nothing left
    }
    if (watched.size === 0) this.#watches.delete(connection.id);
  }

  flush(effects: Effects): void {
    if (this.#woken.size === 0) return;
    const woken = this.#woken;
    this.#woken = new Set();
    for (const actor of woken) {
      actor.flush(effects);
      this.#keep(actor);
    }
  }

  /** About once a second; a `flush` follows as after any turn. */
  tick(effects: Effects): void {
    if (this.#prune !== null) this.prune(this.#prune, effects);
    for (const actor of this.#due) {
      actor.tick(effects);
      this.#keep(actor);
    }
  }

  #open(user: string): UserActor {
    let actor = this.#actors.get(user);
    if (actor === undefined) {
      actor = new UserActor(user, this.#epoch, this.#limits, this.#wake);
      this.#actors.set(user, actor);
    }
    return actor;
  }

  #keep(actor: UserActor): void {
    if (actor.due) this.#due.add(actor);
    else this.#due.delete(actor);
    if (actor.idle && this.#actors.get(actor.user) === actor) this.#actors.delete(actor.user);
  }
}
