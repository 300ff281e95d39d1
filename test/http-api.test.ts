/** The backend API: which command each route is, who may use it, and how refusals look. */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { statusOf } from '../src/http/errors.ts';
import { errorCodes } from '../src/protocol/codes.ts';
import { commands, isOp } from '../src/protocol/commands.ts';
import { dmName } from '../src/protocol/names.ts';
import { apiKey, pretend, production, withKey } from './kit/http-stage.ts';

const mid = '0199aaaa-bbbb-7ccc-8ddd-eeeeffff0000';
const base = '/api/v1';
type Method = 'GET' | 'POST' | 'PUT' | 'DELETE';
type Request = { method?: Method; url: string; payload?: object | string; headers?: Record<string, string> };

let at: Awaited<ReturnType<typeof pretend>>;
beforeAll(async () => {
  at = await pretend();
});
afterAll(() => at.close());
beforeEach(() => {
  at.hub.recorded.length = 0;
  at.hub.disconnected.length = 0;
  at.hub.answer = { op: 'ok', id: 1, seq: 7 };
});

async function ask({ method = 'GET', url, payload, headers = {} }: Request) {
  const response = await at.ops.inject({ method, url: base + url, ...(payload === undefined ? {} : { payload }), headers: { ...withKey, ...headers } });
  return { status: response.statusCode, headers: response.headers, body: response.body === '' ? null : response.json() };
}

