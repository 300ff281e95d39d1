/**
 * What reads, operations and items of inboxes are called where one of them takes down the thread that works on it: the thread names it so in its
 * witness, and who is told to refuse it compares with the same name. No work is done here.
 */
import type { EntryRecord, MessageAppend, Operation, ReadQuery } from './messages.ts';
import type { Suspect } from './witness.ts';

export function suspectOfRead(query: ReadQuery): Suspect {
  const room = 'room' in query ? query.room : null;
  const user = room === null && 'user' in query ? query.user : null;
  return { op: `read-${query.read}`, room, mid: null, user };
}

/** A message is what it is to its shard: by its room and mid. */
export function suspectOfOperation(operation: MessageAppend | Operation): Suspect {
  if (Array.isArray(operation)) return { op: 'append', room: operation[0], mid: operation[2], user: operation[3] };
  if (operation.type === 'append') return { op: 'append', room: operation.room, mid: operation.mid, user: operation.from };
  const room = 'room' in operation ? operation.room : null;
  return { op: operation.type, room, mid: null, user: 'user' in operation ? operation.user : null };
}

/** Of an inbox: by its room and mid too, whoever's inbox it is. */
export function suspectOfItem({ room, mid }: Pick<EntryRecord, 'room' | 'mid'>): Suspect {
  return { op: 'inbox', room, mid, user: null };
}
