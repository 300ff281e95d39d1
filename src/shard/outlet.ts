/**
 * What actors cause, put on the links: replies and pushes as ready frames in the gateway link's arena, entries encoded once
 * per format and room, operations into the next batch. The one place of a shard that encodes.
 */
import type { CodedError } from '../protocol/codes.ts';
import { errorCodes, retryAfterMsOf } from '../protocol/codes.ts';
import {
  binaryOpcode,
  entryJson,
  entryMap,
  ephemeralJson,
  ephemeralMap,
  frameBytes,
  inboxJson,
  inboxMap,
  itemJson,
  itemMap,
  textOpcode,
  writeFrameHeader,
} from '../protocol/frames.ts';
import { MsgpackWriter } from '../protocol/msgpack-writer.ts';
import type { Push } from '../protocol/pushes.ts';
import type { Clock } from '../thread/clock.ts';
import type { Link } from '../thread/link.ts';
import {
  type EntryRecord,
  type Format,
  formats,
  type MessageAppend,
  type Operation,
  type ReadKind,
  type ReadQuery,
  type ReadReply,
  type ToGateway,
  type ToShard,
  toGateway,
} from '../thread/messages.ts';
import { Mids } from '../thread/mids.ts';
import { stepBytes, type Witness } from '../thread/witness.ts';
import type { Connection, Pushable, Settled } from './actor.ts';
import type { Commits } from './commits.ts';
import type { Feed } from './feed.ts';
import type { Pages } from './pages.ts';
import type { Reads } from './reads.ts';
import type { Ephemeral, RoomEffects, RoomState } from './room-state.ts';
import type { Rooms } from './rooms.ts';

export type OutletDeps = {
  link: Link<ToGateway, ToShard>;
  commits: Commits;
  reads: Reads;
  feed: Feed;
  pages: Pages;
  clock: Clock;
  rooms: Rooms;
  witness: Pick<Witness, 'step'>;
  epoch: string;
};

/** A longer delivery goes as several, so that the gateway can stop between two of them for a socket that has enough. */
const deliveryBytes = 128 * 1024;

export class Outlet implements RoomEffects {
  readonly #deps: OutletDeps;
  readonly #link: Link<ToGateway, ToShard>;
  readonly #mids: Mids;
  readonly #msgpack = new MsgpackWriter();

  constructor(deps: OutletDeps) {
    this.#deps = deps;
    this.#link = deps.link;
    this.#mids = new Mids(deps.clock.random);
  }

  get epoch(): string {
    return this.#deps.epoch;
  }
  get now(): number {
    return this.#deps.clock.now();
  }
  get tick(): number {
    return this.#deps.clock.tick();
  }
  mid(): string {
    return this.#mids.next(this.#deps.clock.now());
  }

  reply(to: Connection, id: number | undefined, fields: object): void {
    if (id === undefined || !to.open) return;
    this.#answer(to, id, { op: 'ok', id, ...fields });
  }

  replyEntries(to: Connection, id: number | undefined, fields: object, entries: readonly EntryRecord[]): void {
    if (id === undefined || !to.open) return;
    if (entries[0] !== undefined) this.#name(entries[0].room);
    if (to.format === 'msgpack') return this.#answer(to, id, { op: 'ok', id, ...fields, entries: entries.map((record) => itemMap(record, 'msgpack')) });
    const head = JSON.stringify({ op: 'ok', id, ...fields });
    const start = this.#link.arena.offset;
    this.#text(`${head.slice(0, -1)},"entries":[${entries.map(itemJson).join(',')}]}`);
    this.#link.record(toGateway.reply, to.id, id, start, this.#link.arena.offset - start);
  }

  refuse(to: Connection, id: number | undefined, of: string, error: CodedError): void {
    if (!to.open) return;
    const { code, message, field } = error;
    const map: Record<string, unknown> = { op: 'error', ...(id === undefined ? {} : { id }), of, code, message, retry: errorCodes[code].retry };
    const retryAfterMs = retryAfterMsOf(code);
    if (field !== undefined) map.field = field;
    if (retryAfterMs !== undefined) map.retryAfterMs = retryAfterMs;
    this.#answer(to, id ?? 0, map);
  }

