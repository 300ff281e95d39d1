/**
 * Rights that end while their owner is connected: by kick, ban, demotion, revoked and expired tokens, and disabling, also in the
 * middle of a catch-up. On real sockets; prints how long each took to reach the socket.
 */
import { SignJWT } from 'jose';
import { afterAll, describe, expect, it } from 'vitest';
import { startHub } from '../kit/hub.ts';
import { type Frame, RawClient } from '../kit/raw-client.ts';

const secret = 'a secret of forty characters, no less!!!';
const key = 'a key of a backend, long enough to be one';
const options = { production: true, jwtSecrets: [`k:${secret}`], apiKeys: [`shop:${key}`], origins: ['https://x.example'], opsPort: 0, refreshGraceMs: 100 };
const hub = await startHub({ ...options, rateLimit: 0, openCommandsMax: 5_000, tailItemsMax: 16, shards: 2 });
const cuts: string[] = [];
let made = 0;
afterAll(() => process.stdout.write(`time from the ok to the end at the socket: ${cuts.join(', ')}\n`));

/** `age`: seconds since it was issued. The hub takes tokens of the same second as a revocation for older ones. */
async function token(user: string, { age = 60, seconds = 3_600, iat = true, jti = '' } = {}): Promise<string> {
  const now = Math.floor(Date.now() / 1_000);
  const jwt = new SignJWT({}).setProtectedHeader({ alg: 'HS256', kid: 'k' }).setSubject(user);
  if (iat) jwt.setIssuedAt(now - age);
  if (jti !== '') jwt.setJti(jti);
  return await jwt.setExpirationTime(now + seconds).sign(new TextEncoder().encode(secret));
}
const connect = async (user: string, given?: string): Promise<RawClient> => RawClient.connect(hub.url, { token: given ?? (await token(user)) });

