/**
 * The `StoreReader` on the same file: a read-only connection of its own, each query one snapshot. Rooms, entries and lists
 * are here, what concerns a user's inbox is in `sqlite-reader-inbox.ts`. Never writes, and never keeps a snapshot open.
 */
import type { Statement } from 'better-sqlite3';
import type { Settings } from '../protocol/commands.ts';
import { allRoom } from '../protocol/names.ts';
import type { EntryRecord, ReadKind, ReadQuery, ReadReply } from '../thread/messages.ts';
import { NamesById } from './sqlite-names.ts';
import { type Db, type OpenDatabase, openForReading } from './sqlite-open.ts';
import { type Between, entriesBetween } from './sqlite-parts.ts';
import { InboxReader } from './sqlite-reader-inbox.ts';
import { RoomLists } from './sqlite-reader-rooms.ts';
import { bodyBytes, type EntryRow, entryColumns, entryOf, kinds, roles, statuses, visibilities } from './sqlite-words.ts';
import type { StoreReader } from './store.ts';

type RoomRow = {
  id: number;
  exist: number;
  visibility: number;
  settings: string;
  createdAt: number | null;
  head: number;
  first: number;
  auth: number;
  gone: number;
};
type MemberRow = { user: string; role: number; sinceSeq: number; sinceTs: number; received: number; read: number };
type Query<K extends ReadKind> = Extract<ReadQuery, { read: K }>;

export class SqliteReader implements StoreReader {
  readonly #db: Db;
  readonly #users: NamesById;
  readonly #inboxes: InboxReader;
  readonly #lists: RoomLists;
  readonly #snapshot: (query: ReadQuery) => ReadReply[ReadKind];
  readonly #room: Statement<[string], RoomRow>;
  readonly #members: Statement<[number, number], MemberRow>;
  readonly #upward: Statement<Between & { kind: number | null }, EntryRow>;
  readonly #downward: Statement<Between & { kind: number | null }, EntryRow>;
  readonly #epochEnd: Statement<[string], number>;
  readonly #entryId: Statement<Between, number>;
  readonly #disabled: Statement<[string], number>;
  readonly #presence: Statement<[string], { status: number; lastSeen: number }>;

  constructor(data: string, open?: OpenDatabase) {
    const db = openForReading(data, open);
    this.#db = db;
    this.#users = new NamesById(db, 'users');
    this.#inboxes = new InboxReader(db, this.#users);
    this.#lists = new RoomLists(db);
    this.#snapshot = db.transaction((query: ReadQuery) => this.#answer(query));
    this.#room = db.prepare(
      'select id, exist, visibility, settings, created_at as createdAt, head_seq as head, first_seq as first, auth_seq as auth, gone_seq as gone from rooms where name = ?',
    );
    this.#members = db.prepare(
      `select u.name as user, role, since_seq as sinceSeq, since_ts as sinceTs, received_seq as received, read_seq as read
       from members m join users u on u.id = m.user where room = ? and since_seq > ? order by u.name`,
    );
    const entries = `select ${entryColumns} from ${entriesBetween} and (@kind is null or e.kind = @kind)`;
    this.#upward = db.prepare<Between & { kind: number | null }, EntryRow>(`${entries} order by p.first, e.seq`).raw();
    this.#downward = db.prepare<Between & { kind: number | null }, EntryRow>(`${entries} order by p.first desc, e.seq desc`).raw();
    // Ids at or above it belong to later epochs.
    this.#epochEnd = db
      .prepare<[string], number>(
        `select coalesce((select min(first_entry) from epochs l where l.id > e.id), ${Number.MAX_SAFE_INTEGER}) from epochs e where name = ?`,
      )
      .pluck();
    this.#entryId = db.prepare<Between, number>(`select e.id from ${entriesBetween}`).pluck();
    this.#disabled = db.prepare<[string], number>('select disabled from users where name = ?').pluck();
    this.#presence = db.prepare('select status, last_seen as lastSeen from presence p join users u on u.id = p.user where u.name = ?');
  }

  async read<K extends ReadKind>(query: ReadQuery & { read: K }): Promise<ReadReply[K]> {
    return this.#snapshot(query) as ReadReply[K];
  }

  async close(): Promise<void> {
    this.#db.close();
  }

  #answer(query: ReadQuery): ReadReply[ReadKind] {
    switch (query.read) {
      case 'room':
        return this.#oneRoom(query);
      case 'entries':
        return this.#entries(query);
      case 'position':
        return this.#position(query);
      case 'inbox':
        return this.#inboxes.inbox(query);
      case 'rooms':
        return this.#lists.page(query);
      case 'presence':
        return { users: query.users.map((user) => this.#oneUser(user)) };
      case 'standing':
        return { disabled: this.#disabled.get(query.user) === 1 };
      case 'delivery':
        return this.#inboxes.delivery(query);
    }
  }

  #oneRoom({ room: name }: Query<'room'>): ReadReply['room'] {
    const row = this.#room.get(name);
    if (row === undefined) return { exists: false, visibility: 'public', settings: {}, createdAt: null, headSeq: 0, firstSeq: 1, authSeq: 0, members: [] };
    return {
      exists: row.exist === 1,
      visibility: visibilities[row.visibility] ?? 'public',
      settings: JSON.parse(row.settings) as Settings,
      createdAt: row.createdAt,
      headSeq: row.head,
      firstSeq: row.first,
      authSeq: row.auth,
      members: name === allRoom ? [] : this.#members.all(row.id, row.gone).map(memberOf),
    };
  }

  #entries({ room: name, from, to, limit, bytesMax, kind, descending }: Query<'entries'>): ReadReply['entries'] {
    const room = this.#room.get(name);
    const entries: EntryRecord[] = [];
    if (room === undefined) return { entries, more: false };
    const only = kind === null ? null : kinds.indexOf(kind);
    let bytes = 0;
    const wanted = { room: room.id, from: Math.max(from, room.first), to, kind: only };
    for (const row of (descending ? this.#downward : this.#upward).iterate(wanted)) {
      const entry = entryOf(name, row, this.#users);
      bytes += bodyBytes(entry.body);
      if (entries.length > 0 && (entries.length >= limit || bytes > bytesMax)) return { entries, more: true };
      entries.push(entry);
    }
    return { entries, more: false };
  }

  /** DESIGN 11.1: at or below the head, and the entry there is of the position's epoch or an earlier one. */
  #position({ room: name, epoch, seq }: Query<'position'>): ReadReply['position'] {
    const room = this.#room.get(name);
    const head = room?.head ?? 0;
    const end = this.#epochEnd.get(epoch);
    if (end === undefined || seq > head) return { reason: 'epoch', head };
    if (room === undefined || seq + 1 < room.first) return { reason: room === undefined ? null : 'trimmed', head };
    if (seq === 0) return { reason: null, head };
    const id = this.#entryId.get({ room: room.id, from: seq, to: seq });
    return { reason: id !== undefined && id < end ? null : 'epoch', head };
  }

  #oneUser(user: string): ReadReply['presence']['users'][number] {
    const row = this.#presence.get(user);
    return row === undefined ? { user, status: 'offline', lastSeen: null } : { user, status: statuses[row.status] ?? 'offline', lastSeen: row.lastSeen };
  }
}

/** Spelled out: a spread row of the database is slow at every use. */
function memberOf({ user, role, sinceSeq, sinceTs, received, read }: MemberRow): ReadReply['room']['members'][number] {
  return { user, role: roles[role] ?? 'member', sinceSeq, sinceTs, received, read };
}
