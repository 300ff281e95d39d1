/** The part of the store's contract about rooms: creation, settings, members, deletion, lists. */
import { expect, it } from 'vitest';
import { type Bench, changing, direct, message, mid, type OpenBench, startTs } from './store-contract.ts';

export function roomContract(open: OpenBench): void {
  const create = (bench: Bench, room: string, settings = {}, owner: string | null = 'olga') =>
    bench.one(changing(room, 0, { type: 'create', settings, owner }));
  const join = (room: string, user: string, membersMax = 10, authSeq = 0) =>
    changing(room, authSeq, { type: 'join', user, role: 'member', membersMax }, { from: user });

  it('create makes a room with its owner, once', async () => {
    const bench = await open();
    expect(await create(bench, 'r', { visibility: 'private', title: 'R', membersMax: 5 })).toEqual({ code: 'ok', seq: 1 });
    expect(await create(bench, 'r')).toEqual({ code: 'exists' });
    expect(await bench.room('r')).toEqual({
      exists: true,
      visibility: 'private',
      settings: { visibility: 'private', title: 'R', membersMax: 5 },
      createdAt: startTs,
      headSeq: 1,
      firstSeq: 1,
      authSeq: 1,
      members: [{ user: 'olga', role: 'owner', sinceSeq: 1, sinceTs: startTs, received: 0, read: 0 }],
    });
  });

  it('a private room moves the authority when it is created, so that a message for the room that would have been public is stale', async () => {
    const bench = await open();
    await create(bench, 'r', { visibility: 'private' });
    expect(await bench.one(message('r', 'stranger'))).toEqual({ code: 'stale' });
    await create(bench, 'p');
    expect(await bench.one(message('p', 'stranger'))).toBe(2);
  });

  it('settings are merged into those there are, and move the authority', async () => {
    const bench = await open();
    await create(bench, 'r', { title: 'R', listed: false });
    await bench.commit(changing('r', 0, { type: 'settings', settings: { title: 'S', visibility: 'private' } }));
    expect(await bench.room('r')).toMatchObject({
      settings: { title: 'S', listed: false, visibility: 'private' },
      visibility: 'private',
      authSeq: 2,
      createdAt: startTs,
    });
  });

  it('joins never exceed the limit, and one who is in already gets his seq', async () => {
    const bench = await open();
    await create(bench, 'r');
    const outcomes = await bench.commit(...['a', 'b', 'a', 'c'].map((user) => join('r', user, 3)));
    expect(outcomes).toEqual([{ code: 'ok', seq: 2 }, { code: 'ok', seq: 3 }, { code: 'duplicate', seq: 2 }, { code: 'room-full' }]);
    expect((await bench.room('r')).members.map(({ user, sinceSeq, received }) => [user, sinceSeq, received])).toEqual([
      ['a', 2, 1],
      ['b', 3, 2],
      ['olga', 1, 0],
    ]);
    await bench.commit(changing('r', 0, { type: 'leave', user: 'a' }));
    expect(await bench.commit(join('r', 'c', 3, 4), join('r', 'd', 3, 4))).toEqual([{ code: 'ok', seq: 5 }, { code: 'room-full' }]);
    expect(await bench.room('r')).toMatchObject({ headSeq: 5, authSeq: 4 });
  });

  it('roles and leaving need a member, and move the authority; joining does not', async () => {
    const bench = await open();
    await create(bench, 'r');
    const role = (user: string, authSeq: number) => changing('r', authSeq, { type: 'role', user, role: 'admin' });
    const leave = (user: string, authSeq: number) => changing('r', authSeq, { type: 'leave', user });
    expect(await bench.commit(role('a', 0), leave('a', 0), join('r', 'a'), role('a', 0), leave('a', 0), leave('a', 3))).toEqual([
      { code: 'not-found' },
      { code: 'not-found' },
      { code: 'ok', seq: 2 },
      { code: 'ok', seq: 3 },
      { code: 'stale' },
      { code: 'ok', seq: 4 },
    ]);
    expect(await bench.room('r')).toMatchObject({ authSeq: 4, members: [{ user: 'olga' }] });
  });

  it('a deleted room is gone with its members and its past; its seq goes on when it is created again', async () => {
    const bench = await open();
    await create(bench, 'r', { title: 'R' });
    await bench.commit(join('r', 'a'), message('r', 'a', { mid: mid(1), body: '"secret"' }));
    expect(await bench.one(changing('r', 0, { type: 'delete' }))).toEqual({ code: 'ok', seq: 4 });
    const gone = { exists: false, visibility: 'public', settings: {}, createdAt: null, headSeq: 4, firstSeq: 4, authSeq: 4, members: [] };
    expect(await bench.room('r')).toEqual(gone);
    await bench.maintain();
    expect(await bench.room('r')).toEqual(gone);
    expect((await bench.entries('r')).entries.map(({ kind }) => kind)).toEqual(['deleted']);
    expect(await bench.one(message('r', 'a', { auto: 0, authSeq: 4 }))).toEqual({ code: 'not-found' });

    bench.ts += 5;
    expect(await bench.one(changing('r', 4, { type: 'create', settings: {}, owner: 'a' }))).toEqual({ code: 'ok', seq: 5 });
    expect(await bench.room('r')).toMatchObject({
      exists: true,
      settings: {},
      createdAt: startTs + 5,
      headSeq: 5,
      firstSeq: 4,
      members: [{ user: 'a', sinceSeq: 5 }],
    });
    expect(await bench.one(message('r', 'b', { authSeq: 4, mid: mid(1) }))).toBe(6);
  });

  it('a mid of a deleted room is free at once, before upkeep has removed anything', async () => {
    const bench = await open();
    await bench.commit(message('r', 'x', { mid: mid(1) }), changing('r', 0, { type: 'delete' }));
    expect(await bench.commit(message('r', 'y', { mid: mid(1), authSeq: 0 }), message('r', 'y', { mid: mid(1), authSeq: 2 }))).toEqual([{ code: 'stale' }, 3]);
    expect(await bench.one(message('r', 'y', { mid: mid(1), authSeq: 2 }))).toEqual({ code: 'duplicate', seq: 3 });
  });

  it('a room is the same to whoever opens the store anew: whether it exists, its authority, its members, and which mids are free', async () => {
    const bench = await open();
    await create(bench, 'r');
    await bench.commit(join('r', 'a'), message('r', 'a', { mid: mid(1) }), changing('r', 0, { type: 'delete' }));
    await bench.reopen();
    expect(await bench.one(message('r', 'a', { auto: 0, authSeq: 4 }))).toEqual({ code: 'not-found' });
    const again = [changing('r', 4, { type: 'create', settings: {}, owner: 'b' }), changing('r', 4, { type: 'settings', settings: { title: 'R' } })];
    expect(await bench.commit(...again, join('r', 'c', 10, 6))).toEqual([5, 6, 7].map((seq) => ({ code: 'ok', seq })));
    await bench.reopen();
    expect(await bench.commit(message('r', 'b', { authSeq: 4 }), join('r', 'b', 10, 6), join('r', 'c', 10, 6), join('r', 'd', 2, 6))).toEqual([
      { code: 'stale' },
      { code: 'duplicate', seq: 5 },
      { code: 'duplicate', seq: 7 },
      { code: 'room-full' },
    ]);
    expect(await bench.commit(message('r', 'b', { authSeq: 6, mid: mid(1) }), join('r', 'a', 10, 6))).toEqual([8, { code: 'ok', seq: 9 }]);
  });

  it('who was up to date when a room was deleted can resume; who was further back cannot', async () => {
    const bench = await open();
    await bench.say('r', 'x', 'one', 'two');
    await bench.commit(changing('r', 0, { type: 'delete' }));
    await bench.maintain();
    const reason = async (seq: number) => (await bench.read({ read: 'position', room: 'r', epoch: bench.epoch, seq })).reason;
    expect([await reason(0), await reason(1), await reason(2), await reason(3), await reason(4)]).toEqual(['trimmed', 'trimmed', null, null, 'epoch']);
  });

  it('the first direct message makes the room and its two members; with oneself it has one', async () => {
    const bench = await open();
    await bench.commit(direct('bob', 'alice'), direct('bob', 'bob'));
    expect(await bench.room('dm:alice:bob')).toMatchObject({
      exists: true,
      visibility: 'private',
      members: [
        { user: 'alice', role: 'member', sinceSeq: 1, read: 0 },
        { user: 'bob', role: 'member', sinceSeq: 1, read: 0 },
      ],
    });
    expect((await bench.room('dm:bob:bob')).members).toHaveLength(1);
  });

  it('my rooms come with heads, marks and what is unread: messages of others', async () => {
    const bench = await open();
    await create(bench, 'r', { title: 'R' }, 'a');
    await bench.commit(join('r', 'b'));
    await bench.say('r', 'a', 'one', 'two');
    await bench.say('r', 'b', 'three');
    await bench.commit({ type: 'mark', room: 'r', user: 'b', received: 4, read: 3 }, direct('a', 'b'));
    const { rooms, after } = await bench.read({ read: 'rooms', user: 'b', scope: 'mine', filter: '', after: '', limit: 10 });
    expect(after).toBeNull();
    expect(rooms).toEqual([
      { room: 'dm:a:b', title: null, visibility: 'private', members: 2, head: 1, role: 'member', received: 0, read: 0, unread: 1 },
      { room: 'r', title: 'R', visibility: 'public', members: 2, head: 5, role: 'member', received: 4, read: 3, unread: 1 },
    ]);
    expect((await bench.read({ read: 'rooms', user: 'nobody', scope: 'mine', filter: '', after: '', limit: 10 })).rooms).toEqual([]);
  });

  it('public rooms are listed unless they are hidden, private, deleted or reserved', async () => {
    const bench = await open();
    for (const [room, settings] of Object.entries({ shown: {}, hidden: { listed: false }, secret: { visibility: 'private' }, gone: {}, later: {} }))
      await create(bench, room, settings);
    await bench.commit(message('auto', 'x'), message('all:', 'x', { auto: 3 }), direct('x', 'y'));
    await bench.commit(changing('gone', 0, { type: 'delete' }), changing('later', 0, { type: 'settings', settings: { listed: false } }));
    const { rooms } = await bench.read({ read: 'rooms', user: 'olga', scope: 'public', filter: '', after: '', limit: 10 });
    expect(rooms.map(({ room, role }) => [room, role])).toEqual([
      ['auto', null],
      ['shown', 'owner'],
    ]);
  });

  it('lists are paged by name and filtered by name or title, without regard to case', async () => {
    const bench = await open();
    for (const [room, title] of Object.entries({ a1: 'Cats', b2: 'dogs', c3: 'catalogue', d4: 'birds' })) await create(bench, room, { title });
    const page = async (filter: string, after: string, limit: number) => {
      const reply = await bench.read({ read: 'rooms', user: 'olga', scope: 'public', filter, after, limit });
      return [...reply.rooms.map(({ room }) => room), reply.after];
    };
    expect(await page('', '', 3)).toEqual(['a1', 'b2', 'c3', 'c3']);
    expect(await page('', 'c3', 3)).toEqual(['d4', null]);
    expect(await page('CAT', '', 10)).toEqual(['a1', 'c3', null]);
    expect(await page('B2', '', 10)).toEqual(['b2', null]);
    expect(await page('%', '', 10)).toEqual([null]);
  });
}
