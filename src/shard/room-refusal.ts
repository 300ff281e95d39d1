/**
 * Refusals by the authorization table. One that must look like the absence of the room takes the way of an absent room: through
 * the store once, whether or not the room is in memory, so that its time tells no more than its words. Called by the handlers.
 */
import type { CodedError } from '../protocol/codes.ts';
import type { Op } from '../protocol/commands.ts';
import type { Connection } from './actor.ts';
import type { RoomEffects, RoomState } from './room-state.ts';

export function refuseAccess(
  room: RoomState,
  connection: Connection,
  command: { op: Op; id?: number | undefined },
  refusal: CodedError,
  effects: RoomEffects,
): void {
  likeAbsence(room, refusal, effects, () => effects.refuse(connection, command.id, command.op, refusal));
}

/** Nothing waits for `then` but the answer: a stranger's questions must not hold up the room. Until then the room is kept, or another of its name would not know of it. */
export function likeAbsence(room: RoomState, refusal: CodedError, effects: RoomEffects, then: () => void): void {
  if (refusal.code !== 'not-found' || room.loading) return then();
  const answered = () => {
    room.pending--;
    then();
  };
  room.pending++;
  effects.read({ read: 'position', room: room.name, epoch: effects.epoch, seq: 0 }, answered, answered);
}
