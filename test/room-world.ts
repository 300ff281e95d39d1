/**
 * A room on one or more nodes over one store, in one thread and in an order that a seed decides: real room actors, a store on
 * paper with the rules of `Append`, the in-process bus's part played by hints that may be lost, and clients that write down
 * what they see. For the tests of rooms, stepped.
 */
import type { CodedError } from '../src/protocol/codes.ts';
import type { Command, Role } from '../src/protocol/commands.ts';
import type { Connection, Pushable } from '../src/shard/actor.ts';
import { RoomActor, type RoomCommand } from '../src/shard/room.ts';
import { type Ephemeral, type RoomEffects, type RoomLimits, RoomState } from '../src/shard/room-state.ts';
import type { Append, EntryRecord, MessageAppend, Operation, Outcome, ReadQuery, StoredRoom } from '../src/thread/messages.ts';
import { EffectsRecorder } from './effects-recorder.ts';

export const limits: RoomLimits = {
  roomMembersMax: 10,
  tailItemsMax: 16,
  tailBytesMax: 1e6,
  pageBytesMax: 256 * 1_024,
  roomIdleMs: 60_000,
  audienceMax: 5,
  bodyBytesMax: 1_000,
  autoCreate: true,
};

/** The rules of the store for one room, on paper. */
export class PaperStore {
  readonly log: EntryRecord[] = [];
  authSeq = 0;
  exists = false;
  stored: StoredRoom = { exists: false, visibility: 'public', settings: {}, createdAt: null, headSeq: 0, firstSeq: 1, authSeq: 0, members: [] };

  commit(operation: MessageAppend | Operation, ts: number): Outcome {
    if (Array.isArray(operation)) {
      const [room, authSeq, mid, from, thread, body] = operation;
      const outcome = this.#append(
        { type: 'append', room, authSeq, autoCreate: 'public', mid, kind: 'message', from, thread, body, change: null, inbox: null, origin: null },
        ts,
      );
      return typeof outcome === 'object' && outcome.code === 'ok' ? outcome.seq : outcome;
    }
    return operation.type === 'append' ? this.#append(operation, ts) : { code: 'done' };
  }

  answer(query: ReadQuery): object {
    if (query.read === 'room')
      return { ...this.stored, members: [...this.stored.members], headSeq: this.log.length, authSeq: this.authSeq, exists: this.exists };
    if (query.read === 'position') return { reason: query.epoch === 'e1' && query.seq <= this.log.length ? null : 'epoch', head: this.log.length };
    if (query.read !== 'entries') throw new Error(`no ${query.read} on paper`);
    const from = Math.max(query.from, this.stored.firstSeq);
    const found = this.log.filter(({ seq, kind }) => seq >= from && seq <= query.to && (query.kind === null || kind === query.kind));
    if (query.descending) found.reverse();
    return { entries: found.slice(0, query.limit), more: found.length > query.limit };
  }

  #append(append: Append, ts: number): Outcome {
    const known = append.mid === null ? undefined : this.log.find(({ mid }) => mid === append.mid);
    if (known !== undefined) return known.from === append.from ? { code: 'duplicate', seq: known.seq } : { code: 'conflict' };
    if (append.authSeq !== this.authSeq) return { code: 'stale' };
    const { change } = append;
    const { members } = this.stored;
    if (change?.type === 'create' && this.exists) return { code: 'exists' };
    if (change?.type === 'join') {
      if (members.some(({ user }) => user === change.user)) return { code: 'duplicate', seq: this.log.length };
      if (members.length >= change.membersMax) return { code: 'room-full' };
    }
    const seq = this.log.length + 1;
    const { room, kind, mid, from, thread, body } = append;
    this.log.push({ room, seq, kind, mid, from, ts, thread, body });
    this.exists = change?.type !== 'delete';
    const harmless = change?.type === 'join' ? !change.restricts : change?.type === 'create' && change.settings.visibility !== 'private';
    if (change !== null && !harmless) this.authSeq = seq;
    this.#change(change, seq, ts);
    return { code: 'ok', seq };
  }

  #change(change: Append['change'], seq: number, ts: number): void {
    const { stored } = this;
    const member = (user: string, role: Role) => ({ user, role, sinceSeq: seq, sinceTs: ts, received: seq - 1, read: seq - 1 });
    if (change?.type === 'create')
      Object.assign(stored, {
        settings: change.settings,
        visibility: change.settings.visibility ?? 'public',
        members: change.owner === null ? [] : [member(change.owner, 'owner')],
      });
    else if (change?.type === 'settings')
      Object.assign(stored, { settings: { ...stored.settings, ...change.settings }, visibility: change.settings.visibility ?? stored.visibility });
    else if (change?.type === 'delete') Object.assign(stored, { settings: {}, visibility: 'public', members: [], firstSeq: seq });
    else if (change?.type === 'join') stored.members.push(member(change.user, change.role));
    else if (change?.type === 'leave') stored.members = stored.members.filter(({ user }) => user !== change.user);
    else if (change?.type === 'role') for (const one of stored.members) if (one.user === change.user) one.role = change.role;
  }
}

/** What one connection saw of the room, in order. */
export type Client = { connection: Connection; seqs: number[]; answers: Map<number, object | string>; pushes: object[]; live: boolean; attachment: number };

export class RoomNode extends EffectsRecorder implements RoomEffects {
  readonly epoch = 'e1';
  readonly actor: RoomActor;
  readonly clients = new Map<number, Client>();
  readonly #store: PaperStore;
  #dirty = false;
  #mids = 0;
  #ids = 0;
  lastDelivered = 0;
  /** Pages that were encoded, in their order; kept for ever. */
  readonly replays: (readonly EntryRecord[])[] = [];

