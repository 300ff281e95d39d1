/**
 * Reads the JSON frames of most messages in one short pass: those with the fields of a message only, no blanks, and a body
 * that is spelled as the hub itself would write it, so that its text can be stored and sent as it came. The gateway and the
 * shard ask it first; of whatever is out of the ordinary it says nothing, and that takes the way of all frames. It must never
 * say anything but what that way says (test/publish-frame.test.ts). One reads many frames, one after the other.
 */
import { type Header, isProto, sameBytes } from './header.ts';
import { depthMax } from './limits.ts';
import { skipPlain } from './scan-json.ts';
import { textOf } from './utf8.ts';

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

/** Names like most (validate.ts). */
const nameUnitsMax = 100;
const inName = Uint8Array.from({ length: 128 }, (_, byte) => (/[\w.-]/.test(String.fromCharCode(byte)) ? 1 : 0));
/** Names that are kept; a power of two. */
const namesMax = 4_096;
const isHex = Uint8Array.from({ length: 128 }, (_, byte) => (/[0-9a-f]/.test(String.fromCharCode(byte)) ? 1 : 0));
const uuidUnits = 36;
/** Whole numbers of so many digits are exact. */
const digitsMax = 15;
/** Keys of the maps that one value lies in, and values of a body: more are not worth it. */
const keysMax = 32;
const valuesMax = 1_000;

const nothing = new Uint8Array(0);

export class PublishFrame {
  /** What was found; places are in the frame, and 0 is none. */
  op: 'publish' | 'direct' = 'publish';
  id: number | undefined;
  room: string | undefined;
  to: string | undefined;
  mid: string | undefined;
  thread: string | undefined;
  ephemeral: boolean | undefined;
  echo: boolean | undefined;
  bodyFrom = 0;
  bodyTo = 0;

  #bytes: Uint8Array = nothing;
  #at = 0;
  /** Starts and ends of the keys of the maps that are open. */
  readonly #keys = new Int32Array(2 * keysMax);
  #keyCount = 0;
  #values = 0;
  /** Names that were read lately, by their bytes: most come again, and a text that is there has its hash already. */
  readonly #names: (string | undefined)[] = new Array<undefined>(namesMax).fill(undefined);

