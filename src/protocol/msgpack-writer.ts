/**
 * Writes JSON values and binary as MessagePack: no extension types, every whole number an integer in its shortest form, so
 * that libraries of typed languages read `ts` as the integer it is. Written here because the general library writes whole
 * numbers above 2^32 as floats, drops a byte order mark that begins a text, calls `toJSON` of a body, builds RegExps and Errors
 * when it reads, and is half of a browser bundle. Used by both ends; browser-safe.
 */
import { CodedError } from './codes.ts';
import { utf8Bytes } from './utf8.ts';

const bytesMin = 1_024;
/** A writer that had to grow beyond this starts over. */
const bytesKept = 1_024 * 1_024;
/** Up to this length, which the shortest header can state, texts are copied letter by letter: cheaper than a call into the engine. */
const shortText = 31;

const encoder = new TextEncoder();

/** Packs one value after the other into memory of its own. */
export class MsgpackWriter {
  #bytes = new Uint8Array(bytesMin);
  #view = new DataView(this.#bytes.buffer);
  #at = 0;

  /**
   * The bytes are good until the next call. Fields that are undefined are left out, as in JSON. Throws `bad-value` for what
   * no JSON value can hold; `checkValue` says where.
   */
  pack(value: unknown): Uint8Array<ArrayBuffer> {
    if (this.#bytes.length > bytesKept) this.#replace(new Uint8Array(bytesMin));
    this.#at = 0;
    this.#value(value);
    return this.#bytes.subarray(0, this.#at);
  }

  #value(value: unknown): void {
    const type = typeof value;
    if (type === 'string') this.#text(value as string);
    else if (type === 'number') this.#number(value as number);
    else if (type === 'boolean') this.#byte(value ? 0xc3 : 0xc2);
    else if (value === null || value === undefined) this.#byte(0xc0);
    else if (Array.isArray(value)) this.#list(value);
    else if (value instanceof Uint8Array) this.#binary(value);
    else if (type === 'object') this.#map(value as Record<string, unknown>);
    else throw new CodedError('bad-value', `a ${type} is no JSON value`);
  }

  #list(list: readonly unknown[]): void {
    if (list.length < 0x10) this.#byte(0x90 | list.length);
    else this.#head(0xdc, list.length);
    for (let i = 0; i < list.length; i++) this.#value(list[i]);
  }

  #map(map: Record<string, unknown>): void {
    const keys = Object.keys(map);
    const start = this.#at;
    if (keys.length < 0x10) this.#byte(0x80 | keys.length);
    else this.#head(0xde, keys.length);
    let dropped = 0;
    for (let i = 0; i < keys.length; i++) {
      const key = keys[i] as string;
      const value = map[key];
      if (value === undefined) dropped++;
      else {
        this.#text(key);
        this.#value(value);
      }
    }
    if (dropped === 0) return;
    const end = this.#at;
    this.#at = start;
    if (keys.length < 0x10) this.#byte(0x80 | (keys.length - dropped));
    else this.#head(0xde, keys.length - dropped, keys.length > 0xffff);
    this.#at = end;
  }

  #text(text: string): void {
    if (text.length <= shortText && this.#shortText(text)) return;
    const length = utf8Bytes(text);
    if (length < 0x20) this.#byte(0xa0 | length);
    else if (length < 0x100) this.#head8(0xd9, length);
    else this.#head(0xda, length);
    this.#ensure(length);
    const { read, written } = encoder.encodeInto(text, this.#bytes.subarray(this.#at, this.#at + length));
    // Half a surrogate pair would be written as U+FFFD, which is longer than what was counted for it.
    if (read !== text.length || written !== length) throw new CodedError('bad-value', 'half of a surrogate pair in a string');
    this.#at += length;
  }

  /** Writes a short ASCII text; false, and nothing written, where it is not ASCII. */
  #shortText(text: string): boolean {
    this.#ensure(shortText + 1);
    const bytes = this.#bytes;
    let at = this.#at;
    bytes[at++] = 0xa0 | text.length;
    for (let i = 0; i < text.length; i++) {
      const unit = text.charCodeAt(i);
      if (unit >= 0x80) return false;
      bytes[at++] = unit;
    }
    this.#at = at;
    return true;
  }

  #binary(binary: Uint8Array): void {
    if (binary.length < 0x100) this.#head8(0xc4, binary.length);
    else this.#head(0xc5, binary.length);
    this.#ensure(binary.length);
    this.#bytes.set(binary, this.#at);
    this.#at += binary.length;
  }

  #number(value: number): void {
    if (!Number.isFinite(value)) throw new CodedError('bad-value', `${value} is no JSON value`);
    this.#ensure(9);
    if (!Number.isSafeInteger(value)) {
      this.#bytes[this.#at] = 0xcb;
      this.#view.setFloat64(this.#at + 1, value);
      this.#at += 9;
    } else if (value >= 0) {
      if (value < 0x80) this.#byte(value);
      else if (value < 0x100) this.#head8(0xcc, value);
      else if (value <= 0xffff_ffff) this.#head(0xcd, value);
      else this.#long(0xcf, value);
    } else if (value >= -0x20) this.#byte(0x100 + value);
    else if (value >= -0x80) this.#head8(0xd0, value);
    else if (value >= -0x8000) {
      this.#bytes[this.#at] = 0xd1;
      this.#view.setInt16(this.#at + 1, value);
      this.#at += 3;
    } else if (value >= -0x8000_0000) {
      this.#bytes[this.#at] = 0xd2;
      this.#view.setInt32(this.#at + 1, value);
      this.#at += 5;
    } else this.#long(0xd3, value);
  }

  #long(type: number, value: number): void {
    this.#bytes[this.#at] = type;
    this.#view.setInt32(this.#at + 1, Math.floor(value / 0x1_0000_0000));
    this.#view.setUint32(this.#at + 5, value >>> 0);
    this.#at += 9;
  }

  #byte(byte: number): void {
    this.#ensure(1);
    this.#bytes[this.#at++] = byte;
  }

  #head8(type: number, length: number): void {
    this.#ensure(2);
    this.#bytes[this.#at++] = type;
    this.#bytes[this.#at++] = length;
  }

  /** `type` and 16 bits, or the type after it and 32. */
  #head(type: number, length: number, wide = length > 0xffff): void {
    this.#ensure(5);
    this.#bytes[this.#at] = wide ? type + 1 : type;
    if (wide) this.#view.setUint32(this.#at + 1, length);
    else this.#view.setUint16(this.#at + 1, length);
    this.#at += wide ? 5 : 3;
  }

  #ensure(bytes: number): void {
    const needed = this.#at + bytes;
    if (needed <= this.#bytes.length) return;
    const larger = new Uint8Array(Math.max(this.#bytes.length * 2, needed));
    larger.set(this.#bytes.subarray(0, this.#at));
    this.#replace(larger);
  }

  #replace(bytes: Uint8Array<ArrayBuffer>): void {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer);
  }
}
