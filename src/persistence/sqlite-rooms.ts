/**
 * Rooms and their members as the writing transactions see them. Called within them only. Counters of a room are written back at
 * a transaction's end; its settings, and members, at once.
 */
import type { Statement } from 'better-sqlite3';
import type { Role, Settings } from '../protocol/commands.ts';
import { isReserved } from '../protocol/names.ts';
import type { Db } from './sqlite-open.ts';
import { lastPartOf, partOf } from './sqlite-parts.ts';
import { roles, visibilities } from './sqlite-words.ts';
import { WriteBack } from './sqlite-write-back.ts';

const roomsMax = 100_000;
/** Entries that one statement stores at most: two thirds of what one each costs, and more of them save little more. */
export const rowsTogether = 8;

export type Room = {
  readonly id: number;
  readonly name: string;
  exists: boolean;
  head: number;
  first: number;
  auth: number;
  gone: number;
  members: number;
  /** Where its last entry lies; −1: it has none. */
  part: number;
  /** The users of a DM, once they were asked for. */
  pair: readonly { user: string; id: number }[] | null;
};

type Row = [id: number, exist: number, head: number, first: number, auth: number, gone: number, members: number, part: number];

export class Rooms {
  readonly kept: WriteBack<string, Room>;
  readonly #find: Statement<[string], Row>;
  readonly #insert: Statement<[string], number>;
  /** For as many rows as their place says, from 1. */
  readonly #newParts: readonly Statement<[number[]]>[];
  readonly #found: Statement<[number, number, number, string, number | null, number, number]>;
  readonly #settings: Statement<[number], string>;
  readonly #member: Statement<[number, number, number], number>;
  readonly #join: Statement<[number, number, number, number, number, number, number]>;
  readonly #role: Statement<[number, number, number]>;
  readonly #leave: Statement<[number, number]>;

  constructor(db: Db) {
    this.#find = db
      .prepare<[string], Row>(`select id, exist, head_seq, first_seq, auth_seq, gone_seq, members, ${lastPartOf('rooms.id')} from rooms where name = ?`)
      .raw();
    this.#insert = db.prepare<[string], number>('insert into rooms (name) values (?) returning id').pluck();
    const write = db.prepare('update rooms set head_seq = ?, first_seq = ?, auth_seq = ?, gone_seq = ?, members = ? where id = ?');
    this.kept = new WriteBack(roomsMax, ({ head, first, auth, gone, members, id }) => write.run(head, first, auth, gone, members, id));
    this.#newParts = Array.from({ length: rowsTogether }, (_, i) =>
      db.prepare<[number[]]>(`insert into parts (room, first, part) values ${new Array(i + 1).fill('(?, ?, ?)').join(', ')}`),
    );
    this.#found = db.prepare('update rooms set exist = ?, visibility = ?, listed = ?, settings = ?, created_at = ?, purge = max(purge, ?) where id = ?');
    this.#settings = db.prepare<[number], string>("select json_object('settings', json(settings), 'createdAt', created_at) from rooms where id = ?").pluck();
    this.#member = db.prepare<[number, number, number], number>('select since_seq from members where room = ? and user = ? and since_seq > ?').pluck();
    this.#join = db.prepare('insert or replace into members (room, user, role, since_seq, since_ts, received_seq, read_seq) values (?, ?, ?, ?, ?, ?, ?)');
    this.#role = db.prepare('update members set role = ? where room = ? and user = ?');
    this.#leave = db.prepare('delete from members where room = ? and user = ?');
  }

  /** The room of that name, deleted ones included. */
  find(name: string): Room | undefined {
    const kept = this.kept.get(name);
    if (kept !== undefined) return kept;
    const row = this.#find.get(name);
    if (row === undefined) return undefined;
    // Spelled out, in one shape with those of `insert`: a spread row of the database is slow at every use.
    const [id, exist, head, first, auth, gone, members, part] = row;
    return this.kept.keep(name, { id, name, exists: exist === 1, head, first, auth, gone, members, part, pair: null });
  }

  /** A row for a name that has none; the room does not exist before `establish`. */
  insert(name: string): Room {
    const id = this.#insert.get(name) as number;
    return this.kept.keep(name, { id, name, exists: false, head: 0, first: 1, auth: 0, gone: 0, members: 0, part: -1, pair: null });
  }

  establish(room: Room, settings: Settings, ts: number): void {
    room.exists = true;
    this.#setUp(room, settings, ts);
  }

  /** Those of `settings` that are there take the place of the room's. */
  change(room: Room, settings: Settings): void {
    const now = JSON.parse(this.#settings.get(room.id) ?? '{}') as { settings: Settings; createdAt: number | null };
    this.#setUp(room, { ...now.settings, ...settings }, now.createdAt);
  }

  /** The room goes with the entry `seq`; its row, and what maintenance has still to remove, stay. */
  remove(room: Room, seq: number): void {
    room.exists = false;
    room.first = seq;
    room.gone = seq;
    room.members = 0;
    this.touch(room);
    this.#found.run(0, 0, 0, '{}', null, 1, room.id);
  }

  /** The seq at which the user joined, if he is a member. */
  memberSince(room: Room, user: number): number | undefined {
    return this.#member.get(room.id, user, room.gone);
  }

  /** Marks begin before the joining entry: what was said earlier is not unread. */
  join(room: Room, user: number, role: Role, seq: number, ts: number): void {
    this.#join.run(room.id, user, roles.indexOf(role), seq, ts, seq - 1, seq - 1);
    room.members++;
    this.touch(room);
  }

  role(room: Room, user: number, role: Role): void {
    this.#role.run(roles.indexOf(role), room.id, user);
  }

  leave(room: Room, user: number): void {
    this.#leave.run(room.id, user);
    room.members--;
    this.touch(room);
  }

  /** Entries were stored, each the last of its room: the `i`th is `seqs[i]` of `rooms[i]`, under the id `first + i`, and no id is higher. */
  stored(rooms: readonly Room[], seqs: readonly number[], first: number): void {
    const last = partOf(first + rooms.length - 1);
    const rows: number[] = [];
    for (let i = 0; i < rooms.length; i++) {
      const room = rooms[i] as Room;
      if (room.part === last) continue;
      const part = partOf(first + i);
      if (room.part === part) continue;
      room.part = part;
      rows.push(room.id, seqs[i] as number, part);
    }
    if (rows.length > 0) this.#newParts[rows.length / 3 - 1]?.run(rows);
  }

  /** A counter of the room was changed. */
  touch(room: Room): void {
    this.kept.touch(room);
  }

  #setUp(room: Room, settings: Settings, createdAt: number | null): void {
    const { visibility = 'public', listed = true } = settings;
    const inLists = visibility === 'public' && listed && !isReserved(room.name);
    this.#found.run(1, visibilities.indexOf(visibility), Number(inLists), JSON.stringify(settings), createdAt, 0, room.id);
  }
}
