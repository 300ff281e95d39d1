/** Messages from one to one, and the inbox that keeps them for who is away: order, devices, limits, and the ledger. */
import { v7 } from 'uuid';
import { describe, expect, it } from 'vitest';
import { startHub } from '../kit/hub.ts';
import { RawClient } from '../kit/raw-client.ts';

const hub = await startHub({ shards: 2 });
const connect = (user: string, device?: string, url = hub.url): Promise<RawClient> => RawClient.connect(url, { user, device });

async function items(client: RawClient, count: number): Promise<unknown[]> {
  const bodies: unknown[] = [];
  for (let i = 0; i < count; i++) bodies.push((await client.next('inbox')).body);
  return bodies;
}

describe('a direct message', () => {
  it('D1 I1 arrives in the inbox of who is there, and its room is named after both', async () => {
    const alice = await connect('d-alice');
    const bob = await connect('d-bob');
    const mid = v7();
    expect(await alice.ok('direct', { to: 'd-bob', mid, body: 'hi' })).toMatchObject({ room: 'dm:d-alice:d-bob', seq: expect.any(Number) });
    const item = await bob.next('inbox');
    expect(item).toMatchObject({ n: 1, room: 'dm:d-alice:d-bob', mid, from: 'd-alice', kind: 'message', body: 'hi', ts: expect.any(Number) });
    expect(await bob.ok('ack', { through: item.n })).toMatchObject({ through: 1 });
    expect(await bob.ok('direct', { to: 'd-alice', body: 'hello' })).toMatchObject({ room: 'dm:d-alice:d-bob', seq: item.seq + 1 });
  });

  it('I1 I2 waits for who is away, in order, and comes at his next hello', async () => {
    const alice = await connect('w-alice');
    for (let i = 0; i < 25; i++) await alice.ok('direct', { to: 'w-bob', body: i });
    const bob = await connect('w-bob');
    expect(bob.welcome?.inbox).toEqual({ head: 25, acked: 0 });
    expect(await items(bob, 25)).toEqual(Array.from({ length: 25 }, (_, i) => i));
    expect(bob.pushes.flatMap((push) => (push.op === 'inbox' ? [push.n] : []))).toEqual(Array.from({ length: 25 }, (_, i) => i + 1));
  });

  it('I2 of many pages arrives whole and in order', async () => {
    const alice = await connect('p-alice');
    const body = 'x'.repeat(8_000);
    await Promise.all(Array.from({ length: 300 }, (_, i) => alice.ok('direct', { to: 'p-bob', body: { i, body } })));
    const bob = await connect('p-bob');
    const all = (await items(bob, 300)) as { i: number }[];
    expect(all.map(({ i }) => i)).toEqual(Array.from({ length: 300 }, (_, i) => i));
  });

  it('I3 comes again at each hello until it is acknowledged, and never after', async () => {
    const alice = await connect('a-alice');
    for (const body of [1, 2, 3]) await alice.ok('direct', { to: 'a-bob', body });
    const first = await connect('a-bob');
    await items(first, 3);
    await first.ok('ack', { through: 2 });
    await first.close();
    const second = await connect('a-bob');
    expect(second.welcome?.inbox).toEqual({ head: 3, acked: 2 });
    expect(await items(second, 1)).toEqual([3]);
    await second.ok('ack', { through: 3 });
    await second.ok('ack', { through: 1 }); // cumulative: going back changes nothing
    await second.close();
    const third = await connect('a-bob');
    expect(third.welcome?.inbox).toEqual({ head: 3, acked: 3 });
    await alice.ok('direct', { to: 'a-bob', body: 4 });
    expect(await items(third, 1)).toEqual([4]);
  });

  it('I3 that was not sent yet cannot be acknowledged', async () => {
    const bob = await connect('early-bob');
    expect(await bob.command('ack', { through: 5 })).toMatchObject({ op: 'error', code: 'bad-request', field: 'through' });
  });

  it('I2 I4 reaches every device at its own pace', async () => {
    const alice = await connect('m-alice');
    const phone = await connect('m-bob', 'phone');
    const laptop = await connect('m-bob', 'laptop');
    await alice.ok('direct', { to: 'm-bob', body: 'one' });
    expect(await items(phone, 1)).toEqual(['one']);
    expect(await items(laptop, 1)).toEqual(['one']);
    await phone.ok('ack', { through: 1 });
    for (const device of [phone, laptop]) await device.close();
    await alice.ok('direct', { to: 'm-bob', body: 'two' });
    const [phone2, laptop2] = [await connect('m-bob', 'phone'), await connect('m-bob', 'laptop')];
    expect(await items(phone2, 1)).toEqual(['two']);
    expect(await items(laptop2, 2)).toEqual(['one', 'two']);
  });

  it('D2 shows on the other devices of its sender, and not on the one that sent it', async () => {
    const phone = await connect('s-alice', 'phone');
    const laptop = await connect('s-alice', 'laptop');
    await phone.ok('direct', { to: 's-bob', body: 'from the phone' });
    expect(await laptop.next('inbox')).toMatchObject({ from: 's-alice', room: 'dm:s-alice:s-bob', body: 'from the phone' });
    await laptop.ok('direct', { to: 's-bob', body: 'from the laptop' });
    expect(await items(phone, 1)).toEqual(['from the laptop']);
  });

  it('D2 nor on that one when it comes back without having acked what came before', async () => {
    const bob = await connect('r-bob');
    const phone = await connect('r-alice', 'phone');
    await (await connect('r-alice', 'laptop')).close();
    await bob.ok('direct', { to: 'r-alice', body: 'ask' });
    await phone.ok('direct', { to: 'r-bob', body: 'answer' });
    await phone.close();
    await bob.ok('direct', { to: 'r-alice', body: 'thanks' });
    expect(await items(await connect('r-alice', 'phone'), 2)).toEqual(['ask', 'thanks']);
    expect(await items(await connect('r-alice', 'laptop'), 3)).toEqual(['ask', 'answer', 'thanks']);
  });

  it('M3 I1 with the same mid is one message, delivered once', async () => {
    const alice = await connect('i-alice');
    const bob = await connect('i-bob');
    const mid = v7();
    const answers = await Promise.all(Array.from({ length: 10 }, () => alice.ok('direct', { to: 'i-bob', mid, body: 'once' })));
    expect(new Set(answers.map(({ seq }) => seq)).size).toBe(1);
    await alice.ok('direct', { to: 'i-bob', body: 'then' });
    expect(await items(bob, 2)).toEqual(['once', 'then']);
  });

  it('D1 to oneself has one reader', async () => {
    const alice = await connect('self', 'phone');
    const laptop = await connect('self', 'laptop');
    expect(await alice.ok('direct', { to: 'self', body: 'note' })).toMatchObject({ room: 'dm:self:self' });
    expect(await items(laptop, 1)).toEqual(['note']);
    expect((await alice.ok('history', { room: 'dm:self:self' })).entries).toHaveLength(1);
  });

  it('D1 is nobody else’s: its room does not exist for a third', async () => {
    const alice = await connect('t-alice');
    await alice.ok('direct', { to: 't-bob', body: 'secret' });
    const eve = await connect('t-eve');
    for (const op of ['subscribe', 'history', 'info', 'members'] as const) expect(await eve.refused(op, { room: 'dm:t-alice:t-bob' })).toBe('not-found');
    expect(await eve.refused('publish', { room: 'dm:t-alice:t-bob', body: 'me too' })).toBe('not-found');
    expect(await eve.refused('history', { room: 'dm:t-alice:t-nobody' })).toBe('not-found');
  });

  it('D1 I7 has a log like any room, for both', async () => {
    const alice = await connect('l-alice');
    const bob = await connect('l-bob');
    const { room, seq } = await alice.ok('direct', { to: 'l-bob', body: 'first' });
    await bob.ok('subscribe', { room });
    await alice.ok('direct', { to: 'l-bob', body: 'second' });
    const [entry, item] = [await bob.next('entry'), await bob.next('inbox', ({ body }) => body === 'second')];
    expect(entry).toMatchObject({ room, seq: seq + 1, body: 'second' });
    expect(item).toMatchObject({ room: entry.room, seq: entry.seq, mid: entry.mid });
    expect((await bob.ok('history', { room })).entries.map(({ body }) => body)).toEqual(['first', 'second']);
    expect((await bob.ok('rooms', {})).rooms.map((one) => one.room)).toContain(room);
  });

  it('N3 finds users of any name', async () => {
    const names = ['a:b', 'dm:x', '100%', 'ë 漢'];
    const alice = await connect('n-alice');
    for (const name of names) {
      const reader = await connect(name);
      await alice.ok('direct', { to: name, body: name });
      expect(await items(reader, 1)).toEqual([name]);
    }
  });
});

