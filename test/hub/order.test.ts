/** Everybody sees a room in the same order, without a hole: 200 clients in 20 rooms send 10,000 messages. */
import { expect, it } from 'vitest';
import { checkHistory } from '../../src/testing/checker.ts';
import { Recorder } from '../../src/testing/recorder.ts';
import { startHub } from '../kit/hub.ts';
import { RawClient } from '../kit/raw-client.ts';
import { readLogs } from '../kit/reader.ts';
import { seeded } from '../kit/seeded.ts';

const clientsAll = 200;
const messagesEach = 50;
const rooms = Array.from({ length: 20 }, (_, i) => `room-${i}`);
const hub = await startHub({ rateLimit: 0, shards: 3 });

it('M2 R4 every subscriber sees the same gapless order, whatever his subprotocol', async () => {
  const random = seeded();
  const recorder = new Recorder();
  const clients = await Promise.all(
    Array.from({ length: clientsAll }, async (_, i) => {
      const client = await RawClient.connect(hub.url, { user: `user-${i}`, format: i % 2 === 0 ? 'json' : 'msgpack', recorder });
      const room = rooms[i % rooms.length] ?? '';
      await client.ok('subscribe', { room });
      return { client, room };
    }),
  );
  const perRoom = (clientsAll / rooms.length) * messagesEach;

  // Five on their way at a time, so that senders interleave and answers return while others still send.
  const talk = async (client: RawClient, room: string): Promise<void> => {
    for (let sent = 0; sent < messagesEach; ) {
      const burst = Math.min(1 + random.int(5), messagesEach - sent);
      await Promise.all(Array.from({ length: burst }, (_, i) => client.ok('publish', { room, body: { by: client.user, n: sent + i } })));
      sent += burst;
    }
  };
  await Promise.all(clients.map(({ client, room }) => talk(client, room)));
  await Promise.all(clients.map(({ client, room }) => client.until(() => client.entries(room).at(-1)?.seq === perRoom)));

  const logs = await readLogs(hub.url, rooms, recorder);
  for (const { client, room } of clients) {
    const log = logs.get(room) ?? [];
    expect(log).toHaveLength(perRoom);
    expect(client.entries(room).map(({ seq, mid }) => [seq, mid])).toEqual(log.map(({ seq, mid }) => [seq, mid]));
  }
  // One's own messages keep the order in which one sent them.
  for (const log of logs.values()) {
    const counts = new Map<string, number>();
    for (const { body } of log) {
      const { by, n } = body as { by: string; n: number };
      expect(n).toBe(counts.get(by) ?? 0);
      counts.set(by, n + 1);
    }
  }
  expect(checkHistory(recorder.events)).toEqual([]);
});
