/**
 * A working day in short: steady load, people coming and going, edges that break now and then (cut connections, readers that
 * stop reading, a hub that is stopped by the system for a second), and nothing may grow.
 */
import { existsSync, statSync } from 'node:fs';
import { join as path } from 'node:path';
import type { HubProcess } from '../../src/testing/hub-process.ts';
import type { Cut } from '../../src/testing/proxy.ts';
import { RawClient } from '../kit/raw-client.ts';
import { readLogs } from '../kit/reader.ts';
import { Follower, join, passed } from './app.ts';
import { inspected, Memory } from './memory.ts';
import { percentile, rounded } from './percentile.ts';
import { openFiles, residentKiB, withoutProc } from './processes.ts';
import { type FaultRow, violationsOf } from './row.ts';
import { exceeds, type Slope, slopeOf } from './slope.ts';

type Size = {
  seconds: number;
  probeSeconds: number;
  people: number;
  rooms: number;
  faultEveryMs: number;
  sampleMs: number;
  perSecondMax: number;
  /** What the database holds before: more than its page caches, which would otherwise fill all the while. */
  oldMiB: number;
};
type Sample = { seconds: number; liveMiB: number; rssMiB: number; files: number; walMiB: number };
const walMiBMax = 64;
const growthMaxMiBPerHour = 1;
/** Before it, caches fill. */
const warmShare = 0.4;
/** Of fewer a slope says nothing. */
const tellingSamples = 20;
const loadShare = 0.6;
const stoppedMs = 700;
/** Below what the hub answers with `limit`. */
const openMax = 1_000;
const visitors = 5;
/** Of each visitor, one after the other. */
const faces = 20;
const turnMs = 20;
const oldBytes = 30_000;
const oldAtOnce = 8;

