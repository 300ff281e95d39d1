/**
 * Who may do what: one table over every op and HTTP route, the caller, the kind of room and his relation to it. The gateway, the
 * backend API and the room actors take their decisions from it and keep no list of their own; a test makes a case of every cell.
 * Where the existence of a room is private, a refusal looks like its absence.
 */
import { CodedError } from './codes.ts';
import type { Op, Role } from './commands.ts';
import { allRoom } from './names.ts';

/** `anonymous`: a socket before its welcome, or a request without a key. `service`: a backend with an API key. */
export type Caller = 'anonymous' | 'user' | 'service';
/** `absent`: no such room (or a deleted one); `open`: absent, but a first use makes it a public room. */
export type RoomKind = 'public' | 'private' | 'dm' | 'all' | 'absent' | 'open';
/** `broadcaster`: anyone with the `broadcast` scope, in `all:` only. Who was a member is a stranger like any other. */
export type Relation = 'service' | 'broadcaster' | Role | 'stranger';
type Row = { readonly [K in RoomKind]: readonly Relation[] };
/** `in`: of an op on a room, who among the callers. `others`: who also where it is about what somebody else did there. */
type Rule = { readonly by: readonly Caller[]; readonly in?: Row; readonly others?: Row };

const nobody: readonly Relation[] = [];
const service: readonly Relation[] = ['service'];
const owners: readonly Relation[] = ['owner'];
const admins: readonly Relation[] = ['owner', 'admin'];
const moderators: readonly Relation[] = [...admins, 'moderator'];
const speakers: readonly Relation[] = [...moderators, 'member'];
/** A muted member hears and does not speak. */
const members: readonly Relation[] = [...speakers, 'muted'];
const guests: readonly Relation[] = [...members, 'invited'];
/** Everybody but the banned. */
const anyone: readonly Relation[] = [...guests, 'stranger'];
const first: readonly Relation[] = ['stranger'];
const listeners: readonly Relation[] = ['broadcaster', 'stranger'];
const everyone: readonly Relation[] = [...anyone, 'banned', 'broadcaster'];
const none: Row = { public: nobody, private: nobody, dm: nobody, all: nobody, absent: nobody, open: nobody };
const follow: Row = { public: anyone, private: members, dm: members, all: listeners, absent: nobody, open: first };
const manage: Row = { ...none, public: orKey(moderators), private: orKey(moderators) };

const user: readonly Caller[] = ['user'];
const backend: readonly Caller[] = ['service'];
const both: readonly Caller[] = ['user', 'service'];

/** A missing row or cell does not compile; what a room of a kind cannot do is `nobody`. */
export const table: { readonly [O in Op]: Rule } = {
  hello: { by: ['anonymous'] },
  refresh: { by: user },
  ping: { by: user },
  ack: { by: user },
  status: { by: user },
  rooms: { by: both },
  who: { by: both },
  watch: { by: user },
  unwatch: { by: user },
  revoke: { by: backend },
  disable: { by: backend },

  subscribe: { by: user, in: follow },
  resume: { by: user, in: follow },
  unsubscribe: { by: user, in: { public: everyone, private: everyone, dm: everyone, all: everyone, absent: everyone, open: everyone } },
  publish: {
    by: both,
    in: {
      public: orKey([...speakers, 'invited', 'stranger']),
      private: orKey(speakers),
      dm: orKey(members),
      all: orKey(['broadcaster']),
      absent: nobody,
      open: orKey(first),
    },
  },
  direct: { by: both, in: { ...none, dm: orKey(members) } },
  history: { by: both, in: { public: orKey(anyone), private: orKey(members), dm: orKey(members), all: orKey(listeners), absent: nobody, open: orKey(first) } },
  mark: { by: user, in: { public: members, private: members, dm: members, all: listeners, absent: nobody, open: nobody } },
  delivery: {
    by: both,
    in: { ...none, public: orKey(members), private: orKey(members), dm: orKey(members), all: service },
    others: { ...none, public: orKey(admins), private: orKey(admins), dm: service, all: service },
  },

  create: { by: both, in: { ...none, absent: orKey(first), open: orKey(first) } },
  update: { by: both, in: { ...none, public: orKey(admins), private: orKey(admins) } },
  delete: { by: both, in: { ...none, public: orKey(owners), private: orKey(owners), dm: service } },
  join: { by: both, in: { ...none, public: orKey(anyone), private: orKey(guests), dm: orKey(members) } },
  // Who is muted cannot leave a public room: he would speak there as a stranger.
  leave: { by: both, in: { ...none, public: orKey([...speakers, 'invited', 'stranger']), private: orKey(guests) } },
  setMember: { by: both, in: manage },
  removeMember: { by: both, in: manage },
  info: { by: both, in: { ...none, public: orKey(anyone), private: orKey(guests), dm: orKey(members), all: orKey(listeners) } },
  members: { by: both, in: { ...none, public: orKey(anyone), private: orKey(members), dm: orKey(members) } },
};

/** Who may name another in `as`, in whichever op has it. */
const actsFor: readonly Caller[] = ['service'];

/**
 * The routes of HTTP, and the ops they send for the caller (then judged by the table above). Files of the development page are
 * not here: they are the same for everybody. What is open to `anonymous` besides `/healthz` is on the operations listener.
 */
