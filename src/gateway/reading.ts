/**
 * What a socket receives. Whole, plain frames, by far the most, are taken here; all other bytes go to `ws` in the order they
 * came in, and `ws` stays the one judge of the protocol: it joins what was split, and closes with the code of what is wrong.
 * The base of a peer (peer.ts), which has ws ready when it is needed. It never keeps payload: a chunk may be the buffer that
 * the next socket is read into (read-buffer.ts), so what waits, or goes to ws, is a copy.
 *
 *   taking ──long frame, frame in pieces──▶ lending ──its last byte──▶ taking
 *     └──fragment, close frame, anything odd──▶ ws reads, for good    └──ws refused it──▶ nothing is read any more
 */
import { isUtf8 } from 'node:buffer';
import type { Socket } from 'node:net';
import type { ReadBuffer } from './read-buffer.ts';

/** A frame's first byte: final, without reserved bits. */
const text = 0x81;
const binary = 0x82;
const ping = 0x89;
const pong = 0x8a;

const maskBytes = 4;
const controlBytesMax = 125;
/** In place of the length: it follows in two bytes, and in eight where it is one more. */
const inTwo = 126;
/** The first byte, the masked length in eight, the mask. */
const headBytesMax = 14;

/** Shared by all who read, so that `of` is told and not closed over: a closure of each would take memory. */
export type Taker<Of> = {
  /** Bytes. */
  readonly payloadMax: number;
  readonly buffer: ReadBuffer;
  message(of: Of, payload: Buffer, binary: boolean): void;
  ping(of: Of, payload: Buffer): void;
  /** Asked behind every frame. True: where the socket is paused, not even the next frame of the chunk may come. A pause without that holds from the next chunk on. */
  hasEnough(of: Of): boolean;
};
export type Listener = (this: Socket, chunk: Buffer) => void;

/** Where a socket has its reading, so that one listener serves all. */
const reading = Symbol('reading');
type Carrier = { [reading]?: Reading<unknown> };

/** Of one socket. It becomes one with what else there is to know of that (peer.ts): an object of its own would take memory. */
export abstract class Reading<Of> {
  readonly socket: Socket;
  readonly #taker: Taker<Of>;
  #of: Of | null = null;
  /** Bytes that ws is still to get of the frame it was lent. */
  #owed = 0;
  /** What ws has been given of a frame whose head is not complete. */
  #head: Buffer | null = null;
  /** ws owes no message for the frame it was lent. */
  #told = true;
  /** Nothing more of the chunk may come. */
  #enough = false;
  /** Until ws reads for good, or nothing is read any more. */
  #reads = true;

  constructor(socket: Socket, taker: Taker<Of>) {
    this.socket = socket;
    this.#taker = taker;
  }

  /** What ws does with what comes, for a socket that it is not listening to. */
  protected abstract judge(): Listener;

  /** Who it is that reads; nothing is taken before. */
  protected get of(): Of {
    return this.#of as Of;
  }

  protected read(of: Of): void {
    this.#of = of;
    (this.socket as Socket & Carrier)[reading] = this;
    this.socket.on('data', onChunk);
    this.#taker.buffer.lend(this.socket, onRead);
  }

  /** Whether what comes is taken as it comes: nobody else reads, and nothing waits before it. */
  get takes(): boolean {
    return this.#reads && this.socket.readableFlowing === true && this.socket.readableLength === 0;
  }

  /** What ws has made of what it was lent. */
  joined(data: Buffer, isBinary: boolean): void {
    this.#told = true;
    this.#taker.message(this.of, data, isBinary);
  }

  /** ws has refused a frame and closes: what follows is nobody's. ws has the socket flow on, so that its peer gets to read why. */
  protected stop(): void {
    this.#reads = false;
    this.socket.off('data', onChunk);
  }

  chunk(chunk: Buffer): void {
    this.#enough = false;
    let at = this.#owed > 0 || this.#head !== null ? this.#lend(chunk, 0) : 0;
    while (at < chunk.length && !this.#enough) at = this.#take(chunk, at) ?? this.#lend(chunk, at);
    if (at < chunk.length) this.socket.unshift(copyOf(chunk.subarray(at)));
  }

  /** A frame that is plain and all there; returns where the next one starts. Null: it is not. */
  #take(chunk: Buffer, at: number): number | null {
    const first = chunk[at];
    const data = first === text || first === binary;
    if ((!data && first !== ping && first !== pong) || chunk.length - at < 2 + maskBytes) return null;
    const second = chunk[at + 1] as number;
    let length = second - 0x80; // below 0: not masked
    let mask = at + 2;
    if (length === inTwo) {
      length = ((chunk[at + 2] as number) << 8) | (chunk[at + 3] as number);
      mask += 2;
    }
    const start = mask + maskBytes;
    const end = start + length;
    if (length < 0 || second - 0x80 > (data ? inTwo : controlBytesMax) || length > this.#taker.payloadMax || end > chunk.length) return null;
    const ascii = unmask(chunk, mask, end);
    const payload = chunk.subarray(start, end);
    if (!ascii && first === text && !isUtf8(payload)) {
      unmask(chunk, mask, end); // as it came
      return this.#leave(chunk, at);
    }
    if (data) this.#taker.message(this.of, payload, first === binary);
    else if (first === ping) this.#taker.ping(this.of, payload);
    this.#enough = this.#hasEnough();
    return end;
  }

  /** Only of a socket that is paused: what is put back into one that flows comes again at once, each frame within the last, until the stack is full. */
  #hasEnough(): boolean {
    return this.#taker.hasEnough(this.of) && this.socket.isPaused();
  }

