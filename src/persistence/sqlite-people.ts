/**
 * Connections, devices, presence and marks: what the store knows of users besides their inboxes (DESIGN 11.21). Called
 * within the writer's transactions; it decides by the limits that the operation states and knows no sockets.
 */
import type { Statement } from 'better-sqlite3';
import type { CloseReason } from '../protocol/codes.ts';
import { allRoom } from '../protocol/names.ts';
import type { Operation, Outcome } from '../thread/messages.ts';
import { placeOf } from '../thread/placement.ts';
import type { Inboxes } from './sqlite-inbox.ts';
import type { Users } from './sqlite-names.ts';
import type { Db } from './sqlite-open.ts';
import { type Between, entriesBetween } from './sqlite-parts.ts';
import type { Rooms } from './sqlite-rooms.ts';
import { statuses } from './sqlite-words.ts';

/** A time of reading is worth little for old messages: of a long range only the newest get one, so that no call takes long. */
const readTimesMax = 1_000;

type Of<T extends Operation['type']> = Extract<Operation, { type: T }>;
type Row = { node: string; connection: number; device: string };
type Victim = { row: Row; close: CloseReason };

export class People {
  readonly #node: string;
  readonly #users: Users;
  readonly #rooms: Rooms;
  readonly #inboxes: Inboxes;
  readonly #standing: Statement<[number], { disabled: number; revokedAt: number }>;
  readonly #revoke: Statement<[number, number]>;
  readonly #disable: Statement<[number, number]>;
  readonly #revokeToken: Statement<[number, string, number | null]>;
  readonly #revokedToken: Statement<[number, string], number>;
  readonly #condemnAll: Statement<[number]>;
  readonly #open: Statement<[number], Row>;
  readonly #insert: Statement<[string, number, number, string, number]>;
  readonly #own: Statement<[string, number], { connection: number; user: string }>;
  readonly #condemn: Statement<[CloseReason, string, number]>;
  readonly #condemned: Statement<[number, string], { connection: number; close: CloseReason }>;
  readonly #remove: Statement<[string, number], { user: number; device: string }>;
  readonly #device: Statement<[number, string], number>;
  readonly #seen: Statement<[number, number, string]>;
  readonly #insertDevice: Statement<[number, string, number, number]>;
  readonly #devices: Statement<[number], number>;
  readonly #forget: Statement<[number, number, number]>;
  readonly #setPresence: Statement<[number, number, number]>;
  readonly #alone: Statement<[], { id: number; user: string }>;
  readonly #offline: Statement<[number, number]>;
  readonly #online: Statement<[number, number]>;
  readonly #allMark: Statement<[number], number>;
  readonly #insertAllMark: Statement<[number, number, number]>;
  readonly #raiseAllMark: Statement<[number, number, number]>;
  readonly #raiseMark: Statement<[number, number, number, number]>;
  readonly #readMark: Statement<[number, number, number], number>;
  readonly #itemsRead: Statement<Between & { ts: number; user: number }>;