describe('each route is one command', () => {
  const dm = dmName('alice', 'bob/ö');
  const cases: [Request, Record<string, unknown>][] = [
    [
      { method: 'POST', url: '/rooms/general/messages', payload: { body: { a: [1] } } },
      { op: 'publish', room: 'general', body: { a: [1] } },
    ],
    [
      { method: 'POST', url: '/rooms/general/messages', payload: { body64: 'AAEC', mid, from: 'alice', thread: mid } },
      { op: 'publish', room: 'general', body64: 'AAEC', mid, as: 'alice', thread: mid },
    ],
    [
      { method: 'POST', url: '/rooms/x/messages', payload: { body: null, ephemeral: true } },
      { op: 'publish', room: 'x', body: null, ephemeral: true },
    ],
    [
      { method: 'POST', url: '/users/bob/messages', payload: { body: 'hi', from: 'alice' } },
      { op: 'direct', to: 'bob', body: 'hi', as: 'alice' },
    ],
    [
      { method: 'POST', url: '/broadcast', payload: { body: 'hear' } },
      { op: 'publish', room: 'all:', body: 'hear' },
    ],
    [{ url: '/rooms?filter=ge&limit=10&cursor=abc' }, { op: 'rooms', scope: 'public', filter: 'ge', limit: 10, cursor: 'abc' }],
    [{ url: '/rooms/general' }, { op: 'info', room: 'general' }],
    [{ url: `/rooms/${encodeURIComponent(dm)}` }, { op: 'info', room: dm }],
    [{ url: `/rooms/${encodeURIComponent('a/b c')}` }, { op: 'info', room: 'a/b c' }],
    [
      { method: 'DELETE', url: '/rooms/general' },
      { op: 'delete', room: 'general' },
    ],
    [{ url: '/rooms/general/messages?before=45&limit=50' }, { op: 'history', room: 'general', before: 45, limit: 50 }],
    [{ url: '/rooms/general/messages?around=3' }, { op: 'history', room: 'general', around: 3 }],
    [{ url: '/rooms/general/members?after=bob&limit=2' }, { op: 'members', room: 'general', after: 'bob', limit: 2 }],
    [
      { method: 'PUT', url: '/rooms/general/members/bob', payload: { role: 'admin' } },
      { op: 'setMember', room: 'general', user: 'bob', role: 'admin' },
    ],
    [
      { method: 'DELETE', url: '/rooms/general/members/bob' },
      { op: 'removeMember', room: 'general', user: 'bob' },
    ],
    [{ url: '/presence?user=a&user=b' }, { op: 'who', users: ['a', 'b'] }],
    [{ url: '/presence?user=a' }, { op: 'who', users: ['a'] }],
    [{ url: `/rooms/general/messages/${mid}/delivery?user=bob` }, { op: 'delivery', room: 'general', mid, user: 'bob' }],
  ];

  it.each(cases)('%o', async (request, command) => {
    const answer = await ask(request);
    expect(at.hub.recorded).toEqual([{ principal: { user: 'backend', scopes: ['broadcast'] }, command }]);
    expect(answer).toMatchObject({ status: 200, body: { seq: 7 } });
    // The hub's own envelope is not the caller's concern.
    expect(answer.body).not.toHaveProperty('op');
    expect(answer.body).not.toHaveProperty('id');
    const { op } = command;
    expect(isOp(op) && commands[op].safeParse(command).success).toBe(true);
  });

  it('a room of the longest name, percent-encoded twice, is found', async () => {
    const long = dmName('ö'.repeat(64), 'ü'.repeat(64));
    expect((await ask({ url: `/rooms/${encodeURIComponent(long)}` })).status).toBe(200);
    expect(at.hub.recorded[0]?.command.room).toBe(long);
  });

  it('PUT makes a room, or changes the one there is', async () => {
    const put = (payload: object): Promise<Awaited<ReturnType<typeof ask>>> => ask({ method: 'PUT', url: '/rooms/ops', payload });
    expect(await put({ visibility: 'private', owner: 'alice' })).toMatchObject({ status: 201, body: { room: 'ops', seq: 7, created: true } });
    at.hub.answer = ({ op }) =>
      op === 'create'
        ? { op: 'error', code: 'exists', message: 'x', retry: false }
        : op === 'info'
          ? { op: 'ok', position: { epoch: 'e', seq: 3 } }
          : { op: 'ok', seq: 8 };
    expect(await put({ title: 'Ops' })).toMatchObject({ status: 200, body: { room: 'ops', seq: 8, created: false } });
    expect(await put({})).toMatchObject({ status: 200, body: { room: 'ops', seq: 3, created: false } });
    expect(at.hub.recorded.map(({ command }) => command)).toEqual([
      { op: 'create', room: 'ops', visibility: 'private', as: 'alice' },
      { op: 'create', room: 'ops', title: 'Ops' },
      { op: 'update', room: 'ops', title: 'Ops' },
      { op: 'create', room: 'ops' },
      { op: 'info', room: 'ops' },
    ]);
  });

  it('H9 a token is revoked by its claims', async () => {
    const token = { jti: 'a/b', exp: 5 };
    expect(await ask({ method: 'POST', url: '/users/bob/tokens/revoke', payload: token })).toMatchObject({ status: 200, body: { user: 'bob', jti: 'a/b' } });
    expect(at.hub.recorded.map(({ command }) => command)).toEqual([{ op: 'revoke', users: ['bob'], token }]);
  });

  it('connections are listed and closed', async () => {
    expect((await ask({ url: '/users/bob/connections' })).body).toEqual({ connections: [{ connection: 'of-bob' }] });
    expect((await ask({ method: 'DELETE', url: '/users/bob/connections' })).body).toEqual({ disconnected: 1 });
    expect((await ask({ method: 'DELETE', url: '/users/bob/connections/c1' })).body).toEqual({ disconnected: 1 });
    expect((await ask({ method: 'DELETE', url: '/users/bob/connections/gone' })).status).toBe(404);
    expect(at.hub.disconnected).toEqual([
      ['bob', undefined],
      ['bob', 'c1'],
      ['bob', 'gone'],
    ]);
  });
});

describe('idempotency', () => {
  const publish = (payload: object, key: string) => ask({ method: 'POST', url: '/rooms/x/messages', payload, headers: { 'idempotency-key': key } });

  it('the Idempotency-Key is the mid, whatever its case', async () => {
    expect((await publish({ body: 1 }, mid.toUpperCase())).status).toBe(200);
    expect(at.hub.recorded[0]?.command).toEqual({ op: 'publish', room: 'x', body: 1, mid });
    expect((await publish({ body: 1, mid }, mid)).status).toBe(200);
  });

  it('one that is no UUID, or differs from the mid of the body, is refused', async () => {
    expect(await publish({ body: 1 }, 'once')).toMatchObject({ status: 400, body: { error: { code: 'bad-request', field: 'idempotency-key' } } });
    expect(await publish({ body: 1, mid }, mid.replace('0199', '0198'))).toMatchObject({ status: 400, body: { error: { code: 'bad-request', field: 'mid' } } });
    expect(at.hub.recorded).toEqual([]);
  });
});

