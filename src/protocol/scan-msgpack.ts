/**
 * Reads a MessagePack frame once, before it is decoded: that it is one map and nothing else, that every declared length is
 * there, its depth, its number of values, that it holds JSON values only (and one binary body), and the fields the gateway
 * routes by. Iterative and without making strings of anything but those fields. What it accepts, `unpackMsgpack` accepts.
 */
import { fieldBytesMax, fieldsMax, type Header, HeaderBuilder, type HeaderField, headerField, isProto, type ScanError, sameBytes } from './header.ts';
import { depthMax, nodesMax } from './limits.ts';
import { isUtf8, textOf } from './utf8.ts';

export function scanMsgpack(bytes: Uint8Array): Header {
  return new MsgpackScan(bytes).run();
}

class MsgpackScan {
  readonly #bytes: Uint8Array;
  readonly #header = new HeaderBuilder();
  /** Start and end of each field name of the envelope. */
  readonly #names: number[] = [];
  /** What is still to come in the containers around the innermost; a map's keys and values are counted singly. */
  readonly #outer: number[] = [];
  #left = 0;
  /** A bit per level, the innermost lowest: whether it is a map. */
  #maps = 0;
  #nodes = 0;
  #at = 0;
  /** The routing field whose value comes next. */
  #field: HeaderField | null = null;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  run(): Header {
    const bytes = this.#bytes;
    const first = bytes[0] ?? 0;
    if ((first & 0xf0) !== 0x80 && first !== 0xde && first !== 0xdf) throw this.#malformed('a frame is one map');
    this.#value();
    for (;;) {
      while (this.#left === 0) {
        const left = this.#outer.pop();
        if (left === undefined) {
          if (this.#at < bytes.length) throw this.#malformed('there is more behind the map');
          return this.#header.finish();
        }
        this.#left = left;
        this.#maps >>>= 1;
      }
      this.#left--;
      // What is left of a map after one of its keys is odd.
      if ((this.#maps & 1) === 1 && (this.#left & 1) === 1) this.#key();
      else this.#value();
    }
  }

  #value(): void {
    const bytes = this.#bytes;
    const at = this.#at;
    if (++this.#nodes > nodesMax) throw this.#header.error('bad-value', `more than ${nodesMax} values in one frame`, this.#inside());
    if (at >= bytes.length) throw this.#malformed('it ends too early');
    const byte = bytes[at] as number;
    this.#at = at + 1;
    if (byte < 0x80) this.#number(byte);
    else if (byte < 0x90) this.#container(byte & 0x0f, true);
    else if (byte < 0xa0) this.#container(byte & 0x0f, false);
    else if (byte < 0xc0) this.#string(byte & 0x1f);
    else if (byte >= 0xe0) this.#number(byte - 0x100);
    else this.#typed(byte);
  }

  /** The types whose first byte is 0xc0 to 0xdf; groups of 8, 16 and 32 bits follow each other in the table of types. */
  #typed(type: number): void {
    if (type === 0xc1) throw this.#malformed('the type 0xc1');
    if (type <= 0xc3) this.#other();
    else if (type <= 0xc6) this.#binary(this.#uint(1 << (type - 0xc4)));
    else if (type <= 0xc9) this.#extension(this.#uint(1 << (type - 0xc7)));
    else if (type <= 0xcb) this.#float(type === 0xca ? 4 : 8);
    else if (type <= 0xce) this.#number(this.#uint(1 << (type - 0xcc)));
    else if (type === 0xcf || type === 0xd3) this.#long(type === 0xd3);
    else if (type <= 0xd2) this.#signed(1 << (type - 0xd0));
    else if (type <= 0xd8) this.#extension(1 << (type - 0xd4));
    else if (type <= 0xdb) this.#string(this.#uint(1 << (type - 0xd9)));
    else this.#container(this.#uint(type & 1 ? 4 : 2), type >= 0xde);
  }

  #container(count: number, map: boolean): void {
    const items = map ? count * 2 : count;
    if (items > this.#bytes.length - this.#at) throw this.#malformed('it ends too early');
    if (this.#outer.length === depthMax) throw this.#header.error('bad-value', `nested deeper than ${depthMax} levels`, this.#inside());
    this.#other();
    this.#outer.push(this.#left);
    this.#left = items;
    this.#maps = (this.#maps << 1) | (map ? 1 : 0);
  }

  /** A key: a string, not `__proto__`, in the envelope not twice. */
  #key(): void {
    const bytes = this.#bytes;
    if (++this.#nodes > nodesMax) throw this.#header.error('bad-value', `more than ${nodesMax} values in one frame`, this.#inside());
    const type = this.#uint(1);
    const short = type >= 0xa0 && type < 0xc0;
    if (!short && (type < 0xd9 || type > 0xdb)) throw this.#header.error('bad-value', `a key that is not a string (byte ${this.#at - 1})`, this.#inside());
    const length = short ? type & 0x1f : this.#uint(1 << (type - 0xd9));
    const start = this.#skip(length);
    const end = start + length;
    const inEnvelope = this.#outer.length === 1;
    if (!isUtf8(bytes, start, end)) throw this.#malformed('a key is not UTF-8');
    if (isProto(bytes, start, end)) this.#header.refuse('bad-value', 'a key __proto__', inEnvelope ? '__proto__' : this.#inside());
    if (!inEnvelope) return;
    if (length > fieldBytesMax) {
      this.#header.refuse('bad-request', 'no such field');
      return;
    }
    const names = this.#names;
    for (let i = 0; i < names.length; i += 2) {
      const from = names[i] as number;
      if ((names[i + 1] as number) - from === length && sameBytes(bytes, from, start, length)) {
        this.#header.refuse('bad-request', 'a field is there twice', textOf(bytes, start, end));
      }
    }
    names.push(start, end);
    if (names.length > 2 * fieldsMax) throw this.#header.error('bad-request', `more than ${fieldsMax} fields`);
    this.#field = headerField(bytes, start, end);
  }

  #string(length: number): void {
    const start = this.#skip(length);
    const valid = isUtf8(this.#bytes, start, start + length);
    if (!valid) this.#header.refuse('bad-value', `a string that is not UTF-8 (byte ${start})`, this.#inside());
    else if (this.#field !== null) this.#header.text(this.#field, this.#bytes, start, start + length);
    this.#field = null;
  }

  #number(value: number): void {
    if (this.#field !== null) this.#header.number(this.#field, value);
    this.#field = null;
  }

  /** What no routing field may be. */
  #other(): void {
    if (this.#field !== null) this.#header.other(this.#field);
    this.#field = null;
  }

  #signed(size: number): void {
    const unused = 32 - 8 * size;
    this.#number((this.#uint(size) << unused) >> unused);
  }

  #long(signed: boolean): void {
    const high = signed ? this.#uint(4) | 0 : this.#uint(4);
    const value = high * 0x1_0000_0000 + this.#uint(4);
    if (!Number.isSafeInteger(value)) this.#header.refuse('bad-value', 'a whole number beyond ±(2^53 − 1)', this.#inside());
    this.#number(value);
  }

  #float(bytes: 4 | 8): void {
    const start = this.#skip(bytes);
    const high = ((this.#bytes[start] as number) << 8) | (this.#bytes[start + 1] as number);
    const exponent = bytes === 8 ? (high & 0x7ff0) >> 4 : (high & 0x7f80) >> 7;
    // From an exponent of 53 on every float is a whole number of at least 2^53; the highest exponent means no number.
    if (exponent === (bytes === 8 ? 0x7ff : 0xff)) this.#header.refuse('bad-value', 'a number that is not finite', this.#inside());
    else if (exponent >= (bytes === 8 ? 1023 : 127) + 53) this.#header.refuse('bad-value', 'a whole number beyond ±(2^53 − 1)', this.#inside());
    if (this.#field === null) return;
    const view = new DataView(this.#bytes.buffer, this.#bytes.byteOffset + start, bytes);
    this.#number(bytes === 8 ? view.getFloat64(0) : view.getFloat32(0));
  }

  #binary(length: number): void {
    this.#skip(length);
    this.#other();
    if (this.#outer.length !== 1 || this.#inside() !== 'bin') this.#header.refuse('bad-value', 'binary is a whole body only, in the field bin', this.#inside());
  }

  #extension(length: number): void {
    this.#skip(length + 1);
    this.#other();
    this.#header.refuse('bad-value', 'an extension type, which is no JSON value', this.#inside());
  }

  /** Reads a big-endian number of 1, 2 or 4 bytes. */
  #uint(size: number): number {
    const bytes = this.#bytes;
    const at = this.#skip(size);
    if (size === 1) return bytes[at] as number;
    const high = ((bytes[at] as number) << 8) | (bytes[at + 1] as number);
    return size === 2 ? high : high * 0x1_0000 + (((bytes[at + 2] as number) << 8) | (bytes[at + 3] as number));
  }

  /** Steps over bytes that must be there; where they begin. */
  #skip(length: number): number {
    const start = this.#at;
    if (length > this.#bytes.length - start) throw this.#malformed('it ends too early');
    this.#at = start + length;
    return start;
  }

  /** The envelope's field that the scan is in. */
  #inside(): string | undefined {
    const [start, end] = this.#names.slice(-2);
    return start === undefined || end === undefined ? undefined : textOf(this.#bytes, start, end);
  }

  #malformed(problem: string): ScanError {
    return this.#header.error('bad-frame', `not a MessagePack frame: ${problem} (byte ${this.#at})`);
  }
}