const small = await startHub({ inboxItemsMax: 5, inboxBytesMax: 50_000 });

describe('a full inbox', () => {
  it('I5 I6 drops the oldest and says so', async () => {
    const alice = await connect('alice', undefined, small.url);
    for (let i = 1; i <= 8; i++) await alice.ok('direct', { to: 'bob', body: i });
    const bob = await connect('bob', undefined, small.url);
    expect(await bob.next('inbox-gap')).toEqual({ op: 'inbox-gap', from: 1, to: 3, reason: 'dropped' });
    expect(await items(bob, 5)).toEqual([4, 5, 6, 7, 8]);
    expect(bob.pushes.map(({ op }) => op)).toEqual(['inbox-gap', ...Array.from({ length: 5 }, () => 'inbox')]);
    // The log of the conversation still has what the inbox dropped.
    expect((await bob.ok('history', { room: 'dm:alice:bob' })).entries).toHaveLength(8);
  });

  it('I5 refuses the next where its policy is so, and takes again once there is room', async () => {
    const own = await startHub({ inboxItemsMax: 3, inboxOverflow: 'reject' });
    const alice = await connect('alice', undefined, own.url);
    for (let i = 1; i <= 3; i++) await alice.ok('direct', { to: 'bob', body: i });
    expect(await alice.refused('direct', { to: 'bob', body: 4 })).toBe('inbox-full');
    const bob = await connect('bob', undefined, own.url);
    expect(await items(bob, 3)).toEqual([1, 2, 3]);
    await bob.ok('ack', { through: 3 });
    await alice.ok('direct', { to: 'bob', body: 5 });
    expect(await items(bob, 1)).toEqual([5]);
    expect((await alice.ok('history', { room: 'dm:alice:bob' })).entries.map(({ body }) => body)).toEqual([1, 2, 3, 5]);
  });

  it('I5 I6 counts bytes too', async () => {
    const alice = await connect('alice', undefined, small.url);
    for (let i = 1; i <= 4; i++) await alice.ok('direct', { to: 'heavy', body: `${i}${'x'.repeat(20_000)}` });
    const reader = await connect('heavy', undefined, small.url);
    expect(await reader.next('inbox-gap')).toMatchObject({ from: 1, to: 2, reason: 'dropped' });
    expect((await items(reader, 2)).map((body) => String(body).slice(0, 1))).toEqual(['3', '4']);
  });

  it('I4 I6 lets go of what is too old, and says so', async () => {
    const own = await startHub({ inboxAgeMs: 1_000, rateLimit: 0 });
    const alice = await connect('alice', undefined, own.url);
    const mid = v7();
    const { room } = await alice.ok('direct', { to: 'bob', mid, body: 'soon gone' });
    const state = async (): Promise<string | undefined> => (await alice.ok('delivery', { room, mid, user: 'bob' })).deliveries[0]?.state;
    while ((await state()) !== 'expired');
    const bob = await connect('bob', undefined, own.url);
    expect(await bob.next('inbox-gap')).toEqual({ op: 'inbox-gap', from: 1, to: 1, reason: 'expired' });
    await alice.ok('direct', { to: 'bob', body: 'fresh' });
    expect(await items(bob, 1)).toEqual(['fresh']);
  });
});

