/** Poison, restarts without end, and a process that was stopped: what becomes of a hub whose threads die, beyond that they are replaced. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { v7 } from 'uuid';
import { describe, expect, it } from 'vitest';
import type { StartOptions } from '../../src/testing/hub-process.ts';
import { placeOf } from '../../src/thread/placement.ts';
import { brittle, order } from '../kit/brittle.ts';
import { startHub, temporaryFolder } from '../kit/hub.ts';
import { RawClient } from '../kit/raw-client.ts';

/** A hub in which a message with the body {"poison": "throw"} takes its shard down. */
async function brittleHub(options: StartOptions = {}, folder = temporaryFolder()) {
  return await startHub({ shards: 2, apiKeys: [`ops:${key}`], rateLimit: 0, hangMs: 600, ...brittle(folder), ...options });
}
/** Longer than a thread may be silent. */
const stoppedMs = 1_000;
const key = 'key-0123456789abcdef0123456789abcdef';
const names = Array.from({ length: 40 }, (_, i) => `room-${i}`);
const [cursed = '', second = ''] = names.filter((name) => placeOf(name, 2) === 0);
const elsewhere = names.find((name) => placeOf(name, 2) === 1) ?? '';

/** As a client does: again with the same mid for as long as it is told to. Returns the code it ends with, and how many deaths that took. */
async function insist(client: RawClient, fields: Record<string, unknown>): Promise<[code: string, restarts: number]> {
  for (let restarts = 0; ; ) {
    const answer = await client.command('publish', fields);
    if (answer.op === 'ok') return ['ok', restarts];
    if (!answer.retry) return [answer.code, restarts];
    if (answer.code === 'restarted') restarts++;
    else await client.settled(); // busy: the successor is not there yet
  }
}

