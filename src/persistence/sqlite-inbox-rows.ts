/** The row of each user's inbox as the writing transactions see it, and how it is read and written back. */
import type { Statement } from 'better-sqlite3';
import type { Db } from './sqlite-open.ts';
import { WriteBack } from './sqlite-write-back.ts';

const inboxesMax = 100_000;

type Row = { user: number; head: number; low: number; items: number; bytes: number; sent: number; received: number; waits: number | null; ends: number | null };
export type Inbox = Row & {
  /** Whether the table has a row. */
  stored: boolean;
  /** As the table has them: they seldom change, and have indexes. */
  storedWaits: number | null;
  storedEnds: number | null;
};

export class InboxRows {
  readonly kept: WriteBack<number, Inbox>;
  readonly #read: Statement<[number], Row>;

  constructor(db: Db) {
    this.#read = db.prepare(
      `select user, head_n as head, low_n as low, items, bytes, sent_n as sent, received_n as received, waits_since as waits, ends_since as ends
       from inboxes where user = ?`,
    );
    const insert = db.prepare('insert into inboxes (head_n, low_n, items, bytes, sent_n, received_n, user) values (?, ?, ?, ?, ?, ?, ?)');
    const update = db.prepare('update inboxes set head_n = ?, low_n = ?, items = ?, bytes = ?, sent_n = ?, received_n = ? where user = ?');
    const updateSince = db.prepare('update inboxes set waits_since = ?, ends_since = ? where user = ?');
    this.kept = new WriteBack(inboxesMax, (inbox) => {
      const { head, low, items, bytes, sent, received, user, waits, ends } = inbox;
      (inbox.stored ? update : insert).run(head, low, items, bytes, sent, received, user);
      inbox.stored = true;
      if (waits === inbox.storedWaits && ends === inbox.storedEnds) return;
      updateSince.run(waits, ends, user);
      inbox.storedWaits = waits;
      inbox.storedEnds = ends;
    });
  }

  /** Changed in place, followed by `touch`. Who never got anything has an empty one. */
  of(user: number): Inbox {
    const kept = this.kept.get(user);
    if (kept !== undefined) return kept;
    const row = this.#read.get(user);
    const { head = 0, low = 1, items = 0, bytes = 0, sent = 0, received = 0, waits = null, ends = null } = row ?? {};
    const stored = row !== undefined;
    // Spelled out: a spread row of the database is slow at every use.
    return this.kept.keep(user, { user, head, low, items, bytes, sent, received, waits, ends, stored, storedWaits: waits, storedEnds: ends });
  }

  touch(inbox: Inbox): void {
    this.kept.touch(inbox);
  }
}

/** Of a lower bound and a time: the lower one. */
export function earlier(bound: number | null, ts: number): number {
  return bound === null || ts < bound ? ts : bound;
}
