/**
 * How values of the messages stand in columns: enumerations as small integers (their order is part of the file's format),
 * UUIDs as 16 bytes. Used by the writer and the readers, so that the two agree.
 */
import type { Role } from '../protocol/commands.ts';
import type { EntryKind, Status } from '../protocol/pushes.ts';
import type { EntryRecord, StoredBody } from '../thread/messages.ts';
import type { NamesById } from './sqlite-names.ts';

export const kinds: readonly EntryKind[] = ['message', 'created', 'member', 'settings', 'deleted'];
export const roles: readonly Role[] = ['owner', 'admin', 'member', 'moderator', 'muted', 'invited', 'banned'];
export const statuses: readonly Status[] = ['online', 'away', 'offline'];
export const visibilities = ['public', 'private'] as const;
/** Column `ended` of an inbox item that was lost; 0 of any other. */
export const ended = { expired: 2, dropped: 3 } as const;
export type LossCode = typeof ended.expired | typeof ended.dropped;

export function lossReason(code: number): 'expired' | 'dropped' {
  return code === ended.expired ? 'expired' : 'dropped';
}

/** The value of each ASCII letter as a hexadecimal digit; 0xff: it is none. */
const digits = Uint8Array.from({ length: 128 }, (_, unit) =>
  /[0-9a-fA-F]/.test(String.fromCharCode(unit)) ? Number.parseInt(String.fromCharCode(unit), 16) : 0xff,
);

/** Writes a UUID's 16 bytes into `into`, which the next call may overwrite: SQLite copies what is bound. */
export function uuidBytes(text: string, into: Buffer): Buffer {
  let all = text.length === 36 ? 0 : 0xff;
  for (let at = 0, i = 0; i < 36; i += 2) {
    if (i === 8 || i === 13 || i === 18 || i === 23) i++;
    const high = digits[text.charCodeAt(i)] ?? 0xff;
    const low = digits[text.charCodeAt(i + 1)] ?? 0xff;
    all |= high | low;
    into[at++] = (high << 4) | low;
  }
  if (all > 0xf) throw new TypeError('a mid is a UUID');
  return into;
}

/** A column of 16 bytes as text: null comes as ''. SQLite writes it for less than a Buffer for each row costs. */
const hexOf = (column: string): string => `lower(hex(${column}))`;

function uuidText(hex: string): string | null {
  if (hex === '') return null;
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}

/** Columns of `entries`, as `entryColumns` selects them; the sender by id. */
export type EntryRow = [seq: number, kind: number, mid: string, sender: number | null, ts: number, thread: string, body: StoredBody];
export const entryColumns = `e.seq, e.kind, ${hexOf('e.mid')}, e.sender, e.ts, ${hexOf('e.thread')}, e.body`;

export function entryOf(room: string, row: EntryRow, users: NamesById): EntryRecord {
  const [seq, kind, mid, sender, ts, thread, body] = row;
  return {
    room,
    seq,
    kind: kinds[kind] as EntryKind,
    mid: uuidText(mid),
    from: sender === null ? null : users.of(sender),
    ts,
    thread: uuidText(thread),
    body,
  };
}

export function bodyBytes(body: StoredBody): number {
  if (body === null) return 0;
  return typeof body === 'string' ? Buffer.byteLength(body) : body.length;
}
