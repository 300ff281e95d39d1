/**
 * What this client watches and how it shows itself, kept across reconnects: the hub forgets both with the connection.
 */
import type { CommandFields } from '../protocol/inputs.ts';
import { listMax } from '../protocol/limits.ts';
import type { Presence, Reply } from '../protocol/pushes.ts';
import type { CallOptions } from './bounded.ts';

type PresenceOwner = {
  command<O extends 'watch' | 'unwatch' | 'status'>(op: O, fields: CommandFields<O>, options: CallOptions): Promise<Reply<O>>;
  changed(presence: Presence): void;
};

/**
 * A `watch` that is not answered yet: whom it is to bring, and what was pushed since it was sent, which is newer than what its answer will say.
 * `overtaken`: whom an `unwatch` of after it has taken out at the hub already, so that the hub, which asked to repeat it, watches them again.
 */
type UnderWay = { readonly users: Set<string>; readonly pushed: Map<string, Presence>; readonly overtaken: Set<string> };

export class Watches {
  readonly #owner: PresenceOwner;
  readonly #users = new Set<string>();
  readonly #underWay = new Set<UnderWay>();
  #away = false;
  /** How often the status was said, and which of these the hub has answered last. */
  #statuses = 0;
  #answered = 0;
  /** What is being said again after a reconnect; taken back where it is out of date. */
  #statusAgain = new AbortController();
  #watchesAgain = new AbortController();

  constructor(owner: PresenceOwner) {
    this.#owner = owner;
  }

  async watch(users: string[], options: CallOptions): Promise<Presence[]> {
    const watch: UnderWay = { users: new Set(users), pushed: new Map(), overtaken: new Set() };
    this.#underWay.add(watch);
    try {
      const { users: now } = await this.#owner.command('watch', { users }, options);
      for (const user of watch.users) this.#users.add(user);
      const others = [...this.#underWay].filter((other) => other !== watch);
      const unwanted = [...watch.overtaken].filter((user) => !this.#users.has(user) && !others.some((other) => other.users.has(user)));
      if (unwanted.length > 0) this.#aside(this.unwatch(unwanted, {}));
      return now.map((presence) => watch.pushed.get(presence.user) ?? presence);
    } finally {
      this.#underWay.delete(watch);
    }
  }

  pushed(presence: Presence): void {
    for (const { pushed } of this.#underWay) pushed.set(presence.user, presence);
    this.#owner.changed(presence);
  }

  async unwatch(users: string[], options: CallOptions): Promise<void> {
    const before = [...this.#underWay];
    for (const user of users) {
      this.#users.delete(user);
      for (const watch of before) watch.users.delete(user);
    }
    await this.#owner.command('unwatch', { users }, options);
    for (const watch of before) if (this.#underWay.has(watch)) for (const user of users) watch.overtaken.add(user);
    // Watched since, and answered before this was.
    const wanted = users.filter((user) => this.#users.has(user));
    if (wanted.length > 0) this.#aside(this.watch(wanted, {}).then((all) => all.forEach(this.#owner.changed)));
  }

  async status(status: 'online' | 'away', options: CallOptions): Promise<void> {
    this.#away = status === 'away';
    this.#statusAgain.abort();
    const turn = ++this.#statuses;
    await this.#owner.command('status', { status }, options);
    if (turn > this.#answered) this.#answered = turn;
    else this.#aside(this.status(this.#away ? 'away' : 'online', {}));
  }

  /** Nobody waits for it: it puts right what the hub, which asked to repeat a command, took in another order. A connection that is lost says all anew. */
  #aside(said: Promise<unknown>): void {
    void said.catch(() => undefined);
  }

  /** Says both again on a new connection, and tells what the users' status is now. */
  opened(failed: (error: unknown) => void): void {
    this.#statusAgain.abort();
    this.#watchesAgain.abort();
    this.#statusAgain = new AbortController();
    this.#watchesAgain = new AbortController();
    const status = this.#statusAgain.signal;
    const watches = this.#watchesAgain.signal;
    if (this.#away) void this.#owner.command('status', { status: 'away' }, { signal: status }).catch((error) => status.aborted || failed(error));
    const users = [...this.#users];
    for (let i = 0; i < users.length; i += listMax) {
      void this.watch(users.slice(i, i + listMax), { signal: watches }).then(
        (all) => all.forEach(this.#owner.changed),
        (error) => watches.aborted || failed(error),
      );
    }
  }
}
