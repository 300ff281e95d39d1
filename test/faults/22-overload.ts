/**
 * More than the hub can do, from senders who do not wait for answers: it goes on doing about what it can, keeps its queues
 * short and its memory bounded, says `busy` with a time to whom it cannot serve, and is itself again soon after.
 */
import type { HubProcess } from '../../src/testing/hub-process.ts';
import { Flood, type FloodResult } from '../kit/flood.ts';
import { RawClient } from '../kit/raw-client.ts';
import { percentile, rounded } from './percentile.ts';
import { residentKiB, withoutProc } from './processes.ts';
import { type FaultReport, type FaultRow, violationsOf } from './row.ts';

type Size = { connections: number; rooms: number; measureMs: number; surgeMs: number; heapMiBMax: number };

const surges = [2, 5];
/** Offered one after the other until the hub takes no more of it. */
const ladder = [5_000, 10_000, 20_000, 40_000, 80_000, 160_000];
const sampleMs = 100;
const queueAgeTargetMs = 1_000;
const recoveryTargetMs = 5_000;
const goodputTarget = 0.8;
const residentTargetMiB = 768;
/** A surge that brought so many times the capacity shows that it had been measured too low. */
const tooLow = 1.15;
const triesMax = 3;
/** What a shorter round lets through says nothing about capacity, and so nothing about goodput. */
const tellingMs = 1_000;

export const row: FaultRow<Size> = {
  test: 22,
  title: 'R9 M1 overload keeps the goodput, short queues and bounded memory; what is refused is told so with a time, what is acknowledged is stored',
  target: `goodput ≥ ${goodputTarget * 100} % of the peak at ${surges.join('× and ')}×; queue age p99 ≤ ${queueAgeTargetMs} ms; normal again within ${recoveryTargetMs} ms; heaps of 512 MiB`,
  gate: { connections: 20, rooms: 10, measureMs: 200, surgeMs: 1_000, heapMiBMax: 512 },
  full: { connections: 50, rooms: 20, measureMs: 2_000, surgeMs: 10_000, heapMiBMax: 512 },
  needs: withoutProc,
  async run({ connections, rooms, measureMs, surgeMs, heapMiBMax }, kit): Promise<FaultReport> {
    const hub = await kit.hub({ heapMiBMax, connectionsPerUserMax: connections });
    const { pid } = hub;
    const telling = measureMs >= tellingMs;
    const flood = await Flood.open(hub.port, { connections, room: (i) => `flood-${i % rooms}` });
    kit.defer(() => flood.close());
    const all: FloodResult[] = [];
    const offer = async (perSecond: number, ms: number): Promise<FloodResult> => {
      const result = await flood.run(perSecond, ms);
      all.push(result);
      return result;
    };
    await offer(ladder[2] as number, measureMs); // warm
    const calm = await offer(ladder[0] as number, measureMs);
    let peak = calm.okPerSecond;
    for (const rate of ladder.slice(1)) {
      const { okPerSecond } = await offer(rate, measureMs);
      if (okPerSecond < peak && okPerSecond < rate / 2) break;
      peak = Math.max(peak, okPerSecond);
    }
    if (telling) kit.say(`capacity ${peak} a second`);

    const surged: Surge[] = [];
    for (let tries = 0; surged.length < surges.length; ) {
      const times = surges[surged.length] as number;
      const offered = peak * times;
      const watch = watchHub(hub);
      const { okPerSecond, p99Ms } = await offer(offered, surgeMs);
      const { queueMs, residentMiB } = await watch();
      if (telling) kit.say(`${times}×: ${okPerSecond} of ${offered} a second, queue age p99 ${percentile(queueMs, 0.99)} ms, ${Math.round(residentMiB)} MiB`);
      if (telling && okPerSecond > peak * tooLow && tries++ < triesMax) {
        // That was no overload: the machine had been busy with something else. What it can do is known better now.
        peak = okPerSecond;
        surged.length = 0;
      } else surged.push({ times, offered, okPerSecond, p99Ms, queueP99Ms: percentile(queueMs, 0.99), residentMiB: Math.round(residentMiB) });
    }
    const recoveryMs = await calmAgain(() => offer(ladder[0] as number, measureMs), calm.p99Ms);

    const ok = all.reduce((sum, result) => sum + result.ok, 0);
    const refused = all.flatMap((result) => Object.entries(result.refused));
    const busy = refused.reduce((sum, [, count]) => sum + count, 0);
    const cut = flood.lines.filter(({ ended }) => ended).length;
    const names = Array.from({ length: rooms }, (_, i) => `flood-${i}`);
    const heads = await headsOf(hub, names);
    return {
      figures: {
        ...(telling ? { capacityPerSecond: peak } : {}),
        ...figuresOf(surged, telling ? peak : null),
        ...(telling ? { recoveryMs: Math.round(recoveryMs) } : {}),
        withheldBySenders: all.reduce((sum, { withheld }) => sum + withheld, 0),
        acknowledged: ok,
        stored: heads,
        refusedBusy: busy,
        connectionsCut: cut,
      },
      violations: violationsOf({
        'the process lived on': hub.pid === pid,
        'every refusal was `busy`': refused.every(([code]) => code === 'busy'),
        'every refusal said when to try again': all.every(({ hopeless }) => hopeless === 0),
        'every sender was kept': cut === 0,
        'everything acknowledged is stored': heads >= ok,
      }),
      missed: [
        ...(telling ? surged.flatMap((surge) => missesOf(surge, peak)) : []),
        ...(telling && recoveryMs > recoveryTargetMs ? [`normal again after ${Math.round(recoveryMs)} ms`] : []),
      ],
    };
  },
};

