/**
 * Reads the JSON frames of most messages without `JSON.parse`: those whose body is spelled as the hub itself would write it,
 * so that the text which came can be stored and sent as it is. The shard asks it first; whatever is out of the ordinary is
 * null, and takes the way of all commands. It must never say anything but what that way says (test/publish-reader.test.ts).
 */
import type { Command } from '../protocol/commands.ts';
import { sameBytes } from '../protocol/header.ts';
import { skipPlain } from '../protocol/scan-json.ts';
import { JsonText } from '../protocol/validate.ts';

export type Publish = Command<'publish'> | Command<'direct'>;

const quote = 0x22;
const comma = 0x2c;
const minus = 0x2d;
const zero = 0x30;
const nine = 0x39;
const colon = 0x3a;
const openList = 0x5b;
const closeList = 0x5d;
const openMap = 0x7b;
const closeMap = 0x7d;

/** Names like most (protocol/validate.ts); a place that is a power of two. */
const nameUnitsMax = 100;
const namesKept = 4_096;
const inName = Uint8Array.from({ length: 128 }, (_, byte) => (/[\w.-]/.test(String.fromCharCode(byte)) ? 1 : 0));
const isHex = Uint8Array.from({ length: 128 }, (_, byte) => (/[0-9a-f]/.test(String.fromCharCode(byte)) ? 1 : 0));
const uuidUnits = 36;
/** Whole numbers of so many digits are exact. */
const digitsMax = 15;
/** Keys of the maps that one value lies in; more are not worth comparing. */
const keysMax = 32;

export class PublishReader {
  #bytes: Buffer = Buffer.alloc(0);
  /** Behind what was read last. */
  #at = 0;
  /** Starts and ends of the keys of the maps that are open. */
  readonly #keys = new Int32Array(2 * keysMax);
  #keyCount = 0;
  /** Names that were read lately, by their bytes: most come again, and a text that is there has its hash already. */
  readonly #names: string[] = [];

  /** The command in a frame that the gateway has scanned; null: to be decoded. */
  read(bytes: Buffer): Publish | null {
    const last = bytes.length - 1;
    if (bytes[0] !== openMap || bytes[last] !== closeMap) return null;
    this.#bytes = bytes;
    this.#at = 0;
    let op: Publish['op'] | null = null;
    let room: string | null = null;
    let to: string | null = null;
    let id: number | undefined;
    let mid: string | undefined;
    let thread: string | undefined;
    let ephemeral: boolean | undefined;
    let echo: boolean | undefined;
    let body: JsonText | undefined;
    do {
      this.#at++;
      switch (bytes[this.#at + 1]) {
        case 0x6f: // o
          op = this.#takes('"op":"publish"') ? 'publish' : this.#takes('"op":"direct"') ? 'direct' : null;
          if (op === null) return null;
          break;
        case 0x72: // r
          room = this.#takes('"room":"') ? this.#name() : null;
          if (room === null) return null;
          break;
        case 0x62: // b
          body = this.#takes('"body":') ? this.#body() : undefined;
          if (body === undefined) return null;
          break;
        case 0x65: // e
          if (this.#takes('"ephemeral":')) ephemeral = this.#flag();
          else if (this.#takes('"echo":')) echo = this.#flag();
          else return null;
          break;
        case 0x6d: // m
          mid = this.#takes('"mid":"') ? this.#uuid() : undefined;
          if (mid === undefined) return null;
          break;
        case 0x69: // i
          id = this.#takes('"id":') ? this.#id() : undefined;
          if (id === undefined) return null;
          break;
        case 0x74: // t
          if (this.#takes('"to":"')) {
            to = this.#name();
            if (to === null) return null;
          } else {
            thread = this.#takes('"thread":"') ? this.#uuid() : undefined;
            if (thread === undefined) return null;
          }
          break;
        default:
          return null;
      }
    } while (bytes[this.#at] === comma);
    if (this.#at !== last || body === undefined) return null;
    if (op === 'publish' && room !== null && to === null) return { op, id, room, mid, body, ephemeral, echo, thread };
    if (op === 'direct' && to !== null && room === null && ephemeral === undefined && echo === undefined) return { op, id, to, mid, body, thread };
    return null;
  }

  /** Whether `word` comes next; if so, what follows it is next. */
  #takes(word: string): boolean {
    const bytes = this.#bytes;
    const at = this.#at;
    for (let i = 0; i < word.length; i++) if (bytes[at + i] !== word.charCodeAt(i)) return false;
    this.#at = at + word.length;
    return true;
  }

  /** What is no flag leaves its first byte to stumble over. */
  #flag(): boolean | undefined {
    return this.#takes('true') ? true : this.#takes('false') ? false : undefined;
  }

  /** From behind the opening quote to behind the closing one, as `#uuid`. */
  #name(): string | null {
    const bytes = this.#bytes;
    const start = this.#at;
    let at = start;
    let hash = 0;
    for (; inName[bytes[at] as number] === 1; at++) hash = (Math.imul(hash, 31) + (bytes[at] as number)) | 0;
    const length = at - start;
    if (bytes[at] !== quote || length === 0 || length > nameUnitsMax) return null;
    this.#at = at + 1;
    const place = hash & (namesKept - 1);
    const kept = this.#names[place];
    if (kept !== undefined && kept.length === length && spells(bytes, start, kept)) return kept;
    const name = bytes.toString('latin1', start, at);
    this.#names[place] = name;
    return name;
  }

  #uuid(): string | undefined {
    const bytes = this.#bytes;
    const start = this.#at;
    for (let i = 0; i < uuidUnits; i++) {
      const byte = bytes[start + i] as number;
      if (i === 8 || i === 13 || i === 18 || i === 23 ? byte !== minus : isHex[byte] !== 1) return undefined;
    }
    if (bytes[start + uuidUnits] !== quote) return undefined;
    this.#at = start + uuidUnits + 1;
    return bytes.toString('latin1', start, start + uuidUnits);
  }

  /** An integer from 1. */
  #id(): number | undefined {
    const bytes = this.#bytes;
    const start = this.#at;
    let id = 0;
    let at = start;
    for (; isDigit(bytes[at]); at++) id = id * 10 + ((bytes[at] as number) - zero);
    if (at === start || at - start > digitsMax || bytes[start] === zero) return undefined;
    this.#at = at;
    return id;
  }

  #body(): JsonText | undefined {
    const start = this.#at;
    this.#keyCount = 0;
    const end = this.#value(start);
    if (end < 0) return undefined;
    this.#at = end;
    return new JsonText(this.#bytes.toString(undefined, start, end));
  }

  /** Behind the value that begins there; −1 where `JSON.stringify` would write it in another way. The scan has bounded its depth. */
  #value(at: number): number {
    const bytes = this.#bytes;
    switch (bytes[at]) {
      case quote:
        return this.#string(at);
      case openMap:
        return this.#map(at);
      case openList:
        return this.#list(at);
      case 0x74: // true
      case 0x6e: // null
        return at + 4;
      case 0x66: // false
        return at + 5;
      default:
        return this.#whole(at);
    }
  }

