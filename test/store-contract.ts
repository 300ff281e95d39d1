/**
 * What every `Store` and `StoreReader` promise, run on each adapter: a suite as a function of how to open one. The parts
 * stand in `store-contract-*.ts` by subject; what they share is here.
 */
import { afterEach, describe } from 'vitest';
import type { Store, StoreOptions, StoreReader } from '../src/persistence/store.ts';
import type { EntryKind } from '../src/protocol/pushes.ts';
import type { Append, InboxItem, InboxLoss, MessageAppend, Operation, Outcome, ReadKind, ReadQuery, ReadReply } from '../src/thread/messages.ts';
import { inboxContract } from './store-contract-inbox.ts';
import { ledgerContract } from './store-contract-ledger.ts';
import { logContract } from './store-contract-log.ts';
import { peopleContract } from './store-contract-people.ts';
import { roomContract } from './store-contract-rooms.ts';

export type OpenStore = { store: Store; reader: StoreReader };
export type Subject = OpenStore & {
  /** As a process that stopped and started again. */
  reopen(): Promise<OpenStore>;
};
export type OpenSubject = (options: StoreOptions) => Promise<Subject>;

export const day = 86_400_000;
export const startTs = 1_790_000_000_000;
export const defaults: StoreOptions = {
  data: '',
  node: 'node-1',
  exclusive: false,
  durability: 'process',
  inboxItemsMax: 5,
  inboxBytesMax: 1_000,
  inboxAgeMs: 30 * day,
  inboxOverflow: 'drop-oldest',
  deviceAgeMs: 30 * day,
  ledgerAgeMs: 7 * day,
  broadcastEntriesMax: 3,
};

/** A store under test, with words for what tests do to it. */
export class Bench {
  ts = startTs;
  readonly notices: (InboxItem | InboxLoss)[] = [];
  readonly #subject: Subject;
  #open: OpenStore;

  constructor(subject: Subject) {
    this.#subject = subject;
    this.#open = subject;
  }

  get epoch(): string {
    return this.#open.store.epoch;
  }

  async commit(...operations: (MessageAppend | Operation)[]): Promise<Outcome[]> {
    const { outcomes, notices, ts } = await this.#open.store.commit(operations, this.ts);
    this.ts = ts;
    this.notices.push(...notices);
    return outcomes;
  }

  async one(operation: MessageAppend | Operation): Promise<Outcome> {
    return (await this.commit(operation))[0] as Outcome;
  }

  /** Messages of `from`, one batch. */
  say(room: string, from: string, ...bodies: string[]): Promise<Outcome[]> {
    return this.commit(...bodies.map((body) => message(room, from, { body: JSON.stringify(body) })));
  }

  /** Until there is no more to do. */
  async maintain(): Promise<InboxLoss[]> {
    const all: InboxLoss[] = [];
    for (;;) {
      const { notices, more } = await this.#open.store.maintain(this.ts);
      all.push(...notices);
      if (!more) return all;
    }
  }

  read<K extends ReadKind>(query: ReadQuery & { read: K }): Promise<ReadReply[K]> {
    return this.#open.reader.read(query as never) as Promise<ReadReply[K]>;
  }

  entries(room: string, rest: Partial<Extract<ReadQuery, { read: 'entries' }>> = {}): Promise<ReadReply['entries']> {
    return this.read({ read: 'entries', room, from: 1, to: 1_000_000, limit: 1_000, bytesMax: 1_000_000, kind: null, descending: false, ...rest });
  }

  room(room: string): Promise<ReadReply['room']> {
    return this.read({ read: 'room', room });
  }

  inbox(user: string, after = 0, limit = 100, device: string | null = null): Promise<ReadReply['inbox']> {
    return this.read({ read: 'inbox', user, device, after, limit, bytesMax: 1_000_000 });
  }

  async reopen(): Promise<void> {
    this.#open = await this.#subject.reopen();
  }

  async close(): Promise<void> {
    await this.#open.reader.close();
    await this.#open.store.close();
  }
}

export type OpenBench = (overrides?: Partial<StoreOptions>) => Promise<Bench>;

export function storeContract(name: string, open: OpenSubject): void {
  describe(`Store: ${name}`, () => {
    let benches: Bench[] = [];
    afterEach(async () => {
      await Promise.all(benches.map((bench) => bench.close()));
      benches = [];
    });
    const openBench: OpenBench = async (overrides = {}) => {
      const bench = new Bench(await open({ ...defaults, ...overrides }));
      benches.push(bench);
      return bench;
    };
    describe('the log', () => logContract(openBench));
    describe('rooms and members', () => roomContract(openBench));
    describe('inboxes', () => inboxContract(openBench));
    describe('the ledger', () => ledgerContract(openBench));
    describe('connections, presence and marks', () => peopleContract(openBench));
  });
}

/** A UUID that says its number. */
export function mid(n: number): string {
  return `00000000-0000-7000-8000-${n.toString(16).padStart(12, '0')}`;
}

export function message(
  room: string,
  from: string | null,
  rest: { body?: MessageAppend[5]; mid?: string | null; authSeq?: number; auto?: 0 | 1 | 2 | 3; thread?: string | null } = {},
): MessageAppend {
  return [room, rest.authSeq ?? 0, rest.mid ?? null, from, rest.thread ?? null, rest.body === undefined ? '"hi"' : rest.body, rest.auto ?? 1];
}

const kindOf: Readonly<Record<NonNullable<Append['change']>['type'], EntryKind>> = {
  create: 'created',
  settings: 'settings',
  delete: 'deleted',
  join: 'member',
  role: 'member',
  leave: 'member',
};

/** An entry that changes the room. */
export function changing(room: string, authSeq: number, change: NonNullable<Append['change']>, rest: Partial<Append> = {}): Append {
  return { ...blank, room, authSeq, change, kind: kindOf[change.type], body: '{}', from: 'admin', ...rest };
}

/** A direct message, as its room's actor sends it. */
export function shortDirect(from: string, to: string, rest: Parameters<typeof direct>[2] = {}): MessageAppend {
  const { room, mid: id, body, origin } = direct(from, to, rest);
  return [room, 0, id, from, null, body, 2, origin?.device ?? null];
}

/** The same in full. */
export function direct(from: string, to: string, rest: { device?: string; body?: string; mid?: string } = {}): Append {
  const room = from < to ? `dm:${from}:${to}` : `dm:${to}:${from}`;
  const { device = 'phone', body = '"psst"', mid: id = null } = rest;
  return { ...blank, room, autoCreate: 'dm', from, body, mid: id, inbox: [to, from], origin: { user: from, device } };
}

export function connect(user: string, connection: number, rest: Partial<Extract<Operation, { type: 'connect' }>> = {}): Operation {
  return {
    type: 'connect',
    user,
    device: 'phone',
    named: false,
    connection,
    perUserMax: 10,
    policy: 'reject',
    devicesMax: 3,
    again: false,
    issuedAt: startTs,
    ...rest,
  };
}

const blank: Append = {
  type: 'append',
  room: '',
  authSeq: 0,
  autoCreate: null,
  mid: null,
  kind: 'message',
  from: null,
  thread: null,
  body: null,
  change: null,
  inbox: null,
  origin: null,
};
