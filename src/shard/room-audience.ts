/**
 * Who follows a room live, for those who asked to know: the whole audience once, then who joined and left. Above
 * `audienceMax` users only their number, told by the tick, since every change would concern everybody. While nobody asked,
 * nothing is kept.
 */
import type { Audience, Push } from '../protocol/pushes.ts';
import { FewMap } from '../thread/few.ts';
import type { Connection } from './actor.ts';
import type { RoomAudience, RoomEffects, RoomState } from './room-state.ts';

/** Before it is a subscriber itself, so that it is told of itself like everybody. */
export function listen(room: RoomState, connection: Connection): void {
  room.audience ??= audienceSoFar(room);
  room.audience.listeners.set(connection.id, connection);
}

/** After a restart of the shard nobody knows who has left meanwhile: those who ask are told of everybody, at the end of the turn. */
export function tellAnew(room: RoomState, effects: RoomEffects): void {
  if (room.audience === null) return;
  room.audience.anew = true;
  effects.touched(room);
}

export function audienceOf(room: RoomState): Audience {
  const { users } = room.audience ?? audienceSoFar(room);
  return users.size > room.limits.audienceMax ? { count: users.size } : { count: users.size, users: [...users.keys()] };
}

export function joined(room: RoomState, { user }: Connection, effects: RoomEffects): void {
  const { audience } = room;
  if (audience === null) return;
  const connections = audience.users.get(user) ?? 0;
  audience.users.set(user, connections + 1);
  if (connections > 0) return;
  if (!audience.left.delete(user)) audience.joined.add(user);
  effects.touched(room);
}

export function left(room: RoomState, { id, user }: Connection, effects: RoomEffects): void {
  const { audience } = room;
  if (audience === null) return;
  if (audience.listeners.delete(id) && audience.listeners.size === 0) {
    room.audience = null;
    return;
  }
  const connections = audience.users.get(user) ?? 0;
  if (connections > 1) {
    audience.users.set(user, connections - 1);
    return;
  }
  audience.users.delete(user);
  if (!audience.joined.delete(user)) audience.left.add(user);
  effects.touched(room);
}

/** Tells what changed since the last time; a large audience waits for the tick. */
export function tellAudience(room: RoomState, ticking: boolean, effects: RoomEffects): void {
  const { audience, name, limits } = room;
  if (audience === null || (audience.joined.size === 0 && audience.left.size === 0 && !audience.anew)) return;
  const { users, joined, left, listeners } = audience;
  const large = users.size > limits.audienceMax;
  if (large && !ticking) return;
  const push: Push = { op: 'audience', room: name, count: users.size };
  // Back below the limit, nobody knows who is there: the whole audience again, then differences.
  if (!large && (audience.large || audience.anew)) push.users = [...users.keys()];
  else if (!large) {
    if (joined.size > 0) push.joined = [...joined];
    if (left.size > 0) push.left = [...left];
  }
  effects.pushAll(listeners.values(), push);
  audience.large = large;
  audience.anew = false;
  joined.clear();
  left.clear();
}

function audienceSoFar({ subscribers, limits }: RoomState): RoomAudience {
  const users = new Map<string, number>();
  for (const { connection } of subscribers.values()) users.set(connection.user, (users.get(connection.user) ?? 0) + 1);
  return { listeners: new FewMap(), users, joined: new Set(), left: new Set(), large: users.size > limits.audienceMax, anew: false };
}
