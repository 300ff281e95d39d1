/**
 * A disk of its own fills up under the hub, first by other files, and has space again: what is refused says `storage` and is
 * seen by nobody, reads and presence go on, and writes work again without a restart.
 */
import { rmSync, statfsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { v7 } from 'uuid';
import { RawClient } from '../kit/raw-client.ts';
import { readLogs } from '../kit/reader.ts';
import { cannotMount, MemoryDisk } from './disk-image.ts';
import { type FaultReport, type FaultRow, violationsOf } from './row.ts';

type Size = { rounds: number; megabytes: number };

const room = 'full';
const inFlight = 16;
const recoveryTargetMs = 2_000;
/** Left free by the other files, for the hub to use up. */
const leftMegabytes = 2;
const MiB = 1024 * 1024;

export const row: FaultRow<Size> = {
  test: 8,
  title: 'M7 M1 a full disk refuses writes as `storage` and loses nothing, and with space they work again by themselves',
  target: `0 lost; writes again within ${recoveryTargetMs} ms after there is space`,
  gate: { rounds: 1, megabytes: 16 },
  full: { rounds: 10, megabytes: 64 },
  needs: cannotMount,
  async run({ rounds, megabytes }, kit): Promise<FaultReport> {
    const disk = new MemoryDisk(megabytes);
    kit.defer(() => disk.remove());
    const hub = await kit.hub({ data: join(disk.path, 'data') });
    const ballast = join(disk.path, 'ballast');
    const { recorder } = kit;
    const writer = await RawClient.connect(hub.url, { user: 'writer', recorder });
    const reader = await RawClient.connect(hub.url, { user: 'reader', recorder });
    await reader.ok('subscribe', { room });
    const acked = new Set<string>();
    const refused = new Set<string>();
    const otherCodes = new Set<string>();
    const publish = async (mid: string): Promise<boolean> => {
      const answer = await writer.command('publish', { room, mid, body: 'x'.repeat(10_000) });
      if (answer.op === 'ok') {
        acked.add(mid);
        refused.delete(mid);
        return true;
      }
      refused.add(mid);
      if (answer.code !== 'storage' || answer.retry !== true) otherCodes.add(answer.code);
      return false;
    };

    const recovery: number[] = [];
    let wentOn = true;
    for (let round = 0; round < rounds; round++) {
      const { bavail, bsize } = statfsSync(disk.path);
      writeFileSync(ballast, Buffer.alloc(Math.max(0, bavail * bsize - leftMegabytes * MiB)));
      while ((await Promise.all(Array.from({ length: inFlight }, () => publish(v7())))).every((stored) => stored));
      wentOn &&= (await reader.command('history', { room, limit: 10 })).op === 'ok' && (await reader.command('who', { users: ['writer'] })).op === 'ok';
      rmSync(ballast);
      const began = performance.now();
      const [again = v7()] = refused;
      while (!(await publish(again)));
      recovery.push(performance.now() - began);
      for (const mid of [...refused]) while (!(await publish(mid)));
      kit.say(`round ${round + 1} of ${rounds}: ${acked.size} acknowledged, writes again after ${Math.round(recovery.at(-1) ?? 0)} ms`);
    }
    await hub.restart('SIGKILL');
    const logs = await readLogs(hub.url, [room], recorder);
    const kept = new Set(logs.get(room)?.map(({ mid }) => mid));
    const slowest = Math.max(...recovery);
    return {
      figures: { rounds, acked: acked.size, lost: [...acked].filter((mid) => !kept.has(mid)).length, recoveryMaxMs: Math.round(slowest) },
      violations: [
        ...violationsOf({
          'every refusal said `storage` and `retry`': otherCodes.size === 0,
          'reads and presence went on': wentOn,
          'every acknowledged message is there after a kill': [...acked].every((mid) => kept.has(mid)),
        }),
        ...kit.check(),
      ],
      missed: slowest <= recoveryTargetMs ? [] : [`writes again after ${Math.round(slowest)} ms`],
    };
  },
};
