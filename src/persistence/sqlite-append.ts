/**
 * Appends to the logs of rooms. A refusal is found before anything is written, so a refused append changes nothing. The
 * writer's transaction calls it for every entry there is: `together` is the hot path, one statement for several messages.
 */
import type { Statement } from 'better-sqlite3';
import { dmUsers } from '../protocol/names.ts';
import {
  type Append,
  autoCreates,
  type Change,
  type EntryRecord,
  type MessageAppend,
  type Operation,
  type Outcome,
  type StoredBody,
} from '../thread/messages.ts';
import type { Inboxes, Turn } from './sqlite-inbox.ts';
import type { Users } from './sqlite-names.ts';
import type { Db } from './sqlite-open.ts';
import { type Room, type Rooms, rowsTogether } from './sqlite-rooms.ts';
import { kinds, uuidBytes } from './sqlite-words.ts';

type Values = [room: number, seq: number, kind: number, mid: Buffer | null, sender: number | null, ts: number, thread: Buffer | null, body: StoredBody];

export class Appends {
  readonly #users: Users;
  readonly #rooms: Rooms;
  readonly #inboxes: Inboxes;
  readonly #insert: Statement<Values>;
  readonly #insertAll: Statement<(StoredBody | number)[]>;
  readonly #takeBack: Statement<[number]>;
  readonly #byMid: Statement<[Buffer, number], { id: number; seq: number; sender: number | null }>;
  readonly #freeMid: Statement<[number]>;
  readonly #mid = Buffer.alloc(16);
  readonly #thread = Buffer.alloc(16);
  /** What `together` binds: of each row seven values, and the bytes that its mid and its thread are written to. */
  readonly #values: (StoredBody | number)[] = new Array<null>(7 * rowsTogether).fill(null);
  readonly #ids = Array.from({ length: 2 * rowsTogether }, () => Buffer.alloc(16));

