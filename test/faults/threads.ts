/**
 * What the rows of dying threads share: a hub whose threads can be struck from inside (test/fixtures/faults.mjs), users who write and
 * follow rooms of every shard and repeat what they are told to repeat, and one fault after the other, measured by their acks.
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { v7 } from 'uuid';
import type { HubProcess } from '../../src/testing/hub-process.ts';
import { placeOf } from '../../src/thread/placement.ts';
import { brittle, order } from '../kit/brittle.ts';
import { RawClient } from '../kit/raw-client.ts';
import { readLogs } from '../kit/reader.ts';
import { percentile, rounded } from './percentile.ts';
import { MainThread } from './processes.ts';
import { type FaultKit, type FaultReport, violationsOf } from './row.ts';

export type Struck = 'shard' | 'persistence' | 'reader';
/**
 * `faults`: how many of the pairs of thread and way to die a round has, picked by the seed. `paceMs`: a user's, between an ack and his next message.
 * `calmMs`: watched before each fault, and again once its rooms are back. `hangMs` and `storeHangMs`: the hub's; `nativeS`: how long the native call lasts, in seconds.
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

const shards = 2;
/** Before anything is measured: code gets fast. */
const warmUpAcks = 200;
const pollMs = 25;
const windowMs = 50;

type Stats = Record<string, Record<string, number>>;
type Acked = { room: string; at: number; ms: number };
/** One fault: how long acks of rooms of its thread paused, and what each of the others took; `calm`: what all took just before. */
type Strike = { how: How; pauseMs: number; backMs: number; lagMs: number; calmLagMs: number; busyMs: number; calm: number[]; others: number[] };

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
    for (const { what, how } of faults) {
      // Before as during: the hub is asked just as often.
      await replaced(hub, what, null, size.calmMs);
      const before = await statsOf(hub);
      const calm = crowd.take().map(({ ms }) => ms);
      const calmLagMs = await lagOf(hub);
      main.take();
      const began = performance.now();
      order(folder, what, how === 'native' ? `native${size.nativeS}` : how);
      await until(() => !existsSync(join(folder, what)));
      const struck = await replaced(hub, what, before, 0);
      const backMs = performance.now() - began;
      await crowd.acksOfEachRoom();
      await replaced(hub, what, null, size.calmMs);
      const busyMs = main.take();
      const acked = crowd.take();
      const affected = ({ room }: Acked): boolean => what !== 'shard' || `shard${placeOf(room, shards)}` === struck;
      const pauseMs = longestGap(began, acked.filter(affected));
      const others = acked.filter((one) => !affected(one)).map(({ ms }) => ms);
      strikes.push({ how, pauseMs, backMs, lagMs: await lagOf(hub), calmLagMs, busyMs, calm, others });
      kit.say(`${what} ${how}: ${struck} replaced, longest pause of acks ${Math.round(pauseMs)} ms, back after ${Math.round(backMs)} ms`);
    }
  }
  const violations = await crowd.end();
  const pauses = ofEach(strikes, (some) => most(some, 'pauseMs'));
  const others = whats.includes('shard') ? ofEach(strikes, othersChange) : null;
  const lagMs = most(strikes, 'lagMs');
  const busyMs = most(strikes, 'busyMs');
  return {
    figures: {
      faults: strikes.length,
      acked: crowd.acked,
      lost: violations.filter((line) => line.startsWith('I1')).length,
      ...named('pauseMaxMsOf', pauses),
      backMaxMs: rounded(most(strikes, 'backMs')),
      mainLoopLagMaxMsCalm: rounded(most(strikes, 'calmLagMs')),
      mainLoopLagMaxMs: rounded(lagMs),
      mainThreadComputedMaxMsIn50Ms: rounded(busyMs),
      ...(others === null ? {} : named('otherShardAckP99ChangePercentOf', others)),
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

/** Users who each follow all rooms and write to one, one message at a time, until they are told to end. */
class Crowd {
  acked = 0;
  readonly #hub: HubProcess;
  readonly #kit: FaultKit;
  readonly #rooms: readonly string[];
  readonly #paceMs: number;
  readonly #clients: RawClient[] = [];
  readonly #writing: Promise<void>[] = [];
  readonly #odd: string[] = [];
  #recent: Acked[] = [];
  #waiting: (() => void)[] = [];
  #ended = false;

  constructor(hub: HubProcess, kit: FaultKit, rooms: readonly string[], paceMs: number) {
    this.#hub = hub;
    this.#kit = kit;
    this.#rooms = rooms;
    this.#paceMs = paceMs;
  }

  async gather(users: number): Promise<void> {
    const { recorder } = this.#kit;
    for (let i = 0; i < users; i++) {
      const client = await RawClient.connect(this.#hub.url, { user: `user-${i}`, recorder, format: i % 2 ? 'json' : 'msgpack' });
      this.#clients.push(client);
      // From the first seq on, so that its stream is compared with the log.
      for (const room of this.#rooms) await client.ok('subscribe', { room, position: { epoch: client.welcome?.epoch, seq: 0 } });
    }
    for (const [i, client] of this.#clients.entries()) this.#writing.push(this.#write(client, this.#rooms[i % this.#rooms.length] as string));
    const reader = await RawClient.connect(this.#hub.url, { user: 'reader', recorder });
    this.#clients.push(reader);
    this.#writing.push(this.#read(reader));
  }

  /** What was acknowledged since the last call. */
  take(): Acked[] {
    return this.#recent.splice(0);
  }

  async acks(count: number): Promise<void> {
    const enough = this.acked + count;
    while (this.acked < enough) await this.#next();
  }

  /** Until every room has been written to from now on. */
  async acksOfEachRoom(): Promise<void> {
    const since = performance.now();
    while (!this.#rooms.every((room) => this.#recent.some((one) => one.room === room && one.at - one.ms > since))) await this.#next();
  }

  /** Stops, waits until everybody has everything, and says what was not as it must be. */
  async end(): Promise<string[]> {
    this.#ended = true;
    await Promise.all(this.#writing);
    const logs = await readLogs(this.#hub.url, this.#rooms, this.#kit.recorder);
    const heads = new Map([...logs].map(([room, entries]) => [room, entries.at(-1)?.seq ?? 0]));
    const followers = this.#clients.slice(0, -1);
    await Promise.all(followers.map((client) => client.until(() => this.#rooms.every((room) => client.entries(room).at(-1)?.seq === heads.get(room)))));
    const doubled = followers.flatMap((client) => this.#rooms.filter((room) => client.entries(room).some(({ seq }, i) => seq !== i + 1)));
    return [
      ...this.#odd,
      ...this.#kit.check(),
      ...violationsOf({
        'every socket was kept': this.#clients.every(({ ended }) => ended === null),
        'every follower saw 1, 2, 3, … of every room, nothing twice': doubled.length === 0,
      }),
    ];
  }

  async #write(client: RawClient, room: string): Promise<void> {
    while (!this.#ended) {
      const began = performance.now();
      await this.#repeat(client, 'publish', { room, mid: v7(), body: 'x'.repeat(80) });
      const at = performance.now();
      this.acked++;
      this.#recent.push({ room, at, ms: at - began });
      for (const go of this.#waiting.splice(0)) go();
      await sleep(this.#paceMs);
    }
  }

  /** Old pages, which only the store has. */
  async #read(client: RawClient): Promise<void> {
    while (!this.#ended) {
      await this.#repeat(client, 'history', { room: this.#rooms[0], after: 0, limit: 5 });
      await sleep(this.#paceMs);
    }
  }

  /** As a good client: what may be repeated is repeated, with the same mid, and anything else is a finding. */
  async #repeat(client: RawClient, op: 'publish' | 'history', fields: Record<string, unknown>): Promise<void> {
    for (;;) {
      const answer = await client.command(op, fields);
      if (answer.op !== 'error') return;
      if (!answer.retry) {
        this.#odd.push(`${op} was refused for good: ${answer.code}`);
        return;
      }
      await sleep(pollMs);
    }
  }

  #next(): Promise<void> {
    return new Promise((resolve) => this.#waiting.push(resolve));
  }
}

/** Three rooms for each shard. */
function roomsOfEach(): string[] {
  const names = Array.from({ length: 100 }, (_, i) => `room-${i}`);
  return Array.from({ length: shards }, (_, shard) => names.filter((name) => placeOf(name, shards) === shard).slice(0, 3)).flat();
}

async function statsOf(hub: HubProcess): Promise<Stats> {
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
async function replaced(hub: HubProcess, what: Struck, before: Stats | null, ms: number): Promise<string> {
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

/** How much longer the slowest in a hundred acks of the other shard's rooms took than just before. */
function othersChange(strikes: readonly Strike[]): number {
  const before = strikes.flatMap(({ calm }) => calm);
  const others = strikes.flatMap((strike) => strike.others);
  return (percentile(others, 0.99) / percentile(before, 0.99) - 1) * 100;
}

function longestGap(began: number, acked: readonly Acked[]): number {
  const times = [began, ...acked.map(({ at }) => at).filter((at) => at > began)].toSorted((a, b) => a - b);
  return Math.max(0, ...times.slice(1).map((at, i) => at - (times[i] as number)));
}
