/** A shard's end of a link to persistence, as tests hold it. */
import type { MessagePort } from 'node:worker_threads';
import { onTestFinished } from 'vitest';
import type { Batch, BatchResult, FromPersistence, InboxItem, InboxLoss, Opened } from '../src/thread/messages.ts';
import { fromNoticeColumns } from '../src/thread/notice-columns.ts';

/** What it hears, notices as the shard has them. */
export type Heard = Opened | BatchResult | { t: 'notices'; notices: (InboxItem | InboxLoss)[] };

/** Keeps what it has received. */
export class ShardEnd {
  readonly got: Heard[] = [];
  readonly port: MessagePort;
  #waiting: { count: number; done(): void } | null = null;

  constructor(port: MessagePort) {
    this.port = port;
    port.on('message', (message: FromPersistence) => {
      this.got.push(message.t === 'notices' ? { t: 'notices', notices: fromNoticeColumns(message.notices) } : message);
      if (this.#waiting !== null && this.got.length >= this.#waiting.count) this.#waiting.done();
    });
    onTestFinished(() => port.close());
  }

  open(shard: number, incarnation = 1): void {
    this.port.postMessage({ t: 'open', shard, incarnation });
  }

  send(batch: number, ...operations: Batch['operations']): void {
    this.sendAgain(0, batch, ...operations);
  }

  /** As if so many writers had died with it. */
  sendAgain(again: number, batch: number, ...operations: Batch['operations']): void {
    this.port.postMessage({ batch, operations, again } satisfies Batch);
  }

  /** Resolves when so many messages have come in all. */
  async received(count: number): Promise<Heard[]> {
    if (this.got.length < count) {
      await new Promise<void>((done) => {
        this.#waiting = { count, done };
      });
    }
    return this.got;
  }
}
