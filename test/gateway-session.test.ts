/** From the first frame to the welcome, and how long a connection may stay: hello, tokens, broken frames, time-outs. */
import { afterEach, describe, expect, it } from 'vitest';
import type { Identity } from '../src/gateway/authenticate.ts';
import { CodedError } from '../src/protocol/codes.ts';
import { type Stand, stand } from './gateway-harness.ts';

let hub: Stand;
afterEach(() => hub.close());

/** Knows the tokens it is given. */
function tokens(known: Record<string, Identity | CodedError>) {
  return async ({ token = '' }: { token?: string | undefined }): Promise<Identity> => {
    const found = known[token] ?? new CodedError('auth-failed');
    if (found instanceof CodedError) throw found;
    return found;
  };
}
const identity = (user: string, expiresAtMs: number | null = null, issuedAtMs = 1): Identity => ({ user, scopes: ['broadcast'], expiresAtMs, issuedAtMs });

describe('hello', () => {
  it('H3 B1 is welcomed by the home shard, and the broadcast room is followed from the user’s mark', async () => {
    hub = await stand({ options: { heartbeatMs: 12_345 } });
    const client = await hub.connect({ user: 'alice', device: 'phone' });
    const open = await hub.shard.next('open');
    expect(open).toMatchObject({ user: 'alice', device: 'phone', format: 'json', service: false, scopes: ['broadcast'] });
    expect(client.welcome).toMatchObject({
      op: 'welcome',
      user: 'alice',
      device: 'phone',
      epoch: 'e1',
      expiresInMs: null,
      heartbeatMs: 12_345,
      inbox: { head: 0, acked: 0 },
      limits: { frameBytesMax: 262_144, bodyBytesMax: 65_536, subscriptionsMax: 1_000, openCommandsMax: 1_024 },
    });
    expect(client.welcome?.connection).toMatch(/^[0-9a-f-]{36}$/);
    expect(await hub.shard.next('follow')).toEqual({
      t: 'follow',
      connection: open.connection,
      room: 'all:',
      position: { epoch: 'e1', seq: 3 },
      presence: false,
    });
    expect(hub.shard.kinds(open.connection)).toEqual(['open', 'hello', 'follow']);
  });

  it('H1 is the first command; any other is refused and nothing of it reaches a shard', async () => {
    hub = await stand();
    const client = await hub.connect({ hello: false });
    expect(await client.ask({ op: 'publish', room: 'general', body: 1 })).toMatchObject({ code: 'unauthenticated', of: 'publish' });
    expect(await client.ask({ op: 'hello', user: 7 })).toMatchObject({ code: 'bad-request', field: 'user' });
    expect(await client.ask({ op: 'hello', user: 'alice', colour: 1 })).toMatchObject({ code: 'bad-request', field: 'colour' });
    expect(hub.shard.received).toEqual([]);
    expect((await client.ask({ op: 'hello', user: 'alice' })).op).toBe('welcome');
    expect(await client.ask({ op: 'hello', user: 'alice' })).toMatchObject({ code: 'bad-request', of: 'hello' });
  });

  it('H1 must come in time', async () => {
    hub = await stand({ options: { helloTimeoutMs: 100 } });
    const client = await hub.connect({ hello: false });
    expect(await client.closed).toEqual({ code: 4001, reason: 'hello-timeout' });
    expect(hub.shard.received).toEqual([]);
  });

  it('is answered with the shard’s refusal, then closed', async () => {
    hub = await stand();
    hub.shard.welcomes = false;
    const client = await hub.connect({ hello: false });
    const answer = client.ask({ op: 'hello', user: 'alice' });
    const { connection } = await hub.shard.next('hello');
    hub.shard.link.push({ t: 'refuse', connection, close: 'connection-limit' });
    expect(await answer).toMatchObject({ op: 'error', code: 'limit', of: 'hello' });
    expect(await client.closed).toEqual({ code: 4501, reason: 'connection-limit' });
    expect(await hub.shard.next('close')).toMatchObject({ connection });
  });

  it('waits for a home shard that is being replaced', async () => {
    hub = await stand();
    hub.gateway.detachShard(0);
    const client = await hub.connect({ hello: false });
    const welcome = client.ask({ op: 'hello', user: 'alice' });
    await new Promise((resolve) => setImmediate(resolve));
    hub.attach(0);
    expect((await welcome).op).toBe('welcome');
  });
});

