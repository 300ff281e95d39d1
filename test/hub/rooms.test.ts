/** Rooms and their members: who may do what, what others see of it, and that all of it is still there after a restart. */
import { describe, expect, it } from 'vitest';
import { startHub } from '../kit/hub.ts';
import { RawClient } from '../kit/raw-client.ts';

const hub = await startHub({ shards: 2 });
const connect = (user: string): Promise<RawClient> => RawClient.connect(hub.url, { user });

async function roomsOf(client: RawClient, fields: Record<string, unknown> = {}): Promise<string[]> {
  return (await client.ok('rooms', fields)).rooms.map(({ room }) => room);
}

describe('a room', () => {
  it('G1 is made once, with its settings, and its maker owns it', async () => {
    const alice = await connect('alice');
    const bob = await connect('bob');
    expect(await alice.ok('create', { room: 'made', title: 'Made', membersMax: 5, listed: true })).toMatchObject({ room: 'made', seq: 1 });
    expect(await bob.refused('create', { room: 'made' })).toBe('exists');
    expect(await alice.ok('info', { room: 'made' })).toMatchObject({
      room: 'made',
      title: 'Made',
      visibility: 'public',
      listed: true,
      membersMax: 5,
      history: 'all',
      members: 1,
      role: 'owner',
      createdAt: expect.any(Number),
      firstSeq: 1,
      position: { seq: 1 },
    });
    expect(await bob.ok('info', { room: 'made' })).toMatchObject({ role: null });
  });

  it('M8 comes into being with a first publish or subscribe in development mode', async () => {
    const alice = await connect('alice');
    await alice.ok('subscribe', { room: 'by-subscribe' });
    expect(await alice.ok('publish', { room: 'by-publish', body: 1 })).toMatchObject({ seq: 1 });
    expect(await alice.ok('info', { room: 'by-publish' })).toMatchObject({ visibility: 'public', role: null });
    expect(await alice.refused('create', { room: 'by-publish' })).toBe('exists');
  });

  it('G4 tells its followers of every change as an entry', async () => {
    const alice = await connect('alice');
    const bob = await connect('bob');
    await alice.ok('create', { room: 'changing' });
    await alice.ok('subscribe', { room: 'changing' });
    await bob.ok('join', { room: 'changing' });
    await alice.ok('update', { room: 'changing', title: 'New' });
    await bob.ok('leave', { room: 'changing' });
    await alice.until(() => alice.entries('changing').length === 3);
    expect(alice.entries('changing').map(({ seq, kind, from, body }) => ({ seq, kind, from, body }))).toEqual([
      { seq: 2, kind: 'member', from: 'bob', body: { user: 'bob', change: 'joined', role: 'member' } },
      { seq: 3, kind: 'settings', from: 'alice', body: { title: 'New' } },
      { seq: 4, kind: 'member', from: 'bob', body: { user: 'bob', change: 'left', role: null } },
    ]);
  });

  it('G6 that is deleted is gone for everybody, and its followers are told', async () => {
    const alice = await connect('alice');
    const bob = await connect('bob');
    await alice.ok('create', { room: 'doomed' });
    await bob.ok('join', { room: 'doomed' });
    await bob.ok('subscribe', { room: 'doomed' });
    expect(await bob.refused('delete', { room: 'doomed' })).toBe('forbidden');
    await alice.ok('delete', { room: 'doomed' });
    expect(await bob.next('entry')).toMatchObject({ kind: 'deleted' });
    expect(await bob.next('unsubscribed')).toMatchObject({ room: 'doomed', reason: 'not-found' });
    expect(await bob.refused('leave', { room: 'doomed' })).toBe('not-found');
    expect(await roomsOf(bob)).not.toContain('doomed');
  });

  it('G6 F3 made again after its end goes on counting, and what was before stays gone', async () => {
    const alice = await connect('alice');
    await alice.ok('create', { room: 'phoenix' });
    await alice.ok('publish', { room: 'phoenix', body: 'old' });
    const { seq } = await alice.ok('delete', { room: 'phoenix' });
    expect((await alice.ok('create', { room: 'phoenix' })).seq).toBe(seq + 1);
    expect((await alice.ok('history', { room: 'phoenix' })).entries).toEqual([]);
    expect(await alice.ok('subscribe', { room: 'phoenix', position: { epoch: alice.welcome?.epoch, seq: 1 } })).toMatchObject({
      recovered: false,
      gaps: [{ room: 'phoenix', from: 2, reason: expect.stringMatching(/^(?:trimmed|expired)$/) }],
    });
  });

  it.each(['dm:alice', 'dm:bob:alice', 'dm:', 'all:x', 'all:', '', ' x', 'a\nb', 'x'.repeat(129)])('N1 N3 cannot be made with the name %j', async (room) => {
    const alice = await connect('alice');
    expect(await alice.command('create', { room })).toMatchObject({ op: 'error', code: expect.stringMatching(/^(?:bad-request|forbidden)$/) });
  });

  it.each(['general', 'a/b?c=d&e', '漢字', "o'clock -- ; drop", '100%', 'toString', 'constructor', 'x'.repeat(128)])(
    'N1 can have the name %j',
    async (room) => {
      const alice = await connect('alice');
      await alice.ok('create', { room });
      await alice.ok('subscribe', { room });
      await alice.ok('publish', { room, body: room });
      expect(await alice.next('entry', ({ kind }) => kind === 'message')).toMatchObject({ room, body: room });
      expect(await alice.ok('info', { room })).toMatchObject({ room, role: 'owner' });
    },
  );
});

