/**
 * What goes on in a hub on a working day, for the soak: steady writing, visitors who come, write and go, and edges that break (cut
 * connections, readers that stop reading, a hub that the system stops for a while). It goes on in rounds; after each, everybody has
 * everything and nobody is there who was not there before, so that the hub may be compared with itself.
 */
import { v7 } from 'uuid';
import type { Entry } from '../../src/protocol/pushes.ts';
import type { HubProcess } from '../../src/testing/hub-process.ts';
import type { Cut, TcpProxy } from '../../src/testing/proxy.ts';
import { RawClient } from '../kit/raw-client.ts';
import { Follower, join, passed } from './app.ts';
import type { FaultKit } from './row.ts';
import { statsOf } from './threads.ts';

/** `faultlessMs`: the end of a round, in which what was broken before is noticed. */
export type DaySize = { people: number; rooms: number; visitors: number; visitGapMs: number; faultEveryMs: number; faultlessMs: number; perSecondMax: number };

const loadShare = 0.6;
const stoppedMs = 700;
/** Below what the hub answers with `limit`. */
const openMax = 1_000;
/** Of each visitor, one after the other: a world that is finite is known to the caches after a while, and what grows then is a leak. */
const faces = 20;
const turnMs = 20;
const pageEntries = 80;
const probingAtOnce = 32;
/** For connections that nobody closed to be noticed. */
const restMsMax = 20_000;
/** Statistics that count what is under way. */
const underWay = ['commandsOpen', 'backed', 'outboxBytes', 'held', 'pendingAppends', 'pendingReads', 'feeding', 'queuedBatches'];

export class Day {
  readonly rooms: readonly string[];
  followers: readonly Follower[] = [];
  readonly counts = { entries: 0, visits: 0, cuts: 0, unread: 0, stops: 0 };
  readonly acks: number[] = [];
  perSecond = 0;
  readonly #kit: FaultKit;
  readonly #hub: HubProcess;
  readonly #proxy: TcpProxy;
  readonly #writer: RawClient;
  readonly #size: DaySize;
  readonly #heads = new Map<string, number>();
  /** The heads of what was looked at. */
  readonly #read = new Map<string, number>();
  #until = 0;

