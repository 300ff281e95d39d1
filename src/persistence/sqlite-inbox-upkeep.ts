/**
 * Upkeep of inboxes in chunks: items too old to wait expire, and what ended long ago leaves the ledger. The rows of `inboxes`
 * say by lower bounds who may have such items; whoever has none any more gets better bounds. Called by the maintenance, within a transaction.
 */
import type { Statement } from 'better-sqlite3';
import type { Inboxes, Turn } from './sqlite-inbox.ts';
import type { Inbox } from './sqlite-inbox-rows.ts';
import type { Db } from './sqlite-open.ts';
import { ended } from './sqlite-words.ts';

/** Users one step looks at. */
const usersChunk = 100;

type User = { user: number; name: string };

export class InboxUpkeep {
  readonly #inboxes: Inboxes;
  readonly #chunk: number;
  readonly #waiters: Statement<[number, number], User>;
  readonly #expired: Statement<[number, number, number, number], { n: number; bytes: number }>;
  readonly #waitsSince: Statement<[number, number], number | null>;
  readonly #keepers: Statement<[number, number], { user: number }>;
  readonly #ends: Statement<[number, number], { n: number; at: number }>;
  readonly #remove: Statement<[number, number, number]>;

  /** `chunk`: items one step ends or removes at most. */
  constructor(db: Db, inboxes: Inboxes, chunk: number) {
    this.#inboxes = inboxes;
    this.#chunk = chunk;
    this.#waiters = db.prepare('select i.user, u.name from inboxes i join users u on u.id = i.user where i.waits_since < ? order by i.waits_since limit ?');
    this.#expired = db.prepare('select n, bytes from inbox where user = ? and n >= ? and ended = 0 and queued_at < ? order by n limit ?');
    this.#waitsSince = db.prepare<[number, number], number | null>('select min(queued_at) from inbox where user = ? and n >= ? and ended = 0').pluck();
    this.#keepers = db.prepare('select user from inboxes where ends_since < ? order by ends_since limit ?');
    this.#ends = db.prepare('select n, ended_at as at from inbox where user = ? and n < ? and ended_at is not null order by n');
    this.#remove = db.prepare('delete from inbox where (user, n) in (select user, n from inbox where user = ? and n <= ? order by n limit ?)');
  }

  /** Ends a chunk of what was queued before `before`; true if there may be more. */
  expire(before: number, turn: Turn): boolean {
    let left = this.#chunk;
    const waiters = this.#waiters.all(before, usersChunk);
    for (const { user, name } of waiters) {
      const inbox = this.#inboxes.of(user);
      const items = this.#expired.all(user, inbox.low, before, left);
      if (items.length > 0) this.#inboxes.lose(name, user, items, ended.expired, turn);
      left -= items.length;
      if (left === 0) return true;
      inbox.waits = this.#waitsSince.get(user, inbox.low) ?? null;
      this.#inboxes.rows.touch(inbox);
    }
    return waiters.length === usersChunk;
  }

  /** Removes a chunk of what ended before `before`, of each user from the oldest item on; true if there may be more. */
  prune(before: number): boolean {
    let left = this.#chunk;
    const keepers = this.#keepers.all(before, usersChunk);
    for (const { user } of keepers) {
      left -= this.#pruneOne(this.#inboxes.of(user), before, left);
      if (left <= 0) return true;
    }
    return keepers.length === usersChunk;
  }

  #pruneOne(inbox: Inbox, before: number, most: number): number {
    let through = 0;
    let since: number | null = null;
    let seen = 0;
    for (const { n, at } of this.#ends.iterate(inbox.user, this.#inboxes.firstWaiting(inbox))) {
      since = at;
      if (at >= before) break;
      through = n;
      since = null;
      if (++seen === most) break; // and so many are removed
    }
    const removed = through === 0 ? 0 : this.#remove.run(inbox.user, through, most).changes;
    if (removed === most) return removed;
    inbox.ends = since;
    this.#inboxes.rows.touch(inbox);
    return removed;
  }
}
