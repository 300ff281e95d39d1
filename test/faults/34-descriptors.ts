/**
 * A hub without descriptors to spare: first at its own bound, which keeps some for the store, then at the system's, lowered
 * under it while it runs. Who is in goes on, who is too many is closed, and when there is room again people come in.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { chownSync, readdirSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import type { HubProcess } from '../../src/testing/hub-process.ts';
import { RawClient } from '../kit/raw-client.ts';
import { passed } from './app.ts';
import { rounded } from './percentile.ts';
import { openFiles, processorSeconds, withoutProc } from './processes.ts';
import { type FaultKit, type FaultRow, violationsOf } from './row.ts';

type Size = { crowd: number; perSecond: number; holdMs: number };
const filesMax = 256;
const heapMiBMax = 256;
const patienceMs = 10_000;
/** Of nobody else on this machine, since threads are counted by user; root's are not limited. */
const lonelyUser = 64_999;
const isRoot = process.getuid?.() === 0;

export const row: FaultRow<Size> = {
  test: 34,
  title: 'C4 a crowd beyond its descriptors is closed; who is in notices nothing, and new ones come in when there is room',
  target: 'processor time without a descriptor left ≤ 20 % of a core while others try again and again; recovery ≤ 1 s',
  gate: { crowd: 400, perSecond: 100, holdMs: 800 },
  full: { crowd: 2_000, perSecond: 100, holdMs: 20_000 },
  needs: () => withoutProc() ?? (spawnSync('prlimit', ['--version']).status === 0 ? null : 'there is no prlimit here'),

  async run({ crowd, perSecond, holdMs }, kit) {
    const hub = await kit.hub({ filesMax, heapMiBMax, acceptPerSecond: 0, handshakeMs: 60_000 });
    const bounded = /may open files for \d+ connections only/.test(hub.stdout);
    const old = await RawClient.connect(hub.url, { user: 'old' });
    kit.defer(() => old.terminate());
    await old.ok('subscribe', { room: 'narrow' });
    let said = 0;
    const talk = async (count: number): Promise<void> => {
      for (let i = 0; i < count; i++) await old.ok('publish', { room: 'narrow', body: ++said });
    };

    const idlePercent = await share(hub, holdMs, () => passed(holdMs));
    const sockets = new Crowd(hub.port, kit);
    await Promise.all([sockets.grow(crowd), talk(crowd / 10)]);
    await until(() => sockets.refused >= crowd - filesMax);
    await talk(50);
    const direct = await old.ok('direct', { to: 'nobody', body: 'the store can still open what it needs' });
    // Nobody says a word meanwhile: what the hub spends it spends on those it turns away.
    const boundPercent = await share(hub, holdMs, () => sockets.press(perSecond, holdMs));
    const [inside, turnedAway] = [sockets.size, sockets.refused];
    sockets.leave();
    const recoveryMs = await comeBack(hub);

    const hungry = new Crowd(hub.port, kit);
    const [soft, lowered] = [String(filesMax), String(openFiles(hub.pid))];
    limitFiles(hub, lowered);
    await hungry.grow(perSecond);
    const outPercent = await share(hub, holdMs, () => hungry.press(perSecond, holdMs));
    await talk(20);
    limitFiles(hub, soft);
    hungry.leave();
    const secondRecoveryMs = await comeBack(hub);
    await old.settled();

    const threads = isRoot ? await withoutAThread(kit) : null;
    const { http } = (await (await fetch(`${hub.http}/stats`)).json()) as { http: { dropped: number } };
    const most = Math.max(boundPercent, outPercent) - idlePercent;
    const slowest = Math.max(recoveryMs, secondRecoveryMs);
    return {
      figures: {
        filesMax,
        heapMiBMax,
        inside,
        turnedAway,
        idlePercent,
        atItsBoundPercent: boundPercent,
        withoutADescriptorPercent: outPercent,
        attemptsPerSecond: perSecond,
        recoveryMs: Math.round(slowest),
        threadsMax: threads === null ? 'not limited: that takes root' : threads.max,
      },
      violations: violationsOf({
        'the hub says that it is short of descriptors': bounded,
        'some of the crowd are in': inside > 0,
        'those beyond are turned away, and counted': turnedAway >= crowd - filesMax && http.dropped >= crowd - filesMax,
        'who is in is served': old.ended === null && old.entries('narrow').length === said,
        'the store works': direct.seq === 1,
        'nothing of it is a fault': !/error/.test(hub.stdout),
        'a hub that may have no further thread lives on, and says so': threads === null || threads.livesOn,
      }),
      missed: [
        ...(most <= 20 ? [] : [`${rounded(most)} % of a core for those turned away`]),
        ...(slowest <= 1_000 ? [] : [`recovery ${Math.round(slowest)} ms`]),
      ],
    };
  },
};

