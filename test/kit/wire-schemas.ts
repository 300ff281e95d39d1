/**
 * What the hub may send, field by field: every push and every answer as a strict schema, so that a field nobody meant to send
 * (a hash, an address, another room's text) fails the test that receives it. Kept equal to protocol/pushes.ts by the compiler.
 */
import { z } from 'zod';
import { errorCodes } from '../../src/protocol/codes.ts';
import { type Op, role } from '../../src/protocol/commands.ts';
import type { ErrorReply, Push, Replies } from '../../src/protocol/pushes.ts';

const n = z.number().int();
const text = z.string();
const code = z.enum(Object.keys(errorCodes) as [keyof typeof errorCodes, ...(keyof typeof errorCodes)[]]);
const status = z.enum(['online', 'away', 'offline']);
const visibility = z.enum(['public', 'private']);
const position = z.strictObject({ epoch: text, seq: n });
const gap = z.strictObject({ room: text, from: n, to: n, reason: z.enum(['expired', 'trimmed', 'forbidden', 'epoch']) });
const presence = { user: text, status, lastSeen: n.nullable() };
const audience = { count: n, users: z.array(text).optional() };
const content = { body: z.unknown().optional(), bin: z.instanceof(Uint8Array).optional(), body64: text.optional() };
const kind = z.enum(['message', 'created', 'member', 'settings', 'deleted']);
const entry = { room: text, seq: n, kind, mid: text.nullable(), from: text.nullable(), ts: n, thread: text.optional(), ...content };
const recovery = { room: text, position, recovered: z.boolean(), gaps: z.array(gap).optional(), audience: z.strictObject(audience).optional() };
const made = { seq: n, mid: text.optional(), duplicate: z.literal(true).optional() };
const changed = z.strictObject({ room: text, seq: n });
const statuses = z.strictObject({ users: z.array(z.strictObject(presence)) });
const roomInfo = {
  ...{ room: text, visibility, listed: z.boolean(), title: text.nullable(), membersMax: n, history: z.enum(['all', 'sinceJoin']) },
  ...{ createdAt: n.nullable(), members: n, subscribers: n, role: role.nullable(), position, firstSeq: n },
};
const mine = { role: role.nullable().optional(), received: n.optional(), read: n.optional(), unread: n.optional() };
const roomSummary = z.strictObject({ room: text, title: text.nullable(), visibility, members: n, head: n, ...mine });
const ended = { sentAt: n.optional(), receivedAt: n.optional(), readAt: n.optional(), endedAt: n.optional(), reason: text.optional() };
const delivery = z.strictObject({
  ...{ user: text, state: z.enum(['queued', 'sent', 'received', 'read', 'expired', 'dropped']), n, queuedAt: n },
  ...ended,
});
const member = z.strictObject({ user: text, role, since: n });
const rates = { rateLimit: n, userRateLimit: n, costLimit: n, userCostLimit: n };
const limits = z.strictObject({ frameBytesMax: n, bodyBytesMax: n, subscriptionsMax: n, openCommandsMax: n, ...rates });

export const pushSchema = z.discriminatedUnion('op', [
  z.strictObject({ op: z.literal('entry'), ...entry }),
  z.strictObject({ op: z.literal('ephemeral'), room: text, from: text.nullable(), ts: n, ...content }),
  z.strictObject({ op: z.literal('inbox'), n, ...entry }),
  z.strictObject({ op: z.literal('inbox-gap'), from: n, to: n, reason: z.enum(['dropped', 'expired']) }),
  z.strictObject({ op: z.literal('inbox-stopped'), n, reason: code }),
  z.strictObject({ op: z.literal('resumed'), id: n.optional(), ...recovery }),
  z.strictObject({ op: z.literal('behind'), room: text, head: n }),
  z.strictObject({ op: z.literal('gap'), room: text, gaps: z.array(gap) }),
  z.strictObject({ op: z.literal('presence'), ...presence }),
  z.strictObject({ op: z.literal('audience'), room: text, joined: z.array(text).optional(), left: z.array(text).optional(), ...audience }),
  z.strictObject({ op: z.literal('unsubscribed'), room: text, reason: code }),
  z.strictObject({ op: z.literal('token-expiring'), expiresInMs: n }),
  z.strictObject({ op: z.literal('closing'), reason: text, retryAfterMs: n }),
]);

