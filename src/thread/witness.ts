/**
 * Shared memory in which a thread leaves signs of life and the name of what it is about to do, so that the supervisor can
 * read both when the thread itself can say nothing any more (DESIGN 11.22). One per life of a thread, made by the supervisor.
 * The thread writes it on its hot path: numbers and copies of bytes only, nothing is encoded there.
 *
 *   words: turns · steps · in a call of the database · kind · connection · length       then bytes: a frame, JSON of a step, or room and mid of an item
 */
import type { Header } from '../protocol/header.ts';
import { dmName } from '../protocol/names.ts';
import { scan } from '../protocol/scan.ts';
import { type ConnectionId, type Format, formats } from './messages.ts';
import { suspectOfItem } from './suspects.ts';

/** Between two signs of life of a thread that has nothing to do, and between two looks at them. */
export const beatMs = 250;

const word = { turns: 0, steps: 1, native: 2, kind: 3, connection: 4, length: 5 } as const;
const headBytes = 32;
/** Names and a mid, as JSON. */
const stepBytesMax = 8 * 1024;
const kinds = { nothing: 0, json: 1, msgpack: 2, step: 3, item: 4 } as const;
/** Stands between room and mid; no name has it. */
const separator = '\n';

/** What a thread was about to do. `mid`: of a message that had one; `user`: where the connection is still known. */
export type Suspect = { op: string; room: string | null; mid: string | null; user: string | null };
/** `frameBytesMax`: of the largest frame that may be written to it. */
export function makeWitness(frameBytesMax: number): SharedArrayBuffer {
  return new SharedArrayBuffer(headBytes + Math.max(frameBytesMax, stepBytesMax));
}

/** What a witness named at some time. */
export type Note = { kind: number; connection: ConnectionId; bytes: Uint8Array };

/** A step that is no frame, encoded once and written often. `as`: whose it is, where no connection leads to it. */
export function stepBytes(op: string, room: string | null, mid?: string | null, as?: string | null): Uint8Array {
  return new TextEncoder().encode(JSON.stringify({ op, room: room ?? undefined, mid: mid ?? undefined, as: as ?? undefined }));
}

/** The thread's side. */
export class Witness {
  readonly #words: Int32Array;
  readonly #bytes: Buffer;

  constructor(memory: SharedArrayBuffer) {
    this.#words = new Int32Array(memory, 0, headBytes / 4);
    this.#bytes = Buffer.from(memory, headBytes);
  }

  /** Shows every `beatMs` that the thread's loop turns; returns what ends it. */
  beat(): () => void {
    const turn = (): number => Atomics.add(this.#words, word.turns, 1);
    turn();
    const timer = setInterval(turn, beatMs);
    return () => clearInterval(timer);
  }

  /** A command, as its frame came: before anything is decoded. The gateway has scanned it, so the supervisor can. */
  frame(format: Format, connection: ConnectionId, bytes: Uint8Array): void {
    this.#write(format === 'json' ? kinds.json : kinds.msgpack, connection, bytes);
  }

  /** Anything else that concerns one room: bytes of `stepBytes`. `connection`: 0 where no one's command leads to it. */
  step(connection: ConnectionId, bytes: Uint8Array): void {
    this.#write(kinds.step, connection, bytes);
  }

  /** An item of an inbox that is about to be encoded: written in place, there are very many. */
  item(room: string, mid: string | null): void {
    const words = this.#words;
    words[word.kind] = kinds.nothing;
    words[word.length] = this.#bytes.write(mid === null ? room : room + separator + mid);
    words[word.connection] = 0;
    words[word.kind] = kinds.item;
    words[word.steps] = (words[word.steps] as number) + 1;
  }

  /** What comes is about nobody's command. */
  clear(): void {
    this.#words[word.kind] = kinds.nothing;
  }

  /** What it names now, for `recall`; null: nothing. */
  note(): Note | null {
    const words = this.#words;
    const kind = words[word.kind] as number;
    if (kind === kinds.nothing) return null;
    return { kind, connection: words[word.connection] as number, bytes: Uint8Array.from(this.#bytes.subarray(0, words[word.length])) };
  }

  /** What goes wrong now was begun when that was noted. */
  recall({ kind, connection, bytes }: Note): void {
    this.#write(kind, connection, bytes);
  }

  /** The thread waits for the database, and so perhaps for the disk, until `returned`. */
  calling(): void {
    Atomics.add(this.#words, word.native, 1);
  }

  returned(): void {
    Atomics.add(this.#words, word.turns, 1);
    Atomics.sub(this.#words, word.native, 1);
  }

  #write(kind: number, connection: ConnectionId, bytes: Uint8Array): void {
    const words = this.#words;
    words[word.kind] = kinds.nothing;
    if (bytes.length <= this.#bytes.length) {
      this.#bytes.set(bytes);
      words[word.length] = bytes.length;
      words[word.connection] = connection;
      words[word.kind] = kind;
    }
    words[word.steps] = (words[word.steps] as number) + 1;
  }
}

/** The supervisor's side. */
export class WitnessReader {
  readonly #words: Int32Array;
  readonly #bytes: Uint8Array;
  #turns = 0;
  #steps = 0;

  constructor(memory: SharedArrayBuffer) {
    this.#words = new Int32Array(memory, 0, headBytes / 4);
    this.#bytes = new Uint8Array(memory, headBytes);
  }

  /** Whether the thread has done anything since the last call: turned its loop, or got on with its work within a turn. */
  moved(): boolean {
    const turns = Atomics.load(this.#words, word.turns);
    const steps = Atomics.load(this.#words, word.steps);
    const moved = turns !== this.#turns || steps !== this.#steps;
    this.#turns = turns;
    this.#steps = steps;
    return moved;
  }

  /** Whether the thread's task has begun. */
  get begun(): boolean {
    return Atomics.load(this.#words, word.turns) !== 0;
  }

  get calling(): boolean {
    return Atomics.load(this.#words, word.native) > 0;
  }

  /** For a thread that has ended. `userOf`: of a connection, null where it is gone. */
  suspect(userOf: (connection: ConnectionId) => string | null): Suspect | null {
    const kind = Atomics.load(this.#words, word.kind);
    if (kind === kinds.nothing) return null;
    const connection = Atomics.load(this.#words, word.connection);
    const user = connection === 0 ? null : userOf(connection);
    const bytes = this.#bytes.slice(0, Atomics.load(this.#words, word.length)); // a copy: what reads text takes no shared memory
    if (kind === kinds.item) {
      const [room = '', mid = null] = new TextDecoder().decode(bytes).split(separator);
      return suspectOfItem({ room, mid });
    }
    const format: Format = kind === kinds.step ? 'json' : (formats[kind - 1] as Format);
    try {
      const header = scan(bytes, format);
      return suspectOf(header, kind === kinds.step && connection === 0 ? (header.as ?? null) : user);
    } catch {
      return null; // it died in the middle of writing
    }
  }
}

/** The same by the thread, which must know what it is told to refuse, and by the supervisor, who tells it. `user`: whose connection it came from. */
export function suspectOf({ op, room, to, as, mid }: Header, user: string | null): Suspect {
  const from = as ?? user;
  const named = op === 'direct' ? (from === null || to === undefined ? null : dmName(from, to)) : (room ?? null);
  return { op, room: named, mid: mid ?? null, user };
}