describe('membership', () => {
  it('F1 is another thing than following: closing a view is not leaving', async () => {
    const bob = await connect('bob');
    await (await connect('alice')).ok('create', { room: 'kept' });
    await bob.ok('join', { room: 'kept' });
    await bob.ok('subscribe', { room: 'kept' });
    await bob.ok('unsubscribe', { room: 'kept' });
    expect(await roomsOf(bob)).toContain('kept');
    await bob.ok('leave', { room: 'kept' });
    expect(await roomsOf(bob)).not.toContain('kept');
  });

  it('G4 is had once: joining again changes nothing', async () => {
    const bob = await connect('bob');
    await (await connect('alice')).ok('create', { room: 'twice' });
    const first = await bob.ok('join', { room: 'twice' });
    expect(first).toMatchObject({ room: 'twice', role: 'member' });
    await bob.ok('join', { room: 'twice' });
    expect(await bob.ok('info', { room: 'twice' })).toMatchObject({ members: 2, position: { seq: first.seq } });
    await bob.ok('leave', { room: 'twice' });
    await bob.ok('leave', { room: 'twice' });
    expect(await bob.ok('info', { room: 'twice' })).toMatchObject({ members: 1, role: null });
  });

  it('G5 is limited: of 50 who join at once a room for 10, exactly 9 find a place beside its owner', async () => {
    const owner = await connect('owner');
    await owner.ok('create', { room: 'small', membersMax: 10 });
    const clients = await Promise.all(Array.from({ length: 50 }, (_, i) => connect(`joiner-${i}`)));
    const answers = await Promise.all(clients.map((client) => client.command('join', { room: 'small' })));
    expect(answers.filter(({ op }) => op === 'ok')).toHaveLength(9);
    expect(new Set(answers.flatMap(({ op, code }) => (op === 'error' ? [code] : [])))).toEqual(new Set(['room-full']));
    expect((await owner.ok('members', { room: 'small' })).members).toHaveLength(10);
    // Leaving makes room, and again for exactly one.
    const joined = clients.filter((_, i) => answers[i]?.op === 'ok');
    const outside = clients.filter((_, i) => answers[i]?.op === 'error');
    await joined[0]?.ok('leave', { room: 'small' });
    const again = await Promise.all(outside.map((client) => client.command('join', { room: 'small' })));
    expect(again.filter(({ op }) => op === 'ok')).toHaveLength(1);
    expect((await owner.ok('members', { room: 'small' })).members).toHaveLength(10);
  });

  it('G3 has roles: an admin manages members, an owner everybody, a member nobody, and the last owner stays', async () => {
    const [owner, admin, member, other] = await Promise.all(['r-owner', 'r-admin', 'r-member', 'r-other'].map(connect));
    if (!owner || !admin || !member || !other) throw new Error('unreachable');
    const room = 'ranks';
    await owner.ok('create', { room });
    await owner.ok('setMember', { room, user: 'r-admin', role: 'admin' });
    await admin.ok('setMember', { room, user: 'r-member', role: 'member' });
    expect(await admin.refused('setMember', { room, user: 'r-member', role: 'owner' })).toBe('forbidden');
    expect(await admin.refused('setMember', { room, user: 'r-admin', role: 'owner' })).toBe('forbidden');
    expect(await admin.refused('removeMember', { room, user: 'r-owner' })).toBe('forbidden');
    expect(await member.refused('setMember', { room, user: 'r-other', role: 'member' })).toBe('forbidden');
    expect(await member.refused('removeMember', { room, user: 'r-admin' })).toBe('forbidden');
    expect(await member.refused('update', { room, title: 'mine' })).toBe('forbidden');
    expect(await other.refused('delete', { room })).toBe('forbidden');
    expect(await owner.refused('leave', { room })).toBe('forbidden');
    await admin.ok('removeMember', { room, user: 'r-member' });
    expect(await owner.refused('removeMember', { room, user: 'r-member' })).toBe('not-found');
    await owner.ok('setMember', { room, user: 'r-admin', role: 'owner' });
    await owner.ok('leave', { room });
    expect((await admin.ok('members', { room })).members).toMatchObject([{ user: 'r-admin', role: 'owner' }]);
  });

  it('lists members page by page', async () => {
    const owner = await connect('page-0');
    await owner.ok('create', { room: 'pages' });
    for (let i = 1; i < 7; i++) await owner.ok('setMember', { room: 'pages', user: `page-${i}`, role: 'member' });
    const seen: string[] = [];
    for (let after: string | undefined, more = true; more; after = seen.at(-1)) {
      const page = await owner.ok('members', { room: 'pages', limit: 3, after });
      expect(page.members.length).toBeLessThanOrEqual(3);
      seen.push(...page.members.map(({ user }) => user));
      more = page.more;
    }
    expect(seen).toEqual(Array.from({ length: 7 }, (_, i) => `page-${i}`));
  });
});