describe('poison', () => {
  it('R7 a command that crashes its shard three times is refused, without its room or its sender', async () => {
    const hub = await brittleHub();
    const client = await RawClient.connect(hub.url, { user: 'alice' });
    await client.ok('subscribe', { room: cursed });
    const innocent = client.command('publish', { room: second, mid: v7(), body: 'in the same batch' });
    const poison = { room: cursed, mid: v7(), body: { poison: 'throw' } };
    expect(await insist(client, poison)).toEqual(['quarantined', 3]);
    expect(['ok', 'error']).toContain((await innocent).op);
    expect(await client.refused('publish', poison)).toBe('quarantined');
    expect(await insist(client, { room: cursed, mid: v7(), body: 'sound' })).toEqual(['ok', 0]);
    expect((await client.next('entry', ({ body }) => body === 'sound')).room).toBe(cursed);
    expect(client.ended).toBeNull();
    const stats = (await (await fetch(`${hub.http}/stats`)).json()) as { quarantine: object };
    expect(stats.quarantine).toEqual({ barredRooms: 0, barredCommands: 1, crashes: 3 });
    expect(await (await fetch(`${hub.http}/metrics`)).text()).toMatch(/^hubbub_quarantine_barred_commands 1$/m);
    expect(hub.stdout).toMatch(/a command crashed its thread repeatedly: quarantined/);
  });

  it('R7 a command is named also where its shard dies before it is decoded, after its turn by a rejection, or when its append is answered', async () => {
    // Too many keys for the hub to read it without decoding it.
    const keys = Object.fromEntries(names.map((name) => [name, 0]));
    const ways = [{ poisonDecoded: 'loop', ...keys }, { poison: 'reject' }, { poisonSettled: 'throw' }];
    const hub = await brittleHub({ shards: ways.length });
    const fates = ways.map(async (body, shard) => {
      const client = await RawClient.connect(hub.url, { user: 'alice', format: 'json' });
      const [room, innocent] = names.filter((name) => placeOf(name, ways.length) === shard);
      const [fate] = await insist(client, { room, mid: v7(), body });
      const [other] = await insist(client, { room: innocent, mid: v7(), body: 'sound' });
      return [body, fate, other, client.ended];
    });
    expect(await Promise.all(fates)).toEqual(ways.map((body) => [body, 'quarantined', 'ok', null]));
    const stats = (await (await fetch(`${hub.http}/stats`)).json()) as { quarantine: object };
    // What comes after the answer of the store is laid to the room: which of its commands it was nobody looks up.
    expect(stats.quarantine).toMatchObject({ barredRooms: 1, barredCommands: 2 });
  });

  it('R7 what crashes the writer or a reader again and again is set aside too, and nothing else is refused for it', async () => {
    const hub = await brittleHub({ storeHangMs: 600 });
    const [alice, bob] = [await RawClient.connect(hub.url, { user: 'alice' }), await RawClient.connect(hub.url, { user: 'bob' })];
    const innocent = alice.command('publish', { room: second, mid: v7(), body: 'in the same batch' });
    const stored = insist(alice, { room: cursed, mid: v7(), body: { poisonStored: 'throw' } });
    const read = bob.refused('publish', { room: 'poisonRead-memory', mid: v7(), body: 'x' });
    expect([await stored, await read, (await innocent).op]).toEqual([['quarantined', 0], 'quarantined', 'ok']);
    expect(await insist(alice, { room: cursed, mid: v7(), body: 'sound' })).toEqual(['ok', 0]);
    const stats = (await (await fetch(`${hub.http}/stats`)).json()) as Record<string, Record<string, number>>;
    expect(stats.quarantine).toMatchObject({ barredRooms: 1, barredCommands: 1 });
    expect([alice.ended, bob.ended]).toEqual([null, null]);
  });

  it('R7 F8 a room in which different commands crash its shard, hanging it too, is refused and not followed again, until an operator lifts that', async () => {
    const hub = await brittleHub();
    const client = await RawClient.connect(hub.url, { user: 'alice' });
    const other = await RawClient.connect(hub.url, { user: 'bob' });
    for (const room of [cursed, second, elsewhere]) await client.ok('subscribe', { room });
    for (const how of ['throw', 'loop']) {
      const answer = await client.command('publish', { room: cursed, mid: v7(), body: { poison: how } });
      expect(answer).toMatchObject({ code: 'restarted', retry: true });
      expect(await other.ok('publish', { room: elsewhere, body: 'undisturbed' })).toMatchObject({ op: 'ok' });
      await insist(other, { room: second, mid: v7(), body: 'back' });
    }
    await client.command('publish', { room: cursed, mid: v7(), body: { poison: 'memory' } });
    expect(await client.next('unsubscribed')).toMatchObject({ room: cursed, reason: 'quarantined' });
    expect(await client.refused('publish', { room: cursed, body: 'sound' })).toBe('quarantined');
    expect(await other.refused('subscribe', { room: cursed })).toBe('quarantined');
    expect(await insist(other, { room: second, mid: v7(), body: 'the last' })).toEqual(['ok', 0]);
    await client.next('entry', ({ body }) => body === 'the last');
    const ops = (path: string, method: string) => fetch(`${hub.http}/api/v1${path}`, { method, headers: { authorization: `Bearer ${key}` } });
    expect(await (await ops('/quarantine', 'GET')).json()).toMatchObject({ quarantine: [{ room: cursed, op: null }] });
    expect((await ops(`/quarantine/${second}`, 'DELETE')).status).toBe(404);
    expect(await (await ops(`/quarantine/${cursed}`, 'DELETE')).json()).toEqual({ lifted: 1 });
    await expect.poll(async () => (await other.command('publish', { room: cursed, body: 'sound' })).op).toBe('ok');
  });

  it('I9 an inbox stops before an item that crashes its shard as it comes and as it waits, loses nothing, and goes on when that ends', async () => {
    const folder = temporaryFolder();
    // No death more than it takes, or the hub ends.
    const hub = await brittleHub({ restartsMax: 3 }, folder);
    const [alice, carol] = [await RawClient.connect(hub.url, { user: 'alice' }), await RawClient.connect(hub.url, { user: 'carol' })];
    const connect = () => RawClient.connect(hub.url, { user: 'bob', device: 'phone' });
    let bob = await connect();
    const direct = async (client: RawClient, body: unknown): Promise<void> => {
      const mid = v7();
      while ((await client.command('direct', { to: 'bob', mid, body })).op !== 'ok') await client.settled();
    };
    await direct(alice, 'before');
    await direct(carol, { poisonPushed: 'throw' });
    await direct(alice, 'after');
    expect(await bob.next('inbox-stopped')).toEqual({ op: 'inbox-stopped', n: 2, reason: 'quarantined' });
    // Neither he nor anybody else is refused anything else for it, however often he comes back.
    await direct(carol, 'more');
    expect(await bob.ok('ack', { through: 1 })).toMatchObject({ through: 1 });
    await bob.close();
    bob = await connect();
    expect(bob.welcome?.inbox).toEqual({ head: 4, acked: 1 });
    expect(await bob.next('inbox-stopped')).toMatchObject({ n: 2 });
    expect(await bob.refused('ack', { through: 3 })).toBe('bad-request');
    await insist(bob, { room: second, mid: v7(), body: 'sound' });
    expect([alice.ended, carol.ended, bob.pushes.filter(({ op }) => op === 'inbox')]).toEqual([null, null, []]);
    const ops = async (method: string) =>
      (await fetch(`${hub.http}/api/v1/quarantine`, { method, headers: { authorization: `Bearer ${key}` } })).json() as Promise<unknown>;
    expect(await ops('GET')).toMatchObject({ quarantine: [{ room: 'dm:bob:carol', op: 'inbox' }] });
    const stats = (await (await fetch(`${hub.http}/stats`)).json()) as { quarantine: object };
    expect(stats.quarantine).toEqual({ barredRooms: 0, barredCommands: 1, crashes: 3 });
    writeFileSync(join(folder, 'cured'), '');
    await ops('DELETE');
    for (const n of [2, 3, 4]) expect(await bob.next('inbox')).toMatchObject({ n });
    await bob.ok('ack', { through: 4 });
  });
});