/** Fields of `ok` (of `hello`: `welcome`), without `op` and `id`. */
export const replySchemas = {
  hello: z.strictObject({
    ...{ user: text, connection: text, device: text, epoch: text, expiresInMs: n.nullable(), limits, heartbeatMs: n },
    inbox: z.strictObject({ head: n, acked: n }),
  }),
  refresh: z.strictObject({ expiresInMs: n.nullable() }),
  ping: z.strictObject({ now: n }),
  subscribe: z.strictObject(recovery),
  unsubscribe: z.strictObject({ room: text }),
  resume: z.strictObject({ rooms: n }),
  publish: z.strictObject({ ...made, seq: n.optional() }),
  direct: z.strictObject({ room: text, ...made }),
  history: z.strictObject({ room: text, entries: z.array(z.strictObject(entry)), more: z.boolean(), asOf: position }),
  mark: z.strictObject({ room: text, received: n, read: n }),
  delivery: z.strictObject({ room: text, mid: text, deliveries: z.array(delivery) }),
  create: changed,
  update: changed,
  delete: changed,
  join: z.strictObject({ room: text, seq: n, role }),
  leave: changed,
  setMember: changed,
  removeMember: changed,
  info: z.strictObject(roomInfo),
  members: z.strictObject({ room: text, members: z.array(member), more: z.boolean() }),
  rooms: z.strictObject({ rooms: z.array(roomSummary), cursor: text.nullable() }),
  revoke: z.strictObject({ users: z.array(text) }),
  disable: z.strictObject({ users: z.array(text) }),
  ack: z.strictObject({ through: n }),
  status: z.strictObject({ status }),
  who: statuses,
  watch: statuses,
  unwatch: z.strictObject({ users: z.array(text) }),
} as const satisfies { [O in Op]: z.ZodType<Replies[O]> };

export const errorSchema = z.strictObject({
  ...{ op: z.literal('error'), id: n.optional(), of: text.optional(), code, message: text, field: text.optional() },
  ...{ retry: z.boolean(), retryAfterMs: n.optional() },
  ...{ limit: n.optional(), remaining: n.optional(), resetMs: n.optional() },
});

/** Throws where a frame holds what it should not; `op` is that of the command it answers, null where that is not known or it is a push. */
export function checkFrame(frame: Record<string, unknown>, op: string | null): void {
  const { op: kind, id: _, ...fields } = frame;
  const schema = kind === 'error' ? errorSchema : kind === 'welcome' ? replySchemas.hello : kind === 'ok' ? schemaOf(op) : pushSchema;
  const { error } = schema.safeParse(schema === pushSchema || schema === errorSchema ? frame : fields);
  if (error) throw new Error(`the hub sent what it should not: ${String(kind)} ${op ?? ''}: ${z.prettifyError(error)}`);
}

function schemaOf(op: string | null): z.ZodType {
  if (op === null) return z.unknown();
  if (!Object.hasOwn(replySchemas, op)) throw new Error(`the hub carried out ${op}`);
  return replySchemas[op as Op];
}

type Keys<T extends { op: string }> = { [O in T['op']]: keyof Extract<T, { op: O }> };
type ReplyKeys<T> = { [O in keyof T]: keyof T[O] };
type Same<A, B> = [A] extends [B] ? ([B] extends [A] ? true : false) : false;
type Schemas = { [O in Op]: z.infer<(typeof replySchemas)[O]> };
/** Fails to compile where a type of pushes.ts has a field that its schema has not, or the other way round. */
export const inStep: readonly [
  z.infer<typeof pushSchema> extends Push ? true : false,
  Same<Keys<z.infer<typeof pushSchema>>, Keys<Push>>,
  Same<ReplyKeys<Schemas>, ReplyKeys<Replies>>,
  Same<keyof z.infer<typeof errorSchema>, keyof ErrorReply>,
] = [true, true, true, true];
