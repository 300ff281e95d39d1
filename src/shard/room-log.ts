/**
 * The log of a room as its actor sees it: sends appends to the store, applies exactly head + 1 (DESIGN 11.3), and reads what
 * it missed. Entitlement follows the log: a change of members or settings takes effect when its entry is applied.
 */
import { authorize, restricts } from '../protocol/authorize.ts';
import { CodedError, type ErrorCode } from '../protocol/codes.ts';
import type { Role, Settings } from '../protocol/commands.ts';
import type { MemberBody } from '../protocol/pushes.ts';
import type { Append, EntryRecord, MessageAppend, Outcome } from '../thread/messages.ts';
import { autoCreates } from '../thread/messages.ts';
import type { CaughtUp, MemberState, RoomEffects, RoomState } from './room-state.ts';
import { detachAll, detachRevoked } from './room-subscribers.ts';

const attemptsMax = 5;
const aheadMax = 10_000;
const pageEntries = 500;
const pageBytes = 512 * 1024;

/** What a caller of `append` wants to happen; exactly one of the three is called, once. */
export type Appending = {
  /** Stored (or stored before: `duplicate`), applied or about to be. */
  done(seq: number, duplicate: boolean): void;
  /** `unsure`: it may have been stored all the same. */
  refused(error: CodedError, unsure?: true): void;
  /** The room moved on since the command was authorized: look again and decide anew. */
  again(): void;
  attempts: number;
};

/** Sends one append on its way; `refused` with `busy` at once where the shard has too much waiting. */
export function append(room: RoomState, operation: Append | MessageAppend, appending: Appending, effects: RoomEffects): void {
  room.pending++;
  const accepted = effects.commit(operation, (outcome, ts) => {
    room.pending--;
    settle(room, operation, outcome, ts, appending, effects);
  });
  if (accepted) return;
  room.pending--;
  appending.refused(new CodedError('busy'));
}

function settle(room: RoomState, operation: Append | MessageAppend, outcome: Outcome, ts: number, appending: Appending, effects: RoomEffects): void {
  if (typeof outcome === 'number') {
    arrived(room, recordOf(operation, outcome, ts), effects);
    appending.done(outcome, false);
    return;
  }
  switch (outcome.code) {
    case 'ok':
      arrived(room, recordOf(operation, outcome.seq, ts), effects);
      appending.done(outcome.seq, false);
      return;
    case 'duplicate':
      // Perhaps committed by a writer that died before it could say so: then it is still to be delivered, and takes effect before its answer.
      if (outcome.seq <= room.headSeq) appending.done(outcome.seq, true);
      else catchUp(room, effects, () => appending.done(outcome.seq, true));
      return;
    case 'stale':
      if (++appending.attempts > attemptsMax) appending.refused(new CodedError('busy'));
      else catchUp(room, effects, (error) => (error === null ? appending.again() : appending.refused(error)));
      return;
    case 'conflict':
    case 'exists':
    case 'not-found':
    case 'room-full':
    case 'inbox-full':
      appending.refused(new CodedError(outcome.code satisfies ErrorCode));
      return;
    case 'storage':
      appending.refused(new CodedError('storage'), outcome.unsure);
      return;
    case 'connected':
    case 'rejected':
    case 'revoked':
    case 'pruned':
    case 'done':
      appending.refused(new CodedError('internal', `the store answered an append with ${outcome.code}`));
      return;
  }
}

function recordOf(operation: Append | MessageAppend, seq: number, ts: number): EntryRecord {
  if (Array.isArray(operation)) {
    const [room, , mid, from, thread, body] = operation;
    return { room, seq, kind: 'message', mid, from, ts, thread, body };
  }
  const { room, kind, mid, from, thread, body } = operation;
  return { room, seq, kind, mid, from, ts, thread, body };
}

/** A committed entry: applied if it is the next one, kept if it is early, ignored if it was applied before. */
function arrived(room: RoomState, record: EntryRecord, effects: RoomEffects): void {
  if (record.seq === room.headSeq + 1) {
    apply(room, record, effects);
    applyAhead(room, effects);
  } else if (record.seq > room.headSeq) {
    if (room.ahead.size < aheadMax) room.ahead.set(record.seq, record);
    catchUp(room, effects, () => {});
  }
}

function applyAhead(room: RoomState, effects: RoomEffects): void {
  for (let next = room.ahead.get(room.headSeq + 1); next !== undefined; next = room.ahead.get(room.headSeq + 1)) {
    apply(room, next, effects);
  }
}

/**
 * Reads and applies everything above the head; `then` with null once the head is at least what the store had. One read of a
 * room is under way at a time; who asks meanwhile shares the next one, since this one may not see what he has heard of.
 */
export function catchUp(room: RoomState, effects: RoomEffects, then: CaughtUp): void {
  if (room.catching !== null) {
    room.catching.push(then);
    return;
  }
  room.catching = [];
  readOn(room, effects, [then]);
}