export const row: FaultRow<Size> = {
  test: 28,
  title: 'M1 M2 F2 X3 a soak at 60 % load with churn and faults: the history holds and nothing grows',
  target: `memory after a full collection, resident size and descriptors grow by ≤ ${growthMaxMiBPerHour} MiB (or descriptor) an hour after warm-up, as surely as two standard errors tell; write-ahead log ≤ ${walMiBMax} MiB`,
  gate: { seconds: 2, probeSeconds: 0.5, people: 20, rooms: 5, faultEveryMs: 400, sampleMs: 250, perSecondMax: 300, oldMiB: 1 },
  full: { seconds: 560, probeSeconds: 5, people: 100, rooms: 20, faultEveryMs: 5_000, sampleMs: 5_000, perSecondMax: 2_000, oldMiB: 120 },

  needs: withoutProc,

  async run({ seconds, probeSeconds, people, rooms: roomCount, faultEveryMs, sampleMs, perSecondMax, oldMiB }, kit) {
    const { random, recorder } = kit;
    const hub = await kit.hub({ env: inspected, heartbeatMs: 2_000, heartbeatGraceMs: 2_000, presenceGraceMs: 0 });
    const memory = await Memory.of(hub);
    kit.defer(() => memory.close());
    await fillCaches(hub, oldMiB);
    const proxy = await kit.proxy(hub);
    const rooms = Array.from({ length: roomCount }, (_, i) => `room-${i}`);
    const followers = await Promise.all(
      Array.from({ length: people }, (_, i) => Follower.start(join(kit, proxy.url, `person-${i}`), `person-${i}`, rooms[i % roomCount] ?? '')),
    );
    const writer = await RawClient.connect(hub.url, { user: 'writer', recorder });
    const say = (): Promise<unknown> => writer.ok('publish', { room: random.pick(rooms), body: 'x'.repeat(50 + random.int(300)) });

    // What it can do, flat out.
    let most = 0;
    const probeUntil = performance.now() + probeSeconds * 1_000;
    await Promise.all(
      Array.from({ length: 32 }, async () => {
        while (performance.now() < probeUntil) {
          await say();
          most++;
        }
      }),
    );
    const perSecond = Math.min(perSecondMax, (most / probeSeconds) * loadShare);

    const counts = { cuts: 0, visits: 0, unread: 0, stops: 0 };
    const samples: Sample[] = [];
    const acks: number[] = [];
    const began = performance.now();
    const over = (): boolean => performance.now() - began > seconds * 1_000;
    const load = async (): Promise<void> => {
      const open = new Set<Promise<unknown>>();
      for (let sent = 0; !over(); await passed(turnMs)) {
        for (; sent < ((performance.now() - began) / 1_000) * perSecond && open.size < openMax; sent++) {
          const from = performance.now();
          const one = say().then(() => {
            open.delete(one);
            if (acks.push(performance.now() - from) > 100_000) acks.splice(0, 50_000);
          });
          open.add(one);
        }
      }
      await Promise.all(open);
    };
    const churn = async (lane: number): Promise<void> => {
      for (let n = 0; !over(); n++) {
        const visitor = await RawClient.connect(hub.url, { user: `visitor-${lane}-${n % faces}`, device: 'only', recorder });
        await visitor.ok('subscribe', { room: random.pick(rooms) });
        // To the same one every time: a world that is finite is known to the caches after a while, and what grows then is a leak.
        await visitor.ok('direct', { to: `person-${(lane * faces + (n % faces)) % people}`, body: 'passing by' });
        await visitor.ok('publish', { room: random.pick(rooms), body: 'typing', ephemeral: true });
        if (random.int(5) === 0) {
          visitor.pause();
          counts.unread++;
          await passed(faultEveryMs / 2);
        }
        if (random.int(2) === 0) visitor.terminate();
        else visitor.socket.close(1000);
        visitor.resume();
        await visitor.closed;
        counts.visits++;
        await passed(random.int(turnMs * 10));
      }
    };
    const faults = async (): Promise<void> => {
      while (!over()) {
        await passed(faultEveryMs * (0.5 + random.next()));
        if (random.int(10) === 0) {
          process.kill(hub.pid, 'SIGSTOP');
          await passed(stoppedMs);
          process.kill(hub.pid, 'SIGCONT');
          counts.stops++;
        } else {
          for (const link of [...proxy.links]) if (random.int(5) === 0) link.cut(random.pick<Cut>(['fin', 'rst', 'silent']));
          counts.cuts++;
        }
      }
    };
    const watch = async (): Promise<void> => {
      for (; !over(); await passed(sampleMs)) {
        const wal = path(hub.data, 'hubbub.db-wal');
        samples.push({
          seconds: (performance.now() - began) / 1_000,
          liveMiB: await memory.liveMiB(),
          rssMiB: residentKiB(hub.pid) / 1_024,
          files: openFiles(hub.pid),
          walMiB: existsSync(wal) ? statSync(wal).size / 2 ** 20 : 0,
        });
      }
    };
    await Promise.all([load(), faults(), watch(), ...Array.from({ length: visitors }, (_, lane) => churn(lane))]);

    kit.say(`the load is over: ${recorder.events.length} events to be looked at`);
    const logs = await readLogs(hub.url, rooms, recorder);
    await Promise.all(followers.map((follower) => follower.reached(logs.get(follower.room)?.length ?? 0)));
    const warm = samples.filter((sample) => sample.seconds > seconds * warmShare);
    const wal = Math.max(...samples.map(({ walMiB }) => walMiB));
    const slopes = { live: slopeOf(warm, ({ liveMiB }) => liveMiB), rss: slopeOf(warm, ({ rssMiB }) => rssMiB), files: slopeOf(warm, ({ files }) => files) };
    const alive = residentKiB(hub.pid) > 0;
    await Promise.all([writer.close(), ...followers.map(({ client }) => client.close())]);
    return {
      figures: {
        perSecond: Math.round(perSecond),
        minutes: rounded(seconds / 60),
        ...counts,
        ackP99Ms: rounded(percentile(acks, 0.99)),
        liveMiB: rounded(warm.at(-1)?.liveMiB ?? 0),
        rssMiB: Math.round(warm.at(-1)?.rssMiB ?? 0),
        files: warm.at(-1)?.files ?? 0,
        ...(warm.length < tellingSamples ? {} : { liveMiBPerHour: told(slopes.live), rssMiBPerHour: told(slopes.rss), filesPerHour: told(slopes.files) }),
        walMiBMost: rounded(wal),
      },
      violations: [
        ...(await kit.checkSettled()),
        ...followers.flatMap(({ faults }) => faults).slice(0, 20),
        ...violationsOf({ 'the hub lives': alive, [`the log stayed below ${walMiBMax} MiB`]: wal <= walMiBMax }),
      ],
      missed: Object.entries(slopes).flatMap(([what, slope]) =>
        warm.length >= tellingSamples && exceeds(slope, growthMaxMiBPerHour) ? [`${what} grew by ${told(slope)} an hour`] : [],
      ),
    };
  },
};

/** Writes so much, and reads it: by the end the writer's and the reader's caches have what they may have. */
async function fillCaches(hub: HubProcess, mib: number): Promise<void> {
  const client = await RawClient.connect(hub.url, { user: 'archivist' });
  const body = 'x'.repeat(oldBytes);
  for (let left = mib * 2 ** 20; left > 0; left -= oldBytes * oldAtOnce)
    await Promise.all(Array.from({ length: oldAtOnce }, () => client.ok('publish', { room: 'cellar', body })));
  for (let before = Number.MAX_SAFE_INTEGER; before > 1; ) {
    const { entries } = await client.ok('history', { room: 'cellar', before, limit: oldAtOnce });
    before = entries[0]?.seq ?? 1;
  }
  await client.close();
}

/** With its standard error. */
function told({ perHour, error }: Slope): string {
  return `${rounded(perHour)} ± ${rounded(error)}`;
}