describe('the lists', () => {
  it('G7 show public rooms that want to be found, page by page, with a filter', async () => {
    const alice = await connect('alice');
    for (const n of [1, 2, 3, 4, 5]) await alice.ok('create', { room: `list-${n}`, listed: n !== 4 });
    expect(await roomsOf(alice, { scope: 'public', filter: 'list-' })).toEqual(['list-1', 'list-2', 'list-3', 'list-5']);
    const seen: string[] = [];
    let cursor: string | null | undefined;
    do {
      const page = await alice.ok('rooms', { scope: 'public', filter: 'list-', limit: 2, ...(cursor ? { cursor } : {}) });
      expect(page.rooms.length).toBeLessThanOrEqual(2);
      seen.push(...page.rooms.map(({ room }) => room));
      cursor = page.cursor;
    } while (cursor !== null);
    expect(seen).toEqual(['list-1', 'list-2', 'list-3', 'list-5']);
    expect(await roomsOf(alice, { scope: 'public', filter: '%_' })).toEqual([]);
  });

  it('G7 G8 show my rooms with heads, marks and what I have not read', async () => {
    const alice = await connect('alice');
    const bob = await connect('bob-lists');
    await alice.ok('create', { room: 'unread' });
    await bob.ok('join', { room: 'unread' });
    await bob.ok('subscribe', { room: 'unread' });
    for (const body of [1, 2, 3]) await alice.ok('publish', { room: 'unread', body });
    await bob.until(() => bob.entries('unread').length === 3);
    await bob.ok('mark', { room: 'unread', received: 5, read: 3 });
    const { rooms } = await bob.ok('rooms', {});
    expect(rooms.find(({ room }) => room === 'unread')).toMatchObject({ members: 2, head: 5, role: 'member', received: 5, read: 3, unread: 2 });
    expect(await bob.refused('mark', { room: 'unread', read: 6 })).toBe('bad-request');
  });
});

it('G4 a restart changes nothing: rooms, settings, members and roles are back', async () => {
  const own = await startHub();
  const alice = await RawClient.connect(own.url, { user: 'alice' });
  await alice.ok('create', { room: 'lasting', title: 'Here', membersMax: 3, visibility: 'private', history: 'all' });
  await alice.ok('setMember', { room: 'lasting', user: 'bob', role: 'admin' });
  await alice.ok('publish', { room: 'lasting', body: 'kept' });
  const before = [await alice.ok('info', { room: 'lasting' }), await alice.ok('members', { room: 'lasting' }), await alice.ok('history', { room: 'lasting' })];
  await own.restart();
  const again = await RawClient.connect(own.url, { user: 'alice' });
  const after = [await again.ok('info', { room: 'lasting' }), await again.ok('members', { room: 'lasting' }), await again.ok('history', { room: 'lasting' })];
  // The epoch is the current one's; positions of the earlier one still resume.
  const lasting = (answers: object[]): unknown => JSON.parse(JSON.stringify(answers), (key, value) => (key === 'epoch' || key === 'id' ? undefined : value));
  expect(lasting(after)).toEqual(lasting(before));
  expect(await again.refused('setMember', { room: 'lasting', user: 'dan', role: 'nobody' })).toBe('bad-request');
  await again.ok('setMember', { room: 'lasting', user: 'carol', role: 'member' });
  expect(await again.refused('setMember', { room: 'lasting', user: 'dan', role: 'member' })).toBe('room-full');
});
