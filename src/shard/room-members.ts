/**
 * Commands that change a room or its members. Each is one entry of the log; the room's mailbox waits until it is applied
 * (room.ts), so that what a connection sends after it is judged by the rights it left behind.
 */

import { authorize, mayChangeRole, restricts } from '../protocol/authorize.ts';
import { CodedError } from '../protocol/codes.ts';
import type { Command, Role, Settings } from '../protocol/commands.ts';
import type { EntryKind, MemberBody } from '../protocol/pushes.ts';
import type { Change } from '../thread/messages.ts';
import type { Connection } from './actor.ts';
import { append } from './room-log.ts';
import { actingFor } from './room-messages.ts';
import { refuseAccess } from './room-refusal.ts';
import type { RoomEffects, RoomState } from './room-state.ts';

export type ChangeOp = 'create' | 'update' | 'delete' | 'join' | 'leave' | 'setMember' | 'removeMember';
type ChangeCommand = Command<ChangeOp>;
/** The entry that a command asks for, or the refusal, or null: it is so already. */
type Decision = { kind: EntryKind; change: Change; body: object; inbox?: string[]; extra?: object } | CodedError | null;

/** Carries out one change; `settled` once it is applied or refused. */
export function changeRoom(room: RoomState, connection: Connection, command: ChangeCommand, effects: RoomEffects, settled: () => void): void {
  const mid = effects.mid();
  const attempt = (attempts: number) => {
    const refusal = authorize(command.op, room.kind, room.relation(connection));
    if (refusal !== null) {
      refuseAccess(room, connection, command, refusal, effects);
      return settled();
    }
    const decision = ('as' in command ? actingFor(connection, command.as) : null) ?? decide(room, connection, command);
    if (decision === null) {
      effects.reply(connection, command.id, replyTo(room, connection, command, room.headSeq));
      return settled();
    }
    if (decision instanceof CodedError) {
      effects.refuse(connection, command.id, command.op, decision);
      return settled();
    }
    append(
      room,
      {
        type: 'append',
        room: room.name,
        authSeq: room.authSeq,
        autoCreate: null,
        mid,
        kind: decision.kind,
        from: connection.service ? (('as' in command ? command.as : undefined) ?? null) : connection.user,
        thread: null,
        body: JSON.stringify(decision.body),
        change: decision.change,
        inbox: decision.inbox ?? null,
        origin: null,
      },
      {
        attempts,
        done: (seq) => {
          effects.reply(connection, command.id, replyTo(room, connection, command, seq));
          settled();
        },
        refused: (error) => {
          effects.refuse(connection, command.id, command.op, error);
          settled();
        },
        again: () => attempt(attempts + 1),
      },
      effects,
    );
  };
  attempt(0);
}

function decide(room: RoomState, connection: Connection, command: ChangeCommand): Decision {
  const self = ('as' in command ? command.as : undefined) ?? (connection.service ? null : connection.user);
  switch (command.op) {
    case 'create': {
      const settings = settingsOf(command);
      return { kind: 'created', change: { type: 'create', settings, owner: self }, body: { settings, owner: self } };
    }
    case 'update': {
      const settings = settingsOf(command);
      if (Object.keys(settings).length === 0) return new CodedError('bad-request', 'nothing to change');
      return { kind: 'settings', change: { type: 'settings', settings }, body: settings };
    }
    case 'delete':
      return { kind: 'deleted', change: { type: 'delete' }, body: {} };
    case 'join':
      if (self === null) return new CodedError('bad-request', 'an API key joins as somebody', 'as');
      if (room.members.get(self)?.role === 'invited') return roleOf(self, 'member');
      if (room.members.has(self) || room.reserved === 'dm') return null;
      return {
        kind: 'member',
        change: { type: 'join', user: self, role: 'member', membersMax: room.membersMax },
        body: { user: self, change: 'joined', role: 'member' } satisfies MemberBody,
      };
    case 'leave':
      if (self === null) return new CodedError('bad-request', 'an API key leaves as somebody', 'as');
      return removal(room, self, 'left');
    case 'setMember': {
      const current = room.members.get(command.user)?.role ?? null;
      if (current === command.role) return null;
      if (!mayChangeRole(room.relation(connection), current, command.role)) return new CodedError('forbidden');
      if (current === 'owner' && isLastOwner(room, command.user)) return new CodedError('forbidden', 'the last owner stays: make somebody else owner first');
      if (current !== null && command.role === 'invited') return new CodedError('forbidden', 'only who has no role here is invited', 'role');
      // His time in the room ended with the ban; what was said meanwhile does not become his.
      if (current === 'banned') return new CodedError('forbidden', 'lift the ban first: remove him', 'role');
      return current === null ? addition(room, command.user, command.role) : roleOf(command.user, command.role);
    }
    case 'removeMember': {
      const current = room.members.get(command.user)?.role ?? null;
      if (current === null) return new CodedError('not-found', 'not a member', 'user');
      if (!mayChangeRole(room.relation(connection), current, null)) return new CodedError('forbidden');
      return removal(room, command.user, 'removed');
    }
  }
}

function roleOf(user: string, role: Role): Decision {
  return { kind: 'member', change: { type: 'role', user, role }, body: { user, change: 'role', role } satisfies MemberBody };
}

function addition(room: RoomState, user: string, role: Role): Decision {
  const body: MemberBody = { user, change: 'added', role };
  const join = { type: 'join' as const, user, role, membersMax: room.membersMax };
  if (restricts(role)) return { kind: 'member', change: { ...join, restricts: true }, body };
  // The one who was added or invited learns it from his inbox, online or not.
  return { kind: 'member', change: join, body, inbox: [user] };
}

function removal(room: RoomState, user: string, change: 'left' | 'removed'): Decision {
  if (!room.members.has(user)) return change === 'left' ? null : new CodedError('not-found', 'not a member', 'user');
  if (isLastOwner(room, user) && hasOthers(room, user)) return new CodedError('forbidden', 'the last owner stays: make somebody else owner first');
  return { kind: 'member', change: { type: 'leave', user }, body: { user, change, role: null } satisfies MemberBody };
}

/** Who is only invited, or banned, needs no owner. */
function hasOthers(room: RoomState, user: string): boolean {
  for (const [other, { role }] of room.members) if (other !== user && role !== 'invited' && role !== 'banned') return true;
  return false;
}

function isLastOwner(room: RoomState, user: string): boolean {
  if (room.members.get(user)?.role !== 'owner') return false;
  for (const [other, member] of room.members) if (other !== user && member.role === 'owner') return false;
  return true;
}

function settingsOf(command: Command<'create'> | Command<'update'>): Settings {
  const settings: Settings = {};
  if (command.visibility !== undefined) settings.visibility = command.visibility;
  if (command.listed !== undefined) settings.listed = command.listed;
  if (command.title !== undefined) settings.title = command.title;
  if (command.membersMax !== undefined) settings.membersMax = command.membersMax;
  if (command.history !== undefined) settings.history = command.history;
  return settings;
}

function replyTo(room: RoomState, { user }: Connection, command: ChangeCommand, seq: number): object {
  return command.op === 'join' ? { room: room.name, seq, role: room.members.get(command.as ?? user)?.role ?? 'member' } : { room: room.name, seq };
}
