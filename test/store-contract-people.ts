/** The part of the store's contract about connections, devices' limits, presence and marks. */
import { expect, it } from 'vitest';
import { placeOf } from '../src/thread/placement.ts';
import { changing, connect, day, message, type OpenBench, startTs } from './store-contract.ts';

export function peopleContract(open: OpenBench): void {
  const admitted = { code: 'connected', victims: [], acked: 0, head: 0, allMark: 0, revokedAt: 0 };
  const one = (user: string) => ({ read: 'presence' as const, users: [user] });

  it('at the limit a connection is rejected, and nothing has changed', async () => {
    const bench = await open();
    const limited = { perUserMax: 2, devicesMax: 9 };
    expect(
      await bench.commit(connect('a', 1, limited), connect('a', 2, limited), connect('a', 3, { ...limited, device: 'new' }), connect('b', 4, limited)),
    ).toEqual([admitted, admitted, { code: 'rejected' }, admitted]);
    await bench.commit({ type: 'disconnect', user: 'a', connection: 1 });
    expect(await bench.one(connect('a', 5, limited))).toEqual(admitted);
  });

  it('or the oldest is evicted, and stays a victim until it is gone', async () => {
    const bench = await open();
    const limited = { perUserMax: 2, policy: 'evict-oldest' } as const;
    await bench.commit(connect('a', 7, limited));
    bench.ts += 1;
    await bench.commit(connect('a', 3, limited));
    const victims = [{ connection: 7, close: 'evicted' }];
    expect(await bench.one(connect('a', 9, limited))).toEqual({ ...admitted, victims });
    expect(await bench.one(connect('a', 9, limited))).toEqual({ ...admitted, victims });
    await bench.commit({ type: 'disconnect', user: 'a', connection: 7 });
    expect(await bench.one(connect('a', 9, limited))).toEqual(admitted);
  });

  it('the ghost of a named device is replaced before anything is counted', async () => {
    const bench = await open();
    const named = { named: true, perUserMax: 2 };
    await bench.commit(connect('a', 1, { ...named, device: 'x' }), connect('a', 2, { ...named, device: 'y' }));
    expect(await bench.one(connect('a', 3, { ...named, device: 'x' }))).toEqual({ ...admitted, victims: [{ connection: 1, close: 'replaced' }] });
    expect(await bench.one(connect('a', 4, { ...named, device: 'z' }))).toEqual({ code: 'rejected' });
    expect(await bench.one(connect('a', 5, { device: 'x', perUserMax: 9 }))).toMatchObject({ victims: [{ connection: 1 }] }); // unnamed: no ghost of 3
  });

  it('connecting again after a restart of the shard only makes sure that it is there', async () => {
    const bench = await open();
    await bench.commit(connect('a', 1), { type: 'presence', user: 'a', status: 'away', lastSeen: startTs });
    expect(await bench.one(connect('a', 1, { again: true, perUserMax: 1 }))).toEqual(admitted);
    expect(await bench.one(connect('a', 2, { again: true, perUserMax: 1 }))).toEqual(admitted);
    expect(await bench.read(one('a'))).toMatchObject({ users: [{ status: 'away' }] });
    expect(await bench.one(connect('a', 3, { perUserMax: 2 }))).toEqual({ code: 'rejected' });
  });

  it('a revocation refuses the tokens of before, closes who is there, and outlives a restart', async () => {
    const bench = await open();
    await bench.commit(connect('a', 1), connect('b', 2));
    bench.ts += 1_000;
    const revokedAt = bench.ts;
    expect(await bench.one({ type: 'revoke', user: 'a', disabled: null })).toEqual({ code: 'done' });
    const victims = [{ connection: 1, close: 'revoked' }];
    for (const issuedAt of [0, startTs, revokedAt]) expect(await bench.one(connect('a', 3, { issuedAt }))).toEqual({ code: 'revoked' });
    expect(await bench.one(connect('a', 1, { again: true }))).toEqual({ code: 'revoked' });
    expect(await bench.one(connect('b', 2, { again: true }))).toEqual(admitted);
    // Who was closed counts no more.
    expect(await bench.one(connect('a', 3, { issuedAt: revokedAt + 1, perUserMax: 1 }))).toEqual({ ...admitted, victims, revokedAt });
    await bench.reopen();
    expect(await bench.one(connect('a', 4, { issuedAt: revokedAt }))).toEqual({ code: 'revoked' });
    expect(await bench.one(connect('a', 4, { issuedAt: revokedAt + 1 }))).toEqual({ ...admitted, revokedAt });
  });

  it('who is disabled is not admitted with any token until he is enabled, and then with one of after the disabling', async () => {
    const bench = await open();
    const later = { issuedAt: Number.POSITIVE_INFINITY };
    await bench.commit({ type: 'revoke', user: 'a', disabled: true });
    const revokedAt = bench.ts;
    expect(await bench.one(connect('a', 1, later))).toEqual({ code: 'revoked' });
    await bench.reopen();
    bench.ts += 1_000;
    await bench.commit({ type: 'revoke', user: 'a', disabled: null });
    expect(await bench.one(connect('a', 1, later))).toEqual({ code: 'revoked' });
    await bench.commit({ type: 'revoke', user: 'a', disabled: false });
    expect(await bench.one(connect('a', 1, { issuedAt: revokedAt }))).toEqual({ code: 'revoked' });
    expect(await bench.one(connect('a', 1, later))).toEqual({ ...admitted, revokedAt: bench.ts });
    expect(await bench.one(connect('stranger', 2))).toEqual(admitted);
  });

  it('H9 a token that was revoked by its id is refused, no other one of the user and of nobody else, and outlives a restart', async () => {
    const bench = await open();
    await bench.commit(connect('a', 1, { jti: 'x' }), connect('a', 2, { jti: 'y' }));
    expect(await bench.one({ type: 'revokeToken', user: 'a', jti: 'x', until: null })).toEqual({ code: 'done' });
    for (const again of [true, false]) expect(await bench.one(connect('a', 1, { jti: 'x', again }))).toEqual({ code: 'revoked' });
    await bench.reopen();
    expect(await bench.one(connect('a', 1, { jti: 'x' }))).toEqual({ code: 'revoked' });
    expect(await bench.commit(connect('a', 2, { jti: 'y' }), connect('a', 3), connect('b', 4, { jti: 'x' }))).toEqual([admitted, admitted, admitted]);
    await bench.commit({ type: 'revokeToken', user: 'stranger', jti: 'z', until: null });
    expect(await bench.one(connect('stranger', 5, { jti: 'z' }))).toEqual({ code: 'revoked' });
  });

  it('H9 it is forgotten some time after its end; of two ends the later counts, and none is for good', async () => {
    const bench = await open();
    const until = startTs + 1_000;
    const revoke = (jti: string, end: number | null) => ({ type: 'revokeToken' as const, user: 'a', jti, until: end });
    await bench.commit(revoke('once', until), revoke('longer', until), revoke('longer', until + 2 * day), revoke('shorter', until + 2 * day));
    await bench.commit(revoke('shorter', until), revoke('ever', until), revoke('ever', null), revoke('still ever', null), revoke('still ever', until));
    const refused = async () => {
      await bench.maintain();
      const known = ['once', 'longer', 'shorter', 'ever', 'still ever'];
      const outcomes = await bench.commit(...known.map((jti, i) => connect('a', i, { jti, again: true })));
      return known.filter((_, i) => (outcomes[i] as { code: string }).code === 'revoked');
    };
    bench.ts = until + 3_600_000;
    expect(await refused()).toEqual(['once', 'longer', 'shorter', 'ever', 'still ever']);
    bench.ts = until + day;
    expect(await refused()).toEqual(['longer', 'shorter', 'ever', 'still ever']);
    bench.ts = until + 4 * day;
    expect(await refused()).toEqual(['ever', 'still ever']);
  });

  it('R6 whether somebody is disabled can be read, also of one whom nobody knows', async () => {
    const bench = await open();
    const standing = (user: string) => bench.read({ read: 'standing', user });
    expect(await standing('a')).toEqual({ disabled: false });
    await bench.commit({ type: 'revoke', user: 'a', disabled: true });
    expect(await standing('a')).toEqual({ disabled: true });
    await bench.commit({ type: 'revoke', user: 'a', disabled: false });
    expect(await standing('a')).toEqual({ disabled: false });
  });

  it('presence: unknown is offline and never seen; connecting makes online; what is set is kept', async () => {
    const bench = await open();
    expect(await bench.read({ read: 'presence', users: ['b', 'a'] })).toEqual({
      users: [
        { user: 'b', status: 'offline', lastSeen: null },
        { user: 'a', status: 'offline', lastSeen: null },
      ],
    });
    await bench.commit(connect('a', 1));
    bench.ts += 10;
    await bench.commit(connect('a', 2));
    expect(await bench.read(one('a'))).toEqual({ users: [{ user: 'a', status: 'online', lastSeen: startTs }] });
    await bench.commit({ type: 'presence', user: 'a', status: 'offline', lastSeen: startTs + 7 });
    expect(await bench.read(one('a'))).toEqual({ users: [{ user: 'a', status: 'offline', lastSeen: startTs + 7 }] });
  });

  it('a restart leaves no ghosts: nobody is present and no connection counts', async () => {
    const bench = await open();
    await bench.commit(connect('a', 1, { perUserMax: 1 }), connect('b', 2), { type: 'presence', user: 'b', status: 'away', lastSeen: startTs });
    // In its grace: no connection any more, and not yet offline.
    await bench.commit(connect('c', 3), { type: 'disconnect', user: 'c', connection: 3 });
    await bench.reopen();
    const { users } = await bench.read({ read: 'presence', users: ['a', 'b', 'c'] });
    expect(users.map(({ status }) => status)).toEqual(['offline', 'offline', 'offline']);
    for (const { lastSeen } of users) expect(lastSeen).toBeGreaterThanOrEqual(startTs);
    expect(await bench.one(connect('a', 1, { perUserMax: 1 }))).toEqual(admitted);
  });

  it('a shard that comes back leaves its users the connections that are alive, and nobody else’s', async () => {
    const bench = await open();
    const limited = { perUserMax: 1 };
    const prune = { type: 'prune' as const, shard: 0, shards: 1, through: 4, alive: [2] };
    await bench.commit(connect('a', 1, limited), connect('b', 2, limited), connect('c', 3), { type: 'disconnect', user: 'c', connection: 3 }, connect('d', 5));
    bench.ts += 7;
    expect(await bench.one({ ...prune, shard: placeOf('a', 2) === 0 ? 1 : 0, shards: 2, alive: [1, 2, 3, 4] })).toMatchObject({ code: 'pruned' });
    expect(await bench.one(prune)).toMatchObject({ code: 'pruned', users: expect.arrayContaining(['a']) });
    expect(await bench.one(prune)).toEqual({ code: 'pruned', users: [] });
    const { users } = await bench.read({ read: 'presence', users: ['a', 'b', 'c', 'd'] });
    expect(users.map(({ status }) => status)).toEqual(['offline', 'online', 'offline', 'online']); // d is newer than what is spoken of
    expect(users[0]?.lastSeen).toBe(startTs + 7);
    expect(await bench.one(connect('a', 6, limited))).toEqual(admitted);
    expect(await bench.one(connect('b', 7, limited))).toEqual({ code: 'rejected' });
  });

  it('the mark in the broadcast room begins at its head at the first hello, and is kept', async () => {
    const bench = await open();
    const say = () => bench.commit(message('all:', 'x', { auto: 3 }));
    await say();
    await say();
    expect(await bench.one(connect('a', 1))).toMatchObject({ allMark: 2, revokedAt: 0 });
    await say();
    expect(await bench.one(connect('a', 2))).toMatchObject({ allMark: 2, revokedAt: 0 });
    await bench.commit({ type: 'mark', room: 'all:', user: 'a', received: 3, read: 0 });
    expect(await bench.one(connect('a', 3))).toMatchObject({ allMark: 3, revokedAt: 0 });
  });

  it('marks only rise, no further than the head, and read implies received', async () => {
    const bench = await open();
    await bench.commit(changing('r', 0, { type: 'create', settings: {}, owner: 'a' }));
    await bench.say('r', 'x', 'two', 'three');
    const mark = async (received: number, read: number, user = 'a') => {
      expect(await bench.one({ type: 'mark', room: 'r', user, received, read })).toEqual({ code: 'done' });
      return (await bench.room('r')).members.map((member) => [member.user, member.received, member.read]);
    };
    expect(await mark(2, 0)).toEqual([['a', 2, 0]]);
    expect(await mark(1, 0)).toEqual([['a', 2, 0]]);
    expect(await mark(0, 3)).toEqual([['a', 3, 3]]);
    expect(await mark(99, 99)).toEqual([['a', 3, 3]]);
    expect(await mark(1, 1, 'stranger')).toEqual([['a', 3, 3]]);
    expect(await bench.one({ type: 'mark', room: 'nowhere', user: 'a', received: 1, read: 1 })).toEqual({ code: 'done' });
  });

  it('who joins again begins with new marks', async () => {
    const bench = await open();
    await bench.commit(changing('r', 0, { type: 'create', settings: {}, owner: 'a' }));
    const join = (authSeq: number) => changing('r', authSeq, { type: 'join', user: 'b', role: 'member', membersMax: 9 });
    await bench.commit(join(0), { type: 'mark', room: 'r', user: 'b', received: 2, read: 2 }, changing('r', 0, { type: 'leave', user: 'b' }), join(3));
    expect((await bench.room('r')).members[1]).toMatchObject({ user: 'b', sinceSeq: 4, received: 3, read: 3 });
  });
}
