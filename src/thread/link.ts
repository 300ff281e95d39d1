/**
 * One end of a batched, credited MessagePort pair. What is pushed while a batch is on its way collects in the next one, so
 * the link clocks itself: no timer, no delay when calm, large batches under load. A batch costs a credit, which the other
 * end gives back when it has worked the batch off. An end that `hold`s, or whose own next batch is full, keeps the credit
 * and thereby stops its peer.
 */
import type { MessagePort } from 'node:worker_threads';
import { Arena } from './arena.ts';
import type { WireBatch } from './messages.ts';

export type LinkLimits = {
  /** Batches on their way at once. Two: one being worked off while the next one travels. */
  creditBatches: number;
  /** What may collect while there is no credit, before `full` says so. */
  itemsMax: number;
  bytesMax: number;
  /** False at one end of a pair at least: two that are full and keep the other's credit would wait for each other for ever. */
  keepsCredit?: boolean;
};
export const linkLimitDefaults: LinkLimits = { creditBatches: 2, itemsMax: 100_000, bytesMax: 64 * 1024 * 1024 };

export type LinkHandlers<In> = {
  /** One batch: numbers and objects in order; offsets point into `arena`, which the receiver owns. */
  batch(list: (number | In)[], arena: Buffer): void;
  /** The other end is gone (its thread died or closed the port). */
  closed?(): void;
};

const empty = Buffer.alloc(0);

export class Link<Out extends object, In extends object> {
  readonly arena = new Arena();
  readonly #port: MessagePort;
  readonly #limits: LinkLimits;
  #list: (number | Out)[] = [];
  #items = 0;
  #credit: number;
  #scheduled = false;
  #held = 0;
  #owed = 0;
  /** The peer has sent its last credit's worth. Until then what is owed may wait for a batch to travel with: a post of its own wakes a thread. */
  #awaited = false;
  #closed = false;

  constructor(port: MessagePort, handlers: LinkHandlers<In>, limits: LinkLimits = linkLimitDefaults) {
    this.#port = port;
    this.#limits = limits;
    this.#credit = limits.creditBatches;
    port.on('message', (message: number | WireBatch<In>) => {
      if (typeof message === 'number') {
        this.#credit += message;
        if (this.#items > 0) this.flush();
        return;
      }
      const [list, credit, last, bytes] = message;
      this.#credit += credit;
      if (this.#items > 0) this.flush(); // it may have waited for nothing else
      // Counted first: an answer that is sent while the batch is worked off takes the credit with it.
      this.#owed++;
      if (last) this.#awaited = true;
      try {
        handlers.batch(list, bufferOf(bytes));
      } finally {
        this.#repay();
      }
    });
    port.once('close', () => {
      const first = !this.#closed;
      this.#closed = true;
      if (first) handlers.closed?.();
    });
  }

  /** What collected since the last flush. */
  get items(): number {
    return this.#items;
  }

  /** Whether the next batch has reached its bounds: refuse work (`busy`) that would add to it. */
  get full(): boolean {
    return this.#items >= this.#limits.itemsMax || this.arena.offset >= this.#limits.bytesMax;
  }

  push(message: Out): void {
    this.#list.push(message);
    this.#added();
  }

  /** A frame's three numbers (gateway → shard); its bytes are copied into the arena. */
  frame(connection: number, bytes: Uint8Array): void {
    this.#list.push(connection, this.arena.put(bytes), bytes.length);
    this.#added();
  }

  /** A record of numbers (shard → gateway); its bytes, if it has any, are in the arena already. */
  record(...numbers: number[]): void {
    for (let i = 0; i < numbers.length; i++) this.#list.push(numbers[i] as number);
    this.#added();
  }

  /** Sends what collected, if there is credit; otherwise it goes with the credit's return. */
  flush(): void {
    if (this.#items === 0 || this.#credit === 0 || this.#closed) return;
    this.#credit--;
    const bytes = this.arena.take();
    const batch: WireBatch<Out> = [this.#list, 0, this.#credit === 0, bytes];
    this.#list = [];
    this.#items = 0;
    if (this.#held === 0) {
      batch[1] = this.#owed;
      this.#owed = 0;
      this.#awaited = false;
    }
    // Without a list of what to transfer where there is nothing: going through an empty one takes longer than a small batch's copy.
    if (bytes instanceof ArrayBuffer) this.#port.postMessage(batch, [bytes]);
    else this.#port.postMessage(batch);
  }

  /** Stops the peer after its credit is used up, until as many `release`s. */
  hold(): void {
    this.#held++;
  }

  release(): void {
    this.#held--;
    this.#repay();
  }

  close(): void {
    this.#closed = true;
    this.#list = [];
    this.#items = 0;
    this.#port.close();
  }

  #added(): void {
    this.#items++;
    if (this.#scheduled) return;
    this.#scheduled = true;
    setImmediate(() => {
      this.#scheduled = false;
      this.flush();
    });
  }

  #repay(): void {
    if (!this.#awaited || this.#owed === 0 || this.#held > 0 || (this.full && this.#limits.keepsCredit !== false) || this.#closed) return;
    this.#port.postMessage(this.#owed);
    this.#owed = 0;
    this.#awaited = false;
  }
}

function bufferOf(bytes: ArrayBuffer | Uint8Array | null): Buffer {
  if (bytes === null) return empty;
  return bytes instanceof ArrayBuffer ? Buffer.from(bytes) : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