type Surge = { times: number; offered: number; okPerSecond: number; p99Ms: number; queueP99Ms: number; residentMiB: number };

/** `peak`: null where it is not known well enough to say what share of it went through. */
function figuresOf(surged: readonly Surge[], peak: number | null): Record<string, number> {
  const rows = surged.map(({ times, offered, okPerSecond, p99Ms, queueP99Ms, residentMiB }) => [
    ...(peak === null
      ? []
      : [
          [`offeredPerSecondAt${times}x`, offered],
          [`goodputPercentAt${times}x`, rounded((okPerSecond / peak) * 100)],
        ]),
    [`ackP99MsAt${times}x`, p99Ms],
    [`queueAgeP99MsAt${times}x`, queueP99Ms],
    [`residentMiBAt${times}x`, residentMiB],
  ]);
  return Object.fromEntries(rows.flat());
}

function missesOf({ times, okPerSecond, queueP99Ms, residentMiB }: Surge, peak: number): string[] {
  const share = okPerSecond / peak;
  return Object.entries({
    [`goodput ${rounded(share * 100)} % at ${times}×`]: share < goodputTarget,
    [`goodput ${rounded(share * 100)} % at ${times}×: the capacity was measured too low`]: share > tooLow,
    [`queue age p99 ${queueP99Ms} ms at ${times}×`]: queueP99Ms > queueAgeTargetMs,
    [`${residentMiB} MiB at ${times}×`]: residentMiB > residentTargetMiB,
  }).flatMap(([miss, so]) => (so ? [miss] : []));
}

/** How old the hub's queues are and how much memory it has, every moment until the returned function is called. */
function watchHub(hub: HubProcess): () => Promise<{ queueMs: number[]; residentMiB: number }> {
  const queueMs: number[] = [];
  let residentMiB = 0;
  let ended = false;
  const watching = (async () => {
    while (!ended) {
      residentMiB = Math.max(residentMiB, residentKiB(hub.pid) / 1_024);
      const { gateway } = (await (await fetch(`${hub.http}/stats`)).json()) as { gateway: { queueMs: number[] } };
      queueMs.push(Math.max(...gateway.queueMs));
      await new Promise((resolve) => setTimeout(resolve, sampleMs));
    }
  })();
  return async () => {
    ended = true;
    await watching;
    return { queueMs, residentMiB };
  };
}

/** How long it takes until a modest load is answered as before: a round of it with a p99 of at most twice as much, or of a busy machine. */
async function calmAgain(round: () => Promise<FloodResult>, p99Ms: number): Promise<number> {
  const began = performance.now();
  for (;;) {
    const roundBegan = performance.now();
    const result = await round();
    const like = result.p99Ms <= Math.max(100, 2 * p99Ms) && Object.keys(result.refused).length === 0;
    // What the good round itself took does not count.
    if (like || performance.now() - began > 4 * recoveryTargetMs) return (like ? roundBegan : performance.now()) - began;
  }
}

/** How many entries the rooms hold in all. */
async function headsOf(hub: HubProcess, rooms: readonly string[]): Promise<number> {
  const client = await RawClient.connect(hub.url, { user: 'auditor' });
  const answers = await Promise.all(rooms.map((room) => client.ok('subscribe', { room })));
  client.terminate();
  return answers.reduce((sum, { position }) => sum + position.seq, 0);
}
