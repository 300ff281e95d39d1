/**
 * The subscribers of a room: who may be one, how one ends, and the entries that are applied and not delivered yet. Both the
 * log (which revokes) and following (which begins and ends) work on them through this file.
 */

import { authorize } from '../protocol/authorize.ts';
import type { CodedError, ErrorCode } from '../protocol/codes.ts';
import type { Connection } from './actor.ts';
import { left } from './room-audience.ts';
import type { RoomEffects, RoomState } from './room-state.ts';

/** Ends the subscriptions of those who may not follow any more; what was applied before still reaches them. */
export function detachRevoked(room: RoomState, effects: RoomEffects): void {
  deliverApplied(room, effects);
  for (const { connection } of [...room.subscribers.values()]) {
    const refusal = mayFollow(room, connection);
    if (refusal === null) continue;
    drop(room, connection, effects);
    effects.push(connection, { op: 'unsubscribed', room: room.name, reason: refusal.code });
  }
}

export function detachAll(room: RoomState, reason: ErrorCode, effects: RoomEffects): void {
  deliverApplied(room, effects);
  for (const { connection } of [...room.subscribers.values()]) {
    drop(room, connection, effects);
    effects.push(connection, { op: 'unsubscribed', room: room.name, reason });
  }
}

/** The connection no longer follows; silent where it did not. */
export function drop(room: RoomState, connection: Connection, effects: RoomEffects): void {
  const subscriber = room.subscribers.get(connection.id);
  if (subscriber === undefined) return;
  room.subscribers.delete(connection.id);
  room.formats[connection.format]--;
  // Also where it was behind: the gateway counts it among the rooms of the connection.
  if (connection.open) effects.detach(room, connection);
  left(room, connection, effects);
}

export function deliverApplied(room: RoomState, effects: RoomEffects): void {
  if (room.ephemera.length > 0) {
    effects.shed(room, room.ephemera);
    room.ephemera = [];
  }
  if (room.undelivered.length === 0) return;
  effects.deliver(room, room.undelivered);
  room.undelivered = [];
}

export function mayFollow(room: RoomState, connection: Connection): CodedError | null {
  return authorize('subscribe', room.kind, room.relation(connection));
}
