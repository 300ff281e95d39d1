/**
 * What the hub sends: the one answer of each command (`Replies`) and the pushes. Types only; the words are in PROTOCOL.md.
 */
import type { ErrorCode } from './codes.ts';
import type { Op, Position, Role } from './inputs.ts';
import type { WireLimits } from './limits.ts';

export type EntryKind = 'message' | 'created' | 'member' | 'settings' | 'deleted';
export type Status = 'online' | 'away' | 'offline';
export type GapReason = 'expired' | 'trimmed' | 'forbidden' | 'epoch';
export type Gap = { room: string; from: number; to: number; reason: GapReason };
export type Presence = { user: string; status: Status; lastSeen: number | null };
/** Who follows a room live: user ids up to 200 of them, above that only the number. */
export type Audience = { count: number; users?: string[] };

/** The content of an entry: `body` any JSON value, or a whole binary body as `bin` (msgpack) or `body64` (json). */
export type Content = { body?: unknown; bin?: Uint8Array; body64?: string };
/** Body of a `member` entry. `role` null: no longer a member. */
export type MemberBody = { user: string; change: 'joined' | 'left' | 'added' | 'removed' | 'role'; role: Role | null };

export type Entry = Content & { room: string; seq: number; kind: EntryKind; mid: string | null; from: string | null; ts: number; thread?: string };

export type RoomInfo = {
  room: string;
  visibility: 'public' | 'private';
  listed: boolean;
  title: string | null;
  membersMax: number;
  history: 'all' | 'sinceJoin';
  createdAt: number | null;
  members: number;
  subscribers: number;
  role: Role | null;
  position: Position;
  firstSeq: number;
};
export type RoomSummary = {
  room: string;
  title: string | null;
  visibility: 'public' | 'private';
  members: number;
  head: number;
  role?: Role | null;
  received?: number;
  read?: number;
  unread?: number;
};
export type Member = { user: string; role: Role; since: number };
export type DeliveryState = 'queued' | 'sent' | 'received' | 'read' | 'expired' | 'dropped';
export type Delivery = {
  user: string;
  state: DeliveryState;
  n: number;
  queuedAt: number;
  sentAt?: number;
  receivedAt?: number;
  readAt?: number;
  endedAt?: number;
  reason?: string;
};

type Recovery = { room: string; position: Position; recovered: boolean; gaps?: Gap[]; audience?: Audience };

/** Fields of the `ok` (for `hello`: `welcome`) of each command, besides `op` and `id`. */
export type Replies = {
  hello: Welcome;
  refresh: { expiresInMs: number | null };
  ping: { now: number };
  subscribe: Recovery;
  unsubscribe: { room: string };
  resume: { rooms: number };
  /** An ephemeral publish has no seq. */
  publish: { seq?: number; mid?: string; duplicate?: true };
  direct: { room: string; seq: number; mid?: string; duplicate?: true };
  history: { room: string; entries: Entry[]; more: boolean; asOf: Position };
  mark: { room: string; received: number; read: number };
  delivery: { room: string; mid: string; deliveries: Delivery[] };
  create: { room: string; seq: number };
  update: { room: string; seq: number };
  delete: { room: string; seq: number };
  join: { room: string; seq: number; role: Role };
  leave: { room: string; seq: number };
  setMember: { room: string; seq: number };
  removeMember: { room: string; seq: number };
  info: RoomInfo;
  members: { room: string; members: Member[]; more: boolean };
  rooms: { rooms: RoomSummary[]; cursor: string | null };
  ack: { through: number };
  status: { status: Status };
  who: { users: Presence[] };
  watch: { users: Presence[] };
  unwatch: { users: string[] };
  revoke: { users: string[] };
  disable: { users: string[] };
};
export type Reply<O extends Op> = Replies[O];

export type Welcome = {
  user: string;
  connection: string;
  device: string;
  epoch: string;
  expiresInMs: number | null;
  limits: WireLimits;
  heartbeatMs: number;
  inbox: { head: number; acked: number };
};

/** Everything the hub sends unasked; `resumed` is one room's part of a `resume`, before its `ok`. */
export type Push =
  | ({ op: 'entry' } & Entry)
  | ({ op: 'ephemeral'; room: string; from: string | null; ts: number } & Content)
  | ({ op: 'inbox'; n: number } & Entry)
  | { op: 'inbox-gap'; from: number; to: number; reason: 'dropped' | 'expired' }
  | { op: 'inbox-stopped'; n: number; reason: ErrorCode }
  | ({ op: 'resumed'; id?: number } & Recovery)
  | { op: 'behind'; room: string; head: number }
  | { op: 'gap'; room: string; gaps: Gap[] }
  | ({ op: 'presence' } & Presence)
  | ({ op: 'audience'; room: string; joined?: string[]; left?: string[] } & Audience)
  | { op: 'unsubscribed'; room: string; reason: ErrorCode }
  | { op: 'token-expiring'; expiresInMs: number }
  | { op: 'closing'; reason: string; retryAfterMs: number };

export type ErrorReply = {
  op: 'error';
  id?: number;
  of?: string;
  code: ErrorCode;
  message: string;
  field?: string;
  retry: boolean;
  retryAfterMs?: number;
  /** With `rate-limited`: how the limit stands that was met. */
  limit?: number;
  remaining?: number;
  resetMs?: number;
};
