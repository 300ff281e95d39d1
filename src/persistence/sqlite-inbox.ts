/**
 * The inboxes of users (DESIGN 2.8, 11.7): numbers are given in the transaction of the message, every device has a cursor,
 * an item ends when all of them have passed it, when it is too old or when there is no room for it. What ended stays for the
 * ledger. Called within the writer's transactions only.
 */
import type { Statement } from 'better-sqlite3';
import { dmUsers } from '../protocol/names.ts';
import type { Append, EntryRecord, InboxItem, InboxLoss } from '../thread/messages.ts';
import { InboxMarks } from './sqlite-inbox-marks.ts';
import { earlier, type Inbox, InboxRows } from './sqlite-inbox-rows.ts';
import type { Users } from './sqlite-names.ts';
import type { Db } from './sqlite-open.ts';
import type { Room } from './sqlite-rooms.ts';
import { bodyBytes, ended, type LossCode, lossReason } from './sqlite-words.ts';
import type { StoreOptions } from './store.ts';

/** One transaction: its time, and what users must be told once it is committed. */
export type Turn = { readonly ts: number; readonly notices: (InboxItem | InboxLoss)[] };
export type Recipient = { user: string; id: number; origin: string | null };
type Bounds = Pick<StoreOptions, 'inboxItemsMax' | 'inboxBytesMax' | 'inboxOverflow'>;

/** Items one operation ends at most; the rest follows with the next, so that no call takes long. */
const chunkMax = 16_384;
/** Ranges of losses kept for a user; beyond it the oldest two become one. */
const lossesMax = 64;

export class Inboxes {
  readonly rows: InboxRows;
  readonly #marks: InboxMarks;
  readonly #users: Users;
  readonly #bounds: Bounds;
  readonly #insert: Statement<[number, number, number, string | null, number, number]>;
  readonly #lowest: Statement<[number, number], { n: number; bytes: number }>;
  readonly #weigh: Statement<[number, number, number], { items: number; bytes: number }>;
  readonly #otherDevices: Statement<[number, string], number>;
  readonly #lowestCursor: Statement<[number], number | null>;
  readonly #cursor: Statement<[number, string], number>;
  readonly #moveCursor: Statement<[number, number, number, string]>;
  readonly #passOwn: Statement<[number, number, string, number]>;
  readonly #origin: Statement<[number, number], string | null>;
  readonly #extendLoss: Statement<[number, number, number, number]>;
  readonly #insertLoss: Statement<[number, number, number, number]>;
  readonly #losses: Statement<[number], { from_n: number; to_n: number }>;
  readonly #removeLoss: Statement<[number, number]>;
  readonly #widenLoss: Statement<[number, number, number, number]>;
  readonly #dropLosses: Statement<[number, number]>;
  readonly #trimLoss: Statement<[number, number, number]>;
  readonly #firstLoss: Statement<[number], number | null>;

  constructor(db: Db, users: Users, bounds: Bounds) {
    this.#users = users;
    this.#bounds = bounds;
    this.rows = new InboxRows(db);
    this.#marks = new InboxMarks(db);
    this.#insert = db.prepare('insert into inbox (user, n, entry, origin, bytes, queued_at) values (?, ?, ?, ?, ?, ?)');
    this.#lowest = db.prepare('select n, bytes from inbox where user = ? and n >= ? and ended = 0 order by n limit 1');
    this.#weigh = db.prepare('select count(*) as items, coalesce(sum(bytes), 0) as bytes from inbox where user = ? and n between ? and ? and ended = 0');
    this.#otherDevices = db.prepare<[number, string], number>('select count(*) from devices where user = ? and device <> ?').pluck();
    this.#lowestCursor = db.prepare<[number], number | null>('select min(acked) from devices where user = ?').pluck();
    this.#cursor = db.prepare<[number, string], number>('select acked from devices where user = ? and device = ?').pluck();
    this.#moveCursor = db.prepare('update devices set acked = max(acked, ?), seen_at = ? where user = ? and device = ?');
    this.#passOwn = db.prepare('update devices set acked = ? where user = ? and device = ? and acked = ?');
    this.#origin = db.prepare<[number, number], string | null>('select origin from inbox where user = ? and n = ?').pluck();
    this.#extendLoss = db.prepare('update inbox_losses set to_n = ? where user = ? and to_n = ? and reason = ?');
    this.#insertLoss = db.prepare('insert into inbox_losses (user, from_n, to_n, reason) values (?, ?, ?, ?)');
    this.#losses = db.prepare('select from_n, to_n from inbox_losses where user = ? order by from_n');
    this.#removeLoss = db.prepare('delete from inbox_losses where user = ? and from_n = ?');
    this.#widenLoss = db.prepare('update inbox_losses set to_n = ?, reason = ? where user = ? and from_n = ?');
    this.#dropLosses = db.prepare('delete from inbox_losses where user = ? and to_n <= ?');
    this.#trimLoss = db.prepare('update inbox_losses set from_n = ? where user = ? and from_n <= ?');
    this.#firstLoss = db.prepare<[number], number | null>('select min(from_n) from inbox_losses where user = ?').pluck();
  }

