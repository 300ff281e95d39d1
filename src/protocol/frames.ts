/**
 * WebSocket frames of the server (RFC 6455 section 5.2), written in place, and the pushes of stored entries: their JSON is
 * joined from the stored text, so that a body is neither parsed nor printed again on its way to JSON clients.
 */
import { binFor, type Format, toBase64 } from './codec.ts';
import type { Content, Entry, EntryKind, Push } from './pushes.ts';

/** 1 for ASCII that stands for itself in a text. */
const plain = Uint8Array.from({ length: 128 }, (_, unit) => (unit < 0x20 || unit === 0x22 || unit === 0x5c ? 0 : 1));

export const textOpcode = 1;
export const binaryOpcode = 2;

/** What is needed of an entry as the store keeps it. `body`: JSON text, the bytes of a binary body, or null for none. */
export type StoredEntry = {
  readonly room: string;
  readonly seq: number;
  readonly kind: EntryKind;
  readonly mid: string | null;
  readonly from: string | null;
  readonly ts: number;
  readonly thread: string | null;
  readonly body: string | Uint8Array | null;
};

/** Bytes of the header before a payload of that length. */
export function frameBytes(payloadLength: number): 2 | 4 | 10 {
  return payloadLength < 126 ? 2 : payloadLength < 0x1_0000 ? 4 : 10;
}

/** Writes the header of a whole, unmasked frame at `offset`; returns its length. The payload follows it. */
export function writeFrameHeader(buffer: Uint8Array, offset: number, opcode: typeof textOpcode | typeof binaryOpcode, payloadLength: number): 2 | 4 | 10 {
  const bytes = frameBytes(payloadLength);
  buffer[offset] = 0x80 | opcode;
  buffer[offset + 1] = bytes === 2 ? payloadLength : bytes === 4 ? 126 : 127;
  let rest = payloadLength;
  for (let at = offset + bytes - 1; at > offset + 1; at--) {
    buffer[at] = rest % 0x100;
    rest = Math.floor(rest / 0x100);
  }
  return bytes;
}

/** The JSON text of an `entry` push. */
export function entryJson(entry: StoredEntry): string {
  return `{"op":"entry",${fieldsJson(entry)}}`;
}

/** The same as an item of a `history` answer: an entry without `op`. */
export function itemJson(entry: StoredEntry): string {
  return `{${fieldsJson(entry)}}`;
}

export function inboxJson(entry: StoredEntry, n: number): string {
  return `{"op":"inbox","n":${n},${fieldsJson(entry)}}`;
}

/** `body`: JSON text or the bytes of a binary body. */
export function ephemeralJson(room: string, from: string | null, ts: number, body: string | Uint8Array): string {
  return `{"op":"ephemeral","room":${quoted(room)},"from":${quoted(from)},"ts":${ts}${contentJson(body)}}`;
}

function fieldsJson(entry: StoredEntry): string {
  const mid = entry.mid === null ? 'null' : `"${entry.mid}"`;
  const thread = entry.thread === null ? '' : `,"thread":"${entry.thread}"`;
  const head = `"room":${quoted(entry.room)},"seq":${entry.seq},"kind":"${entry.kind}","mid":${mid},"from":${quoted(entry.from)},"ts":${entry.ts}`;
  return head + thread + contentJson(entry.body);
}

/** A name as JSON. Most are plain, and then a call into the engine costs more than looking at them. */
function quoted(name: string | null): string {
  if (name === null) return 'null';
  for (let i = 0; i < name.length; i++) if (plain[name.charCodeAt(i)] !== 1) return JSON.stringify(name);
  return `"${name}"`;
}

function contentJson(body: string | Uint8Array | null): string {
  return body === null ? '' : typeof body === 'string' ? `,"body":${body}` : `,"body64":"${toBase64(body)}"`;
}

/** The map of an `entry` push. */
export function entryMap(entry: StoredEntry, format: Format): Push & { op: 'entry' } {
  return { op: 'entry', ...itemMap(entry, format) };
}

export function itemMap(entry: StoredEntry, format: Format): Entry {
  const { room, seq, kind, mid, from, ts, thread, body } = entry;
  const map: Entry = { room, seq, kind, mid, from, ts };
  if (thread !== null) map.thread = thread;
  if (body === null) return map;
  return Object.assign(map, typeof body === 'string' ? { body: JSON.parse(body) as unknown } : binFor(body, format));
}

export function inboxMap(entry: StoredEntry, n: number, format: Format): Push & { op: 'inbox' } {
  return { op: 'inbox', n, ...itemMap(entry, format) };
}

/** `value`: the parsed body, or the bytes of a binary one. */
export function ephemeralMap(room: string, from: string | null, ts: number, value: unknown, format: Format): Push & { op: 'ephemeral' } {
  const content: Content = value instanceof Uint8Array ? binFor(value, format) : { body: value };
  return { op: 'ephemeral', room, from, ts, ...content };
}
