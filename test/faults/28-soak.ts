/**
 * A working day in short (working-day.ts), and nothing may grow. The hub is compared with itself at rest: between two rounds nobody is
 * there but who stays, nothing is under way, and every thread has collected all it can. What is bounded is made small or filled
 * before (tails, inboxes, page caches), since it would fill all the while and look like a leak.
 */
import { existsSync, statSync } from 'node:fs';
import { join as path } from 'node:path';
import type { HubProcess } from '../../src/testing/hub-process.ts';
import { RawClient } from '../kit/raw-client.ts';
import { heldAfterDeaths } from './deaths.ts';
import { inspected, Memory } from './memory.ts';
import { percentile, rounded } from './percentile.ts';
import { openFiles, residentKiB, withoutProc } from './processes.ts';
import { type FaultRow, violationsOf } from './row.ts';
import { exceeds, type Slope, slopeOf } from './slope.ts';
import { Day, type DaySize } from './working-day.ts';

type Size = DaySize & {
  /** Those that count. They follow on `hardRounds` with worse faults, and on as many others as it takes to `warmVisits`: tables get as large as they get, and what is compiled is. */
  rounds: number;
  hardRounds: number;
  warmVisits: number;
  roundMs: number;
  probeSeconds: number;
  /** What the database holds before: more than its page caches. */
  oldMiB: number;
  deaths: number;
  /** On a slow machine there are fewer rounds. */
  loadMsMax: number;
};
/** `seconds`: of load until then. */
type Sample = { seconds: number; liveMiB: number; handles: number; rssMiB: number; files: number };

const walMiBMax = 64;
/** The load, too, stands still for seconds where it shares a busy machine: only what was cut shall be taken for dead. */
const heartbeatGraceMs = 8_000;
const growthMaxMiBPerHour = 1;
/** Of fewer a slope says nothing. */
const tellingSamples = 15;
/**
 * An hour of a soak has so many visits and deaths of threads; what a row has more of, it has of several hours. So many are the warm-up,
 * too: until then V8 compiles some of each thread's code anew, and the allocator's arenas get as large as they get.
 */
const visitsPerHour = 28_000;
const secondsPerDeath = 180;
const warmDeaths = 12;
/** At each rest; and where the rest is disturbed, so many. */
const looks = 2;
const looksMax = 12;
/** Of a history that was not looked at yet: to look at it takes a second or two, in which nobody here answers the hub. */
const eventsMax = 400_000;
/** Of a soak that lasts longer. */
const longRoundMs = 20_000;
/** Fits into a page of the file: what does not is read past the cache, and would not fill it. */
const oldBytes = 3_000;
const oldAtOnce = 80;
/** The least: of rooms that are rarely written to, tails and inboxes are full soon. */
const small = { tailItemsMax: 16, inboxItemsMax: 16 };
/** On, so that what is kept by user is kept, and never met. */
const unmet = { rateLimit: 1_000_000, rateBurst: 1_000_000, userRateLimit: 1_000_000, userRateBurst: 1_000_000 };

