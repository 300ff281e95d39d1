/**
 * The shard's end of the links to the readers: requests go round the readers, answers come back by number. Bounded; what a
 * reader took down with it fails as `busy`, which a client may repeat.
 */
import type { MessagePort } from 'node:worker_threads';
import { CodedError } from '../protocol/codes.ts';
import { fromColumns } from '../thread/entry-columns.ts';
import type { ReadKind, ReadQuery, ReadReply, ReadRequest, ReadResult } from '../thread/messages.ts';
import type { Barrier } from '../thread/quarantine.ts';
import { suspectOfRead } from '../thread/suspects.ts';

const waitingMax = 10_000;

/** `answer` is to be called within a turn of the shard, which is about `room`. */
type Answered = (room: string | null, answer: () => void) => void;
type Waiting = { reader: number; query: ReadQuery; done: (reply: never) => void; failed: (error: CodedError) => void };

export class Reads {
  readonly #ports = new Map<number, MessagePort>();
  readonly #waiting = new Map<number, Waiting>();
  readonly #answered: Answered;
  readonly #barrier: Barrier;
  #requests = 0;

  constructor(answered: Answered, barrier: Barrier) {
    this.#answered = answered;
    this.#barrier = barrier;
  }

  get waiting(): number {
    return this.#waiting.size;
  }

  connect(reader: number, port: MessagePort): void {
    this.#ports.get(reader)?.close();
    this.#ports.set(reader, port);
    port.on('message', (result: ReadResult) => this.#receive(result));
    // Reads change nothing, so what the predecessor was asked is asked again, unless it was what ended him.
    for (const [request, { reader: asked, query, failed }] of this.#waiting) {
      if (asked !== reader) continue;
      if (this.#bars(query)) {
        this.#waiting.delete(request);
        this.#answered(null, () => failed(new CodedError('quarantined')));
      } else port.postMessage({ request, query } satisfies ReadRequest);
    }
  }

  read<K extends ReadKind>(query: ReadQuery & { read: K }, done: (reply: ReadReply[K]) => void, failed: (error: CodedError) => void): void {
    if (this.#bars(query)) return failed(new CodedError('quarantined'));
    if (this.#waiting.size >= waitingMax || this.#ports.size === 0) return failed(new CodedError('busy'));
    const request = ++this.#requests;
    const reader = request % this.#ports.size;
    this.#waiting.set(request, { reader, query, done: done as (reply: never) => void, failed });
    this.#ports.get(reader)?.postMessage({ request, query } satisfies ReadRequest);
  }

  close(): void {
    for (const port of this.#ports.values()) port.close();
  }

  #bars(query: ReadQuery): boolean {
    return this.#barrier.up && this.#barrier.bars(suspectOfRead(query));
  }

  #receive(result: ReadResult): void {
    const waiting = this.#waiting.get(result.request);
    if (waiting === undefined) return;
    this.#waiting.delete(result.request);
    this.#answered('room' in waiting.query ? waiting.query.room : null, () => {
      if (result.error !== undefined) waiting.failed(new CodedError('storage', 'the store could not be read'));
      else waiting.done(unpacked(result) as never);
    });
  }
}

function unpacked({ reply, entries: columns, n }: ReadResult): ReadResult['reply'] {
  if (columns === undefined) return reply;
  const entries = fromColumns(columns);
  if (n === undefined) return { ...(reply as ReadReply['entries']), entries };
  return { ...(reply as ReadReply['inbox']), items: entries.map((entry, i) => ({ n: n[i] as number, entry })) };
}
