/**
 * The database of a simulated cluster: the model store behind each node's writer and reader, with time between a commit's
 * beginning, its effect and its answer, and faults at each. What an earlier thread had not made durable is gone with it.
 */
import { isDeepStrictEqual } from 'node:util';
import type { CommitResult, Store, StoreReader } from '../../src/persistence/store.ts';
import type { InboxItem, InboxLoss, MessageAppend, Operation, Outcome, ReadKind, ReadQuery, ReadReply } from '../../src/thread/messages.ts';
import { placeOf } from '../../src/thread/placement.ts';
import { StoreModel } from '../store-model.ts';
import { readModel } from '../store-model-reader.ts';
import type { Database } from './database.ts';
import { copyOf } from './port.ts';
import type { Scheduler, Strand } from './scheduler.ts';

/** Connections of node i are numbered from i times this on, since the model knows of one node only. */
export const numbersPerNode = 1_000_000;
const readMs = 1;

/** A model whose epochs are never named twice, and that can be copied. */
export class SimModel extends StoreModel {
  override get epoch(): string {
    return this.epochs.at(-1) ?? '';
  }

  /** All nodes start anew: another life of the data. */
  begin(epoch: string, now: number): void {
    this.restart(now);
    this.epochs[this.epochs.length - 1] = epoch;
  }

  copy(): SimModel {
    const copied = new SimModel(this.options, this.ts);
    for (const [name, room] of this.rooms) copied.rooms.set(name, copyOf(room));
    for (const [user, inbox] of this.inboxes.all) copied.inboxes.all.set(user, copyOf(inbox));
    for (const [user, presence] of this.presence) copied.presence.set(user, copyOf(presence));
    for (const [user, mark] of this.allMarks) copied.allMarks.set(user, copyOf(mark));
    copied.barred.become(this.barred);
    copied.connections = copyOf(this.connections);
    copied.epochs.splice(0, copied.epochs.length, ...this.epochs);
    return copied;
  }

  /** One node ended without goodbye, others live on: what it had connected is gone. */
  leave(node: number): void {
    const gone = this.connections.filter(({ connection }) => nodeOf(connection) === node);
    this.connections = this.connections.filter(({ connection }) => nodeOf(connection) !== node);
    for (const { user } of gone) this.#offline(user);
  }

  /** `prune` of one node: of its own connections and users only. */
  pruned(node: number, prune: Extract<Operation, { type: 'prune' }>, users: ReadonlySet<string>): Outcome {
    const here = (user: string) => users.has(user) && placeOf(user, prune.shards) === prune.shard;
    this.connections = this.connections.filter(
      ({ connection, user }) => nodeOf(connection) !== node || connection > prune.through || prune.alive.includes(connection) || !here(user),
    );
    return { code: 'pruned', users: [...this.presence.keys()].filter((user) => here(user) && this.#offline(user)).sort() };
  }

  #offline(user: string): boolean {
    const presence = this.presence.get(user);
    if (presence === undefined || presence.status === 'offline') return false;
    if (this.connections.some((one) => one.user === user && one.closing === null)) return false;
    presence.status = 'offline';
    presence.lastSeen = Math.max(presence.lastSeen, this.ts);
    return true;
  }
}

export function nodeOf(connection: number): number {
  return Math.floor(connection / numbersPerNode);
}

/** What goes wrong, from 0 (never) to 1. Changed while it runs. */
export type StoreFaults = {
  /** One operation of a batch is refused; the whole batch is; a read is. */
  statement: number;
  commit: number;
  read: number;
  /** Until then (virtual ms) the disk is full. */
  fullUntil: number;
  /** The next transaction takes effect, and the writer that ran it dies before it can say so. */
  dieNext: boolean;
  commitMs: number;
};
/** What a mutant does to what is to be committed, and to what is answered. */
export type StoreMutant = {
  before?(operations: readonly (MessageAppend | Operation)[], model: SimModel): readonly (MessageAppend | Operation)[];
  /** Answers before the transaction has taken effect. */
  early?: true;
};

export type StoreDeps = {
  scheduler: Scheduler;
  strand: Strand;
  node: number;
  /** Of this node. */
  users: ReadonlySet<string>;
  faults: StoreFaults;
  model(): SimModel;
  /** A real one, which does the same and is believed; where the two differ, that is a fault. */
  database: Database | null;
  fault(what: string): void;
  injected(fault: string): void;
  /** The writer's thread ends. */
  die(): void;
  mutant: StoreMutant | undefined;
};

/** Of one writer thread. */
export class SimStore implements Store {
  readonly #deps: StoreDeps;
  readonly epoch: string;

