/**
 * What the rows of dying threads share: a hub whose threads can be struck from inside (test/fixtures/faults.mjs), a crowd that writes to
 * rooms of every shard, and one fault after the other, measured by the acks in windows of the same length: calm, fault, calm, fault, ….
 */
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { HubProcess } from '../../src/testing/hub-process.ts';
import { placeOf } from '../../src/thread/placement.ts';
import { brittle, heapMb, order } from '../kit/brittle.ts';
import { type Acked, Crowd } from './crowd.ts';
import { percentile, rounded } from './percentile.ts';
import { MainThread } from './processes.ts';
import type { FaultKit, FaultReport } from './row.ts';

export type Struck = 'shard' | 'persistence' | 'reader';
/**
 * `faults`: how many of the pairs of thread and way to die a round has, picked by the seed. `paceMs`: a user's, between an ack and his next message.
 * `calmMs`: how long a window is; that of a fault lasts until its rooms are back, if that is longer. `hangMs` and `storeHangMs`: the hub's;
 * `nativeS`: how long the native call lasts, in seconds.
 */
export type ThreadSize = {
  rounds: number;
  faults: number;
  users: number;
  paceMs: number;
  calmMs: number;
  hangMs: number;
  storeHangMs: number;
  nativeS: number;
};

const hows = ['throw', 'reject', 'loop', 'memory', 'native'] as const;
type How = (typeof hows)[number];
/**
 * In these the struck thread itself takes a processor until it is ended, or with its collections more than one, whatever the hub does: they are
 * compared with another process that does the same.
 */
const computing: Readonly<Partial<Record<How, string>>> = {
  loop: 'for (;;);',
  memory: `new (require('node:worker_threads').Worker)('const kept = []; for (;;) kept.push(new Array(10_000).fill(kept.length));',
    { eval: true, resourceLimits: { maxOldGenerationSizeMb: ${heapMb} } }).on('error', () => {});`,
};

const shards = 2;
/** Before anything is measured: code gets fast. */
const warmUpAcks = 200;
const pollMs = 25;
const windowMs = 50;

export type Stats = Record<string, Record<string, number>>;
/**
 * One fault: how long acks of rooms of its thread paused, and what each of the others took, then and beside it: in the calm windows before and
 * after, or, where the fault computes by itself, in one in which another process did the same.
 */
type Strike = { how: How; pauseMs: number; backMs: number; lagMs: number; calmLagMs: number; busyMs: number; others: number[]; beside: number[] };