  constructor(store: PaperStore, room = 'r', some: Partial<RoomLimits> = {}, node = 0) {
    super();
    this.#mids = node * 1e9;
    this.#store = store;
    this.actor = new RoomActor(new RoomState(room, 1, { ...limits, ...some }), { step: () => {} });
  }

  client(user: string, options: { service?: boolean } = {}): Client {
    const connection = this.connection(user, '', options.service ?? false);
    const client: Client = { connection, seqs: [], answers: new Map(), pushes: [], live: false, attachment: 0 };
    this.clients.set(client.connection.id, client);
    return client;
  }

  /** Sends a command and lets what follows from it run to its end, unless `leave`. Returns its id. */
  send<C extends Omit<RoomCommand, 'room' | 'id'>>(client: Client, command: C, leave = false): number {
    const id = ++this.#ids;
    this.actor.command(client.connection, { ...command, room: this.actor.state.name, id } as unknown as RoomCommand, this);
    this.turn();
    if (!leave) this.run();
    return id;
  }

  /** The answer to the last command that `send` ran to its end. */
  ask<C extends Omit<RoomCommand, 'room' | 'id'>>(client: Client, command: C): object | string | undefined {
    return client.answers.get(this.send(client, command));
  }

  resume(client: Client, seq: number, epoch = 'e1'): void {
    this.actor.resume(client.connection, undefined, { epoch, seq }, this, () => {});
    this.run();
  }

  /** End of a turn. */
  turn(): void {
    if (!this.#dirty) return;
    this.#dirty = false;
    this.actor.flush(this);
  }

  /** Commits, reads and drains everything that waits. */
  run(): void {
    for (let steps = 0; this.step(0) || this.step(1) || this.step(2); steps++) if (steps > 10_000) throw new Error('it never ends');
  }

  /** One thing that waits: 0 a commit, 1 a read, 2 a page that drains. False: there is none. */
  step(kind: number): boolean {
    const commit = kind === 0 ? this.commits.shift() : undefined;
    const read = kind === 1 ? this.reads.shift() : undefined;
    if (commit !== undefined) commit.settled(this.#store.commit(commit.operation, this.now), this.now);
    else if (read !== undefined) read.done(this.#store.answer(read.query) as never);
    else if (kind !== 2 || !this.draining) return false;
    else this.drained();
    this.turn();
    return true;
  }

  override reply(to: Connection, id: number | undefined, fields: object): void {
    if (id !== undefined) this.clients.get(to.id)?.answers.set(id, fields);
  }
  override refuse(to: Connection, id: number | undefined, _of: string, error: CodedError): void {
    if (id !== undefined) this.clients.get(to.id)?.answers.set(id, error.code);
  }
  override push(to: Connection, push: Pushable): void {
    const client = this.clients.get(to.id);
    if ('stored' in push) client?.seqs.push(push.stored.seq);
    else client?.pushes.push(push);
  }
  replay(_room: RoomState, to: Connection, records: readonly EntryRecord[]): void {
    this.replays.push(records);
    this.page(
      to,
      records.map((stored) => ({ stored })),
    );
  }
  replayAgain(_room: RoomState, to: Connection, seq: number): number | null {
    const page = this.replays.find((records) => (records[0]?.seq ?? seq + 1) <= seq && seq <= (records.at(-1)?.seq ?? 0));
    if (page === undefined) return null;
    this.page(
      to,
      page.filter((record) => record.seq >= seq).map((stored) => ({ stored })),
    );
    return page.at(-1)?.seq ?? null;
  }
  replyEntries(to: Connection, id: number | undefined, fields: object, entries: readonly EntryRecord[]): void {
    this.reply(to, id, { ...fields, entries: entries.map(({ seq }) => seq) });
  }
  deliver(_room: RoomState, records: readonly EntryRecord[]): void {
    for (const client of this.clients.values()) if (client.live) client.seqs.push(...records.map(({ seq }) => seq));
    this.lastDelivered = records.at(-1)?.seq ?? this.lastDelivered;
  }
  shed(_room: RoomState, ephemera: readonly Ephemeral[]): void {
    for (const { from, content, except } of ephemera) {
      for (const client of this.clients.values())
        if (client.live && client.connection !== except) client.pushes.push({ op: 'ephemeral', from, body: content.value });
    }
  }
  attach(_room: RoomState, to: Connection, fromSeq: number, _presence: boolean, attachment: number): void {
    const client = this.clients.get(to.id);
    if (client === undefined || client.live) throw new Error('attached twice, or nobody');
    client.live = true;
    client.attachment = attachment;
    this.lastDelivered = fromSeq - 1;
  }
  detach(_room: RoomState, to: Connection): void {
    const client = this.clients.get(to.id);
    if (client !== undefined) client.live = false;
  }
  reached(): void {}
  touched(): void {
    this.#dirty = true;
  }
  mid(): string {
    return `00000000-0000-7000-8000-${String(++this.#mids).padStart(12, '0')}`;
  }

  /** The gateway takes a live client out of the slot, since its outbox is full; the shard hears of it when the result is called. */
  clog(client: Client): () => void {
    const last = this.lastDelivered;
    const { live, attachment } = client;
    client.live = false;
    return () => {
      if (live) this.actor.behind(client.connection, attachment, last, this);
      this.turn();
    };
  }

  leave(client: Client): void {
    this.gone(client.connection);
    client.live = false;
    this.actor.closed(client.connection, this);
    this.turn();
  }
}

export function publish(n: number | string): Omit<Command<'publish'>, 'room' | 'id'> {
  return { op: 'publish', body: n };
}
