/** Who is there: merged over connections, told to who watches, kept over a restart without ghosts. */
import { describe, expect, it } from 'vitest';
import { startHub } from '../kit/hub.ts';
import { RawClient } from '../kit/raw-client.ts';

const graceMs = 300;
const hub = await startHub({ presenceGraceMs: graceMs, audienceMax: 5, shards: 3 });
const connect = (user: string, url = hub.url): Promise<RawClient> => RawClient.connect(url, { user });

async function statusOf(by: RawClient, user: string): Promise<string | undefined> {
  return (await by.ok('who', { users: [user] })).users[0]?.status;
}

describe('presence', () => {
  it('P2 of many users is asked at once; nobody is offline since never', async () => {
    const [alice, bob] = [await connect('q-alice'), await connect('q-bob')];
    await bob.ok('status', { status: 'away' });
    const { users } = await alice.ok('who', { users: ['q-alice', 'q-bob', 'q-never'] });
    expect(new Map(users.map((one) => [one.user, one]))).toEqual(
      new Map([
        ['q-alice', { user: 'q-alice', status: 'online', lastSeen: expect.any(Number) }],
        ['q-bob', { user: 'q-bob', status: 'away', lastSeen: expect.any(Number) }],
        ['q-never', { user: 'q-never', status: 'offline', lastSeen: null }],
      ]),
    );
  });

  it('P2 is told to who watches: now, and at each change', async () => {
    const alice = await connect('w-alice');
    const watched = await alice.ok('watch', { users: ['w-bob'] });
    expect(watched.users).toEqual([{ user: 'w-bob', status: 'offline', lastSeen: null }]);
    const bob = await connect('w-bob');
    expect(await alice.next('presence')).toMatchObject({ user: 'w-bob', status: 'online' });
    await bob.ok('status', { status: 'away' });
    expect(await alice.next('presence')).toMatchObject({ user: 'w-bob', status: 'away' });
    await bob.ok('status', { status: 'online' });
    expect(await alice.next('presence')).toMatchObject({ user: 'w-bob', status: 'online' });
    await bob.close();
    expect(await alice.next('presence')).toMatchObject({ user: 'w-bob', status: 'offline', lastSeen: expect.any(Number) });
  });

  it('P2 is not told any more to who stopped watching', async () => {
    const alice = await connect('u-alice');
    const bob = await connect('u-bob');
    await alice.ok('watch', { users: ['u-bob', 'u-carol'] });
    await alice.ok('unwatch', { users: ['u-bob'] });
    await bob.close();
    await connect('u-carol');
    expect(await alice.next('presence')).toMatchObject({ user: 'u-carol' });
    expect(alice.pushes.filter((push) => push.op === 'presence' && push.user === 'u-bob')).toEqual([]);
  });

  it('P1 is the best of a user’s connections', async () => {
    const alice = await connect('m-alice');
    const [phone, laptop] = [
      await RawClient.connect(hub.url, { user: 'm-bob', device: 'phone' }),
      await RawClient.connect(hub.url, { user: 'm-bob', device: 'laptop' }),
    ];
    await phone.ok('status', { status: 'away' });
    expect(await statusOf(alice, 'm-bob')).toBe('online');
    await laptop.ok('status', { status: 'away' });
    expect(await statusOf(alice, 'm-bob')).toBe('away');
    await laptop.close();
    expect(await statusOf(alice, 'm-bob')).toBe('away');
    await phone.ok('status', { status: 'online' });
    expect(await statusOf(alice, 'm-bob')).toBe('online');
  });

  it('P1 ends at once with a goodbye, and without one only after the grace, so that a reload does not flicker', async () => {
    const own = await startHub({ presenceGraceMs: 600_000 });
    const alice = await connect('alice', own.url);
    await alice.ok('watch', { users: ['polite', 'rude'] });
    const [polite, rude] = [await connect('polite', own.url), await connect('rude', own.url)];
    rude.terminate();
    await rude.closed;
    await polite.close();
    expect(await alice.next('presence', ({ status }) => status === 'offline')).toMatchObject({ user: 'polite', lastSeen: expect.any(Number) });
    expect(await statusOf(alice, 'rude')).toBe('online');
    const back = await connect('rude', own.url);
    await back.ok('status', { status: 'away' });
    await alice.next('presence', ({ status }) => status === 'away');
    expect(alice.pushes.flatMap((push) => (push.op === 'presence' && push.user === 'rude' ? [push.status] : []))).toEqual(['online', 'away']);
  });

  it('P1 ends after the grace', async () => {
    const alice = await connect('g-alice');
    const bob = await connect('g-bob');
    await alice.ok('watch', { users: ['g-bob'] });
    bob.terminate();
    expect(await alice.next('presence')).toMatchObject({ user: 'g-bob', status: 'offline' });
    expect(await statusOf(alice, 'g-bob')).toBe('offline');
  });

  it('P1 is away after a silence, and online again with the next command', async () => {
    const own = await startHub({ awayAfterMs: 2_500 });
    const alice = await connect('alice', own.url);
    await alice.ok('watch', { users: ['bob'] });
    const bob = await connect('bob', own.url);
    expect(await alice.next('presence')).toMatchObject({ user: 'bob', status: 'online' });
    expect(await alice.next('presence')).toMatchObject({ user: 'bob', status: 'away' });
    await bob.ok('publish', { room: 'r', body: 1 });
    expect(await alice.next('presence')).toMatchObject({ user: 'bob', status: 'online' });
  });
});