  /** Whether the frame is of that kind; if so, the fields are its. */
  read(bytes: Uint8Array): boolean {
    const last = bytes.length - 1;
    if (bytes[0] !== openMap || bytes[last] !== closeMap) return false;
    this.#bytes = bytes;
    this.#at = 0;
    this.#clear();
    let ops = 0;
    do {
      this.#at++;
      if (bytes[this.#at + 1] === 0x6f) {
        if (++ops > 1 || !this.#op()) return false;
      } else if (!this.#field(bytes[this.#at + 1])) return false;
    } while (bytes[this.#at] === comma);
    if (this.#at !== last || ops === 0 || this.bodyTo === 0) return false;
    if (this.op === 'publish') return this.room !== undefined && this.to === undefined;
    return this.to !== undefined && this.room === undefined && this.ephemeral === undefined && this.echo === undefined;
  }

  /** As a scan finds it. */
  header(): Header {
    return { op: this.op, id: this.id, room: this.room, to: this.to, as: undefined, mid: this.mid };
  }

  #clear(): void {
    this.id = undefined;
    this.room = undefined;
    this.to = undefined;
    this.mid = undefined;
    this.thread = undefined;
    this.ephemeral = undefined;
    this.echo = undefined;
    this.bodyTo = 0;
  }

  #op(): boolean {
    if (this.#takes('"op":"publish"')) this.op = 'publish';
    else if (this.#takes('"op":"direct"')) this.op = 'direct';
    else return false;
    return true;
  }

  /** Any other field, by the first letter of its name; false for one that is there twice. */
  #field(letter: number | undefined): boolean {
    switch (letter) {
      case 0x72: // r
        if (this.room !== undefined || !this.#takes('"room":"')) return false;
        this.room = this.#name();
        return this.room !== undefined;
      case 0x62: // b
        return this.bodyTo === 0 && this.#takes('"body":') && this.#body();
      case 0x65: // e
        if (this.ephemeral === undefined && this.#takes('"ephemeral":')) {
          this.ephemeral = this.#flag();
          return this.ephemeral !== undefined;
        }
        if (this.echo !== undefined || !this.#takes('"echo":')) return false;
        this.echo = this.#flag();
        return this.echo !== undefined;
      case 0x6d: // m
        if (this.mid !== undefined || !this.#takes('"mid":"')) return false;
        this.mid = this.#uuid();
        return this.mid !== undefined;
      case 0x69: // i
        if (this.id !== undefined || !this.#takes('"id":')) return false;
        this.id = this.#number();
        return this.id !== undefined;
      case 0x74: // t
        if (this.to === undefined && this.#takes('"to":"')) {
          this.to = this.#name();
          return this.to !== undefined;
        }
        if (this.thread !== undefined || !this.#takes('"thread":"')) return false;
        this.thread = this.#uuid();
        return this.thread !== undefined;
      default:
        return false;
    }
  }

  /** Whether `word` comes next; if so, what follows it is next. */
  #takes(word: string): boolean {
    if (!spells(this.#bytes, this.#at, word)) return false;
    this.#at += word.length;
    return true;
  }

  #flag(): boolean | undefined {
    return this.#takes('true') ? true : this.#takes('false') ? false : undefined;
  }

  /** From behind the opening quote to behind the closing one, as `#uuid`. */
  #name(): string | undefined {
    const bytes = this.#bytes;
    const start = this.#at;
    let at = start;
    let hash = 0;
    for (; inName[bytes[at] as number] === 1; at++) hash = (Math.imul(hash, 31) + (bytes[at] as number)) | 0;
    const length = at - start;
    if (bytes[at] !== quote || length === 0 || length > nameUnitsMax) return undefined;
    this.#at = at + 1;
    const place = hash & (namesMax - 1);
    const kept = this.#names[place];
    if (kept !== undefined && kept.length === length && spells(bytes, start, kept)) return kept;
    const name = textOf(bytes, start, at);
    this.#names[place] = name;
    return name;
  }

  #uuid(): string | undefined {
    const bytes = this.#bytes;
    const start = this.#at;
    const end = start + uuidUnits;
    for (let i = 0; i < uuidUnits; i++) {
      const byte = bytes[start + i] as number;
      if (i === 8 || i === 13 || i === 18 || i === 23 ? byte !== minus : isHex[byte] !== 1) return undefined;
    }
    if (bytes[end] !== quote) return undefined;
    this.#at = end + 1;
    return textOf(bytes, start, end);
  }

  /** An integer from 1. */
  #number(): number | undefined {
    const bytes = this.#bytes;
    const start = this.#at;
    let number = 0;
    let at = start;
    for (; isDigit(bytes[at]); at++) number = number * 10 + ((bytes[at] as number) - zero);
    if (at === start || at - start > digitsMax || bytes[start] === zero) return undefined;
    this.#at = at;
    return number;
  }

  #body(): boolean {
    const start = this.#at;
    this.#keyCount = 0;
    this.#values = 0;
    const end = this.#value(start, 1);
    if (end < 0) return false;
    this.#at = end;
    this.bodyFrom = start;
    this.bodyTo = end;
    return true;
  }

  /** Behind the value that begins there, in so many maps and lists; −1 where it is none, or `JSON.stringify` would write it in another way. */
  #value(at: number, depth: number): number {
    if (++this.#values > valuesMax) return -1;
    const bytes = this.#bytes;
    switch (bytes[at]) {
      case quote:
        return this.#string(at);
      case openMap:
        return depth === depthMax ? -1 : this.#map(at, depth + 1);
      case openList:
        return depth === depthMax ? -1 : this.#list(at, depth + 1);
      case 0x74:
        return spells(bytes, at, 'true') ? at + 4 : -1;
      case 0x66:
        return spells(bytes, at, 'false') ? at + 5 : -1;
      case 0x6e:
        return spells(bytes, at, 'null') ? at + 4 : -1;
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

  #list(from: number, depth: number): number {
    const bytes = this.#bytes;
    if (bytes[from + 1] === closeList) return from + 2;
    let at = from;
    do {
      at = this.#value(at + 1, depth);
      if (at < 0) return -1;
    } while (bytes[at] === comma);
    return bytes[at] === closeList ? at + 1 : -1;
  }

  #map(from: number, depth: number): number {
    const bytes = this.#bytes;
    if (bytes[from + 1] === closeMap) return from + 2;
    const first = this.#keyCount;
    let at = from;
    do {
      const start = at + 1;
      const end = bytes[start] === quote ? this.#string(start) : -1;
      if (end < 0 || bytes[end] !== colon || !this.#isNext(first, start + 1, end - 1)) return -1;
      at = this.#value(end + 1, depth);
      if (at < 0) return -1;
    } while (bytes[at] === comma);
    this.#keyCount = first;
    return bytes[at] === closeMap ? at + 1 : -1;
  }

  /** Whether a map whose keys are kept from `first` on has a further one where it stands: not twice, and no index, which would come first. */
  #isNext(first: number, start: number, end: number): boolean {
    const bytes = this.#bytes;
    const keys = this.#keys;
    if (isDigit(bytes[start]) || isProto(bytes, start, end) || this.#keyCount === keysMax) return false;
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

function spells(bytes: Uint8Array, start: number, word: string): boolean {
  for (let i = 0; i < word.length; i++) if (bytes[start + i] !== word.charCodeAt(i)) return false;
  return true;
}
