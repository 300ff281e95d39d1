/** What a shard's batches become on sockets: who gets what, in which order, in how many writes, and what a full outbox changes. */
import { Socket } from 'node:net';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { DirectWrite } from '../src/gateway/direct-write.ts';
import type { ConnectionId } from '../src/thread/messages.ts';
import { type Stand, stand } from './gateway-harness.ts';
import type { RawClient } from './kit/raw-client.ts';

let hub: Stand;
afterEach(async () => {
  vi.restoreAllMocks();
  await hub.close();
});

const small = { outboxSoftBytes: 64 * 1024, outboxBytesMax: 256 * 1024, outboxLowBytes: 16 * 1024, slowMs: 60_000 };
const body = 'x'.repeat(60_000);

/** Writes to the hub's end of the sockets from now on. */
function countWrites(): () => number {
  const direct = vi.spyOn(DirectWrite.prototype, 'write');
  const stream = vi.spyOn(Socket.prototype, 'write');
  const written = (): unknown[] => [...direct.mock.calls.map(([socket]) => socket), ...stream.mock.contexts];
  return () => written().filter((socket) => (socket as Socket).localPort === hub.port).length;
}

async function follow(connections: { number: ConnectionId }[], fromSeq = 1): Promise<void> {
  hub.shard.room(1, 'general');
  for (const { number } of connections) hub.shard.attach(1, number, fromSeq);
}

const seqs = (client: RawClient, room = 'general') => client.entries(room).map(({ seq }) => seq);

/** Delivers large entries until the hub has taken the client, who reads nothing, out of the room; returns the last seq. */
async function overfill(client: RawClient, from = 1): Promise<number> {
  client.pause();
  let seq = from;
  const told = hub.shard.next('behind');
  let behind = false;
  void told.then(() => {
    behind = true;
  });
  while (!behind) {
    hub.shard.deliver(1, 'general', seq, seq + 9, body);
    seq += 10;
    hub.shard.page(0, [], false);
    await new Promise((resolve) => setImmediate(resolve));
    if (seq > 5_000) throw new Error('the outbox never filled');
  }
  return seq - 1;
}