export const routeTable = {
  'GET /healthz': { by: ['anonymous'], sends: [] },
  'GET /readyz': { by: ['anonymous'], sends: [] },
  'GET /metrics': { by: ['anonymous'], sends: [] },
  'GET /stats': { by: ['anonymous'], sends: [] },
  'GET /api/v1/openapi.json': { by: ['anonymous'], sends: [] },
  'POST /api/v1/rooms/:room/messages': { by: backend, sends: ['publish'] },
  'POST /api/v1/users/:user/messages': { by: backend, sends: ['direct'] },
  'POST /api/v1/broadcast': { by: backend, sends: ['publish'] },
  'GET /api/v1/rooms/:room/messages': { by: backend, sends: ['history'] },
  'GET /api/v1/rooms/:room/messages/:mid/delivery': { by: backend, sends: ['delivery'] },
  'GET /api/v1/rooms': { by: backend, sends: ['rooms'] },
  'PUT /api/v1/rooms/:room': { by: backend, sends: ['create', 'update', 'info'] },
  'GET /api/v1/rooms/:room': { by: backend, sends: ['info'] },
  'DELETE /api/v1/rooms/:room': { by: backend, sends: ['delete'] },
  'GET /api/v1/rooms/:room/members': { by: backend, sends: ['members'] },
  'PUT /api/v1/rooms/:room/members/:user': { by: backend, sends: ['setMember'] },
  'DELETE /api/v1/rooms/:room/members/:user': { by: backend, sends: ['removeMember'] },
  'GET /api/v1/quarantine': { by: backend, sends: [] },
  'DELETE /api/v1/quarantine': { by: backend, sends: [] },
  'DELETE /api/v1/quarantine/:room': { by: backend, sends: [] },
  'GET /api/v1/presence': { by: backend, sends: ['who'] },
  'GET /api/v1/users/:user/connections': { by: backend, sends: [] },
  'DELETE /api/v1/users/:user/connections': { by: backend, sends: [] },
  'DELETE /api/v1/users/:user/connections/:connection': { by: backend, sends: [] },
  'POST /api/v1/users/:user/revoke': { by: backend, sends: ['revoke'] },
  'POST /api/v1/users/:user/tokens/revoke': { by: backend, sends: ['revoke'] },
  'PUT /api/v1/users/:user/disabled': { by: backend, sends: ['disable'] },
} as const satisfies { readonly [route: string]: { readonly by: readonly Caller[]; readonly sends: readonly Op[] } };

/** Whether such a caller may send the op at all, about whatever. */
export function maySend(caller: Caller, op: Op): boolean {
  return table[op].by.includes(caller);
}

export function mayActFor(caller: Caller): boolean {
  return actsFor.includes(caller);
}

/** Null: the route has no row. `route`: method, blank, path. */
export function mayCall(caller: Caller, route: string): boolean | null {
  if (!Object.hasOwn(routeTable, route)) return null;
  const by: readonly Caller[] = routeTable[route as keyof typeof routeTable].by;
  return by.includes('anonymous') || by.includes(caller);
}

/** Refusals are looked up, not made: the hot path asks here for every message, and floods are refused here. */
const allowed: { readonly [O in Op]: { readonly [K in RoomKind]: { readonly [R in Relation]: CodedError | null } } } = decide((rule) => rule.in);
const allowedOfOthers = decide((rule) => rule.others ?? rule.in);

/** Null when allowed; otherwise the refusal to answer with. */
export function authorize(op: Op, kind: RoomKind, relation: Relation): CodedError | null {
  return allowed[op][kind][relation];
}

/** The same where what the op is about was done by somebody else. */
export function authorizeOthers(op: Op, kind: RoomKind, relation: Relation): CodedError | null {
  return allowedOfOthers[op][kind][relation];
}

const rank: { readonly [R in Role]: number } = { owner: 3, admin: 2, moderator: 1, member: 0, muted: 0, invited: 0, banned: 0 };

/** An owner and a backend manage everybody; admins those below them, moderators those below them; nobody raises anybody to himself or above. */
export function mayChangeRole(by: Relation, from: Role | null, to: Role | null): boolean {
  if (by === 'service' || by === 'owner') return true;
  if (by !== 'admin' && by !== 'moderator') return false;
  const below = (role: Role | null): boolean => role === null || rank[role] < rank[by];
  return below(from) && below(to);
}

/** Whether a role takes from a stranger what he had in a public room: then it ends what was authorized before. */
export function restricts(role: Role | null): boolean {
  return role === 'muted' || role === 'banned';
}

/** The kind a name has before anything is known of the room. */
export function reservedKind(room: string): 'dm' | 'all' | null {
  if (room === allRoom) return 'all';
  return room.startsWith('dm:') ? 'dm' : null;
}

/** And every API key. */
function orKey(relations: readonly Relation[]): readonly Relation[] {
  return ['service', ...relations];
}

function decide(rowOf: (rule: Rule) => Row | undefined): typeof allowed {
  const refusals = { 'not-found': new CodedError('not-found'), forbidden: new CodedError('forbidden'), exists: new CodedError('exists') };
  const kinds = Object.keys(none) as RoomKind[];
  const relations: Relation[] = [...everyone, 'service'];
  const cell = (op: Op, row: Row, kind: RoomKind, relation: Relation) => {
    if (row[kind].includes(relation)) return null;
    // A taken name is no secret: whoever asks for it must learn that it is taken.
    if (op === 'create') return refusals[kind === 'dm' || kind === 'all' ? 'forbidden' : 'exists'];
    const outside = relation === 'stranger' || relation === 'banned';
    const hidden = kind === 'absent' || kind === 'open' || ((kind === 'private' || kind === 'dm') && outside);
    return refusals[hidden ? 'not-found' : 'forbidden'];
  };
  const byName = <K extends string, V>(names: readonly K[], value: (name: K) => V) =>
    Object.fromEntries(names.map((name) => [name, value(name)])) as Record<K, V>;
  return byName(Object.keys(table) as Op[], (op) => {
    const row = rowOf(table[op]) ?? none;
    return byName(kinds, (kind) => byName(relations, (relation) => cell(op, row, kind, relation)));
  });
}
