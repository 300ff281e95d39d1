/**
 * The hub is killed in mid-traffic and started again on its data, several times. Every acknowledged message is in its
 * room's log exactly once, and every user ends with the same log. `ROUNDS` makes it a longer trial.
 */
import { expect, it } from 'vitest';
import { checkHistory } from '../../src/testing/checker.ts';
import { Recorder } from '../../src/testing/recorder.ts';
import { startHub } from '../kit/hub.ts';
import { Loyal } from '../kit/loyal.ts';
import { readLogs } from '../kit/reader.ts';
import { seeded } from '../kit/seeded.ts';

const rounds = Number(process.env.ROUNDS ?? 5);
const rooms = Array.from({ length: 5 }, (_, i) => `room-${i}`);

it(`M1 M2 F2 nothing acknowledged is lost or doubled by ${rounds} kills`, { timeout: 20_000 + rounds * 10_000 }, async () => {
  const random = seeded();
  const hub = await startHub({ rateLimit: 0, presenceGraceMs: 0, shards: 2 });
  const recorder = new Recorder();
  const users = Array.from({ length: 20 }, (_, i) => new Loyal(`user-${i}`, rooms, { recorder, format: i % 2 ? 'json' : 'msgpack', device: 'only' }));
  const ackedInAll = (): number => users.reduce((sum, user) => sum + user.acked, 0);

  for (let round = 0; round < rounds; round++) {
    await Promise.all(users.map((user) => user.connect(hub.url)));
    const killAt = ackedInAll() + 200 + random.int(800);
    const reached = new Promise<void>((resolve) => {
      for (const user of users) user.onAck(() => ackedInAll() >= killAt && resolve());
    });
    const talking = users.map((user) => user.chat(Number.POSITIVE_INFINITY, 1 + random.int(8), () => random.pick(rooms)));
    await reached;
    await hub.restart('SIGKILL');
    await Promise.all(talking);
  }

  await Promise.all(users.map((user) => user.connect(hub.url)));
  await Promise.all(users.map((user) => user.delivered()));
  expect(users.map((user) => user.unacked.size)).toEqual(users.map(() => 0));
  const logs = await readLogs(hub.url, rooms, recorder);
  const head = (room: string): number => logs.get(room)?.at(-1)?.seq ?? 0;
  await Promise.all(users.map((user) => user.client?.until(() => rooms.every((room) => user.head(room) >= head(room)))));
  for (const user of users) {
    for (const room of rooms) expect([...(user.seen.get(room) ?? [])].sort(([a], [b]) => a - b)).toEqual(logs.get(room)?.map(({ seq, mid }) => [seq, mid]));
  }
  const kept = [...logs.values()].flat().filter(({ kind }) => kind === 'message').length;
  expect(kept).toBe(ackedInAll());
  expect(kept).toBeGreaterThan(rounds * 200);
  expect(checkHistory(recorder.events)).toEqual([]);
});
