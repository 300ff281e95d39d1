/**
 * What became of the items of an inbox, and when (schema.sql: inbox). A range is sent, received or ends at once, and costs one
 * update of its last item, however long it is. Called by the inboxes within the writer's transactions only.
 *
 *   n          1   2   3     4   5   6        sent at 7 through 3; items 1 to 4 received and ended at 9: so 4 was never sent,
 *   sent_at            7     0                5 was lost at 8 before it was sent
 *   ended_at                 9   8 (ended 3)
 */
import type { Statement } from 'better-sqlite3';
import type { Inbox } from './sqlite-inbox-rows.ts';
import type { Db } from './sqlite-open.ts';
import type { LossCode } from './sqlite-words.ts';

/** Of a whole range; empty where `to` is below `from`. */
export type Span = { readonly from: number; readonly to: number };
type Time = number | null;

/** The time of item `i` in that column, which is the next one's there is: for what was not lost. */
export const timeOf = (column: 'sent_at' | 'received_at', user: string, n: string): string =>
  `(select m.${column} from inbox m where m.user = ${user} and m.n >= ${n} and m.${column} is not null order by m.n limit 1)`;

export class InboxMarks {
  readonly #set: Statement<[sent: Time, received: Time, ended: Time, user: number, n: number]>;
  readonly #last: Statement<[number, number, number], number | null>;
  readonly #rows: Statement<[number, number, number], { n: number; ended: number }>;
  readonly #lose: Statement<{ user: number; n: number; ts: number; reason: LossCode; sent: number; received: number }>;

  constructor(db: Db) {
    this.#set = db.prepare(
      `update inbox set sent_at = coalesce(?, sent_at), received_at = coalesce(?, received_at), ended_at = coalesce(?, ended_at)
       where user = ? and n = ? and ended = 0`,
    );
    this.#last = db.prepare<[number, number, number], number | null>('select max(n) from inbox where user = ? and n between ? and ? and ended = 0').pluck();
    this.#rows = db.prepare('select n, ended from inbox where user = ? and n between ? and ? order by n');
    this.#lose = db.prepare(
      `update inbox set ended_at = $ts, ended = $reason,
         sent_at = case when n <= $sent then ${timeOf('sent_at', '$user', '$n')} end,
         received_at = case when n <= $received then ${timeOf('received_at', '$user', '$n')} end
       where user = $user and n = $n`,
    );
  }

  sent(inbox: Inbox, to: number, ts: number): void {
    const from = Math.max(inbox.sent + 1, inbox.low);
    inbox.sent = to;
    this.#put({ from, to }, inbox.user, ts, null);
  }

  received(inbox: Inbox, to: number, ts: number): void {
    const from = Math.max(inbox.received + 1, inbox.low);
    inbox.received = to;
    this.#put({ from, to }, inbox.user, null, ts);
  }

  /**
   * Ends everything from `low` through `to`, of which `got` is received by it. What of the range was never sent or received is
   * marked so, or later marks would hold for it. `whole`: nothing of it was lost.
   */
  end(inbox: Inbox, to: number, ts: number, got: number, whole: boolean): void {
    const { user, low } = inbox;
    if (got !== to) this.received(inbox, Math.max(got, inbox.received), ts);
    const received = got === to && inbox.received < got;
    const unreceived = { from: Math.max(inbox.received + 1, low), to };
    const unsent = { from: Math.max(inbox.sent + 1, low), to };
    const receivedAt = unreceived.from > to ? null : received ? ts : 0;
    inbox.sent = Math.max(inbox.sent, to);
    inbox.received = Math.max(inbox.received, to);
    if (whole) {
      this.#set.run(unsent.from > to ? null : 0, receivedAt, ts, user, to);
      return;
    }
    this.#put(unsent, user, 0, null);
    if (receivedAt !== null) this.#put(unreceived, user, null, receivedAt);
    let last = 0;
    for (const row of this.#rows.all(user, low, to)) {
      if (row.ended !== 0 && last !== 0) this.#set.run(null, null, ts, user, last);
      last = row.ended === 0 ? row.n : 0;
    }
    if (last !== 0) this.#set.run(null, null, ts, user, last);
  }

  /** From now on the item has its own times, and is passed over by those of others. */
  lose({ user, sent, received }: Inbox, n: number, reason: LossCode, ts: number): void {
    this.#lose.run({ user, n, ts, reason, sent, received });
  }

  #put({ from, to }: Span, user: number, sent: Time, received: Time): void {
    if (to < from || this.#set.run(sent, received, null, user, to).changes > 0) return;
    const last = this.#last.get(user, from, to) ?? null;
    if (last !== null) this.#set.run(sent, received, null, user, last);
  }
}
