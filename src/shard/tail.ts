/**
 * The newest entries of one active room, bounded in items and bytes: what a reader who is only a little behind needs is
 * here, so that a crowd coming back does not read the store. Owned by the room's actor.
 */
import type { EntryRecord } from '../thread/messages.ts';

/** What a record costs beside its body: the object, its strings and its place in the list. */
const recordBytes = 240;
/** Stands where a record was: what is beyond the bounds must not stay in memory until the list is cut. */
const gone: EntryRecord = { room: '', seq: 0, kind: 'message', mid: null, from: null, ts: 0, thread: null, body: null };

export class Tail {
  readonly #itemsMax: number;
  readonly #bytesMax: number;
  #records: EntryRecord[] = [];
  /** Places before this index are empty; the list is cut when half of it is. */
  #start = 0;
  #bytes = 0;

  constructor(itemsMax: number, bytesMax: number) {
    this.#itemsMax = itemsMax;
    this.#bytesMax = bytesMax;
  }

  get bytes(): number {
    return this.#bytes;
  }

  push(record: EntryRecord): void {
    this.#records.push(record);
    this.#bytes += sizeOf(record);
    while (this.#records.length - this.#start > this.#itemsMax || (this.#bytes > this.#bytesMax && this.#records.length - this.#start > 1)) {
      this.#bytes -= sizeOf(this.#records[this.#start] as EntryRecord);
      this.#records[this.#start++] = gone;
    }
    if (this.#start > 64 && this.#start * 2 > this.#records.length) {
      this.#records = this.#records.slice(this.#start);
      this.#start = 0;
    }
  }

  /** The entries from `seq` on, up to `bytesMax` (at least one); null where the tail does not reach back so far. */
  from(seq: number, bytesMax: number): EntryRecord[] | null {
    const first = this.#records[this.#start];
    if (first === undefined || seq < first.seq) return null;
    const found: EntryRecord[] = [];
    let bytes = 0;
    // Entries are dense, so the index is arithmetic.
    for (let i = this.#start + (seq - first.seq); i < this.#records.length; i++) {
      const record = this.#records[i] as EntryRecord;
      bytes += sizeOf(record);
      if (bytes > bytesMax && found.length > 0) break;
      found.push(record);
    }
    return found;
  }

  clear(): void {
    this.#records = [];
    this.#start = 0;
    this.#bytes = 0;
  }
}

export function sizeOf(record: EntryRecord): number {
  return recordBytes + (record.body?.length ?? 0);
}