  constructor(deps: StoreDeps) {
    this.#deps = deps;
    this.epoch = deps.model().epoch;
  }

  commit(operations: readonly (MessageAppend | Operation)[], ts: number): Promise<CommitResult> {
    const { scheduler, strand, faults, model } = this.#deps;
    return new Promise((resolve) => {
      const effectMs = scheduler.between(0, faults.commitMs);
      const answer = (result: CommitResult): void => {
        scheduler.note(`commit ${operations.length} ${JSON.stringify(result.outcomes)}`);
        resolve(result);
      };
      let early: CommitResult | null = null;
      if (this.#deps.mutant?.early && !this.#fails(effectMs)) {
        early = this.#apply(model().copy(), operations, ts);
        answer(early);
      }
      scheduler.after(effectMs, strand, () => {
        const failed = early === null && this.#fails(0);
        const outcomes = operations.map((): Outcome => ({ code: 'storage', message: 'simulated' }));
        const result = failed ? { ts, outcomes, notices: [] } : this.#apply(model(), operations, ts);
        if (!failed && this.#deps.database !== null) this.#applyToo(this.#deps.database, operations, result);
        if (faults.dieNext && !failed) {
          faults.dieNext = false;
          this.#deps.injected('lost-answer');
          this.#deps.die();
        } else if (early === null) scheduler.after(scheduler.between(0, faults.commitMs), strand, () => answer(result));
      });
    });
  }

  async maintain(ts: number): Promise<{ notices: InboxLoss[]; more: boolean }> {
    const { model, database } = this.#deps;
    await database?.store.maintain(ts);
    return copyOf(await model().maintain(ts));
  }

  async close(): Promise<void> {}

  /** What was refused by chance is not asked for. */
  #applyToo({ store }: Database, operations: readonly (MessageAppend | Operation)[], { ts, outcomes, notices }: CommitResult): void {
    const asked = operations.flatMap((operation, i) => (isRefused(outcomes[i]) ? [] : [operation]));
    const expected = { ts, outcomes: outcomes.filter((outcome) => !isRefused(outcome)), notices };
    void store.commit(copyOf(asked), ts).then((result) => {
      if (!isDeepStrictEqual(result, expected)) this.#deps.fault(`SQLite and the model differ: ${JSON.stringify([asked, result, expected])}`);
    });
  }

  #fails(inMs: number): boolean {
    const { scheduler, faults, injected } = this.#deps;
    const full = faults.fullUntil > scheduler.now + inMs;
    if (!full && !scheduler.chance(faults.commit)) return false;
    injected(full ? 'full-disk' : 'commit');
    return true;
  }

  #apply(model: SimModel, given: readonly (MessageAppend | Operation)[], ts: number): CommitResult {
    const { scheduler, faults, node, users, injected, mutant } = this.#deps;
    const operations = mutant?.before?.(given, model) ?? given;
    model.ts = Math.max(model.ts, ts);
    const outcomes: Outcome[] = [];
    const notices: (InboxItem | InboxLoss)[] = [];
    for (const operation of operations) {
      if (scheduler.chance(faults.statement)) {
        injected('statement');
        outcomes.push({ code: 'storage', message: 'simulated' });
      } else if ('type' in operation && operation.type === 'prune') outcomes.push(model.pruned(node, operation, users));
      else outcomes.push(model.apply(copyOf(operation), notices));
    }
    return copyOf({ ts: model.ts, outcomes, notices });
  }
}

function isRefused(outcome: Outcome | undefined): boolean {
  return typeof outcome === 'object' && outcome.code === 'storage';
}

/** Of one reader thread. */
export function simReader({ scheduler, strand, faults, model, database, fault, injected }: Omit<StoreDeps, 'node' | 'users' | 'mutant' | 'die'>): StoreReader {
  return {
    read: <K extends ReadKind>(query: ReadQuery & { read: K }) =>
      new Promise<ReadReply[K]>((resolve, reject) => {
        scheduler.after(scheduler.between(0, readMs), strand, () => {
          if (scheduler.chance(faults.read)) {
            injected('read');
            reject(new Error('simulated'));
            return;
          }
          const expected = copyOf(readModel(model(), query)) as ReadReply[K];
          if (database === null) return resolve(expected);
          void database.reader.read<K>(query).then((reply) => {
            if (!isDeepStrictEqual(reply, expected)) fault(`SQLite and the model differ: ${JSON.stringify([query, reply, expected])}`);
            resolve(reply);
          });
        });
      }),
    close: async () => {},
  };
}
