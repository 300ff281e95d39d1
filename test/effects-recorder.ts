/**
 * Effects for tests of actors: everything is written down, and what an effect brings back (the fate of an operation, an answer of a
 * reader, a drained page) happens when the test says so. Time stands until `advance`.
 */
import type { CodedError } from '../src/protocol/codes.ts';
import type { Presence, Push } from '../src/protocol/pushes.ts';
import type { Connection, Effects, Pushable, Settled } from '../src/shard/actor.ts';
import { Feed } from '../src/shard/feed.ts';
import type { MessageAppend, Operation, Outcome, ReadKind, ReadQuery, ReadReply, ToGateway } from '../src/thread/messages.ts';
import type { Suspect } from '../src/thread/witness.ts';

export type Sent =
  | { to: number; push: Pushable }
  | { to: number; reply: object; id: number | undefined }
  | { to: number; refuse: string; field: string | undefined; of: string; id: number | undefined }
  | { to: number; part: Record<string, unknown[]>; id: number | undefined };

type PendingCommit = { operation: MessageAppend | Operation; settled: Settled };
type PendingRead = { query: ReadQuery; done: (reply: never) => void; failed: (error: CodedError) => void };

export class EffectsRecorder implements Effects {
  now = 1_790_000_000_000;
  tick = 1_000;
  /** What clients got, in order. */
  sent: Sent[] = [];
  told: ToGateway[] = [];
  /** Operations whose fate is open, in the order of commit. */
  readonly commits: PendingCommit[] = [];
  /** Reads not answered yet. */
  readonly reads: PendingRead[] = [];
  /** How many there were. */
  asked = 0;
  /** What is set aside. */
  bars: (suspect: Suspect) => boolean = () => false;
  /** As if the shard's queue of operations were full. */
  full = false;
  readonly #feed = new Feed();
  #connections = 0;
  /** Connections whose page has not drained. */
  readonly #paged = new Set<Connection>();

  connection(user: string, device = '', service = false): Connection {
    return { id: ++this.#connections, user, device, format: 'json', service, scopes: [], open: true };
  }

  advance(ms: number): void {
    this.now += ms;
    this.tick += ms;
  }

  reply(to: Connection, id: number | undefined, fields: object): void {
    if (id !== undefined && to.open) this.sent.push({ to: to.id, reply: fields, id });
  }

  refuse(to: Connection, id: number | undefined, of: string, error: CodedError): void {
    if (to.open) this.sent.push({ to: to.id, refuse: error.code, field: error.field, of, id });
  }

  part(to: Connection, id: number | undefined, part: Record<string, unknown[]>): void {
    if (to.open) this.sent.push({ to: to.id, part, id });
  }

  push(to: Connection, push: Pushable): void {
    if (to.open) this.sent.push({ to: to.id, push });
  }

  pushAll(to: Iterable<Connection>, push: Push): void {
    for (const connection of to) this.push(connection, push);
  }

  page(to: Connection, pushes: readonly Pushable[]): void {
    if (this.#paged.has(to)) throw new Error('a page while the last one has not drained');
    this.#paged.add(to);
    for (const push of pushes) this.push(to, push);
  }

  tell(message: ToGateway): void {
    this.told.push(message);
  }

  commit(operation: MessageAppend | Operation, settled: Settled): boolean {
    if (this.full) return false;
    this.commits.push({ operation, settled });
    return true;
  }

  read<K extends ReadKind>(query: ReadQuery & { read: K }, done: (reply: ReadReply[K]) => void, failed: (error: CodedError) => void): void {
    this.asked++;
    this.reads.push({ query, done: done as (reply: never) => void, failed });
  }

  feed(to: Connection, turn: () => void): void {
    this.#feed.ask(to, turn);
  }

  skip(to: Connection): void {
    this.#feed.done(to);
  }

  /** Whether a page is on its way. */
  get draining(): boolean {
    return this.#paged.size > 0;
  }

  /** The pages on their way have drained, of one connection or of all. */
  drained(only?: Connection): void {
    for (const connection of only === undefined ? [...this.#paged] : [only]) {
      if (this.#paged.delete(connection)) this.#feed.done(connection);
    }
  }

  /** The connection is gone, as the shard's loop notes it before it tells the actors. */
  gone(connection: Connection): void {
    connection.open = false;
    this.#paged.delete(connection);
    this.#feed.drop(connection);
  }

  /** Decides the oldest open operation, which must be of this type. */
  settle(type: Operation['type'], outcome: Outcome = { code: 'done' }): Operation {
    const commit = this.commits.shift();
    const operation = commit?.operation;
    if (commit === undefined || operation === undefined || Array.isArray(operation) || operation.type !== type)
      throw new Error(`the oldest operation is ${JSON.stringify(operation)}, not ${type}`);
    commit.settled(outcome, this.now);
    return operation;
  }

  /** Answers the oldest open read, which must be of this kind. */
  answer<K extends ReadKind>(kind: K, reply: ReadReply[K]): ReadQuery & { read: K } {
    const read = this.#oldest(kind);
    read.done(reply as never);
    return read.query as ReadQuery & { read: K };
  }

  fail(kind: ReadKind, error: CodedError): void {
    this.#oldest(kind).failed(error);
  }

  /** Operations whose fate is open, without what every one repeats. */
  get operations(): (MessageAppend | Operation)[] {
    return this.commits.map((commit) => commit.operation);
  }

  /** What this connection got since the last call, and forgets it. */
  take(connection: Connection): Sent[] {
    const mine = this.sent.filter((item) => item.to === connection.id);
    this.sent = this.sent.filter((item) => item.to !== connection.id);
    return mine;
  }

  /** `take`, of presence pushes only: user and status. */
  statuses(connection: Connection): string[] {
    const pushes = this.take(connection).flatMap((item) => ('push' in item && 'op' in item.push && item.push.op === 'presence' ? [item.push as Presence] : []));
    return pushes.map(({ user, status }) => `${user} ${status}`);
  }

  /** `take`, of an inbox only: n of items, ranges of gaps as [from, to]. */
  inbox(connection: Connection): (number | [number, number])[] {
    return this.take(connection).flatMap((item): (number | [number, number])[] => {
      if (!('push' in item)) return [];
      const { push } = item;
      if ('stored' in push) return [push.n as number];
      return push.op === 'inbox-gap' ? [[push.from, push.to]] : [];
    });
  }

  #oldest(kind: ReadKind): PendingRead {
    const read = this.reads.shift();
    if (read === undefined || read.query.read !== kind) throw new Error(`the oldest read is ${JSON.stringify(read?.query)}, not ${kind}`);
    return read;
  }
}
