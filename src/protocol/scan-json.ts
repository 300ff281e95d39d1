/**
 * Reads a JSON frame once, before it is decoded: whether it is JSON at all, its depth, its number of values, what a body may
 * not hold, and the fields the gateway routes by. Iterative, so that no nesting can exhaust the stack, and without making
 * strings of anything but those fields. Accepts what `JSON.parse` accepts, less what PROTOCOL.md (values) refuses.
 */
import { fieldBytesMax, fieldsMax, type Header, HeaderBuilder, type HeaderField, headerField, isProto, type ScanError, sameBytes } from './header.ts';
import { depthMax, nodesMax } from './limits.ts';
import { textOf } from './utf8.ts';

const quote = 0x22;
const comma = 0x2c;
const minus = 0x2d;
const point = 0x2e;
const zero = 0x30;
const nine = 0x39;
const colon = 0x3a;
const openList = 0x5b;
const backslash = 0x5c;
const closeList = 0x5d;
const openMap = 0x7b;
const closeMap = 0x7d;

/** 1 for each byte that stands for itself in a string: no quote, no backslash, no control character. */
const plain = Uint8Array.from({ length: 256 }, (_, byte) => (byte < 0x20 || byte === quote || byte === backslash ? 0 : 1));

/** What may come next. */
const firstKey = 0;
const nextKey = 1;
const firstItem = 2;
const value = 3;
const separator = 4;

export function scanJson(bytes: Uint8Array): Header {
  return new JsonScan(bytes).run();
}

