/**
 * The process is killed in mid-traffic and started again on its data, over and over. The clients are this project's own: nobody
 * tells them to come back, to resume or to send again.
 */
import { readLogs } from '../kit/reader.ts';
import { Follower, join } from './app.ts';
import { percentile, rounded } from './percentile.ts';
import { type FaultRow, violationsOf } from './row.ts';

/** `acks`: over all rounds. */
type Size = { rounds: number; senders: number; rooms: number; acks: number };
const followersPerRoom = 2;
const inFlight = 16;

export const row: FaultRow<Size> = {
  test: 1,
  title: 'M1 M2 M3 F2 killed under load again and again: every acked message is there once, and clients resume alone',
  target: '0 lost and 0 doubled of 1,000,000 acked; restart to first ack p99 ≤ 2,000 ms',
  gate: { rounds: 2, senders: 30, rooms: 5, acks: 1_000 },
  full: { rounds: 100, senders: 200, rooms: 20, acks: 1_000_000 },

  async run({ rounds, senders, rooms: roomCount, acks }, kit) {
    const { random, recorder } = kit;
    const hub = await kit.hub({ presenceGraceMs: 0 });
    const rooms = Array.from({ length: roomCount }, (_, i) => `room-${i}`);
    const clients = Array.from({ length: senders }, (_, i) => join(kit, hub.url, `user-${i}`));
    await Promise.all(clients.map((client) => client.ready));
    const followers = await Promise.all(
      rooms.flatMap((room, i) =>
        Array.from({ length: followersPerRoom }, (_, j) => Follower.start(clientAt(i * followersPerRoom + j), nameAt(i * followersPerRoom + j), room)),
      ),
    );
    let acked = 0;
    let onAck: () => void = () => undefined;
    let over = false;
    const refusals: string[] = [];
    const lane = async (sender: number): Promise<void> => {
      while (!over) {
        try {
          await clientAt(sender).publish(random.pick(rooms), `message ${sender} ${'x'.repeat(60)}`);
          acked++;
        } catch (error) {
          refusals.push(String(error));
          over ||= refusals.length > 10;
        }
        onAck();
      }
    };
    const lanes = clients.flatMap((_, i) => Array.from({ length: inFlight }, () => lane(i)));

    const restartMs: number[] = [];
    for (let round = 1; round <= rounds && !over; round++) {
      // Its share of what is left, more or less; the last round brings it to the whole.
      const share = (acks - acked) / (rounds - round + 1);
      const enough = round === rounds ? acks : acked + share * (0.5 + random.next());
      await new Promise<void>((resolve) => (onAck = () => (over || acked >= enough) && resolve()));
      onAck = () => undefined;
      if (over) break;
      await hub.kill('SIGKILL');
      const began = performance.now();
      const firstAck = new Promise<void>((resolve) => (onAck = resolve));
      await hub.start();
      await firstAck;
      onAck = () => undefined;
      restartMs.push(performance.now() - began);
      if (round % 10 === 0) kit.say(`${round} kills, ${acked} acked`);
    }
    over = true;
    await Promise.all(lanes);
    const logs = await readLogs(hub.url, rooms, recorder);
    await Promise.all(followers.map((follower) => follower.reached(logs.get(follower.room)?.length ?? 0)));
    await Promise.all(clients.map((client) => client.close()));

    const kept = [...logs.values()].flat();
    const doubled = kept.length - new Set(kept.map(({ mid }) => mid)).size;
    const p99 = percentile(restartMs, 0.99);
    return {
      figures: {
        acked,
        lost: acked - (kept.length - doubled),
        doubled,
        kills: rounds,
        restartToFirstAckP50Ms: rounded(percentile(restartMs, 0.5)),
        restartToFirstAckP99Ms: rounded(p99),
      },
      violations: [
        ...(await kit.checkSettled()),
        ...refusals,
        ...followers.flatMap(({ faults }) => faults),
        ...violationsOf({ 'as many messages stand there as were acked': kept.length === acked, 'no message stands there twice': doubled === 0 }),
      ],
      missed: p99 <= 2_000 ? [] : [`restart to first ack took ${rounded(p99)} ms`],
    };

    function clientAt(index: number): (typeof clients)[number] {
      const client = clients[index % clients.length];
      if (client === undefined) throw new Error('there are no clients');
      return client;
    }
    function nameAt(index: number): string {
      return `user-${index % clients.length}`;
    }
  },
};
