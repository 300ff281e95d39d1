/** Messages into a room: publish (durable or ephemeral) and direct. The hot path of the hub: nothing here waits or allocates without need. */
import { CodedError } from '../protocol/codes.ts';
import type { Command } from '../protocol/commands.ts';
import { dmUsers } from '../protocol/names.ts';
import { contentOf } from '../protocol/validate.ts';
import type { Append, MessageAppend } from '../thread/messages.ts';
import type { Connection } from './actor.ts';
import { authorize } from './authorize.ts';
import { type Appending, append, autoCreateCode } from './room-log.ts';
import type { RoomEffects, RoomState } from './room-state.ts';

type Message = Command<'publish'> | Command<'direct'>;

export function publish(room: RoomState, connection: Connection, command: Message, effects: RoomEffects): void {
  const refusal = authorize('publish', room.kind, room.relation(connection)) ?? mayActFor(connection, command.as);
  if (refusal !== null) return effects.refuse(connection, command.id, command.op, refusal);
  const content = contentOf(command, connection.format, room.limits.bodyBytesMax);
  const from = command.as ?? (connection.service ? null : connection.user);
  if (command.op === 'publish' && command.ephemeral) {
    if (room.subscribers.size > 0) {
      room.ephemera.push({ from, content, except: command.echo === false ? connection : null });
      effects.touched(room);
    }
    if (command.id !== undefined) effects.reply(connection, command.id, {});
    return;
  }
  if (command.op === 'publish' && command.echo === false) {
    return effects.refuse(connection, command.id, command.op, new CodedError('bad-request', 'only an ephemeral can leave out its sender', 'echo'));
  }
  const mid = command.mid ?? effects.mid();
  const send = () => append(room, room.reserved === 'dm' ? directAppend() : messageAppend(), appending, effects);
  const messageAppend = (): MessageAppend => [room.name, room.authSeq, mid, from, command.thread ?? null, content.stored, autoCreateCode(room)];
  // Both users' inboxes: the sender's other devices get it the same way; the store leaves out the one it came from.
  const directAppend = (): Append => ({
    type: 'append',
    room: room.name,
    authSeq: room.authSeq,
    autoCreate: 'dm',
    mid,
    kind: 'message',
    from,
    thread: command.thread ?? null,
    body: content.stored,
    change: null,
    inbox: [...new Set(dmUsers(room.name) ?? [])].sort((a, b) => Number(a === from) - Number(b === from)),
    origin: from === null ? null : { user: from, device: connection.service ? '' : connection.device },
  });
  const appending: Appending = {
    attempts: 0,
    done: (seq, duplicate) => {
      if (command.id === undefined) return;
      const fields: { room?: string; seq: number; mid?: string; duplicate?: true } = command.op === 'direct' ? { room: room.name, seq } : { seq };
      if (command.mid === undefined) fields.mid = mid;
      if (duplicate) fields.duplicate = true;
      effects.reply(connection, command.id, fields);
    },
    refused: (error) => effects.refuse(connection, command.id, command.op, error),
    again: () => {
      const late = authorize('publish', room.kind, room.relation(connection));
      if (late !== null) effects.refuse(connection, command.id, command.op, late);
      else send();
    },
  };
  send();
}

/** Only an API key says who a command is from. */
export function mayActFor(connection: Connection, as: string | undefined): CodedError | null {
  return as === undefined || connection.service ? null : new CodedError('forbidden', 'only an API key may act for a user');
}
