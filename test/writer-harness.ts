/** What tests of the persistence thread's loop share: a store that they hold back, a writer on it, and its links. */
import { MessageChannel } from 'node:worker_threads';
import { onTestFinished } from 'vitest';
import type { CommitResult, Store } from '../src/persistence/store.ts';
import { Writer } from '../src/persistence/writer.ts';
import { systemClock } from '../src/thread/clock.ts';
import type { MessageAppend, Operation } from '../src/thread/messages.ts';
import { type Barred, Barrier } from '../src/thread/quarantine.ts';
import { ShardEnd } from './shard-end.ts';
import { startTs } from './store-contract.ts';
import { StoreModel } from './store-model.ts';

/** The model, with commits that a test holds back and counts. */
export class HeldStore extends StoreModel {
  readonly batches: number[] = [];
  /** How many commits there had been by then. */
  readonly maintained: number[] = [];
  hold: Promise<void> | null = null;
  broken: Error | null = null;
  #started: (() => void) | null = null;

  override async commit(operations: readonly (MessageAppend | Operation)[], ts: number): Promise<CommitResult> {
    this.batches.push(operations.length);
    this.#started?.();
    if (this.hold !== null) await this.hold;
    if (this.broken !== null) throw this.broken;
    return super.commit(operations, ts);
  }

  override maintain(ts: number): ReturnType<Store['maintain']> {
    this.maintained.push(this.batches.length);
    this.#started?.();
    return super.maintain(ts);
  }

  /** When the store is next called. */
  called(): Promise<void> {
    return new Promise((resolve) => {
      this.#started = resolve;
    });
  }
}

export function writerOn(store: Store, shards: number, maintainMs = 1_000_000, barred: Barred = { rooms: [], commands: [] }) {
  const named: string[] = [];
  const failures: unknown[] = [];
  let failed: (() => void) | null = null;
  const failing = new Promise<void>((resolve) => {
    failed = resolve;
  });
  const writer = new Writer({
    witness: { calling: () => {}, returned: () => {}, step: (_connection, bytes) => named.push(Buffer.from(bytes).toString()), clear: () => named.push('') },
    barrier: new Barrier(barred),
    store,
    shards,
    maintainMs,
    clock: { ...systemClock, now: () => startTs },
    failed: (error) => {
      failures.push(error);
      failed?.();
    },
  });
  onTestFinished(() => writer.release());
  const link = (): ShardEnd => {
    const { port1, port2 } = new MessageChannel();
    writer.connect(port1);
    return new ShardEnd(port2);
  };
  const shard = async (index: number): Promise<ShardEnd> => {
    const end = link();
    end.open(index);
    await end.received(1);
    return end;
  };
  return { writer, failures, failing, link, shard, named };
}

export function gate(): { wait: Promise<void>; open(): void } {
  let open = (): void => {};
  const wait = new Promise<void>((resolve) => {
    open = resolve;
  });
  return { wait, open: () => open() };
}

/** What was posted before on any port of this thread has been received. */
export function arrived(): Promise<void> {
  return new Promise((resolve) => {
    const { port1, port2 } = new MessageChannel();
    port1.once('message', () => {
      port1.close();
      setImmediate(resolve);
    });
    port2.postMessage(0);
  });
}
