/**
 * The shard's end of the link to persistence: what actors commit collects while one batch is at the store, and goes with
 * its answer. Bounded in items and bytes. A batch whose writer died is sent again as it was: every entry in it has a mid,
 * so the store knows what it has already.
 */
import type { MessagePort } from 'node:worker_threads';
import type { Batch, BatchResult, FromPersistence, InboxItem, InboxLoss, MessageAppend, Operation, Outcome, ToPersistence } from '../thread/messages.ts';
import { fromNoticeColumns } from '../thread/notice-columns.ts';
import type { Settled } from './actor.ts';

/** What an operation costs beside its body. */
const operationBytes = 200;

export type CommitHandlers = {
  opened(epoch: string): void;
  notices(notices: readonly (InboxItem | InboxLoss)[]): void;
  /** Works off one batch's outcomes within a turn of the shard. */
  settled(settle: () => void): void;
  /** The outcome that comes next is about this room, or about none. */
  about(room: string | null): void;
};

export class Commits {
  readonly #itemsMax: number;
  readonly #bytesMax: number;
  readonly #handlers: CommitHandlers;
  #port: MessagePort | null = null;
  #open = false;
  #operations: (MessageAppend | Operation)[] = [];
  #settled: Settled[] = [];
  #bytes = 0;
  #sent: { batch: Batch; settled: Settled[]; bytes: number } | null = null;
  #batches = 0;
  /** Operations so far, and those of them that are settled. */
  added = 0;
  done = 0;

  constructor(itemsMax: number, bytesMax: number, handlers: CommitHandlers) {
    this.#itemsMax = itemsMax;
    this.#bytesMax = bytesMax;
    this.#handlers = handlers;
  }

  /** Operations waiting or on their way. */
  get pending(): number {
    return this.#operations.length + (this.#sent?.batch.operations.length ?? 0);
  }

  /** A (new) persistence thread: introduces this incarnation of the shard, and repeats what was under way once it is let in. */
  connect(port: MessagePort, shard: number, incarnation: number): void {
    this.#port?.close();
    this.#port = port;
    this.#open = false;
    port.on('message', (message: FromPersistence) => this.#receive(message));
    this.#post({ t: 'open', shard, incarnation });
  }

  /** False where as much waits as may: the caller answers `busy`. */
  add(operation: MessageAppend | Operation, settled: Settled): boolean {
    const bytes = operationBytes + bodyBytes(operation);
    const inFlight = this.#sent?.bytes ?? 0;
    if (this.pending >= this.#itemsMax || this.#bytes + inFlight + bytes > this.#bytesMax) return false;
    this.#operations.push(operation);
    this.#settled.push(settled);
    this.added++;
    this.#bytes += bytes;
    return true;
  }

  /** End of a turn: sends what collected, unless a batch is at the store. */
  flush(): void {
    if (this.#sent !== null || !this.#open || this.#operations.length === 0) return;
    const batch: Batch = { batch: ++this.#batches, operations: this.#operations, again: 0 };
    this.#sent = { batch, settled: this.#settled, bytes: this.#bytes };
    this.#operations = [];
    this.#settled = [];
    this.#bytes = 0;
    this.#post(batch);
  }

  close(): void {
    this.#port?.close();
  }

  #receive(message: FromPersistence): void {
    switch (message.t) {
      case 'opened':
        this.#open = true;
        // Before the handler, whose turn may send the next batch: that one must not go twice.
        if (this.#sent !== null) {
          this.#sent.batch.again++;
          this.#post(this.#sent.batch);
        } else this.flush();
        this.#handlers.opened(message.epoch);
        return;
      case 'result':
        return this.#settle(message);
      case 'notices':
        this.#handlers.notices(fromNoticeColumns(message.notices));
        return;
    }
  }

  #settle(result: BatchResult): void {
    const sent = this.#sent;
    if (sent === null || sent.batch.batch !== result.batch) return; // a repeated batch that had been answered
    this.#sent = null;
    this.flush(); // the next batch travels while this one is worked off
    this.#handlers.settled(() => {
      for (let i = 0; i < sent.settled.length; i++) {
        this.#handlers.about(roomOf(sent.batch.operations[i]));
        const outcome = result.outcomes[i] ?? { code: 'storage', message: 'no outcome' };
        (sent.settled[i] as Settled)(sent.batch.again > 0 ? doubted(outcome) : outcome, result.ts);
      }
      this.done += sent.settled.length;
    });
  }

  #post(message: ToPersistence): void {
    this.#port?.postMessage(message);
  }
}

/** What the second writer refuses, the first may have carried out. */
function doubted(outcome: Outcome): Outcome {
  if (typeof outcome === 'number') return outcome;
  const { code } = outcome;
  return code === 'storage' || code === 'rejected' || code === 'revoked' ? { ...outcome, unsure: true } : outcome;
}

function bodyBytes(operation: MessageAppend | Operation): number {
  if (Array.isArray(operation)) return operation[5]?.length ?? 0;
  return operation.type === 'append' ? (operation.body?.length ?? 0) : 0;
}

function roomOf(operation: MessageAppend | Operation | undefined): string | null {
  if (Array.isArray(operation)) return operation[0];
  return operation !== undefined && 'room' in operation ? operation.room : null;
}
