/**
 * Who follows which room: the slots that deliveries name, with removal in constant time, and each connection's own list,
 * which outlives a shard's thread. Called by delivery (what a shard says), routing (what a client asks) and the shards' loss.
 */
import { type Format, formats } from '../thread/messages.ts';
import type { Connection, Slot, Subscription } from './connection.ts';

export function formatIndex(format: Format): 0 | 1 {
  return formats.indexOf(format) as 0 | 1;
}

/** The client has asked to follow; counts against its limit at once. */
export function asked(connection: Connection, room: string, shard: number, id: number): void {
  const subscription = connection.rooms.get(room);
  if (subscription?.state.is === 'live') subscription.anew = id;
  else connection.rooms.set(room, { room, shard, presence: false, anew: null, state: { is: 'asked', id } });
}

/** What was asked by this command is refused; a subscription from before it stays. */
export function refused(connection: Connection, room: string, id: number): void {
  const subscription = connection.rooms.get(room);
  if (subscription?.state.is === 'asked' && subscription.state.id === id) connection.rooms.delete(room);
  else if (subscription?.anew === id) subscription.anew = null;
}

/** The client wants no more of it. What is live ends when the shard says so, in the order of what it sends. */
export function left(connection: Connection, room: string): void {
  const subscription = connection.rooms.get(room);
  if (subscription?.state.is === 'live') subscription.anew = null;
  else connection.rooms.delete(room);
}

/** Followed without a command, from a position that the gateway knows. */
export function following(connection: Connection, room: string, shard: number, lastSeq: number): void {
  connection.rooms.set(room, { room, shard, presence: false, anew: null, state: { is: 'behind', lastSeq } });
}

export function attach(connection: Connection, slot: Slot, fromSeq: number, presence: boolean, attachment: number): void {
  let subscription = connection.rooms.get(slot.room);
  const anew = subscription === undefined ? null : askedSince(connection, subscription);
  if (subscription?.state.is === 'live') unlist(connection, subscription.state.slot, subscription.state.index);
  const list = slot.lists[formatIndex(connection.format)];
  const state = { is: 'live', slot, index: list.length, attachment } as const;
  if (subscription === undefined) {
    subscription = { room: slot.room, shard: slot.shard, presence, anew: null, state };
    connection.rooms.set(slot.room, subscription);
  } else {
    subscription.presence = presence;
    subscription.anew = anew;
    subscription.state = state;
  }
  list.push(connection);
  if (fromSeq - 1 > slot.lastSeq) slot.lastSeq = fromSeq - 1;
}

/** The shard has ended the subscription, live or not. */
export function detach(connection: Connection, room: string): void {
  const subscription = connection.rooms.get(room);
  if (subscription === undefined) return;
  if (askedSince(connection, subscription) !== null) return;
  if (subscription.state.is === 'live') unlist(connection, subscription.state.slot, subscription.state.index);
  if (subscription.anew === null) connection.rooms.delete(room);
  else {
    subscription.state = { is: 'asked', id: subscription.anew };
    subscription.anew = null;
  }
}

/** The id of a `subscribe` that is not answered yet, before which the shard has no more to say of it: what it says now is about an earlier one. */
function askedSince(connection: Connection, { state }: Subscription): number | null {
  return state.is === 'asked' && connection.commands.get(state.id)?.is === 'subscribe' ? state.id : null;
}

/** Takes a connection whose outbox is full out of the slot; returns the attachment that had put it there, 0 if it was not in it. */
export function fallBehind(connection: Connection, slot: Slot, lastSeq: number): number {
  const subscription = connection.rooms.get(slot.room);
  if (subscription?.state.is !== 'live') return 0;
  const { index, attachment } = subscription.state;
  unlist(connection, slot, index);
  subscription.state = { is: 'behind', lastSeq };
  return attachment;
}

/** Pages have brought it so far. Where it is `asked`, the client alone knows which stream that belongs to. */
export function reached(connection: Connection, room: string, seq: number): void {
  const state = connection.rooms.get(room)?.state;
  if (state?.is === 'behind') state.lastSeq = seq;
}

export function leaveAll(connection: Connection): void {
  for (const { state } of connection.rooms.values()) if (state.is === 'live') unlist(connection, state.slot, state.index);
  connection.rooms.clear();
}

/**
 * What remains of the connection's subscriptions when a shard's thread is gone: those at a known position wait to be
 * followed again. Returns the others, whose position only the client knows.
 */
export function loseShard(connection: Connection, shard: number): Subscription[] {
  const lost: Subscription[] = [];
  for (const subscription of connection.rooms.values()) {
    if (subscription.shard !== shard) continue;
    subscription.anew = null;
    if (subscription.state.is === 'live') subscription.state = { is: 'behind', lastSeq: subscription.state.slot.lastSeq };
    else if (subscription.state.is === 'asked') lost.push(subscription);
  }
  for (const { room } of lost) connection.rooms.delete(room);
  return lost;
}

/** Fills the hole with the last of the list, whose index moves with it. */
function unlist(connection: Connection, slot: Slot, index: number): void {
  const list = slot.lists[formatIndex(connection.format)];
  const last = list.pop();
  if (last === undefined || last === connection) return;
  list[index] = last;
  const moved = last.rooms.get(slot.room);
  if (moved?.state.is === 'live') moved.state.index = index;
}