describe('the rate of a key', () => {
  it('is told with every answer, and beyond it is 429 with Retry-After, for that key alone', async () => {
    const limited = await pretend({ apiKeys: [`backend:${apiKey}`, `cron:${apiKey}2`], keyRateLimit: 1, keyRateBurst: 3 });
    const as = (key: string) => limited.ops.inject({ url: '/api/v1/rooms/x', headers: { authorization: `Bearer ${key}` } });
    expect((await as(apiKey)).headers).toMatchObject({ 'ratelimit-limit': '3', 'ratelimit-remaining': '2', 'ratelimit-reset': '3' });
    await as(apiKey);
    await as(apiKey);
    const refused = await as(apiKey);
    expect(refused.statusCode).toBe(429);
    expect(refused.headers).toMatchObject({ 'ratelimit-limit': '3', 'ratelimit-remaining': '0', 'ratelimit-reset': '3', 'retry-after': '3' });
    expect(refused.json()).toMatchObject({
      error: { code: 'rate-limited', message: 'this key may send 3 requests within 3000 ms', retry: true, limit: 3, remaining: 0 },
    });
    expect((await as(`${apiKey}2`)).statusCode).toBe(200);
    expect(limited.hub.recorded).toHaveLength(4);
    await limited.close();
  });
});

describe('refusals', () => {
  it.each(Object.keys(errorCodes) as (keyof typeof errorCodes)[])('%s has its status, and whether a retry helps', async (code) => {
    at.hub.answer = { op: 'error', id: 1, of: 'info', code, message: 'why', field: 'room', retry: errorCodes[code].retry, retryAfterMs: 2_500 };
    const { status, body, headers } = await ask({ url: '/rooms/general' });
    expect(status).toBe(statusOf[code]);
    expect(body).toEqual({ error: { code, message: 'why', field: 'room', retry: errorCodes[code].retry, retryAfterMs: 2_500 } });
    expect(headers['retry-after']).toBe(errorCodes[code].retry ? '3' : undefined);
  });

  const bad: [string, Request, string][] = [
    ['a field nobody knows', { method: 'POST', url: '/rooms/x/messages', payload: { body: 1, bogus: 1 } }, 'bogus'],
    ['a field of the wrong type', { method: 'POST', url: '/rooms/x/messages', payload: { body: 1, from: 5 } }, 'from'],
    ['a direct message from nobody', { method: 'POST', url: '/users/bob/messages', payload: { body: 1 } }, 'from'],
    ['a room name with a control character', { url: '/rooms/a%07b' }, 'room'],
    ['a room name that is reserved', { url: '/rooms/all%3Ax' }, 'room'],
    ['a token without its id', { method: 'POST', url: '/users/bob/tokens/revoke', payload: { exp: 5 } }, 'jti'],
    ['an end of a token that is no time', { method: 'POST', url: '/users/bob/tokens/revoke', payload: { jti: 'x', exp: 'soon' } }, 'exp'],
    ['a mid that is none', { url: '/rooms/x/messages/17/delivery' }, 'mid'],
    ['a limit that is no number', { url: '/rooms/x/messages?limit=many' }, 'limit'],
    ['a query nobody knows', { url: '/rooms/x/messages?befor=1' }, 'befor'],
    ['a role that is none', { method: 'PUT', url: '/rooms/x/members/bob', payload: { role: 'king' } }, 'role'],
    ['no users', { url: '/presence' }, 'user'],
    ['no body at all', { method: 'POST', url: '/rooms/x/messages' }, 'body'],
  ];
  it.each(bad)('%s is bad-request, names the field and reaches no hub', async (_, request, field) => {
    expect(await ask(request)).toMatchObject({ status: 400, body: { error: { code: 'bad-request', field, retry: false } } });
    expect(at.hub.recorded).toEqual([]);
  });

  const post = (payload: string, type = 'application/json') => ask({ method: 'POST', url: '/rooms/x/messages', payload, headers: { 'content-type': type } });

  it('what is no JSON, or not said to be, is refused', async () => {
    expect(await post('{"body":')).toMatchObject({ status: 400, body: { error: { code: 'bad-frame' } } });
    expect(await post('')).toMatchObject({ status: 400, body: { error: { code: 'bad-frame' } } });
    expect(await post('{"body":1}', 'text/plain')).toMatchObject({ status: 415, body: { error: { code: 'bad-frame' } } });
  });

  it('keys that reach for prototypes are refused', async () => {
    expect((await post('{"body":{"__proto__":{"x":1}}}')).status).toBe(400);
    expect((await post('{"body":{"constructor":{"prototype":{}}}}')).status).toBe(400);
    expect(at.hub.recorded).toEqual([]);
  });

  it('depth is limited before anything is decoded, brackets in strings do not count', async () => {
    const nested = (levels: number) => `{"body":${'['.repeat(levels - 1)}${']'.repeat(levels - 1)}}`;
    expect((await post(nested(16))).status).toBe(200);
    expect(await post(nested(17))).toMatchObject({ status: 400, body: { error: { code: 'bad-value' } } });
    expect(await post(nested(100_000))).toMatchObject({ status: 400, body: { error: { code: 'bad-value' } } });
    expect((await post(`{"body":"${'['.repeat(50)}\\"${'['.repeat(50)}"}`)).status).toBe(200);
  });

  it('a body above frameBytesMax is too-large', async () => {
    expect(await post(`{"body":"${'x'.repeat(256 * 1024)}"}`)).toMatchObject({ status: 413, body: { error: { code: 'too-large' } } });
  });

  it('a route that is not there is not-found, without the query in its text', async () => {
    const { status, body } = await ask({ url: '/nowhere?token=canary' });
    expect(status).toBe(404);
    expect(body.error.code).toBe('not-found');
    expect(JSON.stringify(body)).not.toContain('canary');
  });

  it('a fault is logged and told without its text', async () => {
    at.hub.answer = () => Promise.reject(new Error('canary in the code'));
    const { status, body } = await ask({ url: '/rooms/general' });
    expect(status).toBe(500);
    expect(body).toEqual({ error: { code: 'internal', message: errorCodes.internal.text, retry: false } });
    expect(at.lines.at(-1)).toMatchObject({ level: 'error', fields: { method: 'GET', error: expect.any(Error) as Error } });
  });
});