describe('the audience of a room', () => {
  it('P3 is told to who asks: all of it first, then who comes and goes', async () => {
    const [alice, bob, carol] = [await connect('a-alice'), await connect('a-bob'), await connect('a-carol')];
    await bob.ok('subscribe', { room: 'hall' });
    const answer = await alice.ok('subscribe', { room: 'hall', presence: true });
    expect(answer.audience).toMatchObject({ count: 2 });
    expect(answer.audience?.users?.sort()).toEqual(['a-alice', 'a-bob']);
    await carol.ok('subscribe', { room: 'hall' });
    expect(await alice.next('audience', ({ joined }) => joined?.includes('a-carol') === true)).toMatchObject({ room: 'hall', count: 3 });
    await bob.ok('unsubscribe', { room: 'hall' });
    expect(await alice.next('audience', ({ left }) => left?.includes('a-bob') === true)).toMatchObject({ room: 'hall', count: 2 });
    await carol.close();
    expect(await alice.next('audience', ({ left }) => left?.includes('a-carol') === true)).toMatchObject({ room: 'hall', count: 1 });
    expect(bob.pushes.filter(({ op }) => op === 'audience')).toEqual([]);
  });

  it('P3 above its limit is told as a number', async () => {
    const alice = await connect('b-alice');
    await alice.ok('subscribe', { room: 'stadium', presence: true });
    for (let i = 0; i < 10; i++) await (await connect(`fan-${i}`)).ok('subscribe', { room: 'stadium' });
    expect(await alice.next('audience', ({ count }) => count === 11)).not.toHaveProperty('users');
    const late = await connect('late');
    expect((await late.ok('subscribe', { room: 'stadium', presence: true })).audience).toEqual({ count: 12 });
  });
});

describe('after a restart', async () => {
  const own = await startHub({ presenceGraceMs: graceMs, shards: 2 });

  it.each(['SIGTERM', 'SIGKILL'] as const)('P2 by %s there are no ghosts, and who was last seen when is still known', async (signal) => {
    const before = await connect('alice', own.url);
    await connect('ghost', own.url);
    expect(await statusOf(before, 'ghost')).toBe('online');
    await own.restart(signal);
    const alice = await connect('alice', own.url);
    await alice.ok('watch', { users: ['ghost'] });
    // Whoever watches learns of the end now or soon; what he may not see is a user who stays online without a connection.
    if ((await statusOf(alice, 'ghost')) !== 'offline') await alice.next('presence', ({ status }) => status === 'offline');
    expect((await alice.ok('who', { users: ['ghost', 'alice'] })).users).toEqual([
      { user: 'ghost', status: 'offline', lastSeen: expect.any(Number) },
      { user: 'alice', status: 'online', lastSeen: expect.any(Number) },
    ]);
  });
});
