/** Messages into a room: publish (durable or ephemeral) and direct. The hot path of the hub: one object per message follows it to its answer. */

import { authorize, mayActFor } from '../protocol/authorize.ts';
import { CodedError } from '../protocol/codes.ts';
import type { Command } from '../protocol/commands.ts';
import { contentOf, type MessageContent } from '../protocol/validate.ts';
import type { MessageAppend } from '../thread/messages.ts';
import type { Connection } from './actor.ts';
import { type Appending, append, autoCreateCode } from './room-log.ts';
import { refuseAccess } from './room-refusal.ts';
import type { RoomEffects, RoomState } from './room-state.ts';

type Message = Command<'publish'> | Command<'direct'>;

export function publish(room: RoomState, connection: Connection, command: Message, effects: RoomEffects): void {
  const refusal = authorize(command.op, room.kind, room.relation(connection));
  if (refusal !== null) return refuseAccess(room, connection, command, refusal, effects);
  const foreign = actingFor(connection, command.as);
  if (foreign !== null) return effects.refuse(connection, command.id, command.op, foreign);
  const content = contentOf(command, connection.format, room.limits.bodyBytesMax);
  if (command.op === 'publish') {
    if (command.ephemeral) return pass(room, connection, command, content, effects);
    if (command.echo === false) throw new CodedError('bad-request', 'only an ephemeral can leave out its sender', 'echo');
  }
  new Publication(room, connection, command, content.stored, effects).send();
}

/** Only an API key says who a command is from. */
export function actingFor(connection: Connection, as: string | undefined): CodedError | null {
  return as === undefined || mayActFor(connection.service ? 'service' : 'user') ? null : new CodedError('forbidden', 'only an API key may act for a user');
}

function senderOf(connection: Connection, command: Message): string | null {
  return command.as ?? (connection.service ? null : connection.user);
}

/** An ephemeral: to those who follow live now, and to nobody else ever. */
function pass(room: RoomState, connection: Connection, command: Command<'publish'>, content: MessageContent, effects: RoomEffects): void {
  if (room.subscribers.size > 0) {
    room.ephemera.push({ from: senderOf(connection, command), content, except: command.echo === false ? connection : null });
    effects.touched(room);
  }
  effects.reply(connection, command.id, {});
}

/** One durable message on its way through the store. */
class Publication implements Appending {
  attempts = 0;
  readonly #room: RoomState;
  readonly #connection: Connection;
  readonly #command: Message;
  readonly #body: MessageContent['stored'];
  readonly #mid: string;
  readonly #effects: RoomEffects;

  constructor(room: RoomState, connection: Connection, command: Message, body: MessageContent['stored'], effects: RoomEffects) {
    this.#room = room;
    this.#connection = connection;
    this.#command = command;
    this.#body = body;
    this.#mid = command.mid ?? effects.mid();
    this.#effects = effects;
  }

  send(): void {
    append(this.#room, this.#message(), this, this.#effects);
  }

  done(seq: number, duplicate: boolean): void {
    const { id, op, mid } = this.#command;
    if (id === undefined) return;
    const fields: { room?: string; seq: number; mid?: string; duplicate?: true } = op === 'direct' ? { room: this.#room.name, seq } : { seq };
    if (mid === undefined) fields.mid = this.#mid;
    if (duplicate) fields.duplicate = true;
    this.#effects.reply(this.#connection, id, fields);
  }

  refused(error: CodedError, unsure?: true): void {
    // Without a mid of the client's, a repetition might store it twice (DESIGN 11.6).
    const unknown = unsure && this.#command.mid === undefined;
    this.#effects.refuse(this.#connection, this.#command.id, this.#command.op, unknown ? new CodedError('unknown') : error);
  }

  again(): void {
    const refusal = authorize(this.#command.op, this.#room.kind, this.#room.relation(this.#connection));
    if (refusal === null) this.send();
    else this.refused(refusal);
  }

  /** A direct message goes into the inboxes of both: the sender's other devices get it the same way, and the store leaves out the one it came from. */
  #message(): MessageAppend {
    const room = this.#room;
    const connection = this.#connection;
    const from = senderOf(connection, this.#command);
    const { thread = null } = this.#command;
    if (room.reserved !== 'dm') return [room.name, room.authSeq, this.#mid, from, thread, this.#body, autoCreateCode(room)];
    const origin = from === null ? null : connection.service ? '' : connection.device;
    return [room.name, room.authSeq, this.#mid, from, thread, this.#body, autoCreateCode(room), origin];
  }
}