export async function strikeThreads(whats: readonly Struck[], size: ThreadSize, kit: FaultKit): Promise<FaultReport> {
  const folder = kit.folder();
  const { hangMs, storeHangMs } = size;
  // The faults strike whatever room is written to; none of them is to be set aside for it.
  const hub = await kit.hub({ shards, hangMs, storeHangMs, tailItemsMax: 16, quarantineMs: 1_000, ...brittle(folder) });
  const crowd = new Crowd(hub, kit, roomsOfEach(), size.paceMs);
  await crowd.gather(size.users);
  await crowd.acks(warmUpAcks);
  const main = new MainThread(hub.pid, windowMs);
  kit.defer(() => main.stop());
  const strikes: Strike[] = [];
  let roundAt = 0;
  for (let round = 0; round < size.rounds; round++) {
    // No thread more often than restarts are allowed within a minute.
    if (round > 0) await sleep(Math.max(0, 60_000 - (performance.now() - roundAt)));
    roundAt = performance.now();
    const faults = whats.flatMap((what) => hows.map((how) => ({ what, how })));
    while (faults.length > size.faults) faults.splice(kit.random.int(faults.length), 1);
    /** Those of the window before, and whom the calm window after it is for. */
    let last: { strike: Strike; others: (acked: Acked[]) => number[] } | null = null;
    const calmWindow = async (what: Struck): Promise<Acked[]> => {
      crowd.take();
      // Before as during: the hub is asked just as often.
      await replaced(hub, what, null, size.calmMs);
      const acked = crowd.take();
      if (last !== null && computing[last.strike.how] === undefined) last.strike.beside.push(...last.others(acked));
      return acked;
    };
    for (const { what, how } of faults) {
      const calm = await calmWindow(what);
      const before = await statsOf(hub);
      const calmLagMs = await lagOf(hub);
      main.take();
      crowd.take();
      const began = performance.now();
      order(folder, what, how === 'native' ? `native${size.nativeS}` : how);
      await until(() => !existsSync(join(folder, what)));
      const struck = await replaced(hub, what, before, 0);
      const backMs = performance.now() - began;
      await crowd.acksOfEachRoom();
      await replaced(hub, what, null, size.calmMs - (performance.now() - began));
      const busyMs = main.take();
      const acked = crowd.take();
      const lagMs = await lagOf(hub);
      const affected = ({ room }: Acked): boolean => what !== 'shard' || `shard${placeOf(room, shards)}` === struck;
      const others = (some: Acked[]): number[] => some.filter((one) => !affected(one)).map(({ ms }) => ms);
      let beside = others(calm);
      const computation = computing[how];
      if (what === 'shard' && computation !== undefined) {
        crowd.take();
        await Promise.all([compute(computation, backMs), replaced(hub, what, null, size.calmMs)]);
        beside = others(crowd.take());
      }
      const pauseMs = longestGap(began, acked.filter(affected));
      const strike: Strike = { how, pauseMs, backMs, lagMs, calmLagMs, busyMs, others: others(acked), beside };
      strikes.push(strike);
      last = { strike, others };
      kit.say(`${what} ${how}: ${struck} replaced, longest pause of acks ${Math.round(pauseMs)} ms, back after ${Math.round(backMs)} ms`);
    }
    if (whats.includes('shard')) await calmWindow('shard');
  }
  const replacedInAll = Object.values(await statsOf(hub)).reduce((sum, { restarts = 0 }) => sum + restarts, 0);
  const violations = await crowd.end();
  if (whats.includes('shard')) {
    for (const { how, others, beside } of strikes)
      kit.say(
        `${how}: p99 of the others ${rounded(percentile(others, 0.99))} ms of ${others.length}, beside it ${rounded(percentile(beside, 0.99))} of ${beside.length}`,
      );
  }
  const pauses = ofEach(strikes, (some) => most(some, 'pauseMs'));
  const others = whats.includes('shard') ? ofEach(strikes, othersChange) : null;
  const lagMs = most(strikes, 'lagMs');
  const busyMs = most(strikes, 'busyMs');
  return {
    figures: {
      faults: strikes.length,
      threadsReplaced: replacedInAll,
      acked: crowd.acked,
      lost: violations.filter((line) => line.startsWith('I1')).length,
      ...named('pauseMaxMsOf', pauses),
      backMaxMs: rounded(most(strikes, 'backMs')),
      mainLoopLagMaxMsCalm: rounded(most(strikes, 'calmLagMs')),
      mainLoopLagMaxMs: rounded(lagMs),
      mainThreadComputedMaxMsIn50Ms: rounded(busyMs),
      ...(others === null ? {} : othersFigures(strikes, others)),
    },
    violations,
    missed: [
      ...(pauses.ThrowOrReject > 1_000 ? ['acks pause more than 1 s for a thread that threw or rejected'] : []),
      ...(pauses.Loop > 5_000 ? ['acks pause more than 5 s for a loop'] : []),
      ...(lagMs > 50 ? [`the main loop lagged ${rounded(lagMs)} ms, in which the main thread computed at most ${rounded(busyMs)} ms of any ${windowMs}`] : []),
      ...Object.entries(others ?? {}).flatMap(([how, change]) => (change > 20 ? [`acks of the other shard changed by more than 20 % (${how})`] : [])),
    ],
  };
}

/** Three rooms for each shard. */
function roomsOfEach(): string[] {
  const names = Array.from({ length: 100 }, (_, i) => `room-${i}`);
  return Array.from({ length: shards }, (_, shard) => names.filter((name) => placeOf(name, shards) === shard).slice(0, 3)).flat();
}

export async function statsOf(hub: HubProcess): Promise<Stats> {
  return (await (await fetch(`${hub.http}/stats`)).json()) as Stats;
}

