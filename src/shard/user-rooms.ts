/** The `rooms` command: a page of the sender's rooms or of the public ones, straight from the store. It keeps no state. */
import { CodedError } from '../protocol/codes.ts';
import type { Command } from '../protocol/commands.ts';
import { pageDefault } from '../protocol/limits.ts';
import type { Connection, Effects } from './actor.ts';

export function listRooms(connection: Connection, command: Command<'rooms'>, effects: Effects): void {
  const { id, cursor, scope = 'mine', filter = '', limit = pageDefault } = command;
  const after = cursor === undefined ? '' : fromCursor(cursor);
  if (after === null) {
    effects.refuse(connection, id, 'rooms', new CodedError('bad-request', 'not a cursor of an earlier answer', 'cursor'));
    return;
  }
  effects.read(
    { read: 'rooms', user: connection.user, scope, filter, after, limit },
    ({ rooms, after: last }) => effects.reply(connection, id, { rooms, cursor: last === null ? null : toCursor(last) }),
    (error) => effects.refuse(connection, id, 'rooms', error),
  );
}

// What a cursor holds is the store's affair; encoded, so that no client comes to rely on it.
function toCursor(after: string): string {
  return Buffer.from(after).toString('base64url');
}

function fromCursor(cursor: string): string | null {
  const after = Buffer.from(cursor, 'base64url').toString();
  return toCursor(after) === cursor ? after : null;
}
