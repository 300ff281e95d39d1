/** The whole process stands still for a while, as on a machine that swaps or a virtual one that is moved: nobody is taken for dead afterwards. */
import type { HubProcess } from '../../src/testing/hub-process.ts';
import { RawClient } from '../kit/raw-client.ts';
import { passed } from './app.ts';
import { type FaultReport, type FaultRow, violationsOf } from './row.ts';

type Size = { clients: number; rounds: number; stallMsMax: number };

/** From so long on a stall is told in the log. */
const toldMs = 700;
const stallsMs = [200, 1_000, 2_500, 5_000];
const heartbeatMs = 500;
const heartbeatGraceMs = 250;
const room = 'hall';

export const row: FaultRow<Size> = {
  test: 33,
  title: 'C5 M2 a hub that stood still cuts nobody off, replaces no thread, goes on where it was, and says so',
  target: '0 false disconnects, 0 threads replaced, for stalls up to six times heartbeat and grace together',
  gate: { clients: 10, rounds: 1, stallMsMax: 1_000 },
  full: { clients: 300, rounds: 3, stallMsMax: 5_000 },
  async run({ clients: count, rounds, stallMsMax }, kit): Promise<FaultReport> {
    const hub = await kit.hub({ heartbeatMs, heartbeatGraceMs, hangMs: 500, storeHangMs: 500, helloTimeoutMs: 1_000, shards: 2 });
    const { recorder } = kit;
    const clients: RawClient[] = [];
    for (let i = 0; i < count; i++) {
      const client = await RawClient.connect(hub.url, { user: `user-${i}`, recorder });
      await client.ok('subscribe', { room, position: { epoch: client.welcome?.epoch, seq: 0 } });
      clients.push(client);
    }
    const before = await statsOf(hub);
    const backMs: number[] = [];
    let told = 0;
    for (let round = 0; round < rounds; round++) {
      for (const ms of stallsMs.filter((ms) => ms <= stallMsMax)) {
        // Under way when it stops, some of it already in the hub.
        const open = clients.slice(0, 10).map((client, i) => client.command('publish', { room, body: `${ms} ${i}` }));
        process.kill(hub.pid, 'SIGSTOP');
        try {
          await passed(ms);
        } finally {
          process.kill(hub.pid, 'SIGCONT');
        }
        const began = performance.now();
        await Promise.all(open);
        backMs.push(performance.now() - began);
        if (ms >= toldMs) told++;
        // Whoever would be judged by the time that passed is judged within this.
        await passed(heartbeatGraceMs * 2);
        kit.say(`round ${round + 1} of ${rounds}: stood still for ${ms} ms, ${clients.filter(({ ended }) => ended !== null).length} disconnected`);
      }
    }
    const { position } = await (clients[0] as RawClient).ok('subscribe', { room });
    const open = clients.filter(({ ended }) => ended === null);
    await Promise.all(open.map((client) => client.until(() => (client.entries(room).at(-1)?.seq ?? 0) >= position.seq)));
    const after = await statsOf(hub);
    const lines = hub.stdout.split('\n').filter((line) => line.includes('stood still')).length;
    const stalls = (after.main?.stalls ?? 0) - (before.main?.stalls ?? 0);
    const replaced = Object.values(after).reduce((sum, thread) => sum + (thread.restarts ?? 0), 0);
    return {
      figures: {
        stalls: backMs.length,
        falseDisconnects: count - open.length,
        threadsReplaced: replaced,
        stallsCounted: stalls,
        stallsToldInLog: lines,
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
    };
  },
};

async function statsOf(hub: HubProcess): Promise<Record<string, Record<string, number>>> {
  return (await (await fetch(`${hub.http}/stats`)).json()) as Record<string, Record<string, number>>;
}
