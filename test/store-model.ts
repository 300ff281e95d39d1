/**
 * The store as plain maps: what the contract means, without a thought for speed or disks. Tests of other parts may use it as
 * a store; the comparison of SQLite with it (`store-compare.test.ts`) is what makes both believable.
 */
import type { CommitResult, Store, StoreOptions, StoreReader } from '../src/persistence/store.ts';
import type { CloseReason } from '../src/protocol/codes.ts';
import type { Role, Settings } from '../src/protocol/commands.ts';
import { allRoom, dmUsers } from '../src/protocol/names.ts';
import type { Status } from '../src/protocol/pushes.ts';
import type { Append, EntryRecord, InboxItem, InboxLoss, MessageAppend, Operation, Outcome, ReadKind, ReadQuery, ReadReply } from '../src/thread/messages.ts';
import { autoCreates } from '../src/thread/messages.ts';
import { placeOf } from '../src/thread/placement.ts';
import { Barred } from './store-model-barred.ts';
import { ModelInboxes, type ModelItem, sizeOf, waiting } from './store-model-inbox.ts';
import { readModel } from './store-model-reader.ts';

export type ModelRoom = {
  exists: boolean;
  settings: Settings;
  createdAt: number | null;
  head: number;
  first: number;
  auth: number;
  members: Map<string, { role: Role; sinceSeq: number; sinceTs: number; received: number; read: number }>;
  entries: (EntryRecord & { epoch: number })[];
};
type Connection = { connection: number; user: string; device: string; since: number; closing: CloseReason | null };
type Notices = (InboxItem | InboxLoss)[];
type Of<T extends Operation['type']> = Extract<Operation, { type: T }>;

export class StoreModel implements Store {
  readonly options: StoreOptions;
  readonly rooms = new Map<string, ModelRoom>();
  readonly inboxes: ModelInboxes;
  readonly presence = new Map<string, { status: Status; lastSeen: number }>();
  readonly allMarks = new Map<string, { received: number; read: number }>();
  readonly barred = new Barred();
  readonly epochs = ['epoch-1'];
  connections: Connection[] = [];
  ts: number;

  /** `now`: the clock when it is opened. */
  constructor(options: StoreOptions, now: number) {
    this.options = options;
    this.ts = now;
    this.inboxes = new ModelInboxes(options, () => this.ts);
  }

  get epoch(): string {
    return `epoch-${this.epochs.length}`;
  }

  reader(): StoreReader {
    return {
      read: async <K extends ReadKind>(query: ReadQuery & { read: K }) => structuredClone(readModel(this, query)) as ReadReply[K],
      close: async () => {},
    };
  }

  async commit(operations: readonly (MessageAppend | Operation)[], ts: number): Promise<CommitResult> {
    this.ts = Math.max(this.ts, ts);
    const notices: Notices = [];
    return { ts: this.ts, outcomes: operations.map((operation) => this.apply(operation, notices)), notices };
  }

  async maintain(ts: number): Promise<{ notices: InboxLoss[]; more: boolean }> {
    this.ts = Math.max(this.ts, ts);
    this.barred.forget(this.ts);
    const notices: InboxLoss[] = [];
    const { inboxAgeMs, deviceAgeMs, broadcastEntriesMax } = this.options;
    for (const [user, inbox] of this.inboxes.all) {
      this.inboxes.lose(
        user,
        waiting(inbox).filter((item) => item.queuedAt < this.ts - inboxAgeMs),
        'expired',
        notices,
      );
      for (const [device, { seenAt }] of inbox.devices) {
        const connected = this.connections.some((one) => one.user === user && one.device === device);
        if (seenAt < this.ts - deviceAgeMs && !connected) inbox.devices.delete(device);
      }
      this.inboxes.upkeep(inbox);
    }
    const all = this.rooms.get(allRoom);
    if (all !== undefined) all.first = Math.max(all.first, all.head - broadcastEntriesMax + 1);
    return { notices, more: false };
  }

  async close(): Promise<void> {
    this.#leave(this.ts);
  }

  /** As if the process had been stopped and started. */
  restart(now: number): void {
    this.#leave(Math.max(this.ts, now));
    this.epochs.push(`epoch-${this.epochs.length + 1}`);
    this.ts = now;
  }

