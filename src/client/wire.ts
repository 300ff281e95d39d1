/**
 * Frames as the client sends and receives them: bytes or text with their size on the way out, binary bodies as bytes in both
 * subprotocols on the way in. Everything else about the encodings is protocol/codec.ts.
 */
import { binFor, decode, encode, type Format, fromBase64 } from '../protocol/codec.ts';
import { CodedError } from '../protocol/codes.ts';
import type { Content, Entry as WireEntry } from '../protocol/pushes.ts';
import { HubError } from './errors.ts';

/** An entry as the application sees it: `body` any JSON value, or `bin` where the whole body is binary. */
export type Entry = Omit<WireEntry, 'body64'>;
export type Ephemeral = { room: string; from: string | null; ts: number; body?: unknown; bin?: Uint8Array };

/** A frame ready to send, and its size on the wire. */
export type Packed = { readonly data: string | Uint8Array<ArrayBuffer>; readonly bytes: number };

const decoder = new TextDecoder();

/** Throws `HubError` where the frame holds what is not a JSON value. */
export function pack(frame: object, format: Format): Packed {
  try {
    const bytes = encode(frame, format);
    return { data: format === 'json' ? decoder.decode(bytes) : bytes, bytes: bytes.length };
  } catch (cause) {
    if (cause instanceof CodedError) throw new HubError(cause.code, cause.message, { field: cause.field, cause });
    throw new HubError('bad-value', 'not a JSON value', { field: 'body', cause });
  }
}

export function unpack(data: unknown, format: Format): Record<string, unknown> {
  return decode(typeof data === 'string' ? data : new Uint8Array(data as ArrayBuffer), format);
}

/** A body as a caller passes it, in the field where the subprotocol wants it. */
export function contentOf(body: unknown, format: Format): Content {
  if (body instanceof Uint8Array) return binFor(body, format);
  // As JSON it would be an empty map.
  if (body instanceof ArrayBuffer || ArrayBuffer.isView(body)) throw new HubError('bad-value', 'bytes are sent as a Uint8Array', { field: 'body' });
  return { body };
}

/** The name of a room as the hub writes it. */
export function nameOf(room: unknown): string {
  if (typeof room !== 'string') throw new HubError('bad-request', 'room must be a string', { field: 'room' });
  return room.normalize('NFC');
}

/** Turns a `body64` into `bin`, in place. */
export function withBytes<T extends Content>(content: T): Omit<T, 'body64'> {
  if (content.body64 !== undefined) {
    content.bin = fromBase64(content.body64);
    delete content.body64;
  }
  return content;
}