describe('the API key', () => {
  const asWith = (authorization?: string) =>
    at.ops.inject({
      method: 'POST',
      url: `${base}/rooms/x/messages`,
      payload: '{"body":',
      headers: { 'content-type': 'application/json', ...(authorization ? { authorization } : {}) },
    });

  it('is needed before the body is looked at', async () => {
    const none = await asWith();
    expect(none.statusCode).toBe(401);
    expect(none.headers['www-authenticate']).toBe('Bearer');
    expect(none.json().error.code).toBe('unauthenticated');
    for (const wrong of [
      `Bearer ${apiKey}x`,
      `Bearer ${apiKey.slice(0, -1)}`,
      `Bearer backend:${apiKey}`,
      `Basic ${apiKey}`,
      'Bearer',
      `Bearer ${apiKey} ${apiKey}`,
    ])
      expect((await asWith(wrong)).statusCode).toBe(401);
    expect((await asWith(`bearer ${apiKey}`)).statusCode).toBe(400);
  });

  it('names the principal; one of several works', async () => {
    const second = 'another-0123456789abcdef0123456789ab';
    const two = await pretend({ apiKeys: [`backend:${apiKey}`, `cron:${second}`] });
    await two.ops.inject({ url: `${base}/rooms/x`, headers: { authorization: `Bearer ${second}` } });
    expect(two.hub.recorded[0]?.principal.user).toBe('cron');
    await two.close();
  });

  it('without any configured nobody has access, unless in development', async () => {
    const none = await pretend({});
    expect((await none.ops.inject({ url: `${base}/rooms/x`, headers: withKey })).statusCode).toBe(401);
    await none.close();
    const dev = await pretend({ dev: true });
    expect((await dev.ops.inject({ url: `${base}/rooms/x` })).statusCode).toBe(200);
    await dev.close();
    const devWithKeys = await pretend({ dev: true, ...production });
    expect((await devWithKeys.ops.inject({ url: `${base}/rooms/x` })).statusCode).toBe(401);
    await devWithKeys.close();
  });

  it('one that is too short or has no name fails at start and is not repeated', async () => {
    for (const key of ['backend:canary', 'canary-0123456789abcdef0123456789abcdef', ':canary-0123456789abcdef0123456789abcdef']) {
      const start = pretend({ apiKeys: [key] });
      await expect(start).rejects.toThrow(/^option apiKeys: /);
      await expect(start).rejects.not.toThrow('canary');
    }
  });
});