  /** Who gets a copy. The sender himself only where a device of his needs one. */
  recipients({ inbox, from, origin }: Append): Recipient[] {
    if (inbox === null) return [];
    const recipients: Recipient[] = [];
    for (const user of new Set(inbox)) {
      const id = this.#users.id(user);
      const device = origin?.user === user ? origin.device : null;
      const own = user === (origin?.user ?? from);
      if (own && this.#otherDevices.get(id, device ?? '') === 0) continue;
      recipients.push({ user, id, origin: device });
    }
    return recipients;
  }

  /** The same for a direct message: both users of the DM, the sender last. */
  ofDirect(room: Room, from: string | null, origin: string | null): Recipient[] {
    room.pair ??= [...new Set(dmUsers(room.name) ?? [])].map((user) => ({ user, id: this.#users.id(user) }));
    const recipients: Recipient[] = [];
    let own: Recipient | null = null;
    for (const { user, id } of room.pair) {
      if (user !== from) recipients.push({ user, id, origin: null });
      else if (this.#otherDevices.get(id, origin ?? '') !== 0) own = { user, id, origin };
    }
    if (own !== null) recipients.push(own);
    return recipients;
  }

  /** Whether there is always room: the oldest make it. */
  get takesAll(): boolean {
    return this.#bounds.inboxOverflow !== 'reject';
  }

  /** False where the policy is to reject and one of the recipients has no room. The sender's own copy refuses nothing. */
  takes(recipients: readonly Recipient[], { from, origin, body }: Append, ts: number): boolean {
    if (this.takesAll) return true;
    const bytes = bodyBytes(body);
    return recipients.every(({ user, id }) => user === (origin?.user ?? from) || !this.#overflows(this.#weighed(id, bytes, ts), bytes));
  }

  add(recipients: readonly Recipient[], entryId: number, entry: EntryRecord, turn: Turn): void {
    const bytes = bodyBytes(entry.body);
    for (const { user, id, origin } of recipients) {
      const inbox = this.#weighed(id, bytes, turn.ts);
      if (this.#overflows(inbox, bytes)) this.#dropOldest(inbox, user, bytes, turn);
      const n = inbox.head + 1;
      this.#insert.run(id, n, entryId, origin, bytes, turn.ts);
      inbox.head = n;
      inbox.items++;
      inbox.bytes += bytes;
      inbox.waits = earlier(inbox.waits, turn.ts);
      this.rows.touch(inbox);
      if (origin !== null) this.#passOwn.run(n, id, origin, n - 1);
      turn.notices.push({ t: 'inbox', user, n, entry, origin });
    }
  }

  sent(user: string, through: number, ts: number): void {
    const id = this.#users.id(user);
    const inbox = this.of(id);
    const to = Math.min(through, inbox.head);
    if (to <= inbox.sent) return;
    this.#marks.sent(inbox, to, ts);
    this.rows.touch(inbox);
  }

  /** Moves the device's cursor, never above the head. What a device no longer known acks moves nothing. */
  ack(user: string, device: string, through: number, ts: number): void {
    const id = this.#users.id(user);
    const inbox = this.of(id);
    const before = this.#cursor.get(id, device);
    if (before === undefined) return;
    let cursor = Math.max(before, Math.min(through, inbox.head));
    const got = cursor;
    while (cursor < inbox.head && this.#origin.get(id, cursor + 1) === device) cursor++; // its own words were never sent to it
    this.#moveCursor.run(cursor, ts, id, device);
    this.#settle(inbox, ts, got);
    this.rows.touch(inbox);
  }

  /** The user's devices changed: items that only a forgotten one lacked are done with. */
  settle(user: number, ts: number): void {
    const inbox = this.of(user);
    if (this.#settle(inbox, ts)) this.rows.touch(inbox);
  }

  /** Ends items as lost; they are in order of n, all of one user. */
  lose(user: string, id: number, items: readonly { n: number; bytes: number }[], reason: LossCode, turn: Turn): void {
    const inbox = this.of(id);
    this.#lose(inbox, user, items, reason, turn);
    inbox.low = this.firstWaiting(inbox);
    this.rows.touch(inbox);
  }

  /** Where a new device begins: before the first item that waits, and the first loss the user has not been told of everywhere. */
  firstCursor(user: number): number {
    const inbox = this.of(user);
    const next = inbox.head + 1;
    return Math.min(this.firstWaiting(inbox), this.#firstLoss.get(user) ?? next) - 1;
  }

  /** The first item that waits, or the next there will be. Everything below it has ended. */
  firstWaiting(inbox: Inbox): number {
    if (inbox.items === 0) return inbox.head + 1;
    return this.#lowest.get(inbox.user, inbox.low)?.n ?? inbox.head + 1;
  }

  of(user: number): Inbox {
    return this.rows.of(user);
  }

  /** The inbox; where it looks full, what an ack in chunks has left over is ended first. */
  #weighed(user: number, bytes: number, ts: number): Inbox {
    const inbox = this.of(user);
    while (this.#overflows(inbox, bytes) && this.#settle(inbox, ts)) this.rows.touch(inbox);
    return inbox;
  }

  /** A single item larger than the limit still fits an empty inbox: otherwise it could never be delivered. */
  #overflows({ items, bytes }: Pick<Inbox, 'items' | 'bytes'>, more: number): boolean {
    return items > 0 && (items + 1 > this.#bounds.inboxItemsMax || bytes + more > this.#bounds.inboxBytesMax);
  }

  #dropOldest(inbox: Inbox, user: string, bytes: number, turn: Turn): void {
    const dropped: { n: number; bytes: number }[] = [];
    const left = { low: inbox.low, items: inbox.items, bytes: inbox.bytes };
    while (this.#overflows(left, bytes)) {
      const oldest = this.#lowest.get(inbox.user, left.low);
      if (oldest === undefined) break;
      dropped.push(oldest);
      left.low = oldest.n + 1;
      left.items--;
      left.bytes -= oldest.bytes;
    }
    this.#lose(inbox, user, dropped, ended.dropped, turn);
    inbox.low = left.low;
  }

  #lose(inbox: Inbox, user: string, items: readonly { n: number; bytes: number }[], reason: LossCode, turn: Turn): void {
    let range: { from: number; to: number } | null = null;
    for (const { n, bytes } of items) {
      this.#marks.lose(inbox, n, reason, turn.ts);
      inbox.items--;
      inbox.bytes -= bytes;
      if (range !== null && range.to === n - 1) range.to = n;
      else {
        if (range !== null) this.#tell(inbox.user, user, range, reason, turn);
        range = { from: n, to: n };
      }
    }
    if (range !== null) this.#tell(inbox.user, user, range, reason, turn);
    if (items.length > 0) inbox.ends = earlier(inbox.ends, turn.ts);
  }

  #tell(id: number, user: string, { from, to }: { from: number; to: number }, reason: LossCode, turn: Turn): void {
    turn.notices.push({ t: 'inbox-loss', user, from, to, reason: lossReason(reason) });
    if (this.#extendLoss.run(to, id, from - 1, reason).changes > 0) return;
    this.#insertLoss.run(id, from, to, reason);
    const losses = this.#losses.all(id);
    if (losses.length <= lossesMax) return;
    const at = losses.findIndex((loss, i) => losses[i + 1]?.from_n === loss.to_n + 1);
    const [first, second] = [losses[at], losses[at + 1]];
    if (first === undefined || second === undefined) return;
    this.#removeLoss.run(id, second.from_n);
    this.#widenLoss.run(second.to_n, ended.dropped, id, first.from_n);
  }

  /** Ends what every known device has passed; true if anything moved. A user without devices keeps all. `got`: a device has everything through it. */
  #settle(inbox: Inbox, ts: number, got = 0): boolean {
    const { user, low } = inbox;
    const lowest = this.#lowestCursor.get(user) ?? 0;
    const to = Math.min(lowest, low + chunkMax - 1);
    this.#dropLosses.run(user, lowest);
    this.#trimLoss.run(lowest + 1, user, lowest);
    if (to < low) {
      if (got > inbox.received) this.#marks.received(inbox, got, ts);
      return false;
    }
    const { items, bytes } = to >= inbox.head ? inbox : (this.#weigh.get(user, low, to) ?? { items: 0, bytes: 0 });
    this.#marks.end(inbox, to, ts, got, items === to - low + 1);
    inbox.items -= items;
    inbox.bytes -= bytes;
    inbox.low = to + 1;
    inbox.ends = earlier(inbox.ends, ts);
    return true;
  }
}
