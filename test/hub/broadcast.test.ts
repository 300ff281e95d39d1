/** The room `all:` that every connection follows without asking. */
import { expect, it } from 'vitest';
import { startHub } from '../kit/hub.ts';
import { RawClient } from '../kit/raw-client.ts';

const hub = await startHub({ broadcastEntriesMax: 5, shards: 2 });
const connect = (user: string, device?: string): Promise<RawClient> => RawClient.connect(hub.url, { user, device });

it('B1 a broadcast reaches every connection, in both subprotocols, with one seq', async () => {
  const clients = await Promise.all(
    Array.from({ length: 30 }, (_, i) => RawClient.connect(hub.url, { user: `b-${i % 10}`, device: `${i}`, format: i % 2 ? 'json' : 'msgpack' })),
  );
  const { seq } = (await clients[0]?.ok('publish', { room: 'all:', body: 'to all' })) ?? {};
  for (const client of clients) expect(await client.next('entry')).toMatchObject({ room: 'all:', seq, body: 'to all' });
});

it('B1 M6 an ephemeral one too', async () => {
  const [alice, bob] = [await connect('e-alice'), await connect('e-bob')];
  await alice.ok('publish', { room: 'all:', body: 'blink', ephemeral: true });
  expect(await bob.next('ephemeral')).toMatchObject({ room: 'all:', body: 'blink' });
});

it('B2 who was away gets what he missed at his next hello', async () => {
  const alice = await connect('r-alice');
  const bob = await connect('r-bob');
  await alice.ok('publish', { room: 'all:', body: 'seen' });
  await bob.next('entry', ({ body }) => body === 'seen');
  const { seq } = bob.entries('all:').at(-1) ?? { seq: 0 };
  await bob.ok('mark', { room: 'all:', received: seq });
  await bob.close();
  await alice.ok('publish', { room: 'all:', body: 'missed 1' });
  await alice.ok('publish', { room: 'all:', body: 'missed 2' });
  const back = await connect('r-bob');
  await back.until(() => back.entries('all:').length === 2);
  expect(back.entries('all:').map(({ body }) => body)).toEqual(['missed 1', 'missed 2']);
});

it('B2 who was away too long is told what he cannot have', async () => {
  const alice = await connect('g-alice');
  const bob = await connect('g-bob');
  const { seq = 0 } = await alice.ok('publish', { room: 'all:', body: 'last seen' });
  await bob.next('entry', ({ body }) => body === 'last seen');
  await bob.ok('mark', { room: 'all:', received: seq });
  await bob.close();
  for (let i = 1; i <= 12; i++) await alice.ok('publish', { room: 'all:', body: i });
  const back = await connect('g-bob');
  await back.until(() => back.entries('all:').at(-1)?.body === 12);
  const entries = back.entries('all:');
  const missing = back.pushes.flatMap((push) => (push.op === 'gap' ? push.gaps : [])).filter(({ room }) => room === 'all:');
  // Trimming is upkeep: it may not have run yet. Replayed or stated, nothing between is passed over in silence.
  expect((missing.at(-1)?.to ?? seq) + 1).toBe(entries[0]?.seq);
  expect(entries.map((entry) => entry.seq)).toEqual(Array.from({ length: entries.length }, (_, i) => (entries[0]?.seq ?? 0) + i));
});

it('B1 nobody leaves it, joins it or lists its members', async () => {
  const alice = await connect('n-alice');
  for (const op of ['join', 'leave', 'members', 'delete'] as const) expect(await alice.refused(op, { room: 'all:' })).toBe('forbidden');
  expect(await alice.refused('update', { room: 'all:', title: 'x' })).toBe('forbidden');
});
