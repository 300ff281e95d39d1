/**
 * Following a room live: subscribe, resume, unsubscribe, falling behind and catching up. One mechanism serves them all: a
 * subscriber is `live`, or `behind` a position and fed pages until the page that reaches the head, which is sent together
 * with the attachment (DESIGN 11.11). So there is never a hole between replay and live.
 */
import { authorize } from '../protocol/authorize.ts';
import type { CodedError } from '../protocol/codes.ts';
import type { Command, Position } from '../protocol/commands.ts';
import type { Gap, Replies } from '../protocol/pushes.ts';
import type { Connection } from './actor.ts';
import { audienceOf, joined, listen, tellAnew } from './room-audience.ts';
import { catchUp } from './room-log.ts';
import { goLive, turn } from './room-pages.ts';
import { likeAbsence, refuseAccess } from './room-refusal.ts';
import type { RoomEffects, RoomState, Subscriber } from './room-state.ts';
import { deliverApplied, drop, mayFollow } from './room-subscribers.ts';

export function subscribe(room: RoomState, connection: Connection, command: Command<'subscribe'>, effects: RoomEffects): void {
  const refusal = mayFollow(room, connection);
  if (refusal !== null) return refuseAccess(room, connection, command, refusal, effects);
  const answer = (gaps: Gap[], position: number | null) => {
    follow(room, connection, command.presence ?? false, position, effects, () => {
      const reply: Replies['subscribe'] = { room: room.name, position: { epoch: effects.epoch, seq: room.headSeq }, recovered: gaps.length === 0 };
      if (gaps.length > 0) reply.gaps = gaps;
      if (command.presence) reply.audience = audienceOf(room);
      effects.reply(connection, command.id, reply);
    });
  };
  locate(room, connection, command.position ?? null, effects, {
    answer,
    failed: (error) => effects.refuse(connection, command.id, 'subscribe', error),
    // Nothing was judged, so nothing is promised: the answer that counts is that of the later command.
    replaced: () => effects.reply(connection, command.id, { room: room.name, position: { epoch: effects.epoch, seq: room.headSeq }, recovered: false }),
  });
}

/** One room of a `resume`; `done` once its `resumed` was sent, or `unsubscribed` where it may not be followed. */
export function resume(
  room: RoomState,
  connection: Connection,
  id: number | undefined,
  position: Position,
  effects: RoomEffects,
  done: (following: boolean) => void,
): void {
  const refused = (error: CodedError) => {
    unfollow(room, connection, error, effects);
    done(false);
  };
  const refusal = mayFollow(room, connection);
  if (refusal !== null) {
    return likeAbsence(room, refusal, effects, () => {
      // A later subscribe of his may have been granted meanwhile: then that one counts.
      if (room.subscribers.has(connection.id) || room.locating.has(connection.id)) done(false);
      else refused(refusal);
    });
  }
  const answer = (gaps: Gap[], from: number | null) => {
    follow(room, connection, false, from, effects, () => {
      const head: Position = { epoch: effects.epoch, seq: room.headSeq };
      effects.push(connection, {
        op: 'resumed',
        ...(id === undefined ? {} : { id }),
        room: room.name,
        position: head,
        recovered: gaps.length === 0,
        ...(gaps.length === 0 ? {} : { gaps }),
      });
    });
    done(true);
  };
  locate(room, connection, position, effects, { answer, failed: refused, replaced: () => done(false) });
}

/** What could not be resumed is over, also where an earlier subscription of the connection stood: nothing follows an `unsubscribed`. */
export function unfollow(room: RoomState, connection: Connection, error: CodedError, effects: RoomEffects): void {
  drop(room, connection, effects);
  effects.push(connection, { op: 'unsubscribed', room: room.name, reason: error.code });
}

/** Following without a command: the broadcast room at hello, and subscriptions after a restart of the shard. */
export function refollow(room: RoomState, connection: Connection, position: Position | 'mark', presence: boolean, effects: RoomEffects): void {
  const refusal = mayFollow(room, connection);
  const dropped = (error: CodedError) => notFollowed(room, connection, error, effects);
  if (refusal !== null) return dropped(refusal);
  const answer = (gaps: Gap[], from: number | null) => {
    follow(room, connection, presence, from, effects, () => {
      if (presence) tellAnew(room, effects);
      if (gaps.length === 0) return;
      effects.push(connection, { op: 'gap', room: room.name, gaps });
      if (from !== null) effects.reached(room, connection, from);
    });
  };
  locate(room, connection, position, effects, { answer, failed: dropped, replaced: () => {} });
}

