/** The backend API, health and metrics over HTTP: the same commands, the same refusals, and nobody without a key. */
import { request } from 'node:http';
import { v7 } from 'uuid';
import { describe, expect, it } from 'vitest';
import { type Hub, startHub } from '../kit/hub.ts';
import { RawClient } from '../kit/raw-client.ts';

const key = 'a key of a backend, long enough to be one';
const hub = await startHub({ apiKeys: [`shop:${key}`] });
const connect = (user: string): Promise<RawClient> => RawClient.connect(hub.url, { user });

type Answer = { status: number; body: Record<string, unknown>; headers: Headers };

async function call(
  method: string,
  path: string,
  body?: unknown,
  { headers = {}, to = hub }: { headers?: Record<string, string>; to?: Hub } = {},
): Promise<Answer> {
  const answer = await fetch(`${to.http}${path}`, {
    method,
    headers: { Authorization: `Bearer ${key}`, ...(body === undefined ? {} : { 'Content-Type': 'application/json' }), ...headers },
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  const text = await answer.text();
  return { status: answer.status, body: text.startsWith('{') ? JSON.parse(text) : { text }, headers: answer.headers };
}

describe('a backend', () => {
  it('R6 publishes to a room, for a user or in nobody’s name', async () => {
    const alice = await connect('alice');
    await alice.ok('subscribe', { room: 'shop' });
    expect(await call('POST', '/api/v1/rooms/shop/messages', { body: { price: 1 }, from: 'bob' })).toMatchObject({ status: 200, body: { seq: 1 } });
    expect(await alice.next('entry')).toMatchObject({ room: 'shop', from: 'bob', body: { price: 1 } });
    await call('POST', '/api/v1/rooms/shop/messages', { body: 2 });
    expect(await alice.next('entry')).toMatchObject({ from: null, body: 2 });
    await call('POST', '/api/v1/rooms/shop/messages', { body: 3, ephemeral: true });
    expect(await alice.next('ephemeral')).toMatchObject({ body: 3 });
  });

  it('M3 may repeat a request safely', async () => {
    const mid = v7();
    const first = await call('POST', '/api/v1/rooms/orders/messages', { body: 1 }, { headers: { 'Idempotency-Key': mid } });
    const second = await call('POST', '/api/v1/rooms/orders/messages', { body: 1, mid });
    expect(first).toMatchObject({ status: 200, body: { seq: 1 } });
    expect(second).toMatchObject({ status: 200, body: { seq: 1, duplicate: true } });
  });

  it('sends to a user who is away, and asks what became of it', async () => {
    const mid = v7();
    expect(await call('POST', '/api/v1/users/carol/messages', { body: 'hi', from: 'shop-bot', mid })).toMatchObject({
      status: 200,
      body: { room: 'dm:carol:shop-bot' },
    });
    const path = `/api/v1/rooms/${encodeURIComponent('dm:carol:shop-bot')}/messages/${mid}/delivery?user=carol`;
    expect((await call('GET', path)).body).toMatchObject({ deliveries: [{ user: 'carol', state: 'queued' }] });
    const carol = await connect('carol');
    const { n } = await carol.next('inbox', ({ from }) => from === 'shop-bot');
    await carol.ok('ack', { through: n });
    expect((await call('GET', path)).body).toMatchObject({ deliveries: [{ user: 'carol', state: 'received' }] });
  });

  it('sends to everybody', async () => {
    const alice = await connect('alice');
    expect(await call('POST', '/api/v1/broadcast', { body: 'closing time' })).toMatchObject({ status: 200, body: { seq: expect.any(Number) } });
    expect(await alice.next('entry', ({ room }) => room === 'all:')).toMatchObject({ body: 'closing time' });
  });

  it('manages rooms and members', async () => {
    const path = '/api/v1/rooms/team';
    expect(await call('PUT', path, { visibility: 'private', title: 'Team', owner: 'alice' })).toMatchObject({ status: 201, body: { room: 'team', seq: 1 } });
    expect(await call('PUT', path, { title: 'The team' })).toMatchObject({ status: 200, body: { created: false } });
    expect(await call('PUT', `${path}/members/bob`, { role: 'member' })).toMatchObject({ status: 200 });
    expect((await call('GET', `${path}/members`)).body).toMatchObject({
      members: [
        { user: 'alice', role: 'owner' },
        { user: 'bob', role: 'member' },
      ],
    });
    expect((await call('GET', path)).body).toMatchObject({ room: 'team', title: 'The team', visibility: 'private', members: 2 });
    const bob = await connect('bob');
    await bob.ok('subscribe', { room: 'team' });
    expect(await call('DELETE', `${path}/members/bob`)).toMatchObject({ status: 200 });
    expect(await bob.next('unsubscribed')).toMatchObject({ room: 'team' });
    expect(await call('DELETE', path)).toMatchObject({ status: 200 });
    expect(await call('GET', `${path}/messages/${v7()}/delivery`)).toMatchObject({ status: 404, body: { error: { code: 'not-found', retry: false } } });
    expect(await call('GET', path)).toMatchObject({ status: 404 });
  });

  it('sees who is there, and can put a user out for good', async () => {
    const dan = await connect('dan');
    expect((await call('GET', '/api/v1/presence?user=dan&user=nobody')).body).toMatchObject({
      users: [
        { user: 'dan', status: 'online' },
        { user: 'nobody', status: 'offline' },
      ],
    });
    expect((await call('GET', '/api/v1/users/dan/connections')).body.connections).toHaveLength(1);
    expect(await call('DELETE', '/api/v1/users/dan/connections')).toMatchObject({ status: 200, body: { disconnected: 1 } });
    expect((await dan.closed).code).toBe(4504);
  });

  it.each([
    ['POST', '/api/v1/rooms/r/messages', { nothing: 1 }, 400, 'bad-request'],
    ['POST', '/api/v1/rooms/r/messages', { body: 1, mid: 'x' }, 400, 'bad-request'],
    ['POST', '/api/v1/rooms/r/messages', { body: 'x'.repeat(70_000) }, 413, 'too-large'],
    ['POST', '/api/v1/rooms/r/messages', { body: 'x'.repeat(300_000) }, 413, 'too-large'],
    ['POST', '/api/v1/users/bob/messages', { body: 1 }, 400, 'bad-request'],
    ['PUT', '/api/v1/rooms/dm:x', {}, 400, 'bad-request'],
    ['PUT', '/api/v1/rooms/all:', { title: 'x' }, 403, 'forbidden'],
    ['DELETE', '/api/v1/rooms/unknown', undefined, 404, 'not-found'],
    ['GET', '/api/v1/nowhere', undefined, 404, 'not-found'],
    ['GET', '/../../etc/passwd', undefined, 404, 'not-found'],
    ['GET', '/api/v1/rooms/%zz', undefined, 400, 'bad-request'],
    ['GET', '/api/v1/rooms/%ff', undefined, 400, 'bad-request'],
  ])('is told what is wrong: %s %s', async (method, path, body, status, code) => {
    expect(await call(method, path, body)).toMatchObject({ status, body: { error: { code, message: expect.any(String) } } });
  });

  it('has no say without its key', async () => {
    for (const authorization of ['', 'Bearer wrong', `Basic ${key}`, `Bearer ${key}x`]) {
      const answer = await call('POST', '/api/v1/broadcast', { body: 'spam' }, { headers: { Authorization: authorization } });
      expect(answer).toMatchObject({ status: 401, body: { error: { code: expect.stringMatching(/^(?:unauthenticated|auth-failed)$/) } } });
    }
  });
});

describe('operations', () => {
  it('ask for health, readiness, metrics and the description of the API', async () => {
    await connect('measured');
    expect(await call('GET', '/healthz')).toMatchObject({ status: 200, body: { status: 'ok' } });
    expect(await call('GET', '/readyz')).toMatchObject({ status: 200, body: { ready: true } });
    expect(String((await call('GET', '/metrics')).body.text)).toMatch(/^# HELP [^\n]+\n# TYPE [^\n]+\n/);
    expect(String((await call('GET', '/metrics')).body.text)).toMatch(/^hubbub_connections(?:\{[^}]*\})? [1-9]/m);
    expect((await call('GET', '/stats')).status).toBe(200);
    const { body } = await call('GET', '/api/v1/openapi.json');
    expect(Object.keys(body.paths as object)).toContain('/api/v1/rooms/{room}/messages');
  });

  it('warn of a disk that is nearly full, in the log, at /readyz and as a metric, and go on', async () => {
    const short = await startHub({ diskWarnBytes: 2 ** 52 });
    const metrics = async (): Promise<string> => String((await call('GET', '/metrics', undefined, { to: short })).body.text);
    while (!/^hubbub_persistence_disk_free_bytes \d+$/m.test(await metrics()));
    const { status, body } = await call('GET', '/readyz', undefined, { to: short });
    expect([status, body]).toEqual([
      200,
      { ready: true, reasons: [], warnings: [expect.stringMatching(/^the disk of the data folder is nearly full: \d+ MiB are left$/)] },
    ]);
    while (!short.stdout.includes('nearly full')) await metrics();
    expect(short.stdout.match(/nearly full/g)).toHaveLength(1);
    await short.remove();
  });

  it('are on a listener of their own outside of development', async () => {
    const own = await startHub({
      production: true,
      jwtSecrets: [`k:${'s'.repeat(40)}`],
      origins: ['https://chat.example.com'],
      apiKeys: [`shop:${key}`],
    });
    // Nor the port of the option's default, which another hub of the machine may have.
    expect([own.port, 8_081]).not.toContain(own.opsPort);
    expect(await call('GET', '/readyz', undefined, { to: own })).toMatchObject({ status: 200 });
    for (const path of ['/metrics', '/stats', '/readyz', '/', '/api/v1/presence?user=x'])
      expect((await fetch(`http://127.0.0.1:${own.port}${path}`)).status).toBe(404);
    expect((await fetch(`http://127.0.0.1:${own.port}/healthz`)).status).toBe(200);
    expect(await call('PUT', '/api/v1/rooms/ops', { title: 'x' }, { to: own })).toMatchObject({ status: 201 });
    expect((await fetch(`${own.http}/api/v1/presence?user=x`)).status).toBe(401);
  });

  it('serve a page in development, under a policy', async () => {
    const page = await fetch(`${hub.http}/`);
    expect(page.status).toBe(200);
    expect(page.headers.get('content-type')).toMatch(/^text\/html/);
    expect(page.headers.get('content-security-policy')).toContain("default-src 'none'");
    expect(await page.text()).toContain('<script');
  });

  it.each([
    [{ Host: 'hub.example.com' }, 403],
    [{ 'X-Forwarded-For': '10.0.0.1' }, 403],
    [{ Origin: 'https://evil.example' }, 403],
  ])('refuse in development what does not come from this machine: %j', async (headers, status) => {
    const got = await new Promise<number | undefined>((resolve, reject) => {
      request(`${hub.http}/stats`, { headers }, (response) => resolve(response.resume().statusCode))
        .on('error', reject)
        .end();
    });
    expect(got).toBe(status);
  });
});