function readOn(room: RoomState, effects: RoomEffects, waiting: readonly CaughtUp[]): void {
  room.pending++;
  const ended = (error: CodedError | null) => {
    room.pending--;
    room.missing = error !== null;
    const next = room.catching ?? [];
    room.catching = next.length > 0 ? [] : null;
    for (const then of waiting) then(error);
    if (next.length > 0) readOn(room, effects, next);
  };
  effects.read(
    {
      read: 'entries',
      room: room.name,
      from: room.headSeq + 1,
      to: Number.MAX_SAFE_INTEGER,
      limit: pageEntries,
      bytesMax: pageBytes,
      kind: null,
      descending: false,
    },
    ({ entries, more }) => {
      const first = entries[0];
      if (first !== undefined && first.seq > room.headSeq + 1) passOver(room, first.seq - 1, effects);
      for (const record of entries) if (record.seq === room.headSeq + 1) apply(room, record, effects);
      applyAhead(room, effects);
      if (!more || entries.length === 0) return ended(null);
      room.pending--;
      readOn(room, effects, waiting);
    },
    ended,
  );
}

/**
 * What lies through `seq` was deleted with the room before it was read here, and the next entry is that deletion. Somebody's right
 * may have ended in between, so nobody who follows gets what comes now: all are told that the room is gone.
 */
function passOver(room: RoomState, seq: number, effects: RoomEffects): void {
  detachAll(room, 'not-found', effects);
  room.tail.clear();
  for (const early of room.ahead.keys()) if (early <= seq) room.ahead.delete(early);
  room.headSeq = seq;
}

function apply(room: RoomState, record: EntryRecord, effects: RoomEffects): void {
  change(room, record);
  // A room that is created may be private, and whoever waited for it under its name no member.
  const revoking = record.kind === 'created' || record.kind === 'settings' || (record.kind === 'member' && !mayFollowAfter(room, record));
  // Nothing at or above a revocation reaches the user whose right it ends: deliver what came before, detach him, then go on.
  if (revoking) detachRevoked(room, effects);
  room.headSeq = record.seq;
  room.ahead.delete(record.seq);
  room.tail.push(record);
  room.lastUsed = effects.tick;
  if (room.subscribers.size > 0) room.undelivered.push(record);
  effects.touched(room);
  if (record.kind === 'deleted') detachAll(room, 'not-found', effects);
}

/** The state after `record`, delivery apart. */
function change(room: RoomState, record: EntryRecord): void {
  switch (record.kind) {
    case 'message':
      if (room.exists) return;
      room.exists = true; // a first message brings a room into being, and a DM both its members
      room.createdAt = record.ts;
      if (room.reserved !== 'dm') return;
      setSettings(room, { visibility: 'private' });
      for (const user of room.pair) room.members.set(user, joinedAt(record, 'member'));
      return;
    case 'created': {
      const body = bodyOf<{ settings: Settings; owner: string | null }>(record);
      room.exists = true;
      room.createdAt = record.ts;
      setSettings(room, body.settings);
      room.members.clear();
      if (body.owner !== null) room.members.set(body.owner, joinedAt(record, 'owner'));
      // What another node authorized for whoever would bring the room into being is judged again.
      if (room.closed) room.authSeq = record.seq;
      return;
    }
    case 'settings':
      room.authSeq = record.seq;
      setSettings(room, { ...room.settings, ...bodyOf<Settings>(record) });
      return;
    case 'member': {
      const { user, role, change } = bodyOf<MemberBody>(record);
      // As in the store: a right given takes none away, so what was authorized before it stays authorized.
      if ((change !== 'joined' && change !== 'added') || restricts(role)) room.authSeq = record.seq;
      const member = room.members.get(user);
      if (role === null) room.members.delete(user);
      else if (member === undefined) room.members.set(user, joinedAt(record, role));
      else member.role = role;
      return;
    }
    case 'deleted':
      room.authSeq = record.seq;
      room.exists = false;
      room.firstSeq = record.seq;
      room.createdAt = null;
      setSettings(room, {});
      room.members.clear();
      return;
  }
}

function mayFollowAfter(room: RoomState, record: EntryRecord): boolean {
  return authorize('subscribe', room.kind, room.relationOf(bodyOf<MemberBody>(record).user)) === null;
}

function setSettings(room: RoomState, settings: Settings): void {
  room.settings = settings;
  room.visibility = settings.visibility ?? 'public';
}

/** As in the store: marks begin before the joining entry. */
function joinedAt({ seq, ts }: EntryRecord, role: Role): MemberState {
  return { role, sinceSeq: seq, sinceTs: ts, received: seq - 1, read: seq - 1 };
}

/** The body of an entry that the hub itself wrote. */
function bodyOf<T>(record: EntryRecord): T {
  return JSON.parse(typeof record.body === 'string' ? record.body : '{}') as T;
}

/** The tuple's last number. */
export function autoCreateCode(room: RoomState): MessageAppend[6] {
  if (room.reserved === 'all') return 3;
  if (room.reserved === 'dm') return 2;
  return autoCreates.indexOf(room.limits.autoCreate ? 'public' : null) as MessageAppend[6];
}
