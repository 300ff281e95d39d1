/**
 * What the backend API takes and gives, made from the fields of the commands so that both say the same. Requests are checked
 * with these; answers only documented, since they come from the hub itself.
 */
import { z } from 'zod';
import { errorCodes } from '../protocol/codes.ts';
import { commands, role } from '../protocol/commands.ts';
import { listMax } from '../protocol/limits.ts';

const { room, mid, body, body64, ephemeral, thread, as: actor } = commands.publish.shape;
const { op: _op, id: _id, room: _room, as: owner, ...settings } = commands.create.shape;
const user = commands.direct.shape.to;
const { jti, exp } = commands.revoke.shape.token.unwrap().shape;
const name = z.string();
const seq = z.int();
const count = z.coerce.number().int().min(0);
const limit = z.coerce.number().int().min(1).max(200).optional();

export const roomPath = z.object({ room });
export const userPath = z.object({ user });
export const memberPath = z.object({ room, user });
export const messagePath = z.object({ room, mid: mid.unwrap() });
export const connectionPath = z.object({ user, connection: z.string().min(1).max(128) });

const content = { body: body.describe('any JSON value'), body64: body64.describe('or a binary body'), mid: mid.describe('UUID; makes repeating safe'), thread };
export const publishBody = z.strictObject({ ...content, from: actor.describe('the user it is from; left out: nobody'), ephemeral });
export const directBody = z.strictObject({ ...content, from: user });
export const broadcastBody = z.strictObject({ ...content, from: actor });
export const idempotencyHeaders = z.looseObject({
  'idempotency-key': z.string().toLowerCase().pipe(mid.unwrap()).optional().describe('a UUID, the same as mid in the body'),
});
export const roomBody = z.strictObject({ ...settings, owner: owner.describe('first member of a room that does not exist yet') });
export const memberBody = z.strictObject({ role });
export const revokedTokenBody = z.strictObject({
  jti: jti.describe('The jti claim of the token'),
  exp: exp.describe('Its exp claim, in seconds: some time after it the revocation is forgotten. Without it, it is kept for good'),
});
export const disabledBody = z.strictObject({ disabled: z.boolean() });

export const historyQuery = z.strictObject({ before: count.optional(), after: count.optional(), around: count.optional(), limit });
export const membersQuery = z.strictObject({ after: commands.members.shape.after, limit });
export const roomsQuery = z.strictObject({ filter: commands.rooms.shape.filter, cursor: commands.rooms.shape.cursor, limit });
export const presenceQuery = z.strictObject({
  user: z.preprocess((value) => (typeof value === 'string' ? [value] : value), z.array(user).min(1).max(listMax)).describe('may be repeated'),
});
export const deliveryQuery = z.strictObject({ user: commands.delivery.shape.user });

const errorBody = z.object({
  error: z.object({
    code: z.enum(Object.keys(errorCodes) as [keyof typeof errorCodes]),
    message: name,
    field: name.optional(),
    retry: z.boolean().describe('whether the same request can succeed later'),
    retryAfterMs: z.int().optional(),
    limit: z.int().optional().describe('with rate-limited: how many a second'),
    remaining: z.int().optional(),
    resetMs: z.int().optional(),
  }),
});
const entry = z.looseObject({ room: name, seq, kind: name, mid: name.nullable(), from: name.nullable(), ts: z.int() });
const presence = z.object({ user: name, status: z.enum(['online', 'away', 'offline']), lastSeen: z.int().nullable() });
const changed = z.object({ room: name, seq });
const sent = z.object({ seq: seq.optional(), mid: name.optional(), duplicate: z.boolean().optional() });
const roomSummary = z.looseObject({ room: name, title: name.nullable(), visibility: name, members: z.int(), head: seq });

/** `op` null: the room as a whole; else the command with this `mid`, or where it had none, those of this `user`. */
const quarantined = z.object({
  room: name.nullable(),
  op: name.nullable(),
  mid: name.nullable(),
  user: name.nullable(),
  since: z.int(),
  until: z.int(),
});

function answers<T extends z.ZodType>(ok: T) {
  return { 200: ok, '4xx': errorBody, '5xx': errorBody };
}

export const responses = {
  sent: answers(sent),
  direct: answers(sent.extend({ room: name })),
  changed: answers(changed),
  put: { 201: changed, ...answers(changed.extend({ created: z.boolean() })) },
  rooms: answers(z.object({ rooms: z.array(roomSummary), cursor: name.nullable() })),
  info: answers(z.looseObject({ room: name, visibility: name, listed: z.boolean(), title: name.nullable(), members: z.int(), subscribers: z.int() })),
  history: answers(z.object({ room: name, entries: z.array(entry), more: z.boolean(), asOf: z.object({ epoch: name, seq }) })),
  members: answers(z.object({ room: name, members: z.array(z.object({ user: name, role, since: z.int() })), more: z.boolean() })),
  presence: answers(z.object({ users: z.array(presence) })),
  delivery: answers(z.object({ room: name, mid: name, deliveries: z.array(z.looseObject({ user: name, state: name, n: z.int(), queuedAt: z.int() })) })),
  connections: answers(z.object({ connections: z.array(z.unknown()) })),
  revoked: answers(z.object({ user: name })),
  revokedToken: answers(z.object({ user: name, jti: name })),
  disabled: answers(z.object({ user: name, disabled: z.boolean() })),
  disconnected: answers(z.object({ disconnected: z.int() })),
  quarantine: answers(z.object({ quarantine: z.array(quarantined) })),
  lifted: answers(z.object({ lifted: z.int() })),
};