describe('delivery', () => {
  it('one delivery reaches every subscriber of its format, with one write each', async () => {
    hub = await stand();
    const many = await Promise.all(Array.from({ length: 12 }, (_, i) => hub.connect({ user: `u${i}`, device: 'd', format: i % 2 === 0 ? 'json' : 'msgpack' })));
    const numbers = hub.shard.received.flatMap((message) => (message.t === 'hello' ? [message.connection] : []));
    hub.shard.room(1, 'general');
    for (const number of numbers) hub.shard.attach(1, number);
    const writes = countWrites();
    hub.shard.deliver(1, 'general', 1, 3, 'hi', ['json', 'msgpack']);
    await Promise.all(many.map((client) => client.until(() => client.entries('general').length === 3)));
    for (const client of many) expect(seqs(client)).toEqual([1, 2, 3]);
    expect(writes()).toBe(12);
    expect(hub.gateway.stats().deliveries).toBe(36);
  });

  it('an answer and the entries behind it in the same flush are one write, in their order', async () => {
    hub = await stand();
    const { client, number } = await hub.join();
    await follow([{ number }]);
    const order: string[] = [];
    client.socket.on('message', (data: Buffer) => order.push(JSON.parse(data.toString()).op));
    const answer = client.command('publish', { room: 'general', body: 1 });
    const { command } = await hub.shard.command('publish');
    const writes = countWrites();
    hub.shard.reply(number, command.id as number, { seq: 1 });
    hub.shard.deliver(1, 'general', 1, 1);
    await answer;
    await client.next('entry');
    expect(order).toEqual(['ok', 'entry']);
    expect(writes()).toBe(1);
  });

  it('frames that do not adjoin are written together and stay in order, the gateway’s own among them', async () => {
    hub = await stand();
    const { client, number } = await hub.join();
    const other = await hub.join({ user: 'bob' });
    await follow([{ number }, other]);
    const asked = client.command('who', { users: ['bob'] });
    const { command } = await hub.shard.command('who');
    hub.shard.page(number, [{ op: 'gap', room: 'a' }], false);
    hub.shard.page(other.number, [{ op: 'gap', room: 'b' }], false);
    hub.shard.page(number, [{ op: 'gap', room: 'c' }], false);
    hub.shard.link.push({ t: 'part', connection: number, id: command.id as number, part: { users: [{ user: 'bob' }] } });
    hub.shard.page(number, [{ op: 'gap', room: 'd' }], false);
    let before = -1;
    void asked.then(() => {
      before = client.pushes.length;
    });
    await client.next('gap', ({ room }) => room === 'd');
    expect(client.pushes.map((push) => ('room' in push ? push.room : ''))).toEqual(['a', 'c', 'd']);
    expect((await asked).users).toEqual([{ user: 'bob' }]);
    expect(before).toBeGreaterThanOrEqual(2);
    expect((await other.client.next('gap')).room).toBe('b');
  });

  it('a detached connection gets nothing more, and the others still do', async () => {
    hub = await stand();
    const joined = [];
    for (let i = 0; i < 5; i++) joined.push(await hub.join({ user: `u${i}` }));
    await follow(joined);
    hub.shard.deliver(1, 'general', 1, 1);
    hub.shard.detach(1, joined[1]?.number ?? 0);
    hub.shard.detach(1, joined[4]?.number ?? 0);
    hub.shard.deliver(1, 'general', 2, 2);
    hub.shard.attach(1, joined[4]?.number ?? 0, 3);
    hub.shard.deliver(1, 'general', 3, 3);
    for (const { client, number } of joined) hub.shard.page(number, [{ op: 'gap', room: client.user }], false);
    for (const { client } of joined) await client.next('gap');
    expect(joined.map(({ client }) => seqs(client))).toEqual([[1, 2, 3], [1], [1, 2, 3], [1, 2, 3], [1, 3]]);
  });

  it('an ephemeral frame leaves out the connection it names', async () => {
    hub = await stand();
    const a = await hub.join({ user: 'a' });
    const b = await hub.join({ user: 'b' });
    await follow([a, b]);
    hub.shard.shed(1, 'general', 'typing', a.number);
    hub.shard.deliver(1, 'general', 1, 1);
    await a.client.next('entry');
    await b.client.next('ephemeral');
    expect(a.client.pushes.map(({ op }) => op)).toEqual(['entry']);
  });

  it('a late attach of a closed connection is ignored', async () => {
    hub = await stand();
    const gone = await hub.join({ user: 'gone' });
    const stays = await hub.join({ user: 'stays' });
    await gone.client.close();
    await hub.shard.next('close');
    await follow([gone, stays]);
    hub.shard.deliver(1, 'general', 1, 1);
    await stays.client.next('entry');
    expect(hub.gateway.stats().deliveries).toBe(1);
  });

  it('F7 a reader that does not read falls behind after an exact seq, is told the head, and memory stays bounded', async () => {
    hub = await stand({ options: small });
    const slow = await hub.join({ user: 'slow' });
    const quick = await hub.join({ user: 'quick' });
    await follow([slow, quick]);
    const last = await overfill(slow.client);
    const { connection, lastSeq, roomKey } = hub.shard.received.find(({ t }) => t === 'behind') as { connection: number; lastSeq: number; roomKey: number };
    expect({ connection, roomKey }).toEqual({ connection: slow.number, roomKey: 1 });
    await quick.client.until(() => quick.client.entries('general').at(-1)?.seq === last);
    expect(seqs(quick.client)).toEqual(Array.from({ length: last }, (_, i) => i + 1));
    const [info] = hub.gateway.connectionsOf('slow');
    expect(info?.unsentBytes).toBeLessThan(small.outboxBytesMax + 12 * body.length);
    slow.client.resume();
    const behind = await slow.client.next('behind');
    expect(behind).toMatchObject({ room: 'general' });
    expect(behind.head).toBeGreaterThan(lastSeq);
    expect(seqs(slow.client).at(-1)).toBe(lastSeq);
    expect(hub.gateway.stats().behind).toBe(1);
  });

  it('a paced page is answered drained once the outbox is low, at once where it is', async () => {
    hub = await stand({ options: small });
    const { client, number } = await hub.join();
    await follow([{ number }]);
    hub.shard.page(number, [{ op: 'gap', room: 'x', gaps: [] }], true);
    expect((await hub.shard.next('drained')).connection).toBe(number);
    await overfill(client);
    hub.shard.page(number, [{ op: 'gap', room: 'y', gaps: [] }], true);
    const answered = client.command('who', { users: ['bob'] }).catch(() => null);
    await hub.shard.command('who'); // the page was taken before this
    expect(hub.shard.received.filter(({ t }) => t === 'drained')).toHaveLength(1);
    client.resume();
    await hub.shard.next('drained');
    await client.next('gap', ({ room }) => room === 'y');
    hub.shard.page(number, [], false);
    void answered;
    expect(hub.gateway.stats().outboxBytes).toBe(0);
  });

  it('M6 ephemera are shed above the soft mark, entries are not', async () => {
    hub = await stand({ options: { ...small, outboxBytesMax: 64 * 1024 * 1024 } });
    const { client, number } = await hub.join();
    await follow([{ number }]);
    client.pause();
    let last = 0;
    while ((hub.gateway.connectionsOf('alice')[0]?.unsentBytes ?? 0) <= small.outboxSoftBytes) {
      hub.shard.deliver(1, 'general', last + 1, last + 10, body);
      last += 10;
      await new Promise((resolve) => setImmediate(resolve));
    }
    hub.shard.shed(1, 'general', 'typing');
    hub.shard.deliver(1, 'general', last + 1, last + 1);
    client.resume();
    await client.until(() => client.entries('general').at(-1)?.seq === last + 1);
    expect(seqs(client)).toHaveLength(last + 1);
    expect(client.pushes.some(({ op }) => op === 'ephemeral')).toBe(false);
    expect(hub.gateway.stats().shed).toBe(1);
  });

  it('F7 a socket that takes nothing for slowMs is terminated, and its memory is given back', async () => {
    hub = await stand({ options: { ...small, slowMs: 200 } });
    const { client, number } = await hub.join();
    await follow([{ number }]);
    await overfill(client);
    expect(hub.gateway.stats().outboxBytes).toBeGreaterThan(0);
    await hub.shard.next('close', ({ connection }) => connection === number);
    client.resume();
    expect((await client.closed).code).toBe(1006);
    expect(hub.gateway.stats()).toMatchObject({ connections: 0, terminated: 1, outboxBytes: 0, backed: 0 });
  });

  it('while all outboxes together hold too much, the largest fall behind', async () => {
    hub = await stand({ options: { ...small, outboxBytesMax: 512 * 1024 * 1024, outboxTotalBytesMax: 1024 * 1024 } });
    const { client, number } = await hub.join();
    await follow([{ number }]);
    await overfill(client);
    const behind = (await Promise.resolve(hub.shard.received.find(({ t }) => t === 'behind'))) as { connection: number; lastSeq: number };
    expect(behind.connection).toBe(number);
    client.resume();
    await client.next('behind');
    expect(seqs(client).at(-1)).toBe(behind.lastSeq);
  });

  it('an evicted connection is closed with its code, and the shard hears the end of it', async () => {
    hub = await stand();
    const a = await hub.join({ user: 'a' });
    const b = await hub.join({ user: 'b' });
    hub.shard.link.push({ t: 'evict', connections: [a.number], close: 'evicted' });
    hub.shard.link.push({ t: 'evict', connections: [b.number], close: 'revoked' });
    expect(await a.client.closed).toEqual({ code: 4502, reason: 'evicted' });
    expect((await b.client.closed).code).toBe(4506);
    expect(await hub.shard.next('close', ({ connection }) => connection === a.number)).toMatchObject({ clean: true });
    expect(hub.gateway.stats().evicted).toBe(1);
  });
});