  static async begin(hub: HubProcess, size: DaySize, kit: FaultKit): Promise<Day> {
    const writer = await RawClient.connect(hub.url, { user: 'writer', recorder: kit.recorder });
    const day = new Day(hub, await kit.proxy(hub), writer, size, kit);
    const person = (i: number): Promise<Follower> =>
      Follower.start(join(kit, day.#proxy.url, `person-${i}`), `person-${i}`, day.rooms[i % day.rooms.length] as string);
    day.followers = await Promise.all(Array.from({ length: size.people }, (_, i) => person(i)));
    return day;
  }

  private constructor(hub: HubProcess, proxy: TcpProxy, writer: RawClient, size: DaySize, kit: FaultKit) {
    this.#hub = hub;
    this.#proxy = proxy;
    this.#writer = writer;
    this.#size = size;
    this.#kit = kit;
    this.rooms = Array.from({ length: size.rooms }, (_, i) => `room-${i}`);
  }

  /** Finds out what the hub can do, flat out; the load is a share of it. */
  async probe(seconds: number): Promise<void> {
    let most = 0;
    const until = performance.now() + seconds * 1_000;
    const flatOut = async (): Promise<void> => {
      for (; performance.now() < until; most++) await this.#say();
    };
    await Promise.all(Array.from({ length: probingAtOnce }, flatOut));
    this.perSecond = Math.min(this.#size.perSecondMax, (most / seconds) * loadShare);
  }

  /** One round of load, until its last command is answered. `hard`: with worse faults than come later, so that what they take of memory for a while has been taken. */
  async round(ms: number, hard: boolean): Promise<void> {
    this.#until = performance.now() + ms;
    await Promise.all([this.#load(), this.#faults(hard), ...Array.from({ length: this.#size.visitors }, (_, lane) => this.#visits(lane))]);
  }

  /** Until everybody has everything, and only those who stay are there; in vain for so long at most. */
  async rest(): Promise<void> {
    await Promise.all(this.followers.map((follower) => follower.reached(this.#heads.get(follower.room) ?? 0)));
    const deadline = performance.now() + restMsMax;
    while ((await this.restless()).length > 0 && performance.now() < deadline) await passed(turnMs);
  }

  /** Whoever is in a table of the hub beside those who stay, and whatever is under way. */
  async restless(): Promise<string[]> {
    const stats = await statsOf(this.#hub);
    const there = this.followers.length + 1;
    const shards = Object.keys(stats).filter((part) => part.startsWith('shard'));
    const inAll = (name: string): number => shards.reduce((sum, shard) => sum + (stats[shard]?.[name] ?? 0), 0);
    const found: [what: string, count: number, expected: number][] = [
      ['connections', stats.gateway?.connections ?? 0, there],
      ['users', stats.gateway?.users ?? 0, there],
      ['users of shards', inAll('users'), there],
      // Everybody follows `all:`, and the followers a room.
      ['rooms that are followed', inAll('followed'), there + this.followers.length],
      ...shards.map((shard): [string, number, number] => [`connections of ${shard}`, Math.max(there, stats[shard]?.connections ?? 0), there]),
      ...Object.entries(stats).flatMap(([part, counts]) => underWay.map((name): [string, number, number] => [`${name} of ${part}`, counts[name] ?? 0, 0])),
    ];
    return found.flatMap(([what, count, expected]) => (count === expected ? [] : [`at rest there were ${count} ${what}, and not ${expected}`]));
  }

  /** At rest: what is wrong with the history since it was looked at last. Forgets it then: hours of it fit no memory. */
  async looked(): Promise<string[]> {
    const { recorder } = this.#kit;
    const reader = await RawClient.connect(this.#hub.url, { user: 'auditor' });
    const epoch = reader.welcome?.epoch ?? '';
    for (const room of this.rooms) {
      const after = this.#read.get(room) ?? 0;
      const log = await keptSince(reader, room, after);
      const head = log.at(-1)?.seq ?? after;
      recorder.log(room, epoch, head, log);
      this.#read.set(room, head);
    }
    await reader.close();
    await Promise.all(this.followers.map((follower) => follower.reached(this.#read.get(follower.room) ?? 0)));
    const found = await this.#kit.checkSettled();
    recorder.goOn();
    return found;
  }

  async end(): Promise<void> {
    await Promise.all([this.#writer.close(), ...this.followers.map(({ client }) => client.close())]);
  }

  get #over(): boolean {
    return performance.now() >= this.#until;
  }

  async #say(): Promise<void> {
    const { random } = this.#kit;
    const room = random.pick(this.rooms);
    const { seq = 0 } = await this.#writer.ok('publish', { room, mid: v7(), body: 'x'.repeat(50 + random.int(300)) });
    this.#heads.set(room, Math.max(seq, this.#heads.get(room) ?? 0));
    this.counts.entries++;
  }

  async #load(): Promise<void> {
    const began = performance.now();
    const open = new Set<Promise<unknown>>();
    for (let sent = 0; !this.#over; await passed(turnMs)) {
      for (; sent < ((performance.now() - began) / 1_000) * this.perSecond && open.size < openMax; sent++) {
        const from = performance.now();
        const one = this.#say().then(() => {
          open.delete(one);
          if (this.acks.push(performance.now() - from) > 100_000) this.acks.splice(0, 50_000);
        });
        open.add(one);
      }
    }
    await Promise.all(open);
  }

  async #visits(lane: number): Promise<void> {
    const { random, recorder } = this.#kit;
    const { people, visitGapMs } = this.#size;
    for (let n = random.int(faces); !this.#over; n = (n + 1) % faces) {
      const visitor = await RawClient.connect(this.#hub.url, { user: `visitor-${lane}-${n}`, device: 'only', recorder });
      await visitor.ok('subscribe', { room: random.pick(this.rooms) });
      await visitor.ok('direct', { to: `person-${(lane * faces + n) % people}`, body: 'passing by' });
      await visitor.ok('publish', { room: random.pick(this.rooms), body: 'typing', ephemeral: true });
      if (random.int(50) === 0) {
        visitor.pause();
        this.counts.unread++;
        await passed(stoppedMs);
      }
      if (random.int(2) === 0) visitor.terminate();
      else visitor.socket.close(1000);
      visitor.resume();
      await visitor.closed;
      this.counts.visits++;
      await passed(random.int(2 * visitGapMs));
    }
  }

  async #faults(hard: boolean): Promise<void> {
    const { random } = this.#kit;
    for (;;) {
      await passed(this.#size.faultEveryMs * (0.5 + random.next()));
      if (performance.now() + this.#size.faultlessMs > this.#until) return;
      const stops = random.int(10) === 0;
      if (stops || hard) {
        process.kill(this.#hub.pid, 'SIGSTOP');
        await passed(hard ? 2 * stoppedMs : stoppedMs);
        process.kill(this.#hub.pid, 'SIGCONT');
        this.counts.stops++;
      }
      if (!stops || hard) {
        for (const link of [...this.#proxy.links]) if (hard || random.int(5) === 0) link.cut(random.pick<Cut>(['fin', 'rst', 'silent']));
        this.counts.cuts++;
      }
    }
  }
}

/** What the hub kept of a room, page by page: a subscription would bring it as fast as it can be sent, and leave its buffers in the memory that is looked at. */
async function keptSince(reader: RawClient, room: string, after: number): Promise<Entry[]> {
  const pages: Entry[][] = [];
  for (let before = Number.MAX_SAFE_INTEGER; before > after + 1; ) {
    const { entries } = await reader.ok('history', { room, before, limit: pageEntries });
    before = entries[0]?.seq ?? after;
    pages.push(entries.filter(({ seq }) => seq > after));
  }
  return pages.toReversed().flat();
}
