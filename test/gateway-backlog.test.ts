/** A shard that is behind: its senders are not read, those of other shards are; nothing is lost or reordered; then `busy`. */
import type { Socket } from 'node:net';
import { afterEach, expect, it } from 'vitest';
import { Backlog } from '../src/gateway/backlog.ts';
import { Shards } from '../src/gateway/shards.ts';
import { placeOf } from '../src/thread/placement.ts';
import { type FakeShard, type Stand, stand } from './gateway-harness.ts';

let hub: Stand;
afterEach(() => hub.close());

/** A name that has its place at the shard. */
function placed(kind: string, shard: number): string {
  for (let i = 0; ; i++) if (placeOf(`${kind}${i}`, 2) === shard) return `${kind}${i}`;
}
const published = (shard: FakeShard): unknown[] =>
  shard.received.flatMap((message) => (message.t === 'command' && message.command.op === 'publish' ? [message.command.body] : []));

/** Two shards, the second of which keeps the probe that comes with the first frame, and is sent as many frames as may follow that. */
async function behind(options: { queueMsMax: number; heldBytesMax?: number }) {
  hub = await stand({ shards: 2, options: { ...options, rateLimit: 0, heartbeatMs: 1_000 } });
  const [calm, slow] = hub.shards as [FakeShard, FakeShard];
  const client = await hub.connect({ user: placed('user', 0) });
  const other = await hub.connect({ user: placed('user', 0) });
  slow.probes = 0;
  let sent = 0;
  // From when the gateway takes no more of it, nothing more arrives; on a slow machine it may be too far behind before that.
  while (hub.gateway.stats().held === 0 && hub.gateway.overloaded().length === 0) {
    for (let i = 0; i < 500; i++) client.send({ op: 'publish', room: placed('room', 1), body: ++sent });
    await other.ok('ping');
  }
  return { calm, slow, client, other, sent };
}

it('R9 who sends to a shard that is behind is not read, nobody else waits, and all of it arrives in order once it catches up', async () => {
  const { calm, slow, client, other, sent } = await behind({ queueMsMax: 60_000 });
  let last = sent;
  for (let i = 0; i < 200; i++) client.send({ op: 'publish', room: placed('room', 1), body: ++last });
  client.send({ op: 'publish', room: placed('room', 0), body: 'behind them' });
  other.send({ op: 'publish', room: placed('room', 0), body: 'past them' });
  await calm.next('command', ({ command }) => command.body === 'past them');
  for (let i = 0; i < 20; i++) await other.ok('ping');
  expect(published(slow).length).toBeLessThan(sent);
  expect(published(calm)).toEqual(['past them']);
  expect(hub.gateway.stats()).toMatchObject({ held: 1, busy: 0 });
  slow.probes = 'answered';
  slow.link.push({ t: 'probed' });
  await calm.next('command', ({ command }) => command.body === 'behind them');
  await slow.next('command', ({ command }) => command.body === last);
  expect(published(slow)).toEqual(Array.from({ length: last }, (_, i) => i + 1));
  await client.ok('ping');
  expect(hub.gateway.stats()).toMatchObject({ held: 0, heldBytes: 0, busy: 0 });
});

it('R9 a shard that is too far behind makes busy with retryAfterMs, until it answers', async () => {
  const { slow, client } = await behind({ queueMsMax: 300 });
  const answer = await client.command('publish', { room: placed('room', 1), body: 'held' });
  expect(answer).toMatchObject({ op: 'error', code: 'busy', retry: true, retryAfterMs: expect.any(Number) });
  expect(hub.gateway.overloaded()).toEqual([1]);
  expect(hub.gateway.stats()).toMatchObject({ held: 0, heldBytes: 0 });
  slow.probes = 'answered';
  slow.link.push({ t: 'probed' });
  while (hub.gateway.overloaded().length > 0) await client.ok('ping');
  client.send({ op: 'publish', room: placed('room', 1), body: 'taken' });
  await slow.next('command', ({ command }) => command.body === 'taken');
});