  constructor(db: Db, users: Users, rooms: Rooms, inboxes: Inboxes) {
    this.#users = users;
    this.#rooms = rooms;
    this.#inboxes = inboxes;
    this.#insert = db.prepare(
      'insert into entries (room, seq, kind, mid, sender, ts, thread, body) values (?, ?, ?, ?, ?, ?, ?, ?) on conflict (mid, room) where mid is not null do nothing',
    );
    const rows = new Array<string>(rowsTogether).fill('(?, ?, 0, ?, ?, ?, ?, ?)').join(', ');
    this.#insertAll = db.prepare<(StoredBody | number)[]>(`insert or ignore into entries (room, seq, kind, mid, sender, ts, thread, body) values ${rows}`);
    this.#takeBack = db.prepare('delete from entries where id > ?');
    this.#byMid = db.prepare('select id, seq, sender from entries where mid = ? and room = ?');
    this.#freeMid = db.prepare('update entries set mid = null where id = ?');
  }

  /** `rowsTogether` messages to rooms, each as `message` does it, in order. Null, and nothing was changed: one of them is out of the ordinary. */
  together(operations: readonly (MessageAppend | Operation)[], turn: Turn): number[] | null {
    if (operations.length !== rowsTogether) return null;
    const rooms: Room[] = [];
    for (const operation of operations) {
      if ('type' in operation || operation[7] !== undefined) return null;
      const room = this.#rooms.find(operation[0]);
      if (room?.exists !== true || room.auth !== operation[1]) return null;
      rooms.push(room);
    }
    const seqs = rooms.map((room, i) => this.#bind(i, room, operations[i] as MessageAppend, turn.ts));
    // As arguments: from a list each would be looked up by its place.
    const { changes, lastInsertRowid } = this.#insertAll.run(...this.#values);
    const before = Number(lastInsertRowid) - changes; // the rows of one statement have ids without a gap
    if (changes === rowsTogether) {
      this.#rooms.stored(rooms, seqs, before + 1);
      return seqs;
    }
    // A mid is in use, and what came after it has taken a seq too far.
    for (const room of rooms) room.head--;
    if (changes > 0) this.#takeBack.run(before);
    return null;
  }

  message(operation: MessageAppend, turn: Turn): Outcome {
    const [name, authSeq, mid, from, thread, body, , origin] = operation;
    const room = this.#rooms.find(name);
    if (room?.exists === true && room.auth === authSeq && (origin === undefined || this.#inboxes.takesAll)) {
      const seq = room.head + 1;
      const sender = from === null ? null : this.#users.id(from);
      const id = this.#put(room, seq, 0, mid, sender, turn.ts, thread, body);
      if (id !== null) {
        if (origin === undefined) return seq;
        const entry: EntryRecord = { room: name, seq, kind: 'message', mid, from, ts: turn.ts, thread, body };
        this.#inboxes.add(this.#inboxes.ofDirect(room, from, origin), id, entry, turn);
        return seq;
      }
    }
    // Whatever is out of the ordinary about it.
    const outcome = this.append(asAppend(operation), turn);
    return typeof outcome === 'object' && outcome.code === 'ok' ? outcome.seq : outcome;
  }

  append(operation: Append, turn: Turn): Outcome {
    const { mid, from, change, autoCreate } = operation;
    const found = this.#rooms.find(operation.room);
    const sender = from === null ? null : this.#users.id(from);
    const holder = found === undefined || mid === null ? undefined : this.#byMid.get(uuidBytes(mid, this.#mid), found.id);
    // An entry that was trimmed or deleted holds its mid no longer.
    const trimmed = holder !== undefined && holder.seq < (found?.first ?? 0);
    // The same sender gets the first answer again (DESIGN 11.6).
    if (holder !== undefined && !trimmed) return holder.sender === sender ? { code: 'duplicate', seq: holder.seq } : { code: 'conflict' };
    const refusal = this.#refusal(operation, found);
    if (refusal !== null) return refusal;
    const recipients = this.#inboxes.recipients(operation);
    if (!this.#inboxes.takes(recipients, operation, turn.ts)) return { code: 'inbox-full' };

    if (trimmed) this.#freeMid.run(holder.id);
    const room = found ?? this.#rooms.insert(operation.room);
    const seq = room.head + 1;
    if (!room.exists && change?.type !== 'create') this.#found(room, autoCreate, seq, turn.ts);
    const id = this.#put(room, seq, kinds.indexOf(operation.kind), mid, sender, turn.ts, operation.thread, operation.body);
    if (id === null) throw new Error(`the mid ${mid} is free and taken at once`); // unless the index is damaged
    if (change !== null) this.#apply(room, change, seq, turn.ts);
    if (recipients.length > 0) this.#inboxes.add(recipients, id, entryOf(operation, seq, turn.ts), turn);
    return { code: 'ok', seq };
  }

  /** Row `i` of `together`; returns its seq. */
  #bind(i: number, room: Room, [, , mid, from, thread, body]: MessageAppend, ts: number): number {
    const values = this.#values;
    const at = 7 * i;
    values[at] = room.id;
    values[at + 1] = ++room.head;
    values[at + 2] = mid === null ? null : uuidBytes(mid, this.#ids[2 * i] as Buffer);
    values[at + 3] = from === null ? null : this.#users.id(from);
    values[at + 4] = ts;
    values[at + 5] = thread === null ? null : uuidBytes(thread, this.#ids[2 * i + 1] as Buffer);
    values[at + 6] = body;
    this.#rooms.touch(room);
    return room.head;
  }

  /** The entry's id; null: the mid is in use. */
  #put(room: Room, seq: number, kind: number, mid: string | null, sender: number | null, ts: number, thread: string | null, body: StoredBody): number | null {
    const midBytes = mid === null ? null : uuidBytes(mid, this.#mid);
    const threadBytes = thread === null ? null : uuidBytes(thread, this.#thread);
    const { changes, lastInsertRowid } = this.#insert.run(room.id, seq, kind, midBytes, sender, ts, threadBytes, body);
    if (changes === 0) return null;
    room.head = seq;
    this.#rooms.touch(room);
    const id = Number(lastInsertRowid);
    this.#rooms.stored([room], [seq], id);
    return id;
  }

  #refusal({ authSeq, autoCreate, change }: Append, room: Room | undefined): Outcome | null {
    const exists = room?.exists ?? false;
    if (change?.type === 'create' && exists) return { code: 'exists' };
    if (change?.type !== 'create' && !exists && autoCreate === null) return { code: 'not-found' };
    if (authSeq !== (room?.auth ?? 0)) return { code: 'stale' };
    if (change === null || !('user' in change)) return null;
    const since = room === undefined || !exists ? undefined : this.#rooms.memberSince(room, this.#users.id(change.user));
    if (change.type !== 'join') return since === undefined ? { code: 'not-found' } : null;
    if (since !== undefined) return { code: 'duplicate', seq: since };
    return (room?.members ?? 0) >= change.membersMax ? { code: 'room-full' } : null;
  }

  /** A room comes into being by its first message. */
  #found(room: Room, by: Append['autoCreate'], seq: number, ts: number): void {
    this.#rooms.establish(room, by === 'dm' ? { visibility: 'private' } : {}, ts);
    if (by !== 'dm') return;
    for (const user of new Set(dmUsers(room.name))) this.#rooms.join(room, this.#users.id(user), 'member', seq, ts);
  }

  #apply(room: Room, change: Change, seq: number, ts: number): void {
    switch (change.type) {
      case 'create':
        this.#rooms.establish(room, change.settings, ts);
        if (change.owner !== null) this.#rooms.join(room, this.#users.id(change.owner), 'owner', seq, ts);
        if (change.settings.visibility !== 'private') return;
        break;
      case 'join':
        this.#rooms.join(room, this.#users.id(change.user), change.role, seq, ts);
        if (!change.restricts) return;
        break;
      case 'settings':
        this.#rooms.change(room, change.settings);
        break;
      case 'delete':
        this.#rooms.remove(room, seq);
        break;
      case 'role':
        this.#rooms.role(room, this.#users.id(change.user), change.role);
        break;
      case 'leave':
        this.#rooms.leave(room, this.#users.id(change.user));
        break;
    }
    room.auth = seq;
  }
}

function asAppend([room, authSeq, mid, from, thread, body, autoCreate, origin]: MessageAppend): Append {
  const users = origin === undefined ? null : [...new Set(dmUsers(room) ?? [])];
  return {
    type: 'append',
    room,
    authSeq,
    autoCreate: autoCreates[autoCreate] ?? null,
    mid,
    kind: 'message',
    from,
    thread,
    body,
    change: null,
    inbox: users?.sort((a, b) => Number(a === from) - Number(b === from)) ?? null,
    origin: from === null || origin === undefined || origin === null ? null : { user: from, device: origin },
  };
}

function entryOf({ room, kind, mid, from, thread, body }: Append, seq: number, ts: number): EntryRecord {
  return { room, seq, kind, mid, from, ts, thread, body };
}