/** The longest delay of the main loop since the last call. */
async function lagOf(hub: HubProcess): Promise<number> {
  const text = await (await fetch(`${hub.http}/metrics`)).text();
  return Number(/^hubbub_event_loop_delay_seconds\{quantile="1"\} (\S+)/m.exec(text)?.[1]) * 1_000;
}

/**
 * Looks until a thread of the role has had one more life than `before` says, its successor is there, and `ms` have passed; the thread's name. Without
 * `before` it looks just as hard and at nothing.
 */
export async function replaced(hub: HubProcess, what: Struck, before: Stats | null, ms: number): Promise<string> {
  const over = performance.now() + ms;
  let struck = '';
  await until(async () => {
    const stats = await statsOf(hub);
    const { ok } = await fetch(`${hub.http}/readyz`);
    struck = Object.keys(stats).find((thread) => thread.startsWith(what) && (stats[thread]?.restarts ?? 0) > (before?.[thread]?.restarts ?? 0)) ?? '';
    return (before === null || struck !== '') && ok && performance.now() >= over;
  });
  return struck;
}

async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await condition())) await sleep(pollMs);
}

/** A figure of each kind of end. */
function ofEach(
  strikes: readonly Strike[],
  figure: (strikes: readonly Strike[]) => number,
): Record<'ThrowOrReject' | 'Memory' | 'Loop' | 'NativeCall', number> {
  const of = (...wanted: How[]): number => figure(strikes.filter(({ how }) => wanted.includes(how)));
  return { ThrowOrReject: of('throw', 'reject'), Memory: of('memory'), Loop: of('loop'), NativeCall: of('native') };
}

/** With their names; without those that the seed picked no fault for. */
function named(prefix: string, figures: Readonly<Record<string, number>>): Record<string, number> {
  const there = Object.entries(figures).filter(([, value]) => Number.isFinite(value));
  return Object.fromEntries(there.map(([kind, value]) => [`${prefix}${kind}`, rounded(value)]));
}

function most(strikes: readonly Strike[], of: 'pauseMs' | 'backMs' | 'lagMs' | 'calmLagMs' | 'busyMs'): number {
  return Math.max(...strikes.map((strike) => strike[of]));
}

/**
 * How much longer the slowest in a hundred acks of the other shard's rooms took than beside it: the median of the strikes, each compared with its
 * own neighbours, for what else goes on in the machine and its disk changes from one minute to the next.
 */
function othersChange(strikes: readonly Strike[]): number {
  const changes = strikes.map(({ others, beside }) => (percentile(others, 0.99) / percentile(beside, 0.99) - 1) * 100);
  return (
    (percentile(changes, 0.5) -
      percentile(
        changes.map((change) => -change),
        0.5,
      )) /
    2
  ); // of an even number: between the two in the middle
}

/** The slowest ones too: somebody who waits for one ack sends no others, so a pause of all is few acks and hardly moves what 99 of 100 took. */
function othersFigures(strikes: readonly Strike[], changes: Readonly<Record<string, number>>): Record<string, number> {
  const [others, beside] = [strikes.flatMap((strike) => strike.others), strikes.flatMap((strike) => strike.beside)];
  return {
    ...named('otherShardAckP99ChangePercentOf', changes),
    otherShardAckP99Ms: rounded(percentile(others, 0.99)),
    otherShardAckP99MsBeside: rounded(percentile(beside, 0.99)),
    otherShardAckMaxMs: rounded(percentile(others, 1)),
    otherShardAckMaxMsBeside: rounded(percentile(beside, 1)),
  };
}

/** In a process of its own, until it ends by itself, at the latest after so long. */
async function compute(script: string, ms: number): Promise<void> {
  const child = spawn(process.execPath, ['-e', script], { stdio: 'ignore' });
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  await Promise.race([sleep(ms), ended]);
  child.kill('SIGKILL');
  await ended;
}

function longestGap(began: number, acked: readonly Acked[]): number {
  const times = [began, ...acked.map(({ at }) => at).filter((at) => at > began)].toSorted((a, b) => a - b);
  return Math.max(0, ...times.slice(1).map((at, i) => at - (times[i] as number)));
}
