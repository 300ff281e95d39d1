/** Reads of inboxes and of the delivery ledger. Called by the reader within its snapshots. */
import type { Statement } from 'better-sqlite3';
import type { Delivery, DeliveryState } from '../protocol/pushes.ts';
import type { ReadQuery, ReadReply, StoredInbox } from '../thread/messages.ts';
import { timeOf } from './sqlite-inbox-marks.ts';
import { NamesById } from './sqlite-names.ts';
import type { Db } from './sqlite-open.ts';
import { bodyBytes, type EntryRow, ended, entryColumns, entryOf, lossReason, uuidBytes } from './sqlite-words.ts';

type ItemRow = [...EntryRow, n: number, room: number, origin: string | null];
type LedgerRow = {
  user: string;
  n: number;
  queuedAt: number;
  sentAt: number | null;
  receivedAt: number | null;
  readAt: number | null;
  endedAt: number | null;
  ended: number;
  received: number;
  read: number;
};

export class InboxReader {
  readonly #users: NamesById;
  readonly #rooms: NamesById;
  readonly #head: Statement<[string], { user: number; head: number; low: number }>;
  readonly #items: Statement<[number, number], ItemRow>;
  readonly #losses: Statement<[number, number], { from: number; to: number; reason: number }>;
  readonly #message: Statement<[string, Buffer], { id: number; seq: number; sender: string | null }>;
  readonly #ledger: Statement<[number], LedgerRow>;

  constructor(db: Db, users: NamesById) {
    this.#users = users;
    this.#rooms = new NamesById(db, 'rooms');
    this.#head = db.prepare('select i.user, head_n as head, low_n as low from inboxes i join users u on u.id = i.user where u.name = ?');
    this.#items = db
      .prepare<[number, number], ItemRow>(
        `select ${entryColumns}, i.n, e.room, i.origin from inbox i join entries e on e.id = i.entry where i.user = ? and i.n >= ? and i.ended = 0 order by i.n`,
      )
      .raw();
    this.#losses = db.prepare('select from_n as "from", to_n as "to", reason from inbox_losses where user = ? and to_n >= ? order by from_n');
    this.#message = db.prepare(
      `select e.id, e.seq, s.name as sender from rooms r join entries e on e.room = r.id left join users s on s.id = e.sender where r.name = ? and e.mid = ? and e.seq >= r.first_seq`,
    );
    const at = (column: 'sent_at' | 'received_at', through: string): string =>
      `nullif(case when i.ended <> 0 then i.${column} when i.n <= ${through} then ${timeOf(column, 'i.user', 'i.n')} end, 0)`;
    this.#ledger = db.prepare(
      `select u.name as user, i.n, i.queued_at as queuedAt, ${at('sent_at', 'b.sent_n')} as sentAt, ${at('received_at', 'b.received_n')} as receivedAt,
         i.read_at as readAt, i.ended_at as endedAt, i.ended, coalesce(m.received_seq, 0) as received, coalesce(m.read_seq, 0) as read
       from inbox i join inboxes b on b.user = i.user join users u on u.id = i.user join entries e on e.id = i.entry join rooms r on r.id = e.room
         left join members m on m.room = r.id and m.user = i.user and m.since_seq > r.gone_seq
       where i.entry = ? order by u.name`,
    );
  }

  /** For a device without what it sent itself (null: all of it). */
  inbox({ user, device, after, limit, bytesMax }: Extract<ReadQuery, { read: 'inbox' }>): StoredInbox {
    const inbox = this.#head.get(user);
    if (inbox === undefined) return { items: [], losses: [], head: 0 };
    const items: StoredInbox['items'] = [];
    let bytes = 0;
    let last = Number.POSITIVE_INFINITY;
    for (const row of this.#items.iterate(inbox.user, Math.max(after + 1, inbox.low))) {
      const [seq, kind, mid, sender, ts, thread, body, n, room, origin] = row;
      if (origin !== null && origin === device) continue;
      bytes += bodyBytes(body);
      if (items.length > 0 && (items.length >= limit || bytes > bytesMax)) {
        last = (items.at(-1) as StoredInbox['items'][number]).n;
        break;
      }
      items.push({ n, entry: entryOf(this.#rooms.of(room) ?? '', [seq, kind, mid, sender, ts, thread, body], this.#users) });
    }
    return { items, losses: this.#lost(inbox.user, after, last), head: inbox.head };
  }

  /** States of a message at its recipients. The sender's copy for his own other devices is no delivery, unless asked for. */
  delivery({ room, mid, user }: Extract<ReadQuery, { read: 'delivery' }>): ReadReply['delivery'] {
    const message = this.#message.get(room, uuidBytes(mid, Buffer.alloc(16)));
    if (message === undefined) return { sender: null, deliveries: [] };
    const deliveries = this.#ledger
      .all(message.id)
      .filter((row) => (user === null ? row.user !== message.sender : row.user === user))
      .map((row) => deliveryOf(row, message.seq));
    return { sender: message.sender, deliveries };
  }

  /** Adjoining ranges of the same reason are one. Those above `last` belong to the next page. */
  #lost(user: number, after: number, last: number): StoredInbox['losses'] {
    const losses: StoredInbox['losses'] = [];
    for (const row of this.#losses.all(user, after + 1)) {
      const reason = lossReason(row.reason);
      const from = Math.max(row.from, after + 1);
      const before = losses.at(-1);
      if (from > last) break;
      if (before !== undefined && before.to === from - 1 && before.reason === reason) before.to = row.to;
      else losses.push({ from, to: row.to, reason });
    }
    return losses;
  }
}

/** What is known of it at most: read implies received, and what a device has received was not lost to the user. */
function deliveryOf(row: LedgerRow, seq: number): Delivery & { state: DeliveryState } {
  const delivery: Delivery & { state: DeliveryState } = { user: row.user, state: 'queued', n: row.n, queuedAt: row.queuedAt };
  if (row.sentAt !== null) {
    delivery.state = 'sent';
    delivery.sentAt = row.sentAt;
  }
  if (row.ended === ended.expired || row.ended === ended.dropped) {
    delivery.state = lossReason(row.ended);
    delivery.reason = row.ended === ended.expired ? 'too old' : 'inbox full';
    if (row.endedAt !== null) delivery.endedAt = row.endedAt;
  }
  if (row.receivedAt !== null || row.received >= seq) delivery.state = 'received';
  if (row.receivedAt !== null) delivery.receivedAt = row.receivedAt;
  if (row.readAt !== null || row.read >= seq) delivery.state = 'read';
  if (row.readAt !== null) delivery.readAt = row.readAt;
  return delivery;
}
