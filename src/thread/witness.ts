/**
 * Shared memory in which a thread leaves signs of life and the name of what it is about to do, so that the supervisor can
 * read both when the thread itself can say nothing any more (DESIGN 11.22). One per life of a thread, made by the supervisor.
 * The thread writes it on its hot path: numbers and copies of bytes only, nothing is encoded there.
 *
 *   words: turns · steps · in a call of the database · kind · connection · length       then bytes: a frame, or JSON of a step
 */
import { decode } from '../protocol/codec.ts';
import { dmName, nameUnitsMax, normalName } from '../protocol/names.ts';
import { type ConnectionId, type Format, formats } from './messages.ts';

/** Between two signs of life of a thread that has nothing to do, and between two looks at them. */
export const beatMs = 250;

const word = { turns: 0, steps: 1, native: 2, kind: 3, connection: 4, length: 5 } as const;
const headBytes = 32;
/** Names and a mid, as JSON. */
const stepBytesMax = 8 * 1024;
const kinds = { nothing: 0, json: 1, msgpack: 2, step: 3 } as const;

/** What a thread was about to do. `mid`: of a message that had one; `user`: where the connection is still known. */
export type Suspect = { op: string; room: string | null; mid: string | null; user: string | null };
/** `frameBytesMax`: of the largest frame that may be written to it. */
export function makeWitness(frameBytesMax: number): SharedArrayBuffer {
  return new SharedArrayBuffer(headBytes + Math.max(frameBytesMax, stepBytesMax));
}

/** A step that is no frame, encoded once and written often. */
export function stepBytes(op: string, room: string, mid: string | null = null): Uint8Array {
  return new TextEncoder().encode(JSON.stringify({ op, room, mid }));
}

/** The thread's side. */
export class Witness {
  readonly #words: Int32Array;
  readonly #bytes: Uint8Array;

  constructor(memory: SharedArrayBuffer) {
    this.#words = new Int32Array(memory, 0, headBytes / 4);
    this.#bytes = new Uint8Array(memory, headBytes);
  }

  /** Shows every `beatMs` that the thread's loop turns; returns what ends it. */
  beat(): () => void {
    const turn = (): number => Atomics.add(this.#words, word.turns, 1);
    turn();
    const timer = setInterval(turn, beatMs);
    return () => clearInterval(timer);
  }

  /** A command, as its frame came. To be called once the thread has decoded it: the supervisor will decode it too. */
  frame(format: Format, connection: ConnectionId, bytes: Uint8Array): void {
    this.#write(format === 'json' ? kinds.json : kinds.msgpack, connection, bytes);
  }

  /** Anything else that concerns one room: bytes of `stepBytes`. `connection`: 0 where no one's command leads to it. */
  step(connection: ConnectionId, bytes: Uint8Array): void {
    this.#write(kinds.step, connection, bytes);
  }

  /** What comes is about nobody's command. */
  clear(): void {
    this.#words[word.kind] = kinds.nothing;
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
    // A copy: what decodes text takes no shared memory.
    const bytes = Buffer.from(this.#bytes.slice(0, Atomics.load(this.#words, word.length)));
    const format: Format = kind === kinds.step ? 'json' : (formats[kind - 1] as Format);
    try {
      return suspectOf(decode(format === 'json' ? bytes.toString('utf8') : bytes, format), user);
    } catch {
      return null; // it died in the middle of writing
    }
  }
}

function suspectOf(map: Record<string, unknown>, user: string | null): Suspect | null {
  const text = (value: unknown): string | null => (typeof value === 'string' ? value : null);
  const op = text(map.op);
  if (op === null) return null;
  const from = text(map.as) ?? user;
  const to = text(map.to);
  const name = op === 'direct' ? (from === null || to === null ? null : dmName(normal(from), normal(to))) : text(map.room);
  return { op, room: name === null ? null : normal(name), mid: text(map.mid), user };
}

function normal(name: string): string {
  return name.length > nameUnitsMax ? name : normalName(name);
}