describe('tokens', () => {
  it('H4 a bad token is refused with its code, and the connection closed with the code that says whether to come back', async () => {
    hub = await stand({ authenticate: tokens({ old: new CodedError('token-expired'), later: new CodedError('busy') }) });
    const codes = [];
    for (const token of ['forged', 'old', 'later']) {
      const client = await hub.connect({ hello: false });
      codes.push([(await client.ask({ op: 'hello', token })).code, (await client.closed).code]);
    }
    expect(codes).toEqual([
      ['auth-failed', 4500],
      ['token-expired', 4005],
      ['busy', 4004],
    ]);
    expect(hub.shard.received).toEqual([]);
  });

  it('H2 the Authorization header serves a hello without token', async () => {
    hub = await stand({ authenticate: tokens({ good: identity('alice') }) });
    const client = await hub.connect({ hello: false, headers: { Authorization: 'Bearer good' } });
    expect(await client.ask({ op: 'hello' })).toMatchObject({ op: 'welcome', user: 'alice' });
  });

  it('a fault of the authenticator is logged, and costs that connection only', async () => {
    hub = await stand({ authenticate: () => Promise.reject(new Error('no keys')) });
    const client = await hub.connect({ hello: false });
    expect((await client.ask({ op: 'hello', token: 'x' })).code).toBe('internal');
    expect((await client.closed).code).toBe(4007);
    expect(hub.log.join()).toContain('authentication failed by a fault');
  });

  it('H5 a client is told before its token ends, and closed when its grace is over', async () => {
    const end = Date.now() + 400;
    hub = await stand({ options: { refreshGraceMs: 0, helloTimeoutMs: 100 }, authenticate: tokens({ short: identity('alice', end) }) });
    const client = await hub.connect({ token: 'short' });
    expect(client.welcome?.expiresInMs).toBeGreaterThan(0);
    expect((await client.next('token-expiring')).expiresInMs).toBeLessThanOrEqual(101);
    expect(await client.closed).toEqual({ code: 4005, reason: 'token-expired' });
  });

  it('H5 a refresh prolongs the connection; the user must stay the same', async () => {
    const soon = Date.now() + 400;
    const known = { short: identity('alice', soon), long: identity('alice', Date.now() + 3_600_000), other: identity('bob') };
    hub = await stand({ options: { refreshGraceMs: 0, helloTimeoutMs: 100 }, authenticate: tokens(known) });
    const client = await hub.connect({ token: 'short' });
    expect(await client.refused('refresh', { token: 'other' })).toBe('auth-failed');
    expect(await client.refused('refresh', { token: 'forged' })).toBe('auth-failed');
    await client.next('token-expiring');
    expect((await client.ok('refresh', { token: 'long' })).expiresInMs).toBeGreaterThan(3_500_000);
    const impatient = await hub.connect({ token: 'short', device: 'b' });
    await impatient.closed; // the same token, not refreshed
    await client.settled();
  });
});

describe('a token with an id', () => {
  const known = { first: { ...identity('alice', null, 5), jti: 'x' }, second: { ...identity('alice', null, 6), jti: 'y' } };
  const begin = async () => {
    hub = await stand({ authenticate: tokens(known) });
    const client = await hub.connect({ token: 'first' });
    const { connection } = await hub.shard.next('hello', ({ jti }) => jti === 'x');
    return { client, connection };
  };

  it('H9 another one is taken when the home shard has judged it, and only then', async () => {
    const { client, connection } = await begin();
    const refused = client.refused('refresh', { token: 'second' });
    expect(await hub.shard.next('hello')).toEqual({ t: 'hello', connection, again: true, issuedAt: 6, jti: 'y', renews: true });
    expect(await client.refused('refresh', { token: 'second' })).toBe('busy');
    hub.shard.link.push({ t: 'renewed', connection, refused: 'auth-failed' });
    expect(await refused).toBe('auth-failed');
    const renewed = client.ok('refresh', { token: 'second' });
    await hub.shard.next('hello');
    hub.shard.link.push({ t: 'renewed', connection, refused: null });
    expect(await renewed).toMatchObject({ expiresInMs: null });
    // The one in use is judged already.
    expect(await client.ok('refresh', { token: 'second' })).toMatchObject({ expiresInMs: null });
    expect(hub.shard.received.filter(({ t }) => t === 'hello')).toHaveLength(3);
  });

  it('H9 a refresh whose shard dies is answered, and what the next one hears of is the token in use', async () => {
    const { client, connection } = await begin();
    const refused = client.refused('refresh', { token: 'second' });
    await hub.shard.next('hello');
    hub.gateway.detachShard(0);
    expect(await refused).toBe('restarted');
    expect(await client.refused('refresh', { token: 'second' })).toBe('busy');
    expect(await hub.attach(0).next('hello')).toEqual({ t: 'hello', connection, again: true, issuedAt: 5, jti: 'x' });
    expect(client.ended).toBeNull();
  });
});

