/**
 * The whole process stands still for a while, as on a machine that swaps or a virtual one that is moved, or its main thread alone does, in a
 * loop: nobody is taken for dead afterwards, and where the main thread stood is in the log.
 */
import { monitorEventLoopDelay } from 'node:perf_hooks';
import type { HubProcess } from '../../src/testing/hub-process.ts';
import { brittle } from '../kit/brittle.ts';
import { RawClient } from '../kit/raw-client.ts';
import { passed } from './app.ts';
import { type FaultReport, type FaultRow, violationsOf } from './row.ts';

type Size = { clients: number; rounds: number; stallMsMax: number };

/** From so long on a stall is told in the log, with the stack where there is one to tell. */
const toldMs = 700;
/** Between two stacks that are told. */
const stackRestMs = 10_000;
const stallsMs = [200, 1_000, 2_500, 5_000];
const heartbeatMs = 500;
const heartbeatGraceMs = 250;
const room = 'hall';

export const row: FaultRow<Size> = {
  test: 33,
  title: 'C5 M2 a hub that stood still cuts nobody off, replaces no thread, goes on where it was, and says so, and where',
  target:
    '0 false disconnects, 0 threads replaced, for stalls up to six times heartbeat and grace together; of the main thread alone, each of 700 ms or more with its stack in the log',
  gate: { clients: 10, rounds: 1, stallMsMax: 1_000 },
  full: { clients: 300, rounds: 3, stallMsMax: 5_000 },
  async run({ clients: count, rounds, stallMsMax }, kit): Promise<FaultReport> {
    const hub = await kit.hub({
      heartbeatMs,
      heartbeatGraceMs,
      hangMs: 500,
      storeHangMs: 500,
      helloTimeoutMs: 1_000,
      shards: 2,
      ...brittle(kit.folder()),
    });
    const { recorder } = kit;
    const clients: RawClient[] = [];
    for (let i = 0; i < count; i++) {
      const client = await RawClient.connect(hub.url, { user: `user-${i}`, recorder });
      await client.ok('subscribe', { room, position: { epoch: client.welcome?.epoch, seq: 0 } });
      clients.push(client);
    }
    const alive = (): RawClient[] => clients.filter(({ ended }) => ended === null);
    const before = await statsOf(hub);
    const lateness = monitorEventLoopDelay();
    lateness.enable();
    const backMs: number[] = [];
    let [told, stacks] = [0, 0];
    const goesOn = async (ms: number, standStill: () => Promise<unknown>): Promise<void> => {
      // Under way when it stops, some of it already in the hub.
      const open = alive()
        .slice(0, 10)
        .map((client, i) => client.command('publish', { room, body: `${ms} ${i}` }));
      await standStill();
      const began = performance.now();
      await Promise.all(open);
      backMs.push(performance.now() - began);
      // Whoever would be judged by the time that passed is judged within this.
      await passed(heartbeatGraceMs * 2);
    };
    for (let round = 0; round < rounds; round++) {
      for (const ms of stallsMs.filter((ms) => ms <= stallMsMax)) {
        await goesOn(ms, () => stopped(hub, ms));
        if (ms >= toldMs) {
          told += 2;
          stacks++;
          await stackCanBeTold(hub);
        }
        await goesOn(
          ms,
          async () =>
            await alive()
              .at(-1)
              ?.command('publish', { room, body: { standStill: `loop${ms}` } }),
        );
        kit.say(`round ${round + 1} of ${rounds}: stood still for ${ms} ms twice, ${count - alive().length} disconnected`);
      }
    }
    const open = alive();
    const head = (await open[0]?.ok('subscribe', { room }))?.position.seq ?? 0;
    await Promise.all(open.map((client) => client.until(() => (client.entries(room).at(-1)?.seq ?? 0) >= head)));
    const after = await statsOf(hub);
    const lines = hub.stdout.split('\n').filter((line) => line.includes('nobody was answered')).length;
    const stacksTold = stackLines(hub).filter((line) => /standStill \(.*reading\.js/.test(line)).length;
    const stalls = (after.main?.stalls ?? 0) - (before.main?.stalls ?? 0);
    const replaced = Object.values(after).reduce((sum, thread) => sum + (thread.restarts ?? 0), 0);
    return {
      figures: {
        stalls: backMs.length,
        falseDisconnects: count - open.length,
        threadsReplaced: replaced,
        stallsCounted: stalls,
        stallsToldInLog: lines,
        stacksTold,
        otherStacksTold: stackLines(hub).length - stacksTold,
        clientsLateMsMax: Math.round(lateness.max / 1e6),
        answeredAgainMaxMs: Math.round(Math.max(...backMs)),
      },
      violations: [
        ...violationsOf({
          'no healthy client was disconnected': open.length === count,
          'no thread was replaced': replaced === 0,
          'every stall from 200 ms on is counted': stalls >= backMs.length,
          'every long one is in the log': lines >= told,
          'the hub is ready again': (await fetch(`${hub.http}/readyz`)).ok,
        }),
        ...kit.check(),
      ],
      missed: stacksTold >= stacks ? [] : [`${stacksTold} of ${stacks} stacks`],
    };
  },
};

/** The main thread and all others. */
async function stopped(hub: HubProcess, ms: number): Promise<void> {
  process.kill(hub.pid, 'SIGSTOP');
  try {
    await passed(ms);
  } finally {
    process.kill(hub.pid, 'SIGCONT');
  }
}

function stackLines(hub: HubProcess): string[] {
  return hub.stdout.split('\n').filter((line) => line.includes('where the main thread stood still'));
}

/** It is not while the last one is too fresh. */
async function stackCanBeTold(hub: HubProcess): Promise<void> {
  for (let before = -1; stackLines(hub).length !== before && stackLines(hub).length > 0; ) {
    before = stackLines(hub).length;
    await passed(stackRestMs);
  }
}

async function statsOf(hub: HubProcess): Promise<Record<string, Record<string, number>>> {
  return (await (await fetch(`${hub.http}/stats`)).json()) as Record<string, Record<string, number>>;
}
