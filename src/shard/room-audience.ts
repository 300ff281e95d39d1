/**
 * Who follows a room live, for those who asked to know: the whole audience once, then who joined and left. Above
 * `audienceMax` users only their number, told by the tick, since every change would concern everybody.
 */
import type { Audience, Push } from '../protocol/pushes.ts';
import type { Connection } from './actor.ts';
import type { RoomEffects, RoomState } from './room-state.ts';

export function audienceOf(room: RoomState): Audience {
  const count = room.audience.size;
  return count > room.limits.audienceMax ? { count } : { count, users: [...room.audience.keys()] };
}

export function joined(room: RoomState, connection: Connection, effects: RoomEffects): void {
  const connections = room.audience.get(connection.user) ?? 0;
  room.audience.set(connection.user, connections + 1);
  if (connections > 0) return;
  if (!room.left.delete(connection.user)) room.joined.add(connection.user);
  effects.touched(room);
}

export function left(room: RoomState, connection: Connection, effects: RoomEffects): void {
  const connections = room.audience.get(connection.user) ?? 0;
  if (connections > 1) {
    room.audience.set(connection.user, connections - 1);
    return;
  }
  room.audience.delete(connection.user);
  if (!room.joined.delete(connection.user)) room.left.add(connection.user);
  effects.touched(room);
}

/** Tells what changed since the last time; a large audience waits for the tick. */
export function tellAudience(room: RoomState, ticking: boolean, effects: RoomEffects): void {
  if (room.joined.size === 0 && room.left.size === 0) return;
  const listeners = [...room.listeners.values()];
  const count = room.audience.size;
  const large = count > room.limits.audienceMax;
  if (large && !ticking && listeners.length > 0) return;
  if (listeners.length > 0) {
    const push: Push = { op: 'audience', room: room.name, count };
    // Back below the limit, nobody knows who is there: the whole audience again, then differences.
    if (!large && room.audienceLarge) push.users = [...room.audience.keys()];
    else if (!large) {
      if (room.joined.size > 0) push.joined = [...room.joined];
      if (room.left.size > 0) push.left = [...room.left];
    }
    effects.pushAll(listeners, push);
  }
  room.audienceLarge = large;
  room.joined.clear();
  room.left.clear();
}
