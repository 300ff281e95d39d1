/** Private rooms: for strangers they do not exist, and members see of them what they are entitled to. */
import { describe, expect, it } from 'vitest';
import { startHub } from '../kit/hub.ts';
import { RawClient } from '../kit/raw-client.ts';

const hub = await startHub({ shards: 2 });
const connect = (user: string): Promise<RawClient> => RawClient.connect(hub.url, { user });

async function roomsOf(client: RawClient, fields: Record<string, unknown> = {}): Promise<string[]> {
  return (await client.ok('rooms', fields)).rooms.map(({ room }) => room);
}

describe('a private room', () => {
  it('G2 does not exist for who is no member, whatever he asks', async () => {
    const alice = await connect('alice');
    const eve = await connect('eve');
    const room = 'secret';
    await alice.ok('create', { room, visibility: 'private', listed: true });
    const { seq } = await alice.ok('publish', { room, body: 'hush' });
    const mid = '01999999-9999-7999-8999-999999999999';
    const tries: [Parameters<RawClient['refused']>[0], Record<string, unknown>][] = [
      ['subscribe', {}],
      ['subscribe', { position: { epoch: alice.welcome?.epoch, seq: 0 } }],
      ['publish', { body: 1 }],
      ['publish', { body: 1, ephemeral: true }],
      ['history', {}],
      ['info', {}],
      ['members', {}],
      ['join', {}],
      ['leave', {}],
      ['mark', { read: seq }],
      ['delivery', { mid }],
      ['update', { title: 'x' }],
      ['delete', {}],
      ['setMember', { user: 'eve', role: 'owner' }],
      ['removeMember', { user: 'alice' }],
    ];
    for (const [op, fields] of tries) expect(await eve.refused(op, { room, ...fields }), op).toBe('not-found');
    await eve.ok('resume', { epoch: alice.welcome?.epoch, rooms: { [room]: 0 } });
    expect(await eve.next('unsubscribed')).toMatchObject({ room, reason: 'not-found' });
    expect(await roomsOf(eve, { scope: 'public' })).not.toContain(room);
    expect(eve.entries(room)).toEqual([]);
  });

  it('G2 F3 is open to whom it admits, from then on', async () => {
    const alice = await connect('alice');
    const bob = await connect('bob-admitted');
    const room = 'cabinet';
    await alice.ok('create', { room, visibility: 'private' });
    await alice.ok('publish', { room, body: 'before' });
    const { seq } = await alice.ok('setMember', { room, user: 'bob-admitted', role: 'member' });
    expect(await bob.next('inbox')).toMatchObject({ room, seq, kind: 'member', body: { user: 'bob-admitted', change: 'added' } });
    await alice.ok('publish', { room, body: 'after' });
    const answer = await bob.ok('subscribe', { room, position: { epoch: alice.welcome?.epoch, seq: 0 } });
    expect(answer).toMatchObject({ recovered: false, gaps: [{ room, from: 1, reason: 'forbidden' }] });
    await bob.until(() => bob.entries(room).some(({ body }) => body === 'after'));
    expect(bob.entries(room).every((entry) => entry.seq >= seq)).toBe(true);
    expect((await bob.ok('history', { room })).entries.map(({ body }) => body)).toEqual(['after']);
  });

  it('F3 shows all of its history where it is set so', async () => {
    const alice = await connect('alice');
    const bob = await connect('bob-history');
    await alice.ok('create', { room: 'library', visibility: 'private', history: 'all' });
    await alice.ok('publish', { room: 'library', body: 'before' });
    await alice.ok('setMember', { room: 'library', user: 'bob-history', role: 'member' });
    expect((await bob.ok('history', { room: 'library' })).entries.map(({ body }) => body)).toEqual(['before']);
  });

  it('F8 tells who is removed, and nothing said after that reaches him', async () => {
    const alice = await connect('alice');
    const bob = await connect('bob-removed');
    const room = 'council';
    await alice.ok('create', { room, visibility: 'private' });
    await alice.ok('setMember', { room, user: 'bob-removed', role: 'member' });
    await bob.ok('subscribe', { room });
    const traffic = Array.from({ length: 40 }, (_, i) =>
      i === 20 ? alice.ok('removeMember', { room, user: 'bob-removed' }) : alice.ok('publish', { room, body: i }),
    );
    await Promise.all(traffic);
    const { seq } = (await traffic[20]) as { seq: number };
    expect(await bob.next('unsubscribed')).toMatchObject({ room, reason: 'not-found' });
    await bob.settled();
    expect(bob.entries(room).filter((entry) => entry.seq >= seq)).toEqual([]);
    expect(await bob.refused('publish', { room, body: 'still here?' })).toBe('not-found');
  });
});
