/**
 * Rooms and their members as the writing transactions see them. Counters of a room stay in memory during a transaction and
 * are written back once at its end, so that a thousand messages into a room cost one update; `find` reads a room again when
 * another process has written since.
 */
import type { Statement } from 'better-sqlite3';
import type { Role, Settings } from '../protocol/commands.ts';
import { isReserved } from '../protocol/names.ts';
import { Cache } from './sqlite-names.ts';
import type { Db } from './sqlite-open.ts';
import { roles, visibilities } from './sqlite-words.ts';

const roomsMax = 100_000;

export type Room = {
  readonly id: number;
  readonly name: string;
  exists: boolean;
  head: number;
  first: number;
  auth: number;
  gone: number;
  members: number;
  /** The users of a DM, once they were asked for. */
  pair: readonly { user: string; id: number }[] | null;
  /** The count of foreign writes when this was read. */
  seen: number;
  /** Its counters differ from the row's. */
  dirty: boolean;
};

type Row = { id: number; exist: number; head: number; first: number; auth: number; gone: number; members: number };

export class Rooms {
  readonly #cache = new Cache<string, Room>(roomsMax);
  readonly #find: Statement<[string], Row>;
  readonly #insert: Statement<[string], number>;
  readonly #write: Statement<[number, number, number, number, number, number]>;
  readonly #found: Statement<[number, number, number, string, number | null, number, number]>;
  readonly #settings: Statement<[number], string>;
  readonly #member: Statement<[number, number, number], number>;
  readonly #join: Statement<[number, number, number, number, number, number, number]>;
  readonly #role: Statement<[number, number, number]>;
  readonly #leave: Statement<[number, number]>;
  #dirty: Room[] = [];
  #foreign = 0;

  constructor(db: Db) {
    this.#find = db.prepare('select id, exist, head_seq as head, first_seq as first, auth_seq as auth, gone_seq as gone, members from rooms where name = ?');
    this.#insert = db.prepare<[string], number>('insert into rooms (name) values (?) returning id').pluck();
    this.#write = db.prepare('update rooms set head_seq = ?, first_seq = ?, auth_seq = ?, gone_seq = ?, members = ? where id = ?');
    this.#found = db.prepare('update rooms set exist = ?, visibility = ?, listed = ?, settings = ?, created_at = ?, purge = max(purge, ?) where id = ?');
    this.#settings = db.prepare<[number], string>("select json_object('settings', json(settings), 'createdAt', created_at) from rooms where id = ?").pluck();
    this.#member = db.prepare<[number, number, number], number>('select since_seq from members where room = ? and user = ? and since_seq > ?').pluck();
    this.#join = db.prepare('insert or replace into members (room, user, role, since_seq, since_ts, received_seq, read_seq) values (?, ?, ?, ?, ?, ?, ?)');
    this.#role = db.prepare('update members set role = ? where room = ? and user = ?');
    this.#leave = db.prepare('delete from members where room = ? and user = ?');
  }

  /** The room of that name, deleted ones included. */
  find(name: string): Room | undefined {
    const cached = this.#cache.get(name);
    if (cached !== undefined && cached.seen === this.#foreign) return cached;
    const row = this.#find.get(name);
    if (row === undefined) return undefined;
    return this.#keep({ ...row, name, exists: row.exist === 1, pair: null, seen: this.#foreign, dirty: false });
  }

  /** A row for a name that has none; the room does not exist before `establish`. */
  insert(name: string): Room {
    const id = this.#insert.get(name) as number;
    return this.#keep({ id, name, exists: false, head: 0, first: 1, auth: 0, gone: 0, members: 0, pair: null, seen: this.#foreign, dirty: false });
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

  /** A counter of the room was changed. */
  touch(room: Room): void {
    if (room.dirty) return;
    room.dirty = true;
    this.#dirty.push(room);
  }

  /** Writes counters back: before every commit, and before a savepoint is released. */
  flush(): void {
    for (const room of this.#dirty) {
      this.#write.run(room.head, room.first, room.auth, room.gone, room.members, room.id);
      room.dirty = false;
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

  #keep(room: Room): Room {
    this.#cache.set(room.name, room);
    return room;
  }

  #setUp(room: Room, settings: Settings, createdAt: number | null): void {
    const { visibility = 'public', listed = true } = settings;
    const inLists = visibility === 'public' && listed && !isReserved(room.name);
    this.#found.run(1, visibilities.indexOf(visibility), Number(inLists), JSON.stringify(settings), createdAt, 0, room.id);
  }
}
