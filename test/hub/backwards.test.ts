/** History that goes back (a restored backup, a log whose end a crash took) is announced to who saw more, and to nobody else. */
import { readFileSync, statSync, truncateSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { type Hub, runCommand, startHub, temporaryFolder } from '../kit/hub.ts';
import { RawClient } from '../kit/raw-client.ts';
import { readLogs } from '../kit/reader.ts';

type Position = { epoch: string; seq: number };
const rooms = ['one', 'two', 'three'];
const range = (from: number, to: number): number[] => Array.from({ length: to - from + 1 }, (_, i) => from + i);
const seqs = (client: RawClient, room: string): number[] => client.entries(room).map(({ seq }) => seq);

/** Everything anybody was told: within an epoch, a seq of a room means one message. */
class Told {
  readonly #mids = new Map<string, string | null>();
  readonly twice: string[] = [];

  add(epoch: string, room: string, seq: number, mid: string | null): void {
    const key = `${epoch} ${room} ${seq}`;
    const known = this.#mids.get(key);
    if (known !== undefined && known !== mid) this.twice.push(key);
    this.#mids.set(key, mid);
  }
}

async function enter(hub: Hub, user: string, told: Told): Promise<RawClient & { epoch: string }> {
  const client = await RawClient.connect(hub.url, { user });
  const epoch = client.welcome?.epoch ?? '';
  client.onPush = (push) => {
    if (push.op === 'entry') told.add(epoch, push.room, push.seq, push.mid);
  };
  return Object.assign(client, { epoch });
}

/** Publishes into all rooms until told to stop (or `rounds` times); resolves to the last seq of each. */
async function talk(hub: Hub, told: Told, rounds: number, go: { on: boolean } = { on: true }): Promise<Map<string, Position>> {
  const writer = await enter(hub, 'writer', told);
  const heads = new Map<string, Position>();
  for (let round = 0; round < rounds && go.on; round++) {
    await Promise.all(
      rooms.flatMap((room) =>
        range(1, 5).map(async () => {
          const { seq = 0, mid } = await writer.ok('publish', { room, body: `${round} ${'x'.repeat(400)}` });
          told.add(writer.epoch, room, seq, mid ?? null);
          if (seq > (heads.get(room)?.seq ?? 0)) heads.set(room, { epoch: writer.epoch, seq });
        }),
      ),
    );
  }
  writer.terminate();
  return heads;
}

async function headsOf(hub: Hub): Promise<Map<string, number>> {
  const logs = await readLogs(hub.url, rooms);
  for (const log of logs.values()) expect(log.map(({ seq }) => seq)).toEqual(range(1, log.length));
  return new Map([...logs].map(([room, log]) => [room, log.length]));
}

/** Comes back with `position` and gets exactly what followed it, then what is new. */
async function resumes(hub: Hub, told: Told, room: string, position: Position, head: number): Promise<void> {
  const client = await enter(hub, 'steady', told);
  expect(await client.ok('subscribe', { room, position })).toMatchObject({ recovered: true, position: { seq: head } });
  await client.until(() => position.seq === head || seqs(client, room).at(-1) === head);
  expect(seqs(client, room)).toEqual(range(position.seq + 1, head));
  client.terminate();
}

/** Comes back with `position` and is told that it is worth nothing; returns who then follows from the head on. */
async function beginsAnew(hub: Hub, told: Told, room: string, position: Position, head: number): Promise<RawClient> {
  const client = await enter(hub, 'ahead', told);
  const gaps = [{ room, reason: 'epoch', to: head }];
  expect(await client.ok('subscribe', { room, position })).toMatchObject({ recovered: false, position: { epoch: client.epoch, seq: head }, gaps });
  return client;
}

it('F4 a restored backup is announced to who saw what is gone, and everybody else resumes', async () => {
  const hub = await startHub({ rateLimit: 0, shards: 2 });
  const told = new Told();
  const file = join(temporaryFolder(), 'monday.db');
  const here = ['--data', hub.data] as const;

  const early = await talk(hub, told, 20);
  const go = { on: true };
  const talking = talk(hub, told, Number.POSITIVE_INFINITY, go);
  expect(await runCommand('backup', file, ...here)).toMatchObject({
    code: 0,
    lines: [expect.stringMatching(/monday\.db: \d+\.\d MB, \d+ entries, in \d+\.\d s$/)],
  });
  expect(await runCommand('check', ...here)).toMatchObject({ code: 0, lines: [expect.stringMatching(/^no problem in .*: 3 rooms, \d+ entries/)] });
  for (const words of [
    ['restore', file, '--force'],
    ['epoch', 'bump'],
  ])
    expect(await runCommand(...words, ...here)).toMatchObject({ code: 1, lines: [expect.stringContaining('a hub is running on')] });
  go.on = false;
  const late = await talking;
  const first = [...early.values()][0]?.epoch ?? '';
  await hub.restart('SIGKILL');
  const latest = await talk(hub, told, 5);
  const second = [...latest.values()][0]?.epoch ?? '';
  expect(second).not.toBe(first);
  await hub.stop();

  const bytes = readFileSync(file);
  expect(await runCommand('backup', file, ...here)).toMatchObject({ code: 1, lines: [expect.stringContaining('overwrites nothing')] });
  expect(await runCommand('restore', file, ...here)).toMatchObject({ code: 1, lines: [expect.stringContaining('--force')] });
  expect(await runCommand('restore', file, '--force', ...here)).toMatchObject({ code: 0, lines: [expect.stringMatching(/^restored .* epoch /)] });
  expect(readFileSync(file).equals(bytes)).toBe(true);
  await hub.start();

  const heads = await headsOf(hub);
  for (const room of rooms) {
    const head = heads.get(room) ?? 0;
    const seen = late.get(room)?.seq ?? 0;
    expect(head).toBeGreaterThanOrEqual(100);
    expect(head).toBeLessThan(seen);
    await resumes(hub, told, room, { epoch: first, seq: 60 }, head);
    await resumes(hub, told, room, { epoch: first, seq: head }, head);
    await resumes(hub, told, room, { epoch: second, seq: head - 3 }, head); // of the hub's second life, but within the backup
  }
  const anew = await Promise.all(rooms.map((room) => beginsAnew(hub, told, room, late.get(room) as Position, heads.get(room) ?? 0)));
  await beginsAnew(hub, told, 'one', { epoch: first, seq: (heads.get('one') ?? 0) + 1 }, heads.get('one') ?? 0);

  // The log grows past where the lost one had ended.
  const most = Math.max(...[...latest.values()].map(({ seq }) => seq));
  const grown = await talk(hub, told, Math.ceil((most - Math.min(...heads.values())) / 5) + 2);
  for (const [i, room] of rooms.entries()) {
    const head = grown.get(room)?.seq ?? 0;
    expect(head).toBeGreaterThan(latest.get(room)?.seq ?? 0);
    await anew[i]?.until(() => seqs(anew[i] as RawClient, room).at(-1) === head);
    expect(seqs(anew[i] as RawClient, room)).toEqual(range((heads.get(room) ?? 0) + 1, head));
    await beginsAnew(hub, told, room, late.get(room) as Position, head);
    await beginsAnew(hub, told, room, latest.get(room) as Position, head);
    await resumes(hub, told, room, { epoch: first, seq: heads.get(room) ?? 0 }, head);
  }
  expect(told.twice).toEqual([]);
  expect(await runCommand('check', ...here)).toMatchObject({ code: 0 });
});

it('F4 a log whose end a crash took is announced to who saw that end', async () => {
  const hub = await startHub({ rateLimit: 0, shards: 1, durability: 'process' });
  const told = new Told();
  const seen = await talk(hub, told, 40);
  await hub.kill('SIGKILL');
  const wal = join(hub.data, 'hubbub.db-wal');
  truncateSync(wal, Math.floor(statSync(wal).size / 2));
  await hub.start();

  const heads = await headsOf(hub);
  for (const room of rooms) {
    const head = heads.get(room) ?? 0;
    const { epoch, seq } = seen.get(room) as Position;
    expect(head).toBeGreaterThan(0);
    expect(head).toBeLessThan(seq);
    await resumes(hub, told, room, { epoch, seq: head - 1 }, head);
    await beginsAnew(hub, told, room, { epoch, seq: head + 1 }, head);
  }
  await talk(hub, told, 60);
  for (const [room, head] of await headsOf(hub)) {
    await beginsAnew(hub, told, room, seen.get(room) as Position, head);
    await resumes(hub, told, room, { epoch: (seen.get(room) as Position).epoch, seq: heads.get(room) ?? 0 }, head);
  }
  expect(told.twice).toEqual([]);
  expect(await runCommand('check', '--data', hub.data)).toMatchObject({ code: 0 });
});
