/**
 * Entries on their way from a reader to a shard: as columns. A structured clone writes the keys of every object anew, and
 * reads them one by one; a list of one kind of value costs a third of that at both ends, and names that repeat go once.
 */
import type { EntryKind } from '../protocol/pushes.ts';
import type { EntryRecord, StoredBody } from './messages.ts';

/** `room`, `kind` and `from` are places in `words`; -1: null. */
export type EntryColumns = {
  words: string[];
  room: number[];
  seq: number[];
  kind: number[];
  mid: (string | null)[];
  from: number[];
  ts: number[];
  thread: (string | null)[];
  body: StoredBody[];
};

export function toColumns(entries: readonly EntryRecord[]): EntryColumns {
  const columns: EntryColumns = { words: [], room: [], seq: [], kind: [], mid: [], from: [], ts: [], thread: [], body: [] };
  const places = new Map<string, number>();
  const place = (word: string): number => {
    const known = places.get(word);
    if (known !== undefined) return known;
    places.set(word, columns.words.length);
    return columns.words.push(word) - 1;
  };
  for (const { room, seq, kind, mid, from, ts, thread, body } of entries) {
    columns.room.push(place(room));
    columns.seq.push(seq);
    columns.kind.push(place(kind));
    columns.mid.push(mid);
    columns.from.push(from === null ? -1 : place(from));
    columns.ts.push(ts);
    columns.thread.push(thread);
    columns.body.push(body);
  }
  return columns;
}

export function fromColumns({ words, room, seq, kind, mid, from, ts, thread, body }: EntryColumns): EntryRecord[] {
  return seq.map((number, i) => ({
    room: words[room[i] as number] as string,
    seq: number,
    kind: words[kind[i] as number] as EntryKind,
    mid: mid[i] as string | null,
    from: words[from[i] as number] ?? null,
    ts: ts[i] as number,
    thread: thread[i] as string | null,
    body: body[i] as StoredBody,
  }));
}