class JsonScan {
  readonly #bytes: Uint8Array;
  readonly #header = new HeaderBuilder();
  /** Start and end of each field name of the envelope, between the quotes. */
  readonly #names: number[] = [];
  /** Whether one of those has escapes: then they are compared as text. */
  #escapedNames = false;
  /** Whether the last string had escapes. */
  #escaped = false;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  run(): Header {
    const bytes = this.#bytes;
    let at = this.#blank(0);
    if (at >= bytes.length || bytes[at] !== openMap) throw this.#malformed('a frame is one map', at);
    at++;
    let next = firstKey;
    let depth = 1;
    let maps = 1; // a bit per level, the innermost lowest: whether it is a map
    let nodes = 1;
    let field: HeaderField | null = null;
    while (depth > 0) {
      at = this.#blank(at);
      if (at >= bytes.length) throw this.#malformed('it ends too early', at);
      const byte = bytes[at] as number;
      if (byte === ((maps & 1) === 1 ? closeMap : closeList) && (next === separator || next === firstKey || next === firstItem)) {
        depth--;
        maps >>>= 1;
        next = separator;
        at++;
      } else if (next === separator) {
        if (byte !== comma) throw this.#malformed('a comma or an end is missing', at);
        next = (maps & 1) === 1 ? nextKey : value;
        at++;
      } else if (++nodes > nodesMax) {
        throw this.#header.error('bad-value', `more than ${nodesMax} values in one frame`, this.#field());
      } else if (next === firstKey || next === nextKey) {
        if (byte !== quote) throw this.#malformed('a key in quotes is missing', at);
        const end = this.#string(at);
        field = this.#key(at + 1, end - 1, depth === 1);
        at = this.#blank(end);
        if (at >= bytes.length || bytes[at] !== colon) throw this.#malformed('a colon is missing', at);
        next = value;
        at++;
      } else if (byte === openMap || byte === openList) {
        if (depth === depthMax) throw this.#header.error('bad-value', `nested deeper than ${depthMax} levels`, this.#field());
        if (field !== null) this.#header.other(field);
        field = null;
        depth++;
        maps = (maps << 1) | (byte === openMap ? 1 : 0);
        next = byte === openMap ? firstKey : firstItem;
        at++;
      } else {
        const end = byte === quote ? this.#string(at) : byte === minus || (byte >= zero && byte <= nine) ? this.#number(at) : this.#literal(at);
        if (field !== null) this.#route(field, at, end);
        field = null;
        next = separator;
        at = end;
      }
    }
    at = this.#blank(at);
    if (at < bytes.length) throw this.#malformed('there is more behind the map', at);
    return this.#header.finish();
  }

  /** Where the next byte is that is not blank. */
  #blank(from: number): number {
    const bytes = this.#bytes;
    let at = from;
    while (at < bytes.length) {
      const byte = bytes[at] as number;
      if (byte > 0x20 || (byte !== 0x20 && byte !== 0x0a && byte !== 0x0d && byte !== 0x09)) break;
      at++;
    }
    return at;
  }

  /** A key between its quotes: not `__proto__`, and in the envelope not twice. Says which routing field it names. */
  #key(start: number, end: number, inEnvelope: boolean): HeaderField | null {
    const bytes = this.#bytes;
    if (end - start > fieldBytesMax) {
      if (inEnvelope) this.#header.refuse('bad-request', 'no such field');
      return null; // longer than __proto__ with every letter escaped
    }
    const text = this.#escaped ? this.#text(start, end) : null;
    const proto = text === null ? isProto(bytes, start, end) : text === '__proto__';
    if (!inEnvelope) {
      if (proto) this.#header.refuse('bad-value', 'a key __proto__', this.#field());
      return null;
    }
    if (proto) this.#header.refuse('bad-value', 'a key __proto__', '__proto__');
    const names = this.#names;
    if (text !== null) this.#escapedNames = true;
    for (let i = 0; i < names.length; i += 2) {
      const from = names[i] as number;
      const to = names[i + 1] as number;
      const same = this.#escapedNames
        ? this.#text(from, to) === this.#text(start, end)
        : to - from === end - start && sameBytes(bytes, from, start, end - start);
      if (same) this.#header.refuse('bad-request', 'a field is there twice', this.#text(start, end));
    }
    names.push(start, end);
    if (names.length > 2 * fieldsMax) throw this.#header.error('bad-request', `more than ${fieldsMax} fields`);
    if (text === null) return headerField(bytes, start, end);
    return text === 'op' || text === 'id' || text === 'room' || text === 'to' || text === 'as' || text === 'mid' ? text : null;
  }

  /** Takes over the scalar value of a routing field. */
  #route(field: HeaderField, start: number, end: number): void {
    const first = this.#bytes[start] as number;
    if (first !== quote) {
      if (first <= nine) this.#header.number(field, Number(textOf(this.#bytes, start, end)));
      else this.#header.other(field);
    } else if (this.#escaped) this.#header.escaped(field, this.#text(start + 1, end - 1));
    else this.#header.text(field, this.#bytes, start + 1, end - 1);
  }

  /** From the opening quote to behind the closing one. */
  #string(from: number): number {
    const bytes = this.#bytes;
    const length = bytes.length;
    this.#escaped = false;
    for (let at = from + 1; ; at++) {
      at = skipPlain(bytes, at);
      if (at >= length) throw this.#malformed('a string does not end', from);
      const byte = bytes[at] as number;
      if (byte === quote) return at + 1;
      if (byte === backslash) {
        this.#escaped = true;
        at = this.#escape(at + 1);
      } else throw this.#malformed('a control character in a string is not escaped', at);
    }
  }

  /** From behind a backslash to the last byte of the escape. */
  #escape(at: number): number {
    const byte = this.#byte(at);
    if (byte !== 0x75) {
      // " / \ b f n r t
      if (byte === quote || byte === 0x2f || byte === backslash || byte === 0x62 || byte === 0x66 || byte === 0x6e || byte === 0x72 || byte === 0x74) return at;
      throw this.#malformed('an unknown escape', at);
    }
    const unit = this.#hex(at + 1);
    if ((unit & 0xf800) !== 0xd800) return at + 4;
    const leads = (unit & 0x0400) === 0 && this.#byte(at + 5) === backslash && this.#byte(at + 6) === 0x75;
    if (leads && (this.#hex(at + 7) & 0xfc00) === 0xdc00) return at + 10;
    this.#header.refuse('bad-value', `half of a surrogate pair at byte ${at - 1}`, this.#field());
    return at + 4;
  }

  #hex(from: number): number {
    let unit = 0;
    for (let at = from; at < from + 4; at++) {
      const byte = this.#byte(at);
      const letter = byte | 0x20;
      const digit = byte >= zero && byte <= nine ? byte - zero : letter >= 0x61 && letter <= 0x66 ? letter - 0x57 : -1;
      if (digit < 0) throw this.#malformed('\\u without four hexadecimal digits', at);
      unit = (unit << 4) | digit;
    }
    return unit;
  }

  #number(from: number): number {
    const start = this.#byte(from) === minus ? from + 1 : from;
    let at = this.#digits(start);
    if (this.#byte(start) === zero && at > start + 1) throw this.#malformed('a number begins with 0', start);
    // 15 digits before the point stay within ±(2^53 − 1); more of them, or an exponent, are worth a look.
    let small = at - start <= 15;
    if (this.#byte(at) === point) at = this.#digits(at + 1);
    if ((this.#byte(at) | 0x20) === 0x65) {
      const sign = this.#byte(at + 1);
      at = this.#digits(sign === minus || sign === 0x2b ? at + 2 : at + 1);
      small = false;
    }
    if (!small) {
      const number = Number(textOf(this.#bytes, from, at));
      if (!Number.isFinite(number)) this.#header.refuse('bad-value', 'a number too large', this.#field());
      else if (Number.isInteger(number) && !Number.isSafeInteger(number)) this.#header.refuse('bad-value', 'a whole number beyond ±(2^53 − 1)', this.#field());
    }
    return at;
  }

  /** From the first digit to behind the last; there must be one. */
  #digits(from: number): number {
    const bytes = this.#bytes;
    let at = from;
    while (at < bytes.length && (bytes[at] as number) >= zero && (bytes[at] as number) <= nine) at++;
    if (at === from) throw this.#malformed('a digit is missing', at);
    return at;
  }

  #literal(at: number): number {
    const word = this.#bytes[at] === 0x74 ? 'true' : this.#bytes[at] === 0x66 ? 'false' : 'null';
    for (let i = 0; i < word.length; i++) if (this.#byte(at + i) !== word.charCodeAt(i)) throw this.#malformed('a value is missing', at);
    return at + word.length;
  }

  /** The byte there; 0, which no JSON text holds, behind the end. */
  #byte(at: number): number {
    return at < this.#bytes.length ? (this.#bytes[at] as number) : 0;
  }

  /** The text of a string, its escapes resolved. */
  #text(start: number, end: number): string {
    return JSON.parse(this.#header.decoded(this.#bytes, start - 1, end + 1)) as string;
  }

  /** The envelope's field that the scan is in. */
  #field(): string | undefined {
    const [start, end] = this.#names.slice(-2);
    return start === undefined || end === undefined ? undefined : this.#text(start, end);
  }

  #malformed(problem: string, at: number): ScanError {
    return this.#header.error('bad-frame', `not a JSON frame: ${problem} (byte ${at})`);
  }
}

/** Where the first byte is that does not stand for itself; strings are most of a frame, so four bytes a turn. */
export function skipPlain(bytes: Uint8Array, from: number): number {
  const length = bytes.length;
  const last = length - 3;
  let at = from;
  while (
    at < last &&
    ((plain[bytes[at] as number] as number) &
      (plain[bytes[at + 1] as number] as number) &
      (plain[bytes[at + 2] as number] as number) &
      (plain[bytes[at + 3] as number] as number)) ===
      1
  )
    at += 4;
  while (at < length && plain[bytes[at] as number] === 1) at++;
  return at;
}