it('R9 what waits is bounded in bytes: beyond that it is busy at once', async () => {
  const { other } = await behind({ queueMsMax: 60_000, heldBytesMax: 1_024 });
  // In one turn, so that they are read at once: the first goes on its way, the others are held.
  const answers = Array.from({ length: 8 }, () => other.command('publish', { room: placed('room', 1), body: 'x'.repeat(500) }));
  const first = await Promise.race(answers);
  expect(first).toMatchObject({ code: 'busy', retryAfterMs: expect.any(Number) });
  expect(hub.gateway.stats().heldBytes).toBe(0);
});

it('R9 what waits is bounded also where its frames have next to no bytes', async () => {
  const { other, slow } = await behind({ queueMsMax: 60_000, heldBytesMax: 16_384 });
  const { _socket: wire } = other.socket as unknown as { _socket: Socket };
  wire.cork(); // in one read: after it nothing more is read from who must wait
  other.send({ op: 'publish', room: placed('room', 1), body: 1 });
  for (let i = 0; i < 1_000; i++) other.sendRaw('{}'); // no command, which nobody has looked at yet
  wire.uncork();
  expect(await other.next('error', ({ code }) => code === 'bad-request')).toMatchObject({ op: 'error' });
  expect(slow.probes).toBe(1); // it was not the shard that ended the wait
});

it('R4 what comes behind held commands in the read in which too much waits stays behind them', async () => {
  const { calm, other } = await behind({ queueMsMax: 60_000, heldBytesMax: 200_000 });
  const { _socket: wire } = other.socket as unknown as { _socket: Socket };
  wire.cork(); // in one read
  other.send({ op: 'publish', room: placed('room', 1), body: 'makes it wait' });
  for (let i = 1; i <= 900; i++) other.send({ op: 'publish', room: placed('room', 0), body: i });
  wire.uncork();
  expect(hub.gateway.overloaded()).toEqual([]);
  await other.ok('ping');
  expect(hub.gateway.overloaded()).toEqual([1]);
  await calm.next('command', ({ command }) => command.body === 900);
  expect(published(calm)).toEqual(Array.from({ length: 900 }, (_, i) => i + 1));
});

it('R9 a connection that closes while it waits leaves nothing behind', async () => {
  const { slow, client, other } = await behind({ queueMsMax: 60_000 });
  for (let i = 0; i < 50; i++) client.send({ op: 'publish', room: placed('room', 1), body: 'late' });
  for (let i = 0; i < 5; i++) await other.ok('ping');
  hub.gateway.disconnect(client.user);
  await other.closed; // the same user
  slow.link.push({ t: 'probed' });
  const third = await hub.connect({ user: 'third' });
  while (hub.gateway.stats().heldBytes > 0) await third.ok('ping');
  expect(hub.gateway.stats().held).toBe(0);
  expect(published(slow)).not.toContain('late');
});

it('R9 as much may be under way as takes a moment: slow probes let in less, quick ones more again', () => {
  let tick = 0;
  const clock = { now: () => tick, tick: () => tick, random: () => 0 };
  const shards = new Shards(1);
  const backlog = new Backlog({ clock, log: () => {}, shards, limits: { queueMsMax: 60_000, heldBytesMax: 1e9 }, time: { now: 0 }, receive: () => {} });
  const shard = shards.get(0);
  /** What one round lets in, if its probe takes so long. */
  const round = (ms: number): number => {
    const frames = shard.left;
    shards.probing(shard);
    shard.left = 0;
    tick += ms;
    backlog.answered(shard);
    return frames;
  };
  const most = round(10);
  expect(round(1_000)).toBe(most);
  expect(round(1_000)).toBeLessThanOrEqual(most / 4);
  for (let i = 0; i < 10; i++) round(60_000);
  const least = round(10);
  expect(least).toBeGreaterThan(0); // however slow it is, something goes on
  expect(round(10)).toBeGreaterThan(least);
  for (let i = 0; i < 10; i++) round(10);
  expect(round(10)).toBe(most);
});
