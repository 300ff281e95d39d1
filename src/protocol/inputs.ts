/**
 * What a client may send, as plain types: the same as `z.input` of the schemas in commands.ts (test/client-types.test.ts
 * compares them), so that the client's published types stand without zod. Browser-safe: types only.
 */

export type Role = 'owner' | 'admin' | 'moderator' | 'member' | 'muted' | 'invited' | 'banned';
export type Position = { epoch: string; seq: number };
export type Settings = { visibility?: 'public' | 'private'; listed?: boolean; title?: string; membersMax?: number; history?: 'all' | 'sinceJoin' };

type Body = { body?: unknown; bin?: Uint8Array; body64?: string };
type Page = { limit?: number };

/** Fields of each op besides `op` and `id`. */
type Fields = {
  hello: { token?: string; user?: string; device?: string };
  refresh: { token: string };
  ping: object;
  subscribe: { room: string; position?: Position | 'mark'; presence?: boolean };
  unsubscribe: { room: string };
  resume: { epoch: string; rooms: Record<string, number> };
  publish: Body & { room: string; mid?: string; ephemeral?: boolean; echo?: boolean; thread?: string; as?: string };
  direct: Body & { to: string; mid?: string; thread?: string; as?: string };
  history: Page & { room: string; before?: number; after?: number; around?: number };
  mark: { room: string; received?: number; read?: number };
  delivery: { room: string; mid: string; user?: string };
  create: Settings & { room: string; as?: string };
  update: Settings & { room: string };
  delete: { room: string };
  join: { room: string; as?: string };
  leave: { room: string; as?: string };
  setMember: { room: string; user: string; role: Role };
  removeMember: { room: string; user: string };
  info: { room: string };
  members: Page & { room: string; after?: string };
  rooms: Page & { scope?: 'mine' | 'public'; filter?: string; cursor?: string };
  ack: { through: number };
  status: { status: 'online' | 'away' };
  who: { users: string[] };
  watch: { users: string[] };
  unwatch: { users: string[] };
  /** These two are for the backend API. */
  revoke: { users: string[]; token?: { jti: string; exp?: number } };
  disable: { users: string[]; disabled: boolean };
};

export type Op = keyof Fields;
/** One command as sent. */
export type CommandInput<O extends Op = Op> = { [K in Op]: { op: K; id?: number } & Fields[K] }[O];
/** The same without what the client library fills in. */
export type CommandFields<O extends Op = Op> = Fields[O];
