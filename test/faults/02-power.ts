/**
 * The machine loses power in mid-traffic: the hub's process stops, the disk keeps what was flushed to it, and a hub starts
 * on that. With the default durability nothing acknowledged may be missing; with `process` what is missing is counted.
 */
import { join } from 'node:path';
import { v7 } from 'uuid';
import { checkHistory } from '../../src/testing/checker.ts';
import type { HubProcess } from '../../src/testing/hub-process.ts';
import { Recorder } from '../../src/testing/recorder.ts';
import { runCommand } from '../kit/hub.ts';
import { RawClient } from '../kit/raw-client.ts';
import { readLogs } from '../kit/reader.ts';
import { cannotMount, DiskImage } from './disk-image.ts';
import type { FaultKit, FaultReport, FaultRow } from './row.ts';

type Size = { cuts: number; weakCuts: number; messages: number };
type Cut = { acked: number; lost: number; violations: string[] };

const diskMegabytes = 96;
const senders = 8;
const inFlight = 16;
const rooms = ['left', 'right'] as const;

export const row: FaultRow<Size> = {
  test: 2,
  title: 'M1 M2 a power cut loses nothing that was acknowledged; with the weaker durability the last moments, which are counted, and nothing older',
  target: '0 lost with power-loss; integrity ok in both modes',
  gate: { cuts: 1, weakCuts: 0, messages: 500 },
  full: { cuts: 50, weakCuts: 10, messages: 3_000 },
  needs: cannotMount,
  async run({ cuts, weakCuts, messages }, kit): Promise<FaultReport> {
    const strong = await each(cuts, (i) => cut('power-loss', messages + kit.random.int(messages), kit, `cut ${i + 1} of ${cuts}`));
    const weak = await each(weakCuts, (i) => cut('process', messages + kit.random.int(messages), kit, `weaker cut ${i + 1} of ${weakCuts}`));
    return {
      figures: {
        cuts,
        acked: sum(strong, 'acked'),
        lost: sum(strong, 'lost'),
        weakCuts,
        weakAcked: sum(weak, 'acked'),
        weakLost: sum(weak, 'lost'),
        weakLostInOneCut: Math.max(0, ...weak.map(({ lost }) => lost)),
      },
      violations: [...strong, ...weak].flatMap((one) => one.violations),
    };
  },
};

/** One life of a hub, ended by a power cut after about `messages` acknowledgements, and what the next life finds. */
async function cut(durability: 'power-loss' | 'process', messages: number, kit: FaultKit, name: string): Promise<Cut> {
  const disk = new DiskImage(diskMegabytes);
  kit.defer(() => disk.remove());
  const hub = await kit.hub({ data: join(disk.path, 'data'), durability });
  const weak = durability === 'process';
  // Until its first checkpoint, which comes within seconds, the weaker mode has flushed nothing at all: a cut leaves a fresh hub and spoils nothing.
  const early = weak ? await earlierLife(hub) : [];
  const recorder = new Recorder();
  const acked = new Set<string>();
  const clients = await Promise.all(Array.from({ length: senders }, (_, i) => RawClient.connect(hub.url, { user: `user-${i}`, recorder })));
  for (const client of clients) for (const room of rooms) await client.ok('subscribe', { room });
  await new Promise<void>((enough) => {
    const lane = async (client: RawClient, room: string): Promise<void> => {
      while (client.ended === null) {
        const mid = v7();
        const answer = await client.command('publish', { room, mid, body: 'x'.repeat(100) });
        if (answer.op === 'ok') acked.add(mid);
        if (acked.size >= messages) enough();
      }
    };
    for (const client of clients) for (let i = 0; i < inFlight; i++) lane(client, rooms[i % 2] ?? '').catch(() => undefined); // ends with its connection
  });
  process.kill(hub.pid, 'SIGSTOP');
  disk.copy();
  await hub.kill('SIGKILL');
  await Promise.all(clients.map(({ closed }) => closed)); // every acknowledgement that was sent has been read
  disk.powerCut();

  const check = await runCommand('check', '--data', hub.data);
  await hub.start();
  const logs = await readLogs(hub.url, rooms, weak ? undefined : recorder);
  const kept = new Set([...logs.values()].flat().map(({ mid }) => mid));
  const lost = [...acked].filter((mid) => !kept.has(mid)).length;
  kit.say(`${name}: ${acked.size} acknowledged, ${lost} lost`);
  await kit.release();
  return {
    acked: acked.size,
    lost,
    violations: [
      ...(check.code === 0 ? [] : [`${name}: hubbub check: ${check.lines.join(' ')}`]),
      ...(lost === 0 || weak ? [] : [`${name}: ${lost} acknowledged messages are lost`]),
      ...early.filter((mid) => !kept.has(mid)).map((mid) => `${name}: ${mid} is lost, which an earlier life of the hub had stored`),
      ...(weak ? [] : checkHistory(recorder.events).map((violation) => `${name}: ${violation}`)),
    ],
  };
}

/** A life that ends well: what was written in it, by mid. */
async function earlierLife(hub: HubProcess): Promise<string[]> {
  const client = await RawClient.connect(hub.url, { user: 'early' });
  const mids = rooms.map(() => v7());
  await Promise.all(rooms.map((room, i) => client.ok('publish', { room, mid: mids[i], body: 'before' })));
  await hub.restart();
  return mids;
}

/** One after the other. */
async function each(count: number, run: (i: number) => Promise<Cut>): Promise<Cut[]> {
  const all: Cut[] = [];
  for (let i = 0; i < count; i++) all.push(await run(i));
  return all;
}

function sum(cuts: readonly Cut[], of: 'acked' | 'lost'): number {
  return cuts.reduce((total, one) => total + one[of], 0);
}