/** The gateway had the room among those of the connection: there it ends as well. */
export function notFollowed(room: RoomState, connection: Connection, error: CodedError, effects: RoomEffects): void {
  if (!connection.open) return;
  effects.detach(room, connection);
  effects.push(connection, { op: 'unsubscribed', room: room.name, reason: error.code });
}

export function unsubscribe(room: RoomState, connection: Connection, command: Command<'unsubscribe'>, effects: RoomEffects): void {
  const refusal = authorize('unsubscribe', room.kind, room.relation(connection));
  if (refusal !== null) return refuseAccess(room, connection, command, refusal, effects);
  room.locating.get(connection.id)?.();
  drop(room, connection, effects);
  effects.reply(connection, command.id, { room: room.name });
}

/** The gateway took the connection out of the slot after `lastSeq`: its outbox is full. Of an earlier subscription, which the client has replaced meanwhile, it says nothing. */
export function fellBehind(room: RoomState, connection: Connection, attachment: number, lastSeq: number, effects: RoomEffects): void {
  const subscriber = room.subscribers.get(connection.id);
  if (subscriber?.state.is !== 'live' || subscriber.state.attachment !== attachment) return;
  subscriber.state = { is: 'behind', position: lastSeq };
  effects.feed(connection, () => turn(room, subscriber, effects));
}

/** One of them is called, once. `replaced`: a later command of the connection came first, and this one has no effect any more. */
type Located = { answer(gaps: Gap[], from: number | null): void; failed(error: CodedError): void; replaced(): void };

/**
 * Whether everything after `position` can be had: calls `answer` with the gaps and with the position to replay from (null:
 * from the head on). Judged by DESIGN 11.1: the position is at or below the head, and its entry is of its epoch or an earlier one.
 */
function locate(
  room: RoomState,
  connection: Connection,
  position: Position | 'mark' | null,
  effects: RoomEffects,
  { answer, failed, replaced }: Located,
): void {
  room.locating.get(connection.id)?.();
  if (position === null) return answer([], null);
  if (position === 'mark') {
    const member = room.members.get(connection.user);
    return member === undefined ? answer([], null) : replayFrom(room, connection, member.received, answer);
  }
  // Who has seen nothing can have seen nothing that was lost; and the current epoch is the latest, so no entry is of a later one.
  if (position.seq === 0) return replayFrom(room, connection, 0, answer);
  if (position.epoch === effects.epoch && position.seq <= room.headSeq) return replayFrom(room, connection, position.seq, answer);
  const replace = () => {
    room.locating.delete(connection.id);
    replaced();
  };
  room.locating.set(connection.id, replace);
  room.pending++;
  const decide = (error: CodedError | null, lost: boolean) => {
    room.pending--;
    if (room.locating.get(connection.id) !== replace) return;
    room.locating.delete(connection.id);
    const refusal = error ?? mayFollow(room, connection); // his right may have ended while the store was asked
    if (refusal !== null) failed(refusal);
    else if (lost || position.seq > room.headSeq) answer([{ room: room.name, from: 1, to: room.headSeq, reason: 'epoch' }], null);
    else replayFrom(room, connection, position.seq, answer);
  };
  effects.read(
    { read: 'position', room: room.name, epoch: position.epoch, seq: position.seq },
    ({ reason }) => {
      if (reason === 'epoch' || position.seq <= room.headSeq) decide(null, reason === 'epoch');
      // The client has seen through another node what this one has not heard of yet.
      else catchUp(room, effects, (error) => decide(error, false));
    },
    (error) => decide(error, false),
  );
}

function replayFrom(room: RoomState, connection: Connection, seq: number, answer: (gaps: Gap[], from: number) => void): void {
  const { first, reason } = room.floor(connection);
  if (seq + 1 >= first) answer([], seq);
  else answer([{ room: room.name, from: seq + 1, to: first - 1, reason }], first - 1);
}

/** Makes the connection a subscriber, says so by `announce`, and starts its replay after `position` (null: it begins live). */
function follow(room: RoomState, connection: Connection, presence: boolean, position: number | null, effects: RoomEffects, announce: () => void): void {
  if (!connection.open) return; // a late answer of the store for a socket that is gone
  if (room.subscribers.has(connection.id)) drop(room, connection, effects);
  deliverApplied(room, effects);
  const subscriber: Subscriber = { connection, presence, state: { is: 'behind', position: position ?? room.headSeq } };
  if (presence) listen(room, connection);
  room.subscribers.set(connection.id, subscriber);
  room.formats[connection.format]++;
  joined(room, connection, effects);
  announce();
  if (subscriber.state.is === 'behind' && subscriber.state.position >= room.headSeq) goLive(room, subscriber, effects);
  else effects.feed(connection, () => turn(room, subscriber, effects));
}