describe('frames', () => {
  it('C1 R5 a frame that is no map, or of the other kind, is an error; too many in a row close', async () => {
    hub = await stand({ options: { badFramesMax: 4 } });
    const client = await hub.connect();
    client.sendRaw('{"op":');
    expect(await client.next('error')).toMatchObject({ code: 'bad-frame', retry: false });
    client.sendRaw(Buffer.from([0x81, 0xa2]));
    expect(await client.next('error')).toMatchObject({ code: 'bad-frame' });
    expect(await client.refused('nonsense' as 'ping')).toBe('unknown-op');
    await client.settled(); // a good one: the count starts over
    for (let i = 0; i < 4; i++) client.sendRaw('[]');
    await client.settled();
    for (let i = 0; i < 5; i++) client.sendRaw('[]');
    expect(await client.closed).toEqual({ code: 4505, reason: 'abuse' });
  });

  it('R3 an answer carries the id where the refused frame had one', async () => {
    hub = await stand();
    const client = await hub.connect();
    expect(await client.ask({ op: 'publish', room: 7 })).toMatchObject({ op: 'error', code: 'bad-request', field: 'room', of: 'publish', retry: false });
  });

  it('R5 commands beyond the rate are refused with the time to wait, and taken again after it', async () => {
    let tick = 0;
    hub = await stand({ options: { rateLimit: 10, rateBurst: 3 }, clock: { now: () => 0, tick: () => tick, random: () => 0 } });
    const client = await hub.connect(); // one for the hello
    await client.ok('ping');
    await client.ok('ping');
    expect(await client.command('ping')).toMatchObject({
      op: 'error',
      code: 'rate-limited',
      retry: true,
      limit: 10,
      remaining: 0,
      resetMs: 300,
      retryAfterMs: 100,
    });
    tick = 100;
    await client.ok('ping');
    expect(hub.gateway.stats().rateLimited).toBe(1);
  });

  it('R8 frames that cannot be read count like commands, in number and in bytes', async () => {
    const clock = { now: () => 0, tick: () => 0, random: () => 0 };
    hub = await stand({ options: { rateLimit: 1, rateBurst: 3, costLimit: 1_000, costBurst: 10_000 }, clock });
    const many = await hub.connect(); // one for the hello
    for (const code of ['bad-frame', 'bad-frame', 'rate-limited']) {
      many.sendRaw('{');
      expect(await many.next('error')).toMatchObject({ code });
    }
    const large = await hub.connect();
    for (const code of ['bad-frame', 'rate-limited']) {
      large.sendRaw('x'.repeat(20_000));
      expect(await large.next('error')).toMatchObject({ code });
    }
  });

  it('R8 commands of one user count together, and a new connection does not begin anew', async () => {
    hub = await stand({ options: { userRateLimit: 10, userRateBurst: 4 }, clock: { now: () => 0, tick: () => 0, random: () => 0 } });
    const first = await hub.connect();
    for (let i = 0; i < 3; i++) await first.ok('ping');
    await first.close();
    const second = await hub.connect();
    await second.ok('ping');
    expect(await second.command('ping')).toMatchObject({ code: 'rate-limited', limit: 10, remaining: 0, resetMs: 400 });
    const other = await hub.connect({ user: 'bob' });
    await other.ok('ping');
  });

  it('R8 who sends on and on beyond the rate is closed', async () => {
    hub = await stand({ options: { rateLimit: 1, rateBurst: 1, refusalsMax: 5 }, clock: { now: () => 0, tick: () => 0, random: () => 0 } });
    const client = await hub.connect();
    for (let i = 0; i < 6; i++) client.send({ op: 'ping' });
    expect(await client.closed).toEqual({ code: 4505, reason: 'abuse' });
    expect(hub.gateway.stats()).toMatchObject({ rateLimited: 6 });
  });

  it('H3 the welcome tells the rates in force', async () => {
    hub = await stand({ options: { rateLimit: 0 } });
    expect((await hub.connect()).welcome?.limits).toMatchObject({ rateLimit: 0, userRateLimit: 0, costLimit: 0, userCostLimit: 0 });
  });

  it('C5 ping is answered with the hub’s time', async () => {
    hub = await stand({ clock: { now: () => 1_790_000_000_000, tick: () => 0, random: () => 0 } });
    const client = await hub.connect();
    expect((await client.ok('ping')).now).toBe(1_790_000_000_000);
  });
});