  #leave(ts: number): void {
    this.connections = [];
    for (const [user, { status, lastSeen }] of this.presence)
      if (status !== 'offline') this.presence.set(user, { status: 'offline', lastSeen: Math.max(lastSeen, ts) });
  }

  apply(operation: MessageAppend | Operation, notices: Notices): Outcome {
    if (!('type' in operation)) {
      const [room, authSeq, mid, from, thread, body, autoCreate, origin] = operation;
      const append: Append = {
        type: 'append',
        room,
        authSeq,
        mid,
        from,
        thread,
        body,
        autoCreate: autoCreates[autoCreate] ?? null,
        kind: 'message',
        change: null,
        inbox: origin === undefined ? null : (dmUsers(room) ?? []).filter((user) => user !== from).concat(from ?? []),
        origin: typeof origin === 'string' && from !== null ? { user: from, device: origin } : null,
      };
      const outcome = this.#append(append, notices);
      return typeof outcome === 'object' && outcome.code === 'ok' ? outcome.seq : outcome;
    }
    switch (operation.type) {
      case 'append':
        return this.#append(operation, notices);
      case 'connect':
        return this.barred.admits(operation) ? this.#connect(operation) : { code: 'revoked' };
      case 'revokeToken':
        return this.barred.revokeToken(operation);
      case 'revoke':
        return this.barred.revoke(operation, this.ts, this.connections);
      case 'disconnect':
        return this.#disconnect(operation);
      case 'prune':
        return this.#prune(operation);
      case 'presence':
        this.presence.set(operation.user, { status: operation.status, lastSeen: operation.lastSeen });
        break;
      case 'sent':
        this.inboxes.sent(operation.user, operation.through);
        break;
      case 'ack':
        this.inboxes.ack(operation.user, operation.device, operation.through);
        break;
      case 'mark':
        this.#mark(operation);
        break;
    }
    return { code: 'done' };
  }

  #append(operation: Append, notices: Notices): Outcome {
    const { room: name, change, mid, from, body } = operation;
    if (body !== null && typeof body !== 'string' && !(body instanceof Uint8Array)) return { code: 'storage', message: 'not a body' };
    const room = this.rooms.get(name) ?? newRoom();
    const before = room.entries.find((entry) => mid !== null && entry.mid === mid && entry.seq >= room.first);
    if (before !== undefined) return before.from === from ? { code: 'duplicate', seq: before.seq } : { code: 'conflict' };
    if (change?.type === 'create' ? room.exists : !room.exists && operation.autoCreate === null) return { code: room.exists ? 'exists' : 'not-found' };
    if (operation.authSeq !== room.auth) return { code: 'stale' };
    const member = change !== null && 'user' in change ? room.members.get(change.user) : undefined;
    if (change?.type === 'join' && member !== undefined) return { code: 'duplicate', seq: member.sinceSeq };
    if (change?.type === 'join' && room.members.size >= change.membersMax) return { code: 'room-full' };
    if ((change?.type === 'role' || change?.type === 'leave') && member === undefined) return { code: 'not-found' };
    const sender = operation.origin?.user ?? from;
    const recipients = [...new Set(operation.inbox)].filter(
      (user) => user !== sender || [...this.inboxes.of(user).devices.keys()].some((device) => device !== operation.origin?.device),
    );
    const bytes = sizeOf(body);
    if (this.options.inboxOverflow === 'reject' && recipients.some((user) => user !== sender && this.inboxes.overflows(user, bytes)))
      return { code: 'inbox-full' };

    this.rooms.set(name, room);
    this.#freeMid(room, name, mid);
    const seq = ++room.head;
    const { kind, thread } = operation;
    const entry: EntryRecord = { room: name, seq, kind, mid, from, ts: this.ts, thread, body };
    room.entries.push({ ...entry, epoch: this.epochs.length });
    if (!room.exists) {
      room.createdAt = this.ts;
      room.settings = operation.autoCreate === 'dm' ? { visibility: 'private' } : {};
      if (change?.type !== 'create' && operation.autoCreate === 'dm') for (const user of dmUsers(name) ?? []) this.#join(room, user, 'member', seq);
      room.exists = true;
    }
    this.#change(room, operation, seq);
    for (const user of recipients) this.inboxes.deliver(user, entry, bytes, operation.origin?.user === user ? operation.origin.device : null, notices);
    return { code: 'ok', seq };
  }

  /** An entry that was trimmed or deleted holds its mid no longer, not even where it still waits in an inbox. */
  #freeMid(room: ModelRoom, name: string, mid: string | null): void {
    if (mid === null) return;
    for (const entry of room.entries) if (entry.mid === mid) entry.mid = null;
    for (const { items } of this.inboxes.all.values()) for (const { entry } of items) if (entry.room === name && entry.mid === mid) entry.mid = null;
  }

  #change(room: ModelRoom, { change }: Append, seq: number): void {
    switch (change?.type) {
      case undefined:
        return;
      case 'create':
        room.settings = { ...change.settings };
        if (change.owner !== null) this.#join(room, change.owner, 'owner', seq);
        if (change.settings.visibility === 'private') break;
        return;
      case 'join':
        if (change.restricts) room.auth = seq;
        return this.#join(room, change.user, change.role, seq);
      case 'settings':
        Object.assign(room.settings, change.settings);
        break;
      case 'role':
        (room.members.get(change.user) as { role: Role }).role = change.role;
        break;
      case 'leave':
        room.members.delete(change.user);
        break;
      case 'delete':
        Object.assign(room, { exists: false, settings: {}, createdAt: null, first: seq });
        room.members.clear();
        break;
    }
    room.auth = seq;
  }

  #join(room: ModelRoom, user: string, role: Role, seq: number): void {
    room.members.set(user, { role, sinceSeq: seq, sinceTs: this.ts, received: seq - 1, read: seq - 1 });
  }

  #mark({ room: name, user, received, read }: Of<'mark'>): void {
    const room = this.rooms.get(name);
    if (room === undefined) return;
    const marks = name === allRoom ? this.#allMark(user) : room.members.get(user);
    if (marks === undefined) return;
    const readTo = Math.min(read, room.head);
    for (const { entry, ...item } of name === allRoom ? [] : this.inboxes.of(user).items) {
      if (entry.room === name && entry.seq > marks.read && entry.seq <= readTo) (this.inboxes.of(user).items[item.n - 1] as ModelItem).readAt ??= this.ts;
    }
    marks.received = Math.max(marks.received, readTo, Math.min(received, room.head));
    marks.read = Math.max(marks.read, readTo);
  }

  #connect({ user, device, named, connection, perUserMax, policy, devicesMax, again }: Of<'connect'>): Outcome {
    const inbox = this.inboxes.of(user);
    if (!again) {
      const open = this.connections
        .filter((one) => one.user === user && one.closing === null && one.connection !== connection)
        .sort((a, b) => a.since - b.since || a.connection - b.connection);
      const others = open.filter((one) => !named || one.device !== device);
      const excess = others.length + 1 - perUserMax;
      if (excess > 0 && policy === 'reject') return { code: 'rejected' };
      for (const one of open) if (!others.includes(one)) one.closing = 'replaced';
      for (const one of others.slice(0, Math.max(0, excess))) one.closing = 'evicted';
      if (this.presence.get(user)?.status !== 'online') this.presence.set(user, { status: 'online', lastSeen: this.ts });
    }
    if (!this.connections.some((one) => one.connection === connection)) this.connections.push({ connection, user, device, since: this.ts, closing: null });
    const isConnected = (label: string) => this.connections.some((one) => one.user === user && one.device === label && one.closing === null);
    const known = inbox.devices.get(device) ?? this.inboxes.newDevice(user, device, devicesMax, isConnected);
    known.seenAt = this.ts;
    const condemned = this.connections.filter((one) => one.user === user && one.closing !== null).sort((a, b) => a.connection - b.connection);
    const victims = condemned.map((one) => ({ connection: one.connection, close: one.closing as CloseReason }));
    const marks = { allMark: this.#allMark(user).received, revokedAt: this.barred.until(user) };
    return { code: 'connected', victims, acked: known.acked, head: inbox.items.length, ...marks };
  }

  #disconnect({ connection }: Of<'disconnect'>): Outcome {
    const gone = this.connections.find((one) => one.connection === connection);
    this.connections = this.connections.filter((one) => one !== gone);
    const device = gone === undefined ? undefined : this.inboxes.of(gone.user).devices.get(gone.device);
    if (device !== undefined) device.seenAt = this.ts;
    return { code: 'done' };
  }

  #prune({ shard, shards, through, alive }: Of<'prune'>): Outcome {
    const isHere = (user: string) => placeOf(user, shards) === shard;
    for (const { connection, user } of [...this.connections])
      if (connection <= through && !alive.includes(connection) && isHere(user)) this.#disconnect({ type: 'disconnect', user, connection });
    const users: string[] = [];
    for (const [user, presence] of this.presence) {
      if (presence.status === 'offline' || !isHere(user) || this.connections.some((one) => one.user === user && one.closing === null)) continue;
      presence.status = 'offline';
      presence.lastSeen = Math.max(presence.lastSeen ?? 0, this.ts);
      users.push(user);
    }
    return { code: 'pruned', users: users.sort() };
  }

  #allMark(user: string): { received: number; read: number } {
    const head = this.rooms.get(allRoom)?.head ?? 0;
    const mark = this.allMarks.get(user) ?? { received: head, read: head };
    this.allMarks.set(user, mark);
    return mark;
  }
}

function newRoom(): ModelRoom {
  return { exists: false, settings: {}, createdAt: null, head: 0, first: 1, auth: 0, members: new Map(), entries: [] };
}