  part(to: Connection, id: number | undefined, part: Record<string, unknown[]>): void {
    if (id !== undefined && to.open) this.#link.push({ t: 'part', connection: to.id, id, part });
  }

  push(to: Connection, push: Pushable): void {
    if (to.open) this.#page(to, [push], 0);
  }

  pushAll(to: Iterable<Connection>, push: Push): void {
    const encoded: Partial<Record<Format, { start: number; length: number }>> = {};
    for (const connection of to) {
      if (!connection.open) continue;
      let bytes = encoded[connection.format];
      if (bytes === undefined) {
        const start = this.#link.arena.offset;
        this.#map(push, connection.format);
        bytes = { start, length: this.#link.arena.offset - start };
        encoded[connection.format] = bytes;
      }
      this.#link.record(toGateway.page, connection.id, bytes.start, bytes.length, 0);
    }
  }

  page(to: Connection, pushes: readonly Pushable[]): void {
    if (!to.open || pushes.length === 0) return this.skip(to);
    const first = pushes[0] as Pushable;
    if ('stored' in first) this.#name(first.stored.room);
    this.#page(to, pushes, 1);
    this.#deps.feed.sent(to);
  }

  replay(room: RoomState, to: Connection, records: readonly EntryRecord[]): void {
    const first = records[0];
    if (!to.open || first === undefined) return this.skip(to);
    this.#name(room.name);
    // A page finds its entries by counting.
    if ((records.at(-1) ?? first).seq - first.seq !== records.length - 1) {
      return this.page(
        to,
        records.map((stored) => ({ stored })),
      );
    }
    const starts: number[] = [];
    for (const record of records) {
      starts.push(this.#link.arena.offset);
      this.#entry(record, to.format);
    }
    this.#deps.pages.keep(room.key, to.format, first.seq, starts);
    this.replayAgain(room, to, first.seq);
  }

  replayAgain(room: RoomState, to: Connection, seq: number): number | null {
    const last = to.open ? this.#deps.pages.send(room.key, to, seq) : null;
    if (last !== null) this.#deps.feed.sent(to);
    return last;
  }

  tell(message: ToGateway): void {
    if (message.t === 'forget') this.#deps.pages.forget(message.roomKey);
    this.#link.push(message);
  }

  commit(operation: MessageAppend | Operation, settled: Settled): boolean {
    return this.#deps.commits.add(operation, settled);
  }

  read<K extends ReadKind>(query: ReadQuery & { read: K }, done: (reply: ReadReply[K]) => void, failed: (error: CodedError) => void): void {
    this.#deps.reads.read(query, done, failed);
  }

  feed(to: Connection, turn: () => void): void {
    if (to.open) this.#deps.feed.ask(to, turn);
  }

  skip(to: Connection): void {
    this.#deps.feed.done(to);
  }

  touched(room: RoomState): void {
    this.#deps.rooms.touched(room.key);
  }

  deliver(room: RoomState, records: readonly EntryRecord[]): void {
    const first = records[0];
    if (first === undefined) return;
    for (let i = 0; i < formats.length; i++) {
      const format = formats[i] as Format;
      if (room.formats[format] === 0) continue;
      let { seq } = first;
      let start = this.#link.arena.offset;
      for (let k = 0; k < records.length; k++) {
        const record = records[k] as EntryRecord;
        this.#entry(record, format);
        if (k + 1 < records.length && this.#link.arena.offset - start < deliveryBytes) continue;
        this.#link.record(toGateway.deliver, room.key, i, seq, record.seq, start, this.#link.arena.offset - start);
        seq = record.seq + 1;
        start = this.#link.arena.offset;
      }
    }
  }

  shed(room: RoomState, ephemera: readonly Ephemeral[]): void {
    const { now } = this;
    for (let i = 0; i < formats.length; i++) {
      const format = formats[i] as Format;
      if (room.formats[format] === 0) continue;
      let start = this.#link.arena.offset;
      for (let k = 0; k < ephemera.length; k++) {
        const { from, content, except } = ephemera[k] as Ephemeral;
        if (format === 'json') this.#text(ephemeralJson(room.name, from, now, content.stored));
        else this.#map(ephemeralMap(room.name, from, now, content.value ?? JSON.parse(content.stored as string), format), format);
        // One record for a run with the same exception, which mostly is none.
        if (ephemera[k + 1]?.except === except && this.#link.arena.offset - start < deliveryBytes) continue;
        this.#link.record(toGateway.shed, room.key, i, except?.id ?? 0, start, this.#link.arena.offset - start);
        start = this.#link.arena.offset;
      }
    }
  }

  attach(room: RoomState, to: Connection, fromSeq: number, presence: boolean, attachment: number): void {
    this.#deps.rooms.introduce(room.key, this);
    this.#link.record(toGateway.attach, room.key, to.id, fromSeq, presence ? 1 : 0, attachment);
  }

  detach(room: RoomState, to: Connection): void {
    this.#deps.rooms.introduce(room.key, this);
    this.#link.record(toGateway.detach, room.key, to.id);
  }

  reached(room: RoomState, to: Connection, seq: number): void {
    this.#deps.rooms.introduce(room.key, this);
    this.#link.record(toGateway.reached, room.key, to.id, seq);
  }

  /** What was read is encoded now, long after the command or the notice that led to it. */
  #name(room: string): void {
    this.#deps.witness.step(0, stepBytes('turn', room));
  }

  #answer(to: Connection, id: number, map: object): void {
    const start = this.#link.arena.offset;
    this.#map(map, to.format);
    this.#link.record(toGateway.reply, to.id, id, start, this.#link.arena.offset - start);
  }

  #page(to: Connection, pushes: readonly Pushable[], paced: 0 | 1): void {
    const start = this.#link.arena.offset;
    for (const push of pushes) {
      if (!('stored' in push)) this.#map(push, to.format);
      else if (push.n === undefined) this.#entry(push.stored, to.format);
      else if (to.format === 'json') this.#text(inboxJson(push.stored, push.n));
      else this.#binary(this.#msgpack.pack(inboxMap(push.stored, push.n, 'msgpack')));
    }
    this.#link.record(toGateway.page, to.id, start, this.#link.arena.offset - start, paced);
  }

  #entry(record: EntryRecord, format: Format): void {
    if (format === 'json') this.#text(entryJson(record));
    else this.#binary(this.#msgpack.pack(entryMap(record, 'msgpack')));
  }

  #map(map: object, format: Format): void {
    if (format === 'json') this.#text(JSON.stringify(map));
    else this.#binary(this.#msgpack.pack(map));
  }

  /** One text frame. The header's size depends on the length in bytes, which only long or middling texts must be counted for. */
  #text(text: string): void {
    const { arena } = this.#link;
    arena.ensure(text.length * 3 + 14);
    const certain = text.length * 3 < 126 || (text.length >= 126 && text.length * 3 < 65_536);
    const headerBytes = frameBytes(certain ? text.length : Buffer.byteLength(text));
    const length = arena.buffer.write(text, arena.offset + headerBytes);
    writeFrameHeader(arena.buffer, arena.offset, textOpcode, length);
    arena.offset += headerBytes + length;
  }

  #binary(bytes: Uint8Array): void {
    const { arena } = this.#link;
    const headerBytes = frameBytes(bytes.length);
    arena.ensure(headerBytes + bytes.length);
    writeFrameHeader(arena.buffer, arena.offset, binaryOpcode, bytes.length);
    arena.offset += headerBytes;
    arena.put(bytes);
  }
}
