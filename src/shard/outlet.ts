/**
 * What actors cause, put on the links: replies and pushes as ready frames in the gateway link's arena, entries encoded once
 * per format and room, operations into the next batch. The one place of a shard that has anything encoded.
 */
import type { CodedError } from '../protocol/codes.ts';
import { errorCodes, retryAfterMsOf } from '../protocol/codes.ts';
import { ephemeralJson, ephemeralMap, itemJson, itemMap } from '../protocol/frames.ts';
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
import type { Barrier } from '../thread/quarantine.ts';
import { type Suspect, stepBytes, type Witness } from '../thread/witness.ts';
import type { Connection, Pushable, Settled } from './actor.ts';
import type { Commits } from './commits.ts';
import { Encoder } from './encoder.ts';
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
  witness: Pick<Witness, 'step' | 'item' | 'clear'>;
  barrier: Barrier;
  epoch: string;
};

/** A longer delivery goes as several, so that the gateway can stop between two of them for a socket that has enough. */
const deliveryBytes = 128 * 1024;

export class Outlet implements RoomEffects {
  readonly #deps: OutletDeps;
  readonly #link: Link<ToGateway, ToShard>;
  readonly #mids: Mids;
  readonly #encoder: Encoder;

  constructor(deps: OutletDeps) {
    this.#deps = deps;
    this.#link = deps.link;
    this.#encoder = new Encoder(deps.link.arena);
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
    this.#encoder.text(`${head.slice(0, -1)},"entries":[${entries.map(itemJson).join(',')}]}`);
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
        this.#encoder.map(push, connection.format);
        bytes = { start, length: this.#link.arena.offset - start };
        encoded[connection.format] = bytes;
      }
      this.#link.record(toGateway.page, connection.id, bytes.start, bytes.length, 0);
    }
  }

  page(to: Connection, pushes: readonly Pushable[]): void {
    if (!to.open || pushes.length === 0) return this.skip(to);
    const first = pushes[0] as Pushable;
    if ('stored' in first && first.n === undefined) this.#name(first.stored.room);
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
      this.#encoder.entry(record, to.format);
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

  bars(suspect: Suspect): boolean {
    const { barrier } = this.#deps;
    return barrier.up && barrier.holds(suspect);
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
        this.#encoder.entry(record, format);
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
        if (format === 'json') this.#encoder.text(ephemeralJson(room.name, from, now, content.stored));
        else this.#encoder.map(ephemeralMap(room.name, from, now, content.value ?? JSON.parse(content.stored as string), format), format);
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
    this.#encoder.map(map, to.format);
    this.#link.record(toGateway.reply, to.id, id, start, this.#link.arena.offset - start);
  }

  #page(to: Connection, pushes: readonly Pushable[], paced: 0 | 1): void {
    const { witness } = this.#deps;
    const encoder = this.#encoder;
    const start = this.#link.arena.offset;
    for (const push of pushes) {
      if (!('stored' in push)) encoder.map(push, to.format);
      else if (push.n === undefined) encoder.entry(push.stored, to.format);
      else {
        // Each by its own name: they are of different rooms, and one that breaks the encoder is met again at every hello.
        witness.item(push.stored.room, push.stored.mid);
        encoder.item(push.stored, push.n, to.format);
        witness.clear();
      }
    }
    this.#link.record(toGateway.page, to.id, start, this.#link.arena.offset - start, paced);
  }
}
