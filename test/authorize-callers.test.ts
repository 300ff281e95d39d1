/** Who may send an op or call a route at all: anonymous, users and API keys, each against each, as the gateway and HTTP decide it. */
import { afterAll, describe, expect, it } from 'vitest';
import { routeTable, table } from '../src/protocol/authorize.ts';
import { commands, type Op } from '../src/protocol/commands.ts';
import { stand } from './gateway-harness.ts';
import { pretend, withKey } from './kit/http-stage.ts';

const ops = Object.keys(commands) as Op[];
const common = {
  room: 'r',
  to: 'u',
  users: ['u'],
  user: 'u',
  rooms: {},
  epoch: 'e',
  token: 't',
  through: 0,
  status: 'away',
  mid: '99999999-0000-7000-8000-000000000001',
};
/** A good command of the op, of the fields that it has to have. */
function commandOf(op: Op): Record<string, unknown> {
  const extra: Record<string, unknown> = { ...common, role: 'member', disabled: true };
  const needed = Object.entries(commands[op].shape).filter(([field, type]) => field !== 'op' && !type.safeParse(undefined).success);
  return { op, ...Object.fromEntries(needed.map(([field]) => [field, extra[field]])), ...(op === 'publish' || op === 'direct' ? { body: 1 } : {}) };
}
const backendOnly: readonly Op[] = ['revoke', 'disable'];
const socketOnly: readonly Op[] = ['hello', 'refresh', 'ping', 'subscribe', 'unsubscribe', 'resume', 'mark', 'ack', 'status', 'watch', 'unwatch'];
let cells = 0;
afterAll(() => void process.stdout.write(`callers: ${cells} cells\n`));

describe('an op', () => {
  it('H1 is taken from nobody before hello', async () => {
    const hub = await stand();
    for (const op of ops.filter((one) => one !== 'hello')) {
      const client = await hub.connect({ hello: false });
      expect((await client.ask(commandOf(op))).code, op).toBe('unauthenticated');
      client.terminate();
      expect(table[op].by).not.toContain('anonymous');
      cells++;
    }
    expect(hub.shard.received.filter(({ t }) => t === 'command')).toEqual([]);
    await hub.close();
  });

  it('R6 of the backend is refused from a user, and one of a connection from a backend; nothing of it reaches a shard', async () => {
    const hub = await stand();
    const client = await hub.connect();
    for (const op of backendOnly) expect(await client.ask(commandOf(op)), op).toMatchObject({ op: 'error', code: 'forbidden' });
    const principal = { user: 'shop', scopes: [] };
    for (const op of socketOnly) expect(await hub.gateway.command(principal, commandOf(op)), op).toMatchObject({ op: 'error', code: 'bad-request' });
    expect(hub.shard.received.filter(({ t }) => t === 'command')).toEqual([]);
    for (const op of ops) {
      expect(table[op].by.includes('user'), op).toBe(op !== 'hello' && !backendOnly.includes(op));
      expect(table[op].by.includes('service'), op).toBe(!socketOnly.includes(op));
      cells += 2;
    }
    await hub.close();
  });
});

describe('a route', () => {
  it('is called with a key of this hub or not at all, and sends no op but its own', async () => {
    const at = await pretend();
    const open = ['/healthz', '/readyz', '/metrics', '/stats', '/api/v1/openapi.json'];
    const credentials = [
      {},
      { authorization: 'Bearer of-nobody-at-all-0123456789abcdef' },
      { authorization: withKey.authorization.replace('Bearer', 'Basic') },
      withKey,
    ];
    for (const [route, { sends }] of Object.entries(routeTable)) {
      const [method = '', path = ''] = route.split(' ');
      const url = path.replace(':mid', common.mid).replace(/:\w+/g, 'x');
      const payload = method === 'GET' || method === 'DELETE' ? {} : { payload: {} };
      for (const headers of credentials) {
        at.hub.recorded.length = 0;
        const { statusCode } = await at.ops.inject({ method: method as 'GET', url, headers, ...payload });
        const letIn = headers === withKey || open.includes(path);
        expect(statusCode === 401, `${route} ${JSON.stringify(headers)}`).toBe(!letIn);
        for (const { command } of at.hub.recorded) expect([letIn, sends as readonly unknown[]], route).toEqual([true, expect.arrayContaining([command.op])]);
        cells++;
      }
    }
    await at.close();
  });
});