  /** Without escapes. */
  #string(at: number): number {
    const end = skipPlain(this.#bytes, at + 1);
    return this.#bytes[end] === quote ? end + 1 : -1;
  }

  /** No fraction, no exponent, no −0. */
  #whole(from: number): number {
    const bytes = this.#bytes;
    const start = bytes[from] === minus ? from + 1 : from;
    let at = start;
    while (isDigit(bytes[at])) at++;
    const plain = at > start && at - start <= digitsMax && (bytes[start] !== zero || at === from + 1);
    return plain && (bytes[at] === comma || bytes[at] === closeMap || bytes[at] === closeList) ? at : -1;
  }

  #list(from: number): number {
    const bytes = this.#bytes;
    if (bytes[from + 1] === closeList) return from + 2;
    let at = from;
    do {
      at = this.#value(at + 1);
      if (at < 0) return -1;
    } while (bytes[at] === comma);
    return bytes[at] === closeList ? at + 1 : -1;
  }

  #map(from: number): number {
    const bytes = this.#bytes;
    if (bytes[from + 1] === closeMap) return from + 2;
    const first = this.#keyCount;
    let at = from;
    do {
      const start = at + 1;
      if (bytes[start] !== quote) return -1;
      const end = this.#string(start);
      if (end < 0 || bytes[end] !== colon || !this.#isNext(first, start + 1, end - 1)) return -1;
      at = this.#value(end + 1);
      if (at < 0) return -1;
    } while (bytes[at] === comma);
    this.#keyCount = first;
    return bytes[at] === closeMap ? at + 1 : -1;
  }

  /** Whether a map whose keys are kept from `first` on has a further one where it stands: not twice, and no index, which would come first. */
  #isNext(first: number, start: number, end: number): boolean {
    const bytes = this.#bytes;
    const keys = this.#keys;
    if (isDigit(bytes[start]) || this.#keyCount === keysMax) return false;
    for (let i = first; i < this.#keyCount; i++) {
      const from = keys[2 * i] as number;
      if ((keys[2 * i + 1] as number) - from === end - start && sameBytes(bytes, from, start, end - start)) return false;
    }
    keys[2 * this.#keyCount] = start;
    keys[2 * this.#keyCount + 1] = end;
    this.#keyCount++;
    return true;
  }
}

function isDigit(byte: number | undefined): boolean {
  return byte !== undefined && byte >= zero && byte <= nine;
}

function spells(bytes: Buffer, start: number, word: string): boolean {
  for (let i = 0; i < word.length; i++) if (bytes[start + i] !== word.charCodeAt(i)) return false;
  return true;
}
