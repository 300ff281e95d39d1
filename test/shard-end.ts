/** A shard's end of a link to persistence, as tests hold it. */
import type { MessagePort } from 'node:worker_threads';
import { onTestFinished } from 'vitest';
import type { Batch, FromPersistence } from '../src/thread/messages.ts';

/** Keeps what it has received. */
export class ShardEnd {
  readonly got: FromPersistence[] = [];
  readonly port: MessagePort;
  #waiting: { count: number; done(): void } | null = null;

  constructor(port: MessagePort) {
    this.port = port;
    port.on('message', (message: FromPersistence) => {
      this.got.push(message);
      if (this.#waiting !== null && this.got.length >= this.#waiting.count) this.#waiting.done();
    });
    onTestFinished(() => port.close());
  }

  open(shard: number, incarnation = 1): void {
    this.port.postMessage({ t: 'open', shard, incarnation });
  }

  send(batch: number, ...operations: Batch['operations']): void {
    this.port.postMessage({ batch, operations } satisfies Batch);
  }

  /** Resolves when so many messages have come in all. */
  async received(count: number): Promise<FromPersistence[]> {
    if (this.got.length < count) {
      await new Promise<void>((done) => {
        this.#waiting = { count, done };
      });
    }
    return this.got;
  }
}