/** A hub that comes up, and then may have not one thread more than it has: none to spare, so it goes on without. */
async function withoutAThread(kit: FaultKit): Promise<{ max: number; livesOn: boolean }> {
  const data = kit.folder();
  chownSync(data, lonelyUser, lonelyUser);
  const hub = await kit.hub({ uid: lonelyUser, data });
  const { pid } = hub;
  const max = readdirSync(`/proc/${pid}/task`).length;
  // By that user, who may lower what is his.
  execFileSync('prlimit', ['--pid', String(pid), `--nproc=${max}:`], { uid: lonelyUser, gid: lonelyUser });
  await until(() => /allows no further thread/.test(hub.stdout));
  const client = await RawClient.connect(hub.url, { user: 'one' });
  await client.ok('publish', { room: 'narrow', body: 1 });
  await client.close();
  return { max, livesOn: hub.pid === pid && /allows no further thread/.test(hub.stdout) };
}

/** TCP connections that say nothing. */
class Crowd {
  refused = 0;
  readonly #port: number;
  readonly #open = new Set<Socket>();

  constructor(port: number, kit: FaultKit) {
    this.#port = port;
    kit.defer(() => this.leave());
  }

  get size(): number {
    return this.#open.size;
  }

  async grow(by: number): Promise<void> {
    await Promise.all(Array.from({ length: by }, () => this.#one()));
  }

  /** Goes on trying, at this pace. */
  async press(perSecond: number, ms: number): Promise<void> {
    const began = performance.now();
    for (let i = 0; performance.now() - began < ms; i++) {
      await this.#one();
      await passed(Math.max(0, began + ((i + 1) * 1_000) / perSecond - performance.now()));
    }
  }

  leave(): void {
    for (const socket of this.#open) socket.destroy();
  }

  #one(): Promise<unknown> {
    const socket = connect(this.#port, '127.0.0.1');
    this.#open.add(socket);
    socket.on('error', () => {}).resume();
    socket.once('close', () => {
      this.#open.delete(socket);
      this.refused++;
    });
    return new Promise((resolve) => socket.once('connect', resolve).once('close', resolve));
  }
}

/** What the hub's process spends meanwhile, of one core. */
async function share(hub: HubProcess, ms: number, during: () => Promise<unknown>): Promise<number> {
  const [before, began] = [processorSeconds(hub.pid), performance.now()];
  await during();
  const took = Math.max(ms, performance.now() - began);
  return rounded(((processorSeconds(hub.pid) - before) / (took / 1_000)) * 100);
}

/** Until somebody who was not there is welcome and answered. */
async function comeBack(hub: HubProcess): Promise<number> {
  const began = performance.now();
  let fresh: RawClient | null = null;
  while (fresh === null && performance.now() - began < patienceMs) fresh = await RawClient.connect(hub.url, { user: 'fresh' }).catch(() => null);
  if (fresh === null) throw new Error('nobody can come in again');
  await fresh.settled();
  await fresh.close();
  return performance.now() - began;
}

function limitFiles(hub: HubProcess, soft: string): void {
  execFileSync('prlimit', ['--pid', String(hub.pid), `--nofile=${soft}:`]);
}

async function until(condition: () => boolean): Promise<void> {
  const deadline = performance.now() + patienceMs;
  while (!condition() && performance.now() < deadline) await passed(10);
}
