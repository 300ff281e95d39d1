/** Every field of every command with a value of the wrong type: the error names the field, and the connection lives on. */
import { describe, expect, it } from 'vitest';
import { maySend } from '../../src/protocol/authorize.ts';
import { commands, type Op } from '../../src/protocol/commands.ts';
import { startHub } from '../kit/hub.ts';
import { RawClient } from '../kit/raw-client.ts';

const hub = await startHub({ rateLimit: 0 });
const mid = '01999999-9999-7999-8999-999999999999';

/** One good command of each op, all fields there: what is wrong with a changed one is the change. */
const examples: { [K in Op]: Record<string, unknown> } = {
  hello: { token: 't', user: 'u', device: 'd' },
  refresh: { token: 't' },
  ping: {},
  subscribe: { room: 'r', position: { epoch: 'e', seq: 0 }, presence: true },
  unsubscribe: { room: 'r' },
  resume: { epoch: 'e', rooms: { r: 0 } },
  publish: { room: 'r', mid, body: 1, ephemeral: false, echo: true, thread: mid },
  direct: { to: 'u', mid, body: 1, thread: mid },
  history: { room: 'r', before: 1, after: 1, around: 1, limit: 1 },
  mark: { room: 'r', received: 0, read: 0 },
  delivery: { room: 'r', mid, user: 'u' },
  create: { room: 'r', visibility: 'public', listed: true, title: 't', membersMax: 1, history: 'all' },
  update: { room: 'r', visibility: 'public', listed: true, title: 't', membersMax: 1, history: 'all' },
  delete: { room: 'r' },
  join: { room: 'r' },
  leave: { room: 'r' },
  setMember: { room: 'r', user: 'u', role: 'admin' },
  removeMember: { room: 'r', user: 'u' },
  info: { room: 'r' },
  members: { room: 'r', after: 'u', limit: 1 },
  rooms: { scope: 'mine', filter: 'f', cursor: 'c', limit: 1 },
  ack: { through: 0 },
  status: { status: 'away' },
  who: { users: ['u'] },
  watch: { users: ['u'] },
  revoke: { users: ['u'] },
  disable: { users: ['u'], disabled: true },
  unwatch: { users: ['u'] },
};
/** Of every type of value, several. */
const values: unknown[] = [
  null,
  true,
  -1,
  1.5,
  1e300,
  '',
  'no such word',
  ' blank ',
  `dm:${'x'.repeat(600)}`,
  [],
  [7],
  [[]],
  {},
  { x: 1 },
  { epoch: 1, seq: 'x' },
];
const required = (op: Op): string[] =>
  Object.entries(commands[op].shape).flatMap(([field, type]) => (field === 'op' || type.safeParse(undefined).success ? [] : [field]));

it('has an example of every op, which is good but for what it names', () => {
  for (const op of Object.keys(commands) as Op[]) expect(commands[op].safeParse({ op, id: 1, ...examples[op] }).error).toBeUndefined();
});

/** Those of the backend API are refused whatever their fields. */
const ops = (Object.keys(commands) as Op[]).filter((op) => op === 'hello' || maySend('user', op));

describe.each(ops)('%s', (op) => {
  /** A hello is the first command of its connection; the others share one, with a good command after each: only so many bad ones in a row are put up with. */
  const prepare = async (): Promise<() => Promise<RawClient>> => {
    if (op === 'hello') return () => RawClient.connect(hub.url, { hello: false });
    const client = await RawClient.connect(hub.url, { user: 'alice' });
    return async () => {
      await client.settled();
      return client;
    };
  };

  it('R1 R3 refuses wrong values in every field, an unknown field, and names it', async () => {
    const next = await prepare();
    const shape: Record<string, { safeParse(value: unknown): { success: boolean } }> = commands[op].shape;
    const bad = Object.keys(examples[op]).flatMap((field) =>
      values.filter((value) => !shape[field]?.safeParse(value).success).map((value) => ({ field, value })),
    );
    for (const { field, value } of [...bad, { field: 'surplus', value: 1 }]) {
      const client = await next();
      const answer = await client.ask({ op, ...examples[op], [field]: value });
      expect(answer, `${op} ${field} ${JSON.stringify(value)}`).toMatchObject({
        op: 'error',
        of: op,
        retry: false,
        field: expect.stringMatching(new RegExp(`^${field}`)),
      });
      expect(['bad-request', 'bad-value']).toContain(answer.code);
    }
  });

  it('R1 refuses to go without what it needs', async () => {
    const next = await prepare();
    for (const field of required(op)) {
      const { [field]: _, ...rest } = examples[op];
      expect(await (await next()).ask({ op, ...rest })).toMatchObject({ op: 'error', code: 'bad-request', field });
    }
  });
});

describe('the envelope', () => {
  it.each([0, -1, 1.5, '7', null, true, []])('R2 refuses the id %j', async (id) => {
    const client = await RawClient.connect(hub.url, { user: 'alice' });
    client.send({ op: 'info', room: 'r', id });
    expect(await client.next('error')).toMatchObject({ code: 'bad-request', field: 'id', of: 'info' });
  });

  it.each(['', 'HELLO', 'nope', 'toString', '__proto__', 'constructor', 'hasOwnProperty'])('R1 refuses the op %j', async (op) => {
    const client = await RawClient.connect(hub.url, { user: 'alice' });
    expect(await client.ask({ op })).toMatchObject({ op: 'error', code: 'unknown-op' });
  });

  it.each([null, 7, true, [], {}])('R1 refuses an op that is %j', async (op) => {
    const client = await RawClient.connect(hub.url, { user: 'alice' });
    expect(await client.ask({ op })).toMatchObject({ op: 'error', code: expect.stringMatching(/^(?:bad-request|unknown-op)$/) });
  });

  it('R5 ends a connection that keeps sending bad frames', async () => {
    const client = await RawClient.connect(hub.url, { user: 'abuser' });
    for (let i = 0; i < 30; i++) client.send({ op: 'nope' });
    expect((await client.closed).code).toBe(4505);
    expect(client.pushes.filter(({ op }) => op === 'error')).not.toHaveLength(0);
  });
});