  constructor(db: Db, node: string, users: Users, rooms: Rooms, inboxes: Inboxes) {
    this.#node = node;
    this.#users = users;
    this.#rooms = rooms;
    this.#inboxes = inboxes;
    this.#standing = db.prepare('select disabled, revoked_at as revokedAt from users where id = ?');
    this.#revoke = db.prepare('update users set revoked_at = max(revoked_at, ?) where id = ?');
    this.#disable = db.prepare('update users set disabled = ? where id = ?');
    // Whoever names the later end, or none, is believed: a token is rather refused too long.
    this.#revokeToken = db.prepare(
      'insert into revoked_tokens (user, jti, until) values (?, ?, ?) on conflict do update set until = max(until, excluded.until)',
    );
    this.#revokedToken = db.prepare<[number, string], number>('select 1 from revoked_tokens where user = ? and jti = ?').pluck();
    this.#condemnAll = db.prepare("update connections set closing = 'revoked' where user = ? and closing is null");
    this.#open = db.prepare('select node, connection, device from connections where user = ? and closing is null order by since, connection');
    this.#insert = db.prepare('insert or ignore into connections (node, connection, user, device, since) values (?, ?, ?, ?, ?)');
    this.#own = db.prepare('select connection, u.name as user from connections c join users u on u.id = c.user where node = ? and connection <= ?');
    this.#condemn = db.prepare('update connections set closing = ? where node = ? and connection = ?');
    this.#condemned = db.prepare(
      'select connection, closing as close from connections where user = ? and node = ? and closing is not null order by connection',
    );
    this.#remove = db.prepare('delete from connections where node = ? and connection = ? returning user, device');
    this.#device = db.prepare<[number, string], number>('select acked from devices where user = ? and device = ?').pluck();
    this.#seen = db.prepare('update devices set seen_at = ? where user = ? and device = ?');
    this.#insertDevice = db.prepare('insert into devices (user, device, acked, seen_at) values (?, ?, ?, ?)');
    this.#devices = db.prepare<[number], number>('select count(*) from devices where user = ?').pluck();
    // Devices with a connection last: their cursors are in use.
    this.#forget = db.prepare(`delete from devices where user = ? and device in (
      select d.device from devices d where d.user = ?
      order by exists (select 1 from connections c where c.user = d.user and c.device = d.device and c.closing is null), d.seen_at, d.device limit ?)`);
    this.#setPresence = db.prepare('insert or replace into presence (user, status, last_seen) values (?, ?, ?)');
    this.#alone = db.prepare(`select u.id, u.name as user from presence p cross join users u on u.id = p.user
      where status <> 2 and not exists (select 1 from connections c where c.user = p.user and c.closing is null) order by u.name`);
    this.#offline = db.prepare('update presence set status = 2, last_seen = max(last_seen, ?) where user = ?');
    this.#online = db.prepare(
      'insert into presence (user, status, last_seen) values (?, 0, ?) on conflict (user) do update set status = 0, last_seen = excluded.last_seen where status <> 0',
    );
    this.#allMark = db.prepare<[number], number>('select received_seq from all_marks where user = ?').pluck();
    this.#insertAllMark = db.prepare('insert into all_marks (user, received_seq, read_seq) values (?, ?, ?)');
    this.#raiseAllMark = db.prepare('update all_marks set received_seq = max(received_seq, ?), read_seq = max(read_seq, ?) where user = ?');
    this.#raiseMark = db.prepare('update members set received_seq = max(received_seq, ?), read_seq = max(read_seq, ?) where room = ? and user = ?');
    this.#readMark = db.prepare<[number, number, number], number>('select read_seq from members where room = ? and user = ? and since_seq > ?').pluck();
    this.#itemsRead = db.prepare(`update inbox set read_at = @ts where (user, n) in (
      select i.user, i.n from (select e.id from ${entriesBetween}) e cross join inbox i on i.entry = e.id and i.user = @user where i.read_at is null)`);
  }

  /** Nothing is changed where the connection is rejected. Victims are given until they are gone, in case an answer was lost. */
  connect(operation: Of<'connect'>, ts: number): Outcome {
    const { user, device, connection, again, issuedAt, jti } = operation;
    const id = this.#users.id(user);
    const { disabled = 0, revokedAt = 0 } = this.#standing.get(id) ?? {};
    if (disabled === 1 || (revokedAt > 0 && issuedAt <= revokedAt)) return { code: 'revoked' };
    if (jti !== undefined && this.#revokedToken.get(id, jti) !== undefined) return { code: 'revoked' };
    if (!again) {
      const victims = this.#victims(id, operation);
      if (victims === 'rejected') return { code: 'rejected' };
      for (const { row, close } of victims) this.#condemn.run(close, row.node, row.connection);
      this.#online.run(id, ts);
    }
    this.#insert.run(this.#node, connection, id, device, ts);
    const acked = this.#knownDevice(id, operation, ts);
    return {
      code: 'connected',
      victims: this.#condemned.all(id, this.#node),
      acked,
      head: this.#inboxes.of(id).head,
      allMark: this.#markOfAll(id),
      revokedAt,
    };
  }

  /** Condemned connections count no more, and whichever node has them closes them. */
  revoke({ user, disabled }: Of<'revoke'>, ts: number): void {
    const id = this.#users.id(user);
    if (disabled !== null) this.#disable.run(Number(disabled), id);
    if (disabled === false) return;
    this.#revoke.run(ts, id);
    this.#condemnAll.run(id);
  }

  revokeToken({ user, jti, until }: Of<'revokeToken'>): void {
    this.#revokeToken.run(this.#users.id(user), jti, until);
  }

  disconnect({ connection }: Of<'disconnect'>, ts: number): void {
    const gone = this.#remove.get(this.#node, connection);
    if (gone !== undefined) this.#seen.run(ts, gone.user, gone.device);
  }

  /** The users of one shard as the connections that are left say; whoever is elsewhere in the cluster has a connection there. */
  prune({ shard, shards, through, alive }: Of<'prune'>, ts: number): Outcome {
    const left = new Set(alive);
    for (const { connection, user } of this.#own.all(this.#node, through)) {
      if (!left.has(connection) && placeOf(user, shards) === shard) this.disconnect({ type: 'disconnect', user, connection }, ts);
    }
    const gone = this.#alone.all().filter(({ user }) => placeOf(user, shards) === shard);
    for (const { id } of gone) this.#offline.run(ts, id);
    return { code: 'pruned', users: gone.map(({ user }) => user) };
  }

  presence({ user, status, lastSeen }: Of<'presence'>): void {
    this.#setPresence.run(this.#users.id(user), statuses.indexOf(status), lastSeen);
  }

  /** Marks only rise, and no further than the head; read implies received. Who is no member has none. */
  mark({ room: name, user, received, read }: Of<'mark'>, ts: number): void {
    const room = this.#rooms.find(name);
    if (room === undefined) return;
    const id = this.#users.id(user);
    const readTo = Math.min(read, room.head);
    const receivedTo = Math.max(readTo, Math.min(received, room.head));
    if (name === allRoom) {
      this.#markOfAll(id);
      this.#raiseAllMark.run(receivedTo, readTo, id);
      return;
    }
    const readBefore = this.#readMark.get(room.id, id, room.gone);
    if (readBefore === undefined) return;
    this.#raiseMark.run(receivedTo, readTo, room.id, id);
    if (readTo > readBefore) this.#itemsRead.run({ ts, user: id, room: room.id, from: Math.max(readBefore, readTo - readTimesMax) + 1, to: readTo });
  }

  /** Whom the newcomer replaces: the ghost of its own device first, then the oldest above the limit. */
  #victims(user: number, { device, named, connection, perUserMax, policy }: Of<'connect'>): Victim[] | 'rejected' {
    const victims: Victim[] = [];
    const others: Row[] = [];
    for (const row of this.#open.all(user)) {
      if (row.node === this.#node && row.connection === connection) continue;
      if (named && row.device === device) victims.push({ row, close: 'replaced' });
      else others.push(row);
    }
    const excess = others.length + 1 - perUserMax;
    if (excess > 0 && policy === 'reject') return 'rejected';
    for (const row of others.slice(0, Math.max(0, excess))) victims.push({ row, close: 'evicted' });
    return victims;
  }

  /** The device's cursor; a new device gets one, and takes the place of the one unseen for longest where there are too many. */
  #knownDevice(user: number, { device, devicesMax }: Of<'connect'>, ts: number): number {
    const acked = this.#device.get(user, device);
    if (acked !== undefined) {
      this.#seen.run(ts, user, device);
      return acked;
    }
    const cursor = this.#inboxes.firstCursor(user);
    const excess = (this.#devices.get(user) ?? 0) + 1 - devicesMax;
    if (excess > 0) this.#forget.run(user, user, excess);
    // What only the forgotten device lacked still waits: the new one begins before it.
    this.#insertDevice.run(user, device, cursor, ts);
    return cursor;
  }

  /** Begins at the head of the broadcast room with the user's first hello. */
  #markOfAll(user: number): number {
    const mark = this.#allMark.get(user);
    if (mark !== undefined) return mark;
    const head = this.#rooms.find(allRoom)?.head ?? 0;
    this.#insertAllMark.run(user, head, head);
    return head;
  }
}
