/** Questions about a room: history, info, members, delivery; and the marks that members set. None adds to the log. */

import { authorize, authorizeOthers } from '../protocol/authorize.ts';
import { CodedError } from '../protocol/codes.ts';
import type { Command } from '../protocol/commands.ts';
import { pageDefault } from '../protocol/limits.ts';
import type { EntryRecord } from '../thread/messages.ts';
import type { Connection } from './actor.ts';
import { refuseAccess } from './room-refusal.ts';
import type { RoomEffects, RoomState } from './room-state.ts';

const historyBytes = 512 * 1024;

export type ReadOp = 'history' | 'info' | 'members' | 'delivery' | 'mark';

export function askRoom(room: RoomState, connection: Connection, command: Command<ReadOp>, effects: RoomEffects): void {
  const refusal = authorize(command.op, room.kind, room.relation(connection));
  if (refusal !== null) return refuseAccess(room, connection, command, refusal, effects);
  switch (command.op) {
    case 'history':
      return history(room, connection, command, effects);
    case 'info':
      return effects.reply(connection, command.id, room.info(connection, effects.epoch));
    case 'members':
      return members(room, connection, command, effects);
    case 'delivery':
      return delivery(room, connection, command, effects);
    case 'mark':
      return mark(room, connection, command, effects);
  }
}

/** Messages as they stand now, oldest first: the last ones, those before or after a seq, or those around one. */
function history(room: RoomState, connection: Connection, command: Command<'history'>, effects: RoomEffects): void {
  const { before, after, around } = command;
  const limit = command.limit ?? pageDefault;
  if (Number(before !== undefined) + Number(after !== undefined) + Number(around !== undefined) > 1) {
    return effects.refuse(connection, command.id, 'history', new CodedError('bad-request', 'only one of before, after and around', 'before'));
  }
  const { first } = room.floor(connection);
  // As of now for all of it: what comes while a page is read may not be his any more.
  const head = room.headSeq;
  const asOf = { epoch: effects.epoch, seq: head };
  const failed = (error: CodedError) => effects.refuse(connection, command.id, 'history', error);
  const answer = (entries: EntryRecord[], more: boolean) => effects.replyEntries(connection, command.id, { room: room.name, more, asOf }, entries);
  const page = (from: number, to: number, count: number, descending: boolean, done: (entries: EntryRecord[], more: boolean) => void) => {
    if (count === 0 || from > to) return done([], false);
    effects.read(
      { read: 'entries', room: room.name, from, to, limit: count, bytesMax: historyBytes, kind: 'message', descending },
      ({ entries, more }) => done(descending ? entries.reverse() : entries, more),
      failed,
    );
  };
  if (after !== undefined) return page(Math.max(first, after + 1), head, limit, false, answer);
  if (around === undefined) return page(first, Math.min(head, (before ?? head + 1) - 1), limit, true, answer);
  const below = Math.floor(limit / 2);
  page(first, Math.min(head, around - 1), below, true, (older, moreOlder) => {
    page(Math.max(first, around), head, limit - below, false, (newer, moreNewer) => answer([...older, ...newer], moreOlder || moreNewer));
  });
}

function members(room: RoomState, connection: Connection, command: Command<'members'>, effects: RoomEffects): void {
  const limit = command.limit ?? pageDefault;
  const { after = '' } = command;
  const names = [...room.members.keys()].filter((name) => name > after).sort();
  const page = names.slice(0, limit).map((user) => {
    const member = room.members.get(user);
    return { user, role: member?.role ?? 'member', since: member?.sinceTs ?? 0 };
  });
  effects.reply(connection, command.id, { room: room.name, members: page, more: names.length > limit });
}

/** What became of a message in its recipients' inboxes: for its sender, and for who runs the room. */
function delivery(room: RoomState, connection: Connection, command: Command<'delivery'>, effects: RoomEffects): void {
  effects.read(
    { read: 'delivery', room: room.name, mid: command.mid, user: command.user ?? null },
    ({ sender, deliveries }) => {
      const refusal = authorize('delivery', room.kind, room.relation(connection)); // his right may have ended while the store was asked
      if (refusal !== null) return effects.refuse(connection, command.id, 'delivery', refusal);
      const mayKnow = sender === connection.user || authorizeOthers('delivery', room.kind, room.relation(connection)) === null;
      if (!mayKnow || (sender === null && deliveries.length === 0))
        effects.refuse(connection, command.id, 'delivery', new CodedError('not-found', 'no such message of yours', 'mid'));
      else effects.reply(connection, command.id, { room: room.name, mid: command.mid, deliveries });
    },
    (error) => effects.refuse(connection, command.id, 'delivery', error),
  );
}

/** Raises the member's marks; never above what this connection was sent (DESIGN 11.14), and read implies received. */
function mark(room: RoomState, connection: Connection, command: Command<'mark'>, effects: RoomEffects): void {
  const refuse = (error: CodedError) => effects.refuse(connection, command.id, 'mark', error);
  if (command.received === undefined && command.read === undefined) return refuse(new CodedError('bad-request', 'received or read', 'received'));
  const subscriber = room.subscribers.get(connection.id);
  const sent = subscriber?.state.is === 'behind' ? subscriber.state.position : room.headSeq;
  const read = command.read ?? 0;
  const received = Math.max(command.received ?? 0, read);
  if (received > sent) return refuse(new CodedError('bad-request', `nothing above seq ${sent} was sent`, command.read === received ? 'read' : 'received'));
  const accepted = effects.commit({ type: 'mark', room: room.name, user: connection.user, received, read }, (outcome) => {
    if (typeof outcome === 'number' || outcome.code !== 'done') return refuse(new CodedError('storage'));
    // Not before: nothing may be skipped by a mark that was refused.
    const member = room.members.get(connection.user);
    if (member !== undefined) {
      member.received = Math.max(member.received, received);
      member.read = Math.max(member.read, read);
    }
    effects.reply(connection, command.id, { room: room.name, received: member?.received ?? received, read: member?.read ?? read });
  });
  if (!accepted) refuse(new CodedError('busy'));
}