it('a hub whose threads die again and again ends, with a line that says so and code 70', async () => {
  const hub = await brittleHub({ restartsMax: 2 });
  const client = await RawClient.connect(hub.url, { user: 'alice' });
  const poison = async (): Promise<void> => {
    // Rooms and commands that differ each time: nothing to set aside.
    const rooms = names.filter((name) => placeOf(name, 2) === 0);
    for (let deaths = 0; deaths < 2 * rooms.length; ) {
      const { code } = await client.command('publish', { room: rooms[deaths % rooms.length], mid: v7(), body: { poison: 'throw' } });
      if (code === 'restarted') deaths++;
    }
  };
  await poison().catch(() => {}); // the connection ends with the hub
  expect(await hub.exited).toEqual({ code: 70, signal: null });
  expect(hub.stdout).toMatch(/shard 0 died 3 times within a minute/);
  // Its other threads were ended in between.
  expect(hub.stdout).toMatch(/the hub gives up[\s\S]*the hub ended/);
});

it('a hub whose writer hangs while it stops replaces it, and stops in good order', async () => {
  const folder = temporaryFolder();
  const hub = await startHub({ hangMs: 500, storeHangMs: 500, ...brittle(folder) });
  await RawClient.connect(hub.url, { user: 'alice' });
  order(folder, 'persistence', 'loop'); // as it learns that alice has gone
  expect(await hub.kill('SIGTERM')).toEqual({ code: 0, signal: null });
  expect(hub.stdout).toMatch(/replacing a thread/);
});

it('where the main thread stood still is in the log, with the calls that led there, and it goes on', async () => {
  const hub = await brittleHub();
  const client = await RawClient.connect(hub.url, { user: 'alice' });
  const told = /where the main thread stood still .*standStill \(test\/fixtures\/faults\.mjs:\d+:\d+\).* \(dist\/gateway\/reading\.js:/;
  // On a busy machine it may have gone on before anybody has come to look.
  for (let ms = 900; !told.test(hub.stdout); ms *= 2) await client.ok('publish', { room: 'a', body: { standStill: `loop${ms}` } });
  expect(await client.ok('publish', { room: 'a', body: 1 })).toMatchObject({ op: 'ok' });
});

it('a hub that is told to stop while its main thread stands still, and is looked at, stops in good order', async () => {
  const hub = await brittleHub();
  const client = await RawClient.connect(hub.url, { user: 'alice' });
  client.command('publish', { room: 'a', body: { standStill: 'sleep1000' } }).catch(() => {}); // the connection ends with the hub
  await expect.poll(() => hub.stderr).toMatch(/standing still/);
  expect(await hub.kill('SIGTERM')).toEqual({ code: 0, signal: null });
});

it('a process that was stopped for long, and goes on, replaces none of its threads and closes nobody', async () => {
  const hub = await startHub({ hangMs: 500 });
  const client = await RawClient.connect(hub.url, { user: 'alice' });
  await client.ok('publish', { room: 'a', body: 1 });
  process.kill(hub.pid, 'SIGSTOP');
  await new Promise((resolve) => setTimeout(resolve, stoppedMs));
  process.kill(hub.pid, 'SIGCONT');
  for (let n = 0; n < 5; n++) await client.ok('publish', { room: 'a', body: n });
  const stats = (await (await fetch(`${hub.http}/stats`)).json()) as Record<string, { restarts?: number }>;
  expect(Object.values(stats).map(({ restarts = 0 }) => restarts)).toEqual(Object.values(stats).map(() => 0));
});
