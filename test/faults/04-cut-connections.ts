/**
 * Connections that break all the time, with a goodbye, a reset or no word at all, while others write. Each client must be shown
 * every room without a hole, and what it missed must come fast.
 */
import type { Cut, Link } from '../../src/testing/proxy.ts';
import { RawClient } from '../kit/raw-client.ts';
import { Follower, join, passed } from './app.ts';
import { percentile, rounded } from './percentile.ts';
import type { FaultRow } from './row.ts';

type Size = { clients: number; rooms: number; seconds: number; perSecond: number; catchUps: number; missed: number };
const cuts: readonly Cut[] = ['fin', 'rst', 'silent'];
const writerTurnMs = 50;
const catchUpsAtOnce = 5;
/** A thousand at once have two processors to share with the hub. */
const gatherMsMax = 60_000;

export const row: FaultRow<Size> = {
  test: 4,
  title: 'F2 F6 cut every 1–5 s by FIN, RST or silence while others write: no client misses or repeats an entry',
  target: '0 gaps; catch-up of 1,000 messages p99 ≤ 500 ms',
  gate: { clients: 60, rooms: 6, seconds: 3, perSecond: 100, catchUps: 20, missed: 300 },
  full: { clients: 1_000, rooms: 20, seconds: 600, perSecond: 60, catchUps: 200, missed: 1_000 },

  async run({ clients: clientCount, rooms: roomCount, seconds, perSecond, catchUps, missed }, kit) {
    const { random } = kit;
    const hub = await kit.hub({ heartbeatMs: 1_000, heartbeatGraceMs: 1_000, presenceGraceMs: 0, connectionsMax: clientCount * 4 });
    const counts: Record<Cut, number> = { fin: 0, rst: 0, silent: 0 };
    let phase: 'gathering' | 'breaking' | 'over' = 'gathering';
    const accepted = (link: Link): void => {
      const timer = setTimeout(() => {
        if (phase === 'gathering') return accepted(link);
        if (phase === 'over') return;
        const how = random.pick(cuts);
        counts[how]++;
        link.cut(how);
      }, 1_000 + random.int(4_000));
      timer.unref();
    };
    const proxy = await kit.proxy(hub, { accepted });
    const rooms = Array.from({ length: roomCount }, (_, i) => `room-${i}`);
    const followers = await Promise.all(
      Array.from({ length: clientCount }, async (_, i) => {
        await passed(i * 2);
        return Follower.start(join(kit, proxy.url, `reader-${i}`, { timeoutMs: gatherMsMax }), `reader-${i}`, rooms[i % roomCount] ?? '');
      }),
    );

    phase = 'breaking';
    // Not through the proxy, and yet this process may be too busy with all its clients to answer a heartbeat.
    const writer = join(kit, hub.url, 'writer');
    const began = performance.now();
    for (let sent = 0; performance.now() - began < seconds * 1_000; await passed(writerTurnMs)) {
      const due = ((performance.now() - began) / 1_000) * perSecond;
      const batch: Promise<unknown>[] = [];
      for (; sent < due; sent++) batch.push(writer.publish(rooms[sent % roomCount] ?? '', `entry ${sent}`));
      await Promise.all(batch);
    }
    phase = 'over';
    const heads = new Map<string, number>();
    for (const room of rooms) heads.set(room, (await writer.command('info', { room })).position.seq);
    await Promise.all(followers.map((follower) => follower.reached(heads.get(follower.room) ?? 0)));
    kit.say(`${counts.fin + counts.rst + counts.silent} cuts`);

    for (let left = missed; left > 0; left -= 250) {
      await Promise.all(Array.from({ length: Math.min(left, 250) }, () => writer.publish('missed', 'x'.repeat(100))));
    }
    const took: number[] = [];
    const lane = async (): Promise<void> => {
      while (took.length < catchUps) {
        const started = performance.now();
        took.push(Number.NaN);
        const at = took.length - 1;
        const reader = await RawClient.connect(hub.url, { user: `late-${at}`, format: 'msgpack' });
        await reader.ok('subscribe', { room: 'missed', position: { epoch: reader.welcome?.epoch, seq: 0 } });
        await reader.until(() => reader.entries('missed').at(-1)?.seq === missed);
        took[at] = performance.now() - started;
        reader.terminate();
      }
    };
    await Promise.all(Array.from({ length: catchUpsAtOnce }, lane));
    await Promise.all([writer.close(), ...followers.map(({ client }) => client.close())]);

    const p99 = percentile(took, 0.99);
    const entries = followers.reduce((sum, { seen }) => sum + seen, 0);
    return {
      figures: { ...counts, entriesShown: entries, gaps: followers.flatMap(({ faults }) => faults).length, catchUpOf: missed, catchUpP99Ms: rounded(p99) },
      violations: [...followers.flatMap(({ faults }) => faults).slice(0, 20), ...(await kit.checkSettled())],
      missed: p99 <= 500 ? [] : [`a catch-up took ${rounded(p99)} ms`],
    };
  },
};
