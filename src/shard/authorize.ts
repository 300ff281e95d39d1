/**
 * Who may do what in a room: one table over action, kind of room and relation to it. Every command on a room passes
 * `authorize` before it does anything. Where the existence of a room is private, a refusal looks like its absence.
 */
import { CodedError } from '../protocol/codes.ts';
import type { Role } from '../protocol/commands.ts';
import { allRoom } from '../protocol/names.ts';

/** `absent`: no such room (or a deleted one); `open`: absent, but a first use makes it a public room. */
export type RoomKind = 'public' | 'private' | 'dm' | 'all' | 'absent' | 'open';
/** `service`: a backend with an API key; `broadcaster`: anyone with the `broadcast` scope, in `all:` only. */
export type Relation = 'service' | 'broadcaster' | Role | 'stranger';
export type Action =
  | 'subscribe'
  | 'publish'
  | 'history'
  | 'mark'
  | 'delivery'
  | 'create'
  | 'update'
  | 'delete'
  | 'join'
  | 'leave'
  | 'setMember'
  | 'removeMember'
  | 'info'
  | 'members';

const anyone: readonly Relation[] = ['service', 'broadcaster', 'owner', 'admin', 'member', 'stranger'];
const members: readonly Relation[] = ['service', 'owner', 'admin', 'member'];
const admins: readonly Relation[] = ['service', 'owner', 'admin'];
const owners: readonly Relation[] = ['service', 'owner'];
const service: readonly Relation[] = ['service'];
const nobody: readonly Relation[] = [];

type Row = { readonly [K in RoomKind]: readonly Relation[] };

/** A missing cell does not compile; what a room of a kind cannot do is `nobody`. */
export const table: { readonly [A in Action]: Row } = {
  subscribe: { public: anyone, private: members, dm: members, all: anyone, absent: nobody, open: anyone },
  publish: { public: anyone, private: members, dm: members, all: ['service', 'broadcaster'], absent: nobody, open: anyone },
  history: { public: anyone, private: members, dm: members, all: anyone, absent: nobody, open: anyone },
  mark: { public: members, private: members, dm: members, all: anyone, absent: nobody, open: nobody },
  delivery: { public: members, private: members, dm: members, all: service, absent: nobody, open: nobody },
  create: { public: nobody, private: nobody, dm: nobody, all: nobody, absent: anyone, open: anyone },
  update: { public: admins, private: admins, dm: nobody, all: nobody, absent: nobody, open: nobody },
  delete: { public: owners, private: owners, dm: service, all: nobody, absent: nobody, open: nobody },
  join: { public: anyone, private: members, dm: members, all: nobody, absent: nobody, open: nobody },
  leave: { public: anyone, private: members, dm: nobody, all: nobody, absent: nobody, open: nobody },
  setMember: { public: admins, private: admins, dm: nobody, all: nobody, absent: nobody, open: nobody },
  removeMember: { public: admins, private: admins, dm: nobody, all: nobody, absent: nobody, open: nobody },
  info: { public: anyone, private: members, dm: members, all: anyone, absent: nobody, open: nobody },
  members: { public: anyone, private: members, dm: members, all: nobody, absent: nobody, open: nobody },
};

/** Null when allowed; otherwise the refusal to answer with. */
export function authorize(action: Action, kind: RoomKind, relation: Relation): CodedError | null {
  if (table[action][kind].includes(relation)) return null;
  // A taken name is no secret: whoever asks for it must learn that it is taken.
  if (action === 'create') return new CodedError(kind === 'dm' || kind === 'all' ? 'forbidden' : 'exists');
  const hidden = kind === 'absent' || kind === 'open' || ((kind === 'private' || kind === 'dm') && relation === 'stranger');
  return new CodedError(hidden ? 'not-found' : 'forbidden');
}

/** An admin manages members and only them; an owner manages everybody; nobody raises above himself. */
export function mayChangeRole(by: Relation, from: Role | null, to: Role | null): boolean {
  if (by === 'service' || by === 'owner') return true;
  return by === 'admin' && from !== 'owner' && from !== 'admin' && (to === null || to === 'member');
}

/** The kind a name has before anything is known of the room. */
export function reservedKind(room: string): 'dm' | 'all' | null {
  if (room === allRoom) return 'all';
  return room.startsWith('dm:') ? 'dm' : null;
}