  /** Gives ws what there is of a frame, whose start was earlier or is here; returns where the next one starts. */
  #lend(chunk: Buffer, at: number): number {
    if (this.#owed === 0) {
      const before = this.#head?.length ?? 0;
      const rest = chunk.subarray(at, at + headBytesMax);
      const head = this.#head === null ? rest : Buffer.concat([this.#head, rest]);
      const size = sizeOf(head, this.#taker.payloadMax);
      if (size === 'odd') return this.#leave(chunk, at);
      // A copy: one frame's start must not keep the memory of all that came with it.
      this.#head = size === null ? Buffer.from(head) : null;
      this.#owed = (size ?? before) - before;
      this.#told = size === null || isControl(head);
      if (size === null) {
        this.judge().call(this.socket, copyOf(rest));
        return chunk.length;
      }
    }
    const end = Math.min(chunk.length, at + this.#owed);
    this.#owed -= end - at;
    this.judge().call(this.socket, copyOf(chunk.subarray(at, end)));
    if (this.#owed > 0) return end;
    if (!this.#told) {
      this.stop();
      return chunk.length;
    }
    this.#enough = this.#hasEnough();
    return end;
  }

  /** ws reads this and what follows. */
  #leave(chunk: Buffer, at: number): number {
    const judge = this.judge();
    this.stop();
    this.socket.on('data', judge);
    judge.call(this.socket, copyOf(chunk.subarray(at)));
    return chunk.length;
  }
}

function onChunk(this: Socket & Carrier, chunk: Buffer): void {
  this[reading]?.chunk(chunk);
}

/** What must wait, or is ws's, goes the way of every stream. */
function onRead(this: Socket & Carrier, bytes: number, buffer: Buffer): boolean {
  const read = buffer.subarray(0, bytes);
  const reader = this[reading];
  if (!reader?.takes) return this.push(copyOf(read));
  reader.chunk(read);
  return true;
}

/** Of its own memory: a few bytes must not keep a block of others' in use. */
function copyOf(bytes: Buffer): Buffer {
  const copy = Buffer.allocUnsafeSlow(bytes.length);
  copy.set(bytes);
  return copy;
}

/** The size of a frame with this head, or null where that does not say it yet. `odd`: what it may be, only ws can tell. */
function sizeOf(head: Buffer, payloadMax: number): number | 'odd' | null {
  const [first, second] = head;
  if (first !== text && first !== binary && first !== ping && first !== pong) return 'odd';
  if (second === undefined) return null;
  const length = second - 0x80;
  if (length < 0 || (isControl(head) && length > controlBytesMax)) return 'odd';
  const [start, payload] = length < inTwo ? [2, length] : length === inTwo ? [4, longer(head, 2)] : [10, longer(head, 8)];
  if (payload === null) return null;
  return payload > payloadMax ? 'odd' : start + maskBytes + payload;
}

function isControl(head: Buffer): boolean {
  return head[0] === ping || head[0] === pong;
}

/** The length in the `bytes` behind the first two. */
function longer(head: Buffer, bytes: 2 | 8): number | null {
  if (head.length < 2 + bytes) return null;
  return bytes === 2 ? head.readUInt16BE(2) : head.readUInt32BE(2) * 2 ** 32 + head.readUInt32BE(6);
}

/** Takes the mask off, in place, from behind it to `end`; done twice it is on again. Returns whether what was made is ASCII. */
function unmask(bytes: Buffer, mask: number, end: number): boolean {
  const a = bytes[mask] as number;
  const b = bytes[mask + 1] as number;
  const c = bytes[mask + 2] as number;
  const d = bytes[mask + 3] as number;
  let all = 0;
  let at = mask + maskBytes;
  for (; at + maskBytes <= end; at += maskBytes) {
    const one = (bytes[at] as number) ^ a;
    const two = (bytes[at + 1] as number) ^ b;
    const three = (bytes[at + 2] as number) ^ c;
    const four = (bytes[at + 3] as number) ^ d;
    bytes[at] = one;
    bytes[at + 1] = two;
    bytes[at + 2] = three;
    bytes[at + 3] = four;
    all |= one | two | three | four;
  }
  for (let i = 0; at < end; at++, i++) {
    const one = (bytes[at] as number) ^ (bytes[mask + i] as number);
    bytes[at] = one;
    all |= one;
  }
  return all < 0x80;
}