describe('the ledger', () => {
  it('I8 says of a message what became of it: queued, sent, received, read', async () => {
    const alice = await connect('g-alice');
    const mid = v7();
    const { room, seq } = await alice.ok('direct', { to: 'g-bob', mid, body: 'important' });
    const ofBob = async (): Promise<unknown> => (await alice.ok('delivery', { room, mid, user: 'g-bob' })).deliveries;
    expect(await ofBob()).toMatchObject([{ user: 'g-bob', state: 'queued', n: 1, queuedAt: expect.any(Number) }]);
    const bob = await connect('g-bob');
    await bob.next('inbox');
    // The answer to his own next command that writes comes after `sent` was written.
    await bob.ok('ack', { through: 1 });
    expect(await ofBob()).toMatchObject([{ user: 'g-bob', state: 'received', receivedAt: expect.any(Number) }]);
    await bob.ok('subscribe', { room });
    await bob.ok('mark', { room, read: seq });
    expect(await ofBob()).toMatchObject([{ user: 'g-bob', state: 'read', readAt: expect.any(Number) }]);
  });

  it('I8 is for the sender: others learn nothing', async () => {
    const alice = await connect('h-alice');
    const mid = v7();
    const { room } = await alice.ok('direct', { to: 'h-bob', mid, body: 1 });
    const eve = await connect('h-eve');
    expect(await eve.refused('delivery', { room, mid })).toBe('not-found');
    const bob = await connect('h-bob');
    expect(await bob.refused('delivery', { room, mid })).toBe('not-found');
    expect(await alice.refused('delivery', { room, mid: v7() })).toBe('not-found');
  });

  it('I8 knows what was dropped', async () => {
    const alice = await connect('alice', undefined, small.url);
    const mid = v7();
    const { room } = await alice.ok('direct', { to: 'carol', mid, body: 1 });
    for (let i = 0; i < 5; i++) await alice.ok('direct', { to: 'carol', body: 2 });
    expect((await alice.ok('delivery', { room, mid, user: 'carol' })).deliveries).toMatchObject([{ state: 'dropped', endedAt: expect.any(Number) }]);
  });
});

it('I1 I3 a killed hub keeps every inbox: what was acknowledged to the sender arrives, once', async () => {
  const own = await startHub();
  const alice = await connect('alice', undefined, own.url);
  await Promise.all(Array.from({ length: 40 }, (_, i) => alice.ok('direct', { to: 'bob', body: i })));
  await own.restart('SIGKILL');
  const bob = await connect('bob', undefined, own.url);
  expect(await items(bob, 40)).toEqual(Array.from({ length: 40 }, (_, i) => i));
  await bob.ok('ack', { through: 15 });
  await own.restart('SIGKILL');
  const again = await connect('bob', undefined, own.url);
  expect(again.welcome?.inbox).toEqual({ head: 40, acked: 15 });
  expect(await items(again, 25)).toEqual(Array.from({ length: 25 }, (_, i) => i + 15));
});
