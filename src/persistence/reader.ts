/** A reader thread's loop: answers each request on the port it came by, one after the other. Never writes, never waits. */
import type { MessagePort } from 'node:worker_threads';
import type { Clock } from '../thread/clock.ts';
import { toColumns } from '../thread/entry-columns.ts';
import type { Log } from '../thread/log.ts';
import type { ReadKind, ReadReply, ReadRequest, ReadResult } from '../thread/messages.ts';
import { suspectOfRead } from '../thread/suspects.ts';
import { stepBytes, type Witness } from '../thread/witness.ts';
import type { StoreReader } from './store.ts';

export class ReadServer {
  readonly #reader: StoreReader;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #witness: Pick<Witness, 'calling' | 'returned' | 'step' | 'clear'>;
  readonly #peers = new Map<number, MessagePort>();
  readonly #counts = { reads: 0, failed: 0, readMsTotal: 0, readMsMax: 0 };
  #open = 0;
  #stopped: (() => void) | null = null;

  constructor(reader: StoreReader, clock: Clock, log: Log, witness: Pick<Witness, 'calling' | 'returned' | 'step' | 'clear'>) {
    this.#reader = reader;
    this.#clock = clock;
    this.#log = log;
    this.#witness = witness;
  }

  /** The link of a shard; an earlier incarnation's is given up. */
  connect(shard: number, port: MessagePort): void {
    this.#peers.get(shard)?.close();
    this.#peers.set(shard, port);
    port.on('message', (request: ReadRequest) => {
      void this.#answer(request).then((result) => {
        port.postMessage(result);
        this.#open--;
        this.#checkStopped();
      });
    });
  }

  stats(): Record<string, number> {
    const { readMsMax } = this.#counts;
    this.#counts.readMsMax = 0;
    return { ...this.#counts, readMsMax, open: this.#open, shards: this.#peers.size };
  }

  /** Answers what has arrived, then calls `stopped`. */
  stop(stopped: () => void): void {
    this.#stopped = stopped;
    this.#checkStopped();
  }

  release(): void {
    for (const port of this.#peers.values()) port.close();
    this.#peers.clear();
  }

  async #answer({ request, query }: ReadRequest): Promise<ReadResult> {
    this.#open++;
    const began = this.#clock.tick();
    const { op, room, user } = suspectOfRead(query);
    this.#witness.step(0, stepBytes(op, room, null, user));
    this.#witness.calling();
    try {
      return packed(request, query.read, await this.#reader.read(query));
    } catch (error) {
      this.#counts.failed++;
      this.#log('error', 'a read failed', { read: query.read, error: String(error) });
      return { request, error: error instanceof Error ? error.message : String(error) };
    } finally {
      this.#witness.returned();
      this.#witness.clear();
      const ms = this.#clock.tick() - began;
      this.#counts.reads++;
      this.#counts.readMsTotal += ms;
      this.#counts.readMsMax = Math.max(this.#counts.readMsMax, ms);
    }
  }

  #checkStopped(): void {
    if (this.#open > 0) return;
    const stopped = this.#stopped;
    this.#stopped = null;
    stopped?.();
  }
}

function packed(request: number, read: ReadKind, reply: ReadReply[ReadKind]): ReadResult {
  if (read === 'entries') {
    const { entries, more } = reply as ReadReply['entries'];
    return { request, reply: { entries: [], more }, entries: toColumns(entries) };
  }
  if (read === 'inbox') {
    const { items, losses, head } = reply as ReadReply['inbox'];
    return { request, reply: { items: [], losses, head }, entries: toColumns(items.map(({ entry }) => entry)), n: items.map(({ n }) => n) };
  }
  return { request, reply };
}
