/**
 * The row of each user's inbox as the writing transactions see it: what is changed in it stays in memory until the
 * transaction ends, so that a hundred items for one user cost one update, and a user who was here lately costs no select.
 * `of` reads a row again when another process has written since.
 */
import type { Statement } from 'better-sqlite3';
import { Cache } from './sqlite-names.ts';
import type { Db } from './sqlite-open.ts';

const inboxesMax = 100_000;

type Row = { user: number; head: number; low: number; items: number; bytes: number; sent: number; received: number };
export type Inbox = Row & {
  /** The count of foreign writes when this was read. */
  seen: number;
  /** Whether the table has a row. */
  stored: boolean;
  /** It differs from the row. */
  dirty: boolean;
};
type Values = [head: number, low: number, items: number, bytes: number, sent: number, received: number, user: number];

export class InboxRows {
  readonly #cache = new Cache<number, Inbox>(inboxesMax);
  readonly #read: Statement<[number], Row>;
  readonly #insert: Statement<Values>;
  readonly #update: Statement<Values>;
  #dirty: Inbox[] = [];
  #foreign = 0;

  constructor(db: Db) {
    this.#read = db.prepare('select user, head_n as head, low_n as low, items, bytes, sent_n as sent, received_n as received from inboxes where user = ?');
    this.#insert = db.prepare('insert into inboxes (head_n, low_n, items, bytes, sent_n, received_n, user) values (?, ?, ?, ?, ?, ?, ?)');
    this.#update = db.prepare('update inboxes set head_n = ?, low_n = ?, items = ?, bytes = ?, sent_n = ?, received_n = ? where user = ?');
  }

  /** Changed in place, followed by `touch`. Who never got anything has an empty one. */
  of(user: number): Inbox {
    const cached = this.#cache.get(user);
    if (cached !== undefined && cached.seen === this.#foreign) return cached;
    const row = this.#read.get(user);
    const inbox: Inbox = {
      user,
      head: row?.head ?? 0,
      low: row?.low ?? 1,
      items: row?.items ?? 0,
      bytes: row?.bytes ?? 0,
      sent: row?.sent ?? 0,
      received: row?.received ?? 0,
      seen: this.#foreign,
      stored: row !== undefined,
      dirty: false,
    };
    this.#cache.set(user, inbox);
    return inbox;
  }

  touch(inbox: Inbox): void {
    if (inbox.dirty) return;
    inbox.dirty = true;
    this.#dirty.push(inbox);
  }

  /** Before every commit, and before a savepoint is released. */
  flush(): void {
    for (const inbox of this.#dirty) {
      const { head, low, items, bytes, sent, received, user } = inbox;
      (inbox.stored ? this.#update : this.#insert).run(head, low, items, bytes, sent, received, user);
      inbox.stored = true;
      inbox.dirty = false;
    }
    this.#dirty = [];
  }

  /** Another process has written: what is cached is to be read again. */
  foreignWrite(): void {
    this.#foreign++;
  }

  /** After a rollback. */
  forget(): void {
    this.#dirty = [];
    this.#cache.clear();
  }

  rotate(): void {
    this.#cache.rotate();
  }
}
