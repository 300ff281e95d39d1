/**
 * Every command a client can send: one zod schema each, and where the gateway sends it. The server validates with these;
 * the client's types are inferred from them (types only: no zod in a browser). A new op starts here.
 */
import { z } from 'zod';
import { deviceBytesMax, jtiMax, listMax, pageMax, tokenMax } from './limits.ts';
import { isRoomName, isUserName, nameUnitsMax } from './names.ts';

const id = z.int().min(1).optional();
// `abort`: composing a frame full of combining marks takes seconds, so length is checked before the normal form is made.
const name = z.string().max(nameUnitsMax, { abort: true }).normalize('NFC');
const room = name.refine(isRoomName, 'not a room name');
const user = name.refine(isUserName, 'not a user name');
const mid = z.string().regex(/^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/, 'not a lower-case UUID');
const seq = z.int().min(0);
const epoch = z.string().min(1).max(64);
const device = name.min(1).max(deviceBytesMax).refine(isUserName, 'not a device label');
const users = z.array(user).min(1).max(listMax);
const limit = z.int().min(1).max(pageMax).optional();
// Room for the longest name, a DM of two users of 128 bytes in percent-encoding, in base64url.
const cursor = z.string().max(2_048).optional();
/** The content of a message: exactly one of the three; which one depends on the subprotocol (PROTOCOL.md, values). */
const content = { body: z.unknown().optional(), bin: z.instanceof(Uint8Array).optional(), body64: z.base64().optional() };
/** Who a backend (an API key) acts for; refused from clients. */
const as = user.optional();

/** A token by its claims: the id, and the end, in seconds as a token has it. */
const token = z.strictObject({ jti: z.string().min(1).max(jtiMax), exp: z.int().min(0).optional() });

/** What each may do is in authorize.ts. */
export const role = z.enum(['owner', 'admin', 'moderator', 'member', 'muted', 'invited', 'banned']);
export const position = z.strictObject({ epoch, seq });
const settings = {
  visibility: z.enum(['public', 'private']).optional(),
  listed: z.boolean().optional(),
  title: z.string().max(200).optional(),
  membersMax: z.int().min(1).max(100_000).optional(),
  history: z.enum(['all', 'sinceJoin']).optional(),
};

export const commands = {
  hello: z.strictObject({ op: z.literal('hello'), id, token: z.string().min(1).max(tokenMax).optional(), user: user.optional(), device: device.optional() }),
  refresh: z.strictObject({ op: z.literal('refresh'), id, token: z.string().min(1).max(tokenMax) }),
  ping: z.strictObject({ op: z.literal('ping'), id }),

  subscribe: z.strictObject({
    op: z.literal('subscribe'),
    id,
    room,
    position: z.union([position, z.literal('mark')]).optional(),
    presence: z.boolean().optional(),
  }),
  unsubscribe: z.strictObject({ op: z.literal('unsubscribe'), id, room }),
  resume: z.strictObject({
    op: z.literal('resume'),
    id,
    epoch,
    rooms: z.record(room, seq).refine((rooms) => Object.keys(rooms).length <= listMax, `more than ${listMax} rooms`),
  }),
  publish: z.strictObject({
    op: z.literal('publish'),
    id,
    room,
    mid: mid.optional(),
    ...content,
    ephemeral: z.boolean().optional(),
    echo: z.boolean().optional(),
    thread: mid.optional(),
    as,
  }),
  direct: z.strictObject({ op: z.literal('direct'), id, to: user, mid: mid.optional(), ...content, thread: mid.optional(), as }),
  history: z.strictObject({ op: z.literal('history'), id, room, before: seq.optional(), after: seq.optional(), around: seq.optional(), limit }),
  mark: z.strictObject({ op: z.literal('mark'), id, room, received: seq.optional(), read: seq.optional() }),
  delivery: z.strictObject({ op: z.literal('delivery'), id, room, mid, user: user.optional() }),

  create: z.strictObject({ op: z.literal('create'), id, room, ...settings, as }),
  update: z.strictObject({ op: z.literal('update'), id, room, ...settings }),
  delete: z.strictObject({ op: z.literal('delete'), id, room }),
  join: z.strictObject({ op: z.literal('join'), id, room, as }),
  leave: z.strictObject({ op: z.literal('leave'), id, room, as }),
  setMember: z.strictObject({ op: z.literal('setMember'), id, room, user, role }),
  removeMember: z.strictObject({ op: z.literal('removeMember'), id, room, user }),
  info: z.strictObject({ op: z.literal('info'), id, room }),
  members: z.strictObject({ op: z.literal('members'), id, room, after: user.optional(), limit }),
  rooms: z.strictObject({ op: z.literal('rooms'), id, scope: z.enum(['mine', 'public']).optional(), filter: z.string().max(128).optional(), cursor, limit }),

  ack: z.strictObject({ op: z.literal('ack'), id, through: z.int().min(0) }),
  status: z.strictObject({ op: z.literal('status'), id, status: z.enum(['online', 'away']) }),
  who: z.strictObject({ op: z.literal('who'), id, users }),
  watch: z.strictObject({ op: z.literal('watch'), id, users }),
  unwatch: z.strictObject({ op: z.literal('unwatch'), id, users }),

  // For the backend API only.
  revoke: z.strictObject({ op: z.literal('revoke'), id, users, token: token.optional() }),
  disable: z.strictObject({ op: z.literal('disable'), id, users, disabled: z.boolean() }),
} as const;

export type Op = keyof typeof commands;
/** The validated form of one command. */
export type Command<O extends Op = Op> = { [K in Op]: z.output<(typeof commands)[K]> }[O];
/** What a client passes: the same without what the client library fills in. */
export type CommandInput<O extends Op = Op> = { [K in Op]: z.input<(typeof commands)[K]> }[O];
export type Settings = { visibility?: 'public' | 'private'; listed?: boolean; title?: string; membersMax?: number; history?: 'all' | 'sinceJoin' };
export type Role = z.output<typeof role>;
export type Position = z.output<typeof position>;

/**
 * Where a command is carried out. `gateway`: the connection itself. `user`: the sender's own actor. `room`: the actor of
 * `room`. `dm`: the room of the sender (or `as`) and `to`. `users`, `rooms`: split by shard over that list, answers merged.
 */
export type Route = 'gateway' | 'user' | 'room' | 'dm' | 'users' | 'rooms';

export const routes: { readonly [K in Op]: Route } = {
  hello: 'gateway',
  refresh: 'gateway',
  ping: 'gateway',
  subscribe: 'room',
  unsubscribe: 'room',
  resume: 'rooms',
  publish: 'room',
  direct: 'dm',
  history: 'room',
  mark: 'room',
  delivery: 'room',
  create: 'room',
  update: 'room',
  delete: 'room',
  join: 'room',
  leave: 'room',
  setMember: 'room',
  removeMember: 'room',
  info: 'room',
  members: 'room',
  rooms: 'user',
  ack: 'user',
  status: 'user',
  who: 'users',
  watch: 'users',
  unwatch: 'users',
  revoke: 'users',
  disable: 'users',
};

export function isOp(op: unknown): op is Op {
  return typeof op === 'string' && Object.hasOwn(commands, op);
}
