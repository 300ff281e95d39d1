/**
 * What the gateway must know of a frame to route it, and the refusals of the scans that find it. The scans
 * (`scan-json.ts`, `scan-msgpack.ts`) run before anything is decoded; what they accept is a plain JSON value, so no later
 * stage has to look for depth, foreign types or broken text again.
 */
import { CodedError, type ErrorCode } from './codes.ts';
import { nameUnitsMax, normalName } from './names.ts';
import { textOf } from './utf8.ts';

/** Longest `op` looked at; the longest there is has 12 letters. */
const opBytesMax = 64;
/** Fields of one envelope; no op has half as many. Bounds the search for duplicates. */
export const fieldsMax = 32;
/** Longest field name, `\u` escapes counted; the longest there is has 10 letters. */
export const fieldBytesMax = 64;

/** The routing fields of an envelope. Names are in normal form C, as validation will have them. */
export type Header = {
  op: string;
  id: number | undefined;
  room: string | undefined;
  to: string | undefined;
  as: string | undefined;
  /** As it was sent, be it a UUID or not. With one, the command can be repeated. */
  mid: string | undefined;
};
export type HeaderField = 'op' | 'id' | 'room' | 'to' | 'as' | 'mid';

/** Refused by a scan. `op` and `id` are what had been found of them, so that the answer can still carry them. */
export class ScanError extends CodedError {
  readonly op: string | undefined;
  readonly id: number | undefined;
  constructor(code: ErrorCode, message: string, field?: string, found?: Partial<Header>) {
    super(code, message, field);
    this.name = 'ScanError';
    this.op = found?.op;
    this.id = found?.id;
  }
}

/** Collects the routing fields and the first refusal that does not stop a scan: the rest may still hold the `id` of the answer. */
export class HeaderBuilder {
  #op: string | undefined;
  #id: number | undefined;
  #room: string | undefined;
  #to: string | undefined;
  #as: string | undefined;
  #mid: string | undefined;
  #refusal: { code: ErrorCode; message: string; field: string | undefined } | null = null;

  refuse(code: ErrorCode, message: string, field?: string): void {
    this.#refusal ??= { code, message, field };
  }

  /** The refusal that ends the scan. */
  error(code: ErrorCode, message: string, field?: string): ScanError {
    return new ScanError(code, message, field, { op: this.#op, id: this.#id });
  }

  /** A routing field whose value is the text in `bytes` from `start` to `end`, without escapes. */
  text(field: HeaderField, bytes: Uint8Array, start: number, end: number): void {
    if (field === 'id') this.other(field);
    else if (end - start > (field === 'op' ? opBytesMax : nameUnitsMax)) this.#tooLong(field);
    else this.#set(field, this.decoded(bytes, start, end));
  }

  /** The text of bytes that may not be UTF-8. */
  decoded(bytes: Uint8Array, start: number, end: number): string {
    try {
      return textOf(bytes, start, end);
    } catch {
      throw this.error('bad-frame', `a text that is not UTF-8 (byte ${start})`);
    }
  }

  /** The same for a text that had escapes. */
  escaped(field: HeaderField, text: string): void {
    if (field === 'id') this.other(field);
    else if (text.length > (field === 'op' ? opBytesMax : nameUnitsMax)) this.#tooLong(field);
    else this.#set(field, text);
  }

  number(field: HeaderField, value: number): void {
    if (field !== 'id') this.other(field);
    else if (!Number.isSafeInteger(value) || value < 1) this.other(field);
    else this.#id = value;
  }

  /** A routing field that is neither text nor number. */
  other(field: HeaderField): void {
    this.refuse('bad-request', field === 'id' ? 'id must be an integer from 1' : `${field} must be a string`, field);
  }

  finish(): Header {
    if (this.#refusal !== null) throw this.error(this.#refusal.code, this.#refusal.message, this.#refusal.field);
    if (this.#op === undefined) throw this.error('bad-request', 'op is missing', 'op');
    return { op: this.#op, id: this.#id, room: this.#room, to: this.#to, as: this.#as, mid: this.#mid };
  }

  #set(field: HeaderField, text: string): void {
    if (field === 'op') this.#op = text;
    else if (field === 'room') this.#room = normalName(text);
    else if (field === 'to') this.#to = normalName(text);
    else if (field === 'as') this.#as = normalName(text);
    else if (field === 'mid') this.#mid = text;
  }

  #tooLong(field: HeaderField): void {
    if (field === 'op') this.refuse('unknown-op', 'no such op', 'op');
    else this.refuse('bad-request', `${field} is too long`, field);
  }
}

/** Which routing field the bytes from `start` to `end` spell, if any. */
export function headerField(bytes: Uint8Array, start: number, end: number): HeaderField | null {
  const first = bytes[start];
  const second = bytes[start + 1];
  if (end - start === 2) {
    if (first === 0x6f && second === 0x70) return 'op';
    if (first === 0x69 && second === 0x64) return 'id';
    if (first === 0x74 && second === 0x6f) return 'to';
    if (first === 0x61 && second === 0x73) return 'as';
  } else if (end - start === 3) {
    if (first === 0x6d && second === 0x69 && bytes[start + 2] === 0x64) return 'mid';
  } else if (end - start === 4 && first === 0x72 && second === 0x6f && bytes[start + 2] === 0x6f && bytes[start + 3] === 0x6d) {
    return 'room';
  }
  return null;
}

/** Whether the bytes from `start` to `end` spell `__proto__`. */
export function isProto(bytes: Uint8Array, start: number, end: number): boolean {
  return end - start === 9 && bytes[start] === 0x5f && spells(bytes, start + 2, 'proto__');
}

function spells(bytes: Uint8Array, start: number, word: string): boolean {
  for (let i = 0; i < word.length; i++) if (bytes[start + i] !== word.charCodeAt(i)) return false;
  return true;
}

export function sameBytes(bytes: Uint8Array, a: number, b: number, length: number): boolean {
  for (let i = 0; i < length; i++) if (bytes[a + i] !== bytes[b + i]) return false;
  return true;
}
