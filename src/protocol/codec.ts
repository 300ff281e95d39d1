/**
 * The two encodings of the wire. The server decodes only what `scan.ts` has accepted; a client decodes what its hub sends.
 * Both encode here, except entries on the hub's hot path, whose stored JSON text `frames.ts` joins. Browser-safe.
 */
import { CodedError } from './codes.ts';
import { unpackMsgpack } from './msgpack-reader.ts';
import { MsgpackWriter } from './msgpack-writer.ts';
import type { Content } from './pushes.ts';

export type Format = 'json' | 'msgpack';

/** The WebSocket subprotocols, the one that a client gets who names none first. */
export const subprotocols: Readonly<Record<string, Format>> = { 'hubbub.v1.json': 'json', 'hubbub.v1.msgpack': 'msgpack' };

const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
const encoder = new TextEncoder();

/** The map in a frame; `data` may be a string where a JSON frame came as one. Throws `CodedError` only. */
export function decode(data: Uint8Array | string, format: Format): Record<string, unknown> {
  const value = format === 'json' ? parse(data) : typeof data === 'string' ? undefined : unpackMsgpack(data);
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw new CodedError('bad-frame', 'a frame is one map');
  return value as Record<string, unknown>;
}

function parse(data: Uint8Array | string): unknown {
  try {
    return JSON.parse(typeof data === 'string' ? data : decoder.decode(data));
  } catch {
    throw new CodedError('bad-frame', 'not JSON');
  }
}

/** A map as the bytes of one frame. Fields that are undefined are left out. A caller of many frames keeps a `MsgpackWriter`, or writes the JSON text in place. */
export function encode(map: object, format: Format): Uint8Array<ArrayBuffer> {
  return format === 'json' ? encoder.encode(JSON.stringify(map)) : new MsgpackWriter().pack(map);
}

/** A binary body as the content field of its encoding. */
export function binFor(bin: Uint8Array, format: Format): Content {
  return format === 'msgpack' ? { bin } : { body64: toBase64(bin) };
}

/** Letters per call: arguments of one call have a limit. */
const base64Step = 8_192;

export function toBase64(bytes: Uint8Array): string {
  let text = '';
  for (let i = 0; i < bytes.length; i += base64Step) text += String.fromCharCode(...bytes.subarray(i, i + base64Step));
  return btoa(text);
}

/** Throws `bad-value` where it is not base64. */
export function fromBase64(text: string): Uint8Array<ArrayBuffer> {
  let letters: string;
  try {
    letters = atob(text);
  } catch {
    throw new CodedError('bad-value', 'not base64', 'body64');
  }
  const bytes = new Uint8Array(letters.length);
  for (let i = 0; i < letters.length; i++) bytes[i] = letters.charCodeAt(i);
  return bytes;
}