export const row: FaultRow<Size> = {
  test: 28,
  title: 'M1 M2 F2 X3 a soak at 60 % load with churn and faults: the history holds and nothing grows',
  target: `at rest after each round of load, with caches and tails full, what is compiled compiled (after the ${visitsPerHour.toLocaleString('en')} visits of an hour of a soak), and more churn than an hour of a soak has, memory after a full collection, resident size, descriptors and handles grow by ≤ ${growthMaxMiBPerHour} MiB (or one) per hour of load, as surely as two standard errors tell, and by ≤ ${growthMaxMiBPerHour} MiB with the visits of an hour or with a death of a thread every ${secondsPerDeath / 60} minutes; nobody stays in a table; write-ahead log ≤ ${walMiBMax} MiB`,
  gate: {
    rounds: 1,
    hardRounds: 0,
    warmVisits: 0,
    roundMs: 1_500,
    probeSeconds: 0.4,
    people: 20,
    rooms: 5,
    visitors: 5,
    visitGapMs: 50,
    faultEveryMs: 300,
    faultlessMs: 300,
    perSecondMax: 300,
    oldMiB: 1,
    deaths: 1,
    loadMsMax: 60_000,
  },
  full: {
    rounds: 40,
    hardRounds: 6,
    warmVisits: visitsPerHour,
    roundMs: 9_000,
    probeSeconds: 5,
    people: 100,
    rooms: 20,
    visitors: 5,
    visitGapMs: 60,
    faultEveryMs: 2_000,
    faultlessMs: 3_500,
    perSecondMax: 2_000,
    oldMiB: 120,
    deaths: 45,
    loadMsMax: 40 * 60_000,
  },

  lasting: (minutes) => ({
    ...row.full,
    rounds: Math.ceil((minutes * 60_000) / longRoundMs),
    roundMs: longRoundMs,
    loadMsMax: (30 + 2 * minutes) * 60_000,
  }),

  // The load ends in time, but on a machine with other work the deaths and the look at the history take theirs.
  fullMsMax: 50 * 60_000,

  needs: withoutProc,

  async run({ rounds, hardRounds, warmVisits, roundMs, probeSeconds, oldMiB, deaths, loadMsMax, ...size }, kit) {
    const began = performance.now();
    const hub = await kit.hub({ env: inspected, heartbeatMs: 1_000, heartbeatGraceMs, presenceGraceMs: 0, ...small, ...unmet });
    const memory = await Memory.of(hub);
    kit.defer(() => memory.close());
    await fillCaches(hub, oldMiB);
    const day = await Day.begin(hub, size, kit);
    await day.probe(probeSeconds);

    const samples: Sample[] = [];
    const unrest: string[] = [];
    const wrong: string[] = [];
    let walMiB = 0;
    const wal = path(hub.data, 'hubbub.db-wal');
    let round = 0;
    while (samples.length < rounds && performance.now() - began < loadMsMax) {
      const warm = round >= hardRounds && day.counts.visits >= warmVisits;
      await day.round(roundMs, ++round <= hardRounds);
      walMiB = Math.max(walMiB, existsSync(wal) ? statSync(wal).size / 2 ** 20 : 0);
      const sample = { ...(await atRest(day, memory, hub, unrest)), seconds: (round * roundMs) / 1_000 };
      if (warm) samples.push(sample);
      if (kit.recorder.events.length > eventsMax) wrong.push(...(await day.looked()));
      kit.say(`round ${round}: ${day.counts.visits} visits, ${sample.liveMiB.toFixed(2)} MiB live, ${sample.rssMiB.toFixed(2)} MiB resident`);
    }
    const loaded = round * roundMs;

    kit.say(`the load is over: ${kit.recorder.events.length} events to be looked at`);
    wrong.push(...(await day.looked()));
    const alive = residentKiB(hub.pid) > 0;
    await day.end();

    const { counts, followers, acks } = day;
    /** How many hours of a soak the visits of an hour of this load are worth. */
    const haste = counts.visits / visitsPerHour / (loaded / 3_600_000);
    const slopes: Record<string, Slope> = {
      liveMiBPerHour: slopeOf(samples, ({ liveMiB }) => liveMiB),
      rssMiBPerHour: slopeOf(samples, ({ rssMiB }) => rssMiB),
      filesPerHour: slopeOf(samples, ({ files }) => files),
      handlesPerHour: slopeOf(samples, ({ handles }) => handles),
    };
    for (const name of ['live', 'rss']) {
      const { perHour, error } = slopes[`${name}MiBPerHour`] as Slope;
      slopes[`${name}MiBPerVisitsOfAnHour`] = { perHour: perHour / haste, error: error / haste };
    }
    const afterDeaths = (await heldAfterDeaths(deaths, kit)).map((held, n) => ({ seconds: n * secondsPerDeath, ...held })).slice(warmDeaths);
    const telling = samples.length >= tellingSamples && afterDeaths.length >= tellingSamples;
    slopes.mainMiBPerDeathsOfAnHour = slopeOf(afterDeaths, ({ liveMiB }) => liveMiB);
    slopes.mainHandlesPerDeathsOfAnHour = slopeOf(afterDeaths, ({ handles }) => handles);
    const last = samples.at(-1);
    return {
      figures: {
        perSecond: Math.round(day.perSecond),
        minutes: rounded(loaded / 60_000),
        ...counts,
        deaths,
        ackP99Ms: rounded(percentile(acks, 0.99)),
        liveMiB: rounded(last?.liveMiB ?? 0),
        rssMiB: Math.round(last?.rssMiB ?? 0),
        files: last?.files ?? 0,
        ...(telling ? Object.fromEntries(Object.entries(slopes).map(([what, slope]) => [what, told(slope)])) : {}),
        walMiBMost: rounded(walMiB),
      },
      violations: [
        ...wrong.slice(0, 20),
        ...(await kit.checkSettled()),
        ...followers.flatMap(({ faults }) => faults).slice(0, 20),
        ...unrest.slice(0, 3),
        ...violationsOf({ 'the hub lives': alive, [`the log stayed below ${walMiBMax} MiB`]: walMiB <= walMiBMax }),
      ],
      missed: Object.entries(slopes).flatMap(([what, slope]) => (telling && exceeds(slope, growthMaxMiBPerHour) ? [`${what} is ${told(slope)}`] : [])),
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

/** The least of some looks, each from rest to rest: what one of them finds less of is not held. */
async function atRest(day: Day, memory: Memory, hub: HubProcess, unrest: string[]): Promise<Omit<Sample, 'seconds'>> {
  const found: Omit<Sample, 'seconds'>[] = [];
  let odd: string[] = [];
  for (let look = 0; found.length < looks && look < looksMax; look++) {
    await day.rest();
    const held = await memory.all();
    const seen = { ...held, rssMiB: residentKiB(hub.pid) / 1_024, files: openFiles(hub.pid) };
    // An edge that broke meanwhile, on a machine that has much to do.
    odd = await day.restless();
    if (odd.length === 0) found.push(seen);
  }
  if (found.length === 0) unrest.push(...odd);
  const least = (of: (one: Omit<Sample, 'seconds'>) => number): number => Math.min(...found.map(of));
  return {
    liveMiB: least(({ liveMiB }) => liveMiB),
    handles: least(({ handles }) => handles),
    rssMiB: least(({ rssMiB }) => rssMiB),
    files: least(({ files }) => files),
  };
}

/** With its standard error. */
function told({ perHour, error }: Slope): string {
  return `${rounded(perHour)} ± ${rounded(error)}`;
}
