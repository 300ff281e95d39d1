/** A hub that runs out of file descriptors: who is in goes on, who is too many is closed, and when there are some again it takes people in. */
import { readFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { expect, it } from 'vitest';
import { socketLimits } from '../../src/http/descriptors.ts';
import { startHub } from '../kit/hub.ts';
import { RawClient } from '../kit/raw-client.ts';

const filesMax = 256;
const crowd = 400;
const ticksPerSecond = 100;

/** Processor time of the process so far, in seconds. */
function processorTime(pid: number): number {
  const [user, system] = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ').at(-1)?.split(' ').slice(11, 13) ?? [];
  return (Number(user) + Number(system)) / ticksPerSecond;
}

it('keeps descriptors for itself, of whatever the process may open', () => {
  const limits = (soft: string) => () =>
    `Limit   Soft Limit   Hard Limit   Units\nMax open files            ${soft}                4096                 files\n`;
  expect(socketLimits(limits('1024'))).toEqual({ public: 800, operations: 128 });
  expect(socketLimits(limits('1048576'))).toEqual({ public: 1_048_224, operations: 256 });
  expect(socketLimits(limits('10'))).toEqual({ public: 48, operations: 2 });
  expect(socketLimits(limits('unlimited'))).toEqual({ public: 0, operations: 256 });
  expect(
    socketLimits(() => {
      throw new Error('no such file');
    }),
  ).toEqual({ public: 0, operations: 256 });
});

it('C4 a crowd beyond its descriptors is closed; who is in notices nothing, and new ones come in when there is room', async () => {
  const hub = await startHub({ filesMax, acceptPerSecond: 0, handshakeMs: 60_000 });
  expect(hub.stdout).toMatch(/may open files for \d+ connections only/);
  const old = await RawClient.connect(hub.url, { user: 'old' });
  await old.ok('subscribe', { room: 'narrow' });

  const started = [processorTime(hub.pid), performance.now()] as const;
  const sockets = new Set<Socket>();
  let refused = 0;
  await Promise.all(
    Array.from({ length: crowd }, async (_, i) => {
      const socket = connect(hub.port, '127.0.0.1');
      sockets.add(socket);
      socket.on('error', () => {}).resume();
      socket.once('close', () => {
        sockets.delete(socket);
        refused++;
      });
      await new Promise((resolve) => socket.once('connect', resolve).once('close', resolve));
      if (i % 10 === 0) await old.ok('publish', { room: 'narrow', body: i });
    }),
  );
  for (let i = 0; i < 50; i++) await old.ok('publish', { room: 'narrow', body: `more ${i}` });
  const direct = await old.ok('direct', { to: 'nobody', body: 'the store can still open what it needs' });
  expect(direct.seq).toBe(1);
  await expect.poll(() => refused, { timeout: 10_000 }).toBeGreaterThanOrEqual(crowd - filesMax);
  expect(sockets.size).toBeGreaterThan(0);
  const turnedAway = refused;
  const share = (processorTime(hub.pid) - started[0]) / ((performance.now() - started[1]) / 1_000);
  expect(old.entries('narrow').length).toBe(crowd / 10 + 50);

  for (const socket of sockets) socket.destroy();
  const back = performance.now();
  let fresh: RawClient | null = null;
  while (fresh === null) fresh = await RawClient.connect(hub.url, { user: 'fresh' }).catch(() => null);
  await fresh.settled();
  process.stdout.write(
    `${turnedAway} of ${crowd} closed for want of descriptors, at ${Math.round(share * 100)} % of a core; back after ${Math.round(performance.now() - back)} ms\n`,
  );
  const stats = (await (await fetch(`${hub.http}/stats`)).json()) as { http: { dropped: number } };
  expect(stats.http.dropped).toBeGreaterThanOrEqual(crowd - filesMax);
  expect(hub.stdout).not.toMatch(/error/);
});