async function operator(method: string, path: string, body?: Frame): Promise<Frame> {
  const answer = await fetch(`${hub.http}/api/v1${path}`, {
    method,
    headers: { Authorization: `Bearer ${key}`, ...(body === undefined ? {} : { 'Content-Type': 'application/json' }) },
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  expect(answer.status).toBeLessThan(300);
  return (await answer.json()) as Frame;
}

/** How hello with this token ends. */
async function refusal(given: string): Promise<[string, number]> {
  const client = await RawClient.connect(hub.url, { hello: false });
  const code = await client.refused('hello', { token: given });
  return [code, (await client.closed).code];
}

/** Measures from the operator's answer to what it is about; the end may well come first. */
async function timed<T>(what: string, acted: Promise<unknown>, ended: Promise<T>): Promise<T> {
  const endedAt = ended.then(() => performance.now());
  await acted;
  const from = performance.now();
  cuts.push(`${what} ${Math.max(0, (await endedAt) - from).toFixed(1)} ms`);
  return await ended;
}

describe('tokens', () => {
  it('H8 revoked ones close every connection of the user and nobody else’s, and are refused from then on; later ones are good', async () => {
    const old = await token('ann');
    const devices = await Promise.all([connect('ann', old), connect('ann', old), connect('ann')]);
    const other = await connect('other');
    await other.ok('create', { room: 'lobby' });
    for (const client of [...devices, other]) await client.ok('subscribe', { room: 'lobby' });
    const closed = Promise.all(devices.map((client) => client.closed));
    expect((await timed('revoke', operator('POST', '/users/ann/revoke'), closed)).map(({ code }) => code)).toEqual([4506, 4506, 4506]);
    await other.ok('publish', { room: 'lobby', body: 'after' });
    expect(devices.flatMap((client) => client.entries('lobby')).filter(({ body }) => body === 'after')).toEqual([]);
    expect(await refusal(old)).toEqual(['auth-failed', 4506]);
    expect(await refusal(await token('ann', { iat: false }))).toEqual(['auth-failed', 4506]);
    const fresh = await connect('ann', await token('ann', { age: -3 }));
    expect(await fresh.refused('refresh', { token: old })).toBe('auth-failed');
    expect(await fresh.ok('refresh', { token: await token('ann', { age: -4 }) })).toMatchObject({ op: 'ok' });
    await other.settled();
    expect(other.ended).toBeNull();
  });

  it('H8 who is disabled is closed and refused with any token, also after a restart of the hub, until he is enabled', async () => {
    const bob = await connect('bob');
    const late = await token('bob', { age: -30 });
    expect((await timed('disable', operator('PUT', '/users/bob/disabled', { disabled: true }), bob.closed)).code).toBe(4506);
    expect(await refusal(late)).toEqual(['auth-failed', 4506]);
    await hub.restart();
    expect(await refusal(late)).toEqual(['auth-failed', 4506]);
    expect(await operator('PUT', '/users/bob/disabled', { disabled: false })).toEqual({ user: 'bob', disabled: false });
    expect(await refusal(await token('bob'))).toEqual(['auth-failed', 4506]);
    expect((await connect('bob', late)).welcome?.user).toBe('bob');
  });

  it('H9 one revoked by its id closes who is on it and nobody else, is refused from then on, also by refresh and after a restart of the hub', async () => {
    const [lost, kept, next] = await Promise.all(['lost', 'kept', 'next'].map((jti) => token('dora', { jti })));
    const [thief, owner, moved, other] = await Promise.all([connect('dora', lost), connect('dora', kept), connect('dora', lost), connect('other')]);
    await moved.ok('refresh', { token: next });
    await other.ok('create', { room: 'hall' });
    for (const client of [thief, owner, moved]) await client.ok('subscribe', { room: 'hall' });
    const exp = Math.floor(Date.now() / 1_000) + 3_600;
    const acted = operator('POST', '/users/dora/tokens/revoke', { jti: 'lost', exp });
    expect((await timed('revoke by id', acted, thief.closed)).code).toBe(4506);
    expect(await acted).toEqual({ user: 'dora', jti: 'lost' });
    await other.ok('publish', { room: 'hall', body: 'after' });
    await Promise.all([owner, moved].map((client) => client.next('entry', ({ body }) => body === 'after')));
    expect(thief.entries('hall')).toEqual([]);
    expect(await refusal(lost as string)).toEqual(['auth-failed', 4506]);
    expect(await owner.refused('refresh', { token: lost })).toBe('auth-failed');
    await hub.restart();
    expect(await refusal(lost as string)).toEqual(['auth-failed', 4506]);
    expect(await refusal(await token('dora', { jti: 'lost', age: -60 }))).toEqual(['auth-failed', 4506]);
    expect((await connect('dora', kept)).welcome?.user).toBe('dora');
    expect((await connect('eli', await token('eli', { jti: 'lost' }))).welcome?.user).toBe('eli');
  });

  it('R6 nobody acts for who is disabled, until he is enabled', async () => {
    const [owner, guest] = await Promise.all([connect('owner'), connect('fay')]);
    await owner.ok('create', { room: 'desk' });
    await guest.ok('join', { room: 'desk' });
    const status = async (path: string, body: Frame, method = 'POST'): Promise<[number, unknown]> => {
      const headers = { Authorization: `Bearer ${key}`, 'Content-Type': 'application/json' };
      const answer = await fetch(`${hub.http}/api/v1${path}`, { method, headers, body: JSON.stringify(body) });
      return [answer.status, ((await answer.json()) as { error?: { code: string } }).error?.code];
    };
    const tries = async () => [
      await status('/rooms/desk/messages', { from: 'fay', body: 1 }),
      await status('/users/owner/messages', { from: 'fay', body: 1 }),
      await status(`/rooms/of%20fay%20${made++}`, { owner: 'fay' }, 'PUT'),
    ];
    expect((await tries()).map(([code]) => code)).toEqual([200, 200, 201]);
    await operator('PUT', '/users/fay/disabled', { disabled: true });
    expect(await tries()).toEqual(Array.from({ length: 3 }, () => [403, 'forbidden']));
    expect((await status('/rooms/desk/messages', { body: 'in nobody’s name' }))[0]).toBe(200);
    await operator('PUT', '/users/fay/disabled', { disabled: false });
    expect((await tries()).map(([code]) => code)).toEqual([200, 200, 201]);
  });

  it('R6 clients cannot revoke or disable anybody', async () => {
    const eve = await connect('eve');
    expect(await eve.refused('revoke', { users: ['other'] })).toBe('forbidden');
    expect(await eve.refused('disable', { users: ['other'], disabled: true })).toBe('forbidden');
  });

  it('H5 one that expires and is not refreshed ends the connection', async () => {
    const client = await connect('cid', await token('cid', { seconds: 1 }));
    expect((await client.closed).code).toBe(4005);
  });
});

describe('rights in a room', () => {
  const big = 'x'.repeat(2_000);

  /** A private room with a log far longer than its tail, and a member who replays all of it. */
  async function catchingUp(user: string): Promise<{ owner: RawClient; member: RawClient; room: string; replay(): Promise<unknown> }> {
    const room = `vault ${++made}`;
    const owner = await connect('owner');
    await owner.ok('create', { room, visibility: 'private', history: 'all' });
    await Promise.all(Array.from({ length: 1_500 }, (_, i) => owner.ok('publish', { room, body: `${i} ${big}` })));
    await owner.ok('setMember', { room, user, role: 'member' });
    const member = await connect(user);
    return { owner, member, room, replay: () => member.ok('subscribe', { room, position: { epoch: member.welcome?.epoch, seq: 0 } }) };
  }

  it.each([
    ['removed', (owner: RawClient, room: string, user: string) => owner.ok('removeMember', { room, user })],
    ['banned', (owner: RawClient, room: string, user: string) => owner.ok('setMember', { room, user, role: 'banned' })],
  ])('F8 G9 who is %s while a backlog is on its way gets nothing with a seq at or above that', async (what, act) => {
    const user = `late-${what}`;
    const { owner, member, room, replay } = await catchingUp(user);
    await replay();
    await member.until(() => member.entries(room).length > 0);
    const traffic = Array.from({ length: 50 }, (_, i) => owner.ok('publish', { room, body: `during ${i}` }));
    const acted = act(owner, room, user);
    await timed(what, acted, member.next('unsubscribed'));
    const { seq } = await acted;
    await Promise.all([...traffic, owner.ok('publish', { room, body: 'after' })]);
    await member.settled();
    expect(member.entries(room).filter((entry) => entry.seq >= seq)).toEqual([]);
    for (const [op, fields] of [
      ['subscribe', {}],
      ['history', {}],
      ['publish', { body: 1 }],
      ['info', {}],
      ['join', {}],
    ] as const)
      expect(await member.refused(op, { room, ...fields })).toBe('not-found');
  });

  it('H8 F8 who is revoked while a backlog is on its way and he does not read gets no more of it', async () => {
    const { owner, member, room, replay } = await catchingUp('deaf');
    await owner.ok('subscribe', { room });
    await replay();
    member.pause();
    await operator('POST', '/users/deaf/revoke');
    await owner.ok('publish', { room, body: 'after' });
    await owner.next('entry', ({ body }) => body === 'after');
    member.resume();
    await member.closed;
    expect(member.entries(room).filter(({ body }) => body === 'after')).toEqual([]);
  });

  it('F8 G2 a room that becomes private ends for strangers who follow it', async () => {
    const owner = await connect('owner');
    const guest = await connect('guest');
    await owner.ok('create', { room: 'was public' });
    await guest.ok('subscribe', { room: 'was public' });
    const acted = owner.ok('update', { room: 'was public', visibility: 'private' });
    await timed('privacy', acted, guest.next('unsubscribed'));
    const { seq } = await acted;
    await owner.ok('publish', { room: 'was public', body: 'after' });
    await guest.settled();
    expect(guest.entries('was public').filter((entry) => entry.seq >= seq)).toEqual([]);
  });

  it('G3 a demotion holds for what is sent right behind it', async () => {
    const owner = await connect('owner');
    const deputy = await connect('deputy');
    await owner.ok('create', { room: 'office' });
    await owner.ok('setMember', { room: 'office', user: 'deputy', role: 'admin' });
    await deputy.ok('update', { room: 'office', title: 'mine' });
    await owner.ok('setMember', { room: 'office', user: 'deputy', role: 'member' });
    expect(await deputy.refused('update', { room: 'office', title: 'still mine' })).toBe('forbidden');
    expect(await deputy.refused('setMember', { room: 'office', user: 'deputy', role: 'admin' })).toBe('forbidden');
  });

  it('G9 the muted read, cannot write, and cannot leave to write as strangers; the invited join or decline; a ban is lifted by removal', async () => {
    const [owner, loud, guest] = await Promise.all([connect('owner'), connect('loud'), connect('invitee')]);
    const [room, club] = ['plaza', 'club'];
    await owner.ok('create', { room });
    await owner.ok('setMember', { room, user: 'loud', role: 'muted' });
    await loud.ok('subscribe', { room });
    expect([await loud.refused('publish', { room, body: 1 }), await loud.refused('leave', { room })]).toEqual(['forbidden', 'forbidden']);
    await owner.ok('setMember', { room, user: 'loud', role: 'banned' });
    expect((await loud.next('unsubscribed')).reason).toBe('forbidden');
    expect((await loud.ok('rooms', {})).rooms.map((one) => one.room)).not.toContain(room);
    expect([await loud.refused('join', { room }), await owner.refused('setMember', { room, user: 'loud', role: 'member' })]).toEqual([
      'forbidden',
      'forbidden',
    ]);
    await owner.ok('removeMember', { room, user: 'loud' });
    expect(await loud.ok('join', { room })).toMatchObject({ role: 'member' });

    await owner.ok('create', { room: club, visibility: 'private' });
    await owner.ok('setMember', { room: club, user: 'invitee', role: 'invited' });
    expect(await guest.next('inbox')).toMatchObject({ room: club, kind: 'member', body: { user: 'invitee', change: 'added', role: 'invited' } });
    expect(await guest.ok('info', { room: club })).toMatchObject({ role: 'invited' });
    expect([await guest.refused('subscribe', { room: club }), await guest.refused('history', { room: club })]).toEqual(['forbidden', 'forbidden']);
    expect(await guest.ok('join', { room: club })).toMatchObject({ role: 'member' });
    await guest.ok('publish', { room: club, body: 'thanks' });
    await guest.ok('leave', { room: club });
    expect(await guest.refused('info', { room: club })).toBe('not-found');
  });
});
