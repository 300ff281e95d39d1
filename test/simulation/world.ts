/**
 * A simulated cluster from its first turn to its last: two nodes of two shards over one database, a bus between them, and a
 * handful of devices. One seed decides everything; after the faults end, everything has to come right.
 */
import { LocalBus } from '../../src/cluster/local.ts';
import type { StoreOptions } from '../../src/persistence/store.ts';
import { Recorder } from '../../src/testing/recorder.ts';
import { placeOf } from '../../src/thread/placement.ts';
import { SimClient } from './client.ts';
import { Database } from './database.ts';
import { judge, judgeLife, recordLogs } from './judge.ts';
import { SimNode } from './node.ts';
import { Plan } from './plan.ts';
import type { Lag, Port, Tamper } from './port.ts';
import { Scheduler, Strand } from './scheduler.ts';
import { nodeOf, numbersPerNode, SimModel, type StoreFaults, type StoreMutant } from './store.ts';
import { variants } from './variants.ts';

export type Mutant = { store?: StoreMutant; tamper?: Tamper };
/** What the whole cluster is under, changed while it runs. */
export type Conditions = {
  lag: Lag;
  faults: StoreFaults;
  /** Of each hint: that it is lost, doubled, late. */
  busLoss: number;
  ports: Map<Strand, Port[]>;
  mutant: Mutant | undefined;
  injected(fault: string): void;
};
export type Outcome = { seed: number; hash: string; violations: string[]; faults: Record<string, number>; virtualMs: number; events: number; commands: number };

export const shards = 2;
/** Which users live where: a user's devices all use one node. */
const homes: readonly (readonly string[])[] = [
  ['ann', 'bob'],
  ['cy', 'dan'],
];
const startTs = 1_790_000_000_000;
const hopsOfRestart = 200;
const calmMs = 4_000;
const settledMs = 4_000;
const askedMs = 200;

export class World {
  readonly scheduler: Scheduler;
  readonly recorder = new Recorder();
  readonly conditions: Conditions;
  readonly clients: SimClient[] = [];
  readonly nodes: (SimNode | null)[] = [];
  readonly violations: string[] = [];
  readonly faults: Record<string, number> = {};
  /** What each node says of who is in each room, in the end. */
  readonly membersTold: { node: number; room: string; answer: Record<string, unknown> }[] = [];
  readonly options: (typeof variants)[number];
  model: SimModel;
  /** A real one beside the model; then there is one node, for it numbers connections of its own. */
  #database: Database | null = null;
  readonly #databaseStrand = new Strand('database', hopsOfRestart);
  #homes = homes;
  backup: SimModel | null = null;
  /** Where in the history the data went back, and to what heads. */
  cuts: { at: number; heads: Map<string, number> }[] = [];
  readonly clientStrand = new Strand('clients', 0);
  #bus = new LocalBus();
  readonly #numbers: number[] = [];
  #lives = 0;

  constructor(seed: number, mutant?: Mutant) {
    const scheduler = new Scheduler(seed);
    this.scheduler = scheduler;
    const { random } = scheduler;
    this.options = random.pick(variants);
    const storeOptions: StoreOptions = { ...this.options, node: 'sim', exclusive: false };
    this.model = new SimModel(storeOptions, startTs);
    const rough = random.next();
    const rate = (most: number): number => (scheduler.chance(0.4) ? random.next() * most * rough : 0);
    this.conditions = {
      lag: { ms: scheduler.between(0.05, 2), spikeMs: scheduler.between(5, 200), spikes: rate(0.1) },
      faults: { statement: rate(0.06), commit: rate(0.1), read: rate(0.1), fullUntil: 0, dieNext: false, commitMs: scheduler.between(0.2, 8) },
      busLoss: rate(0.6),
      ports: new Map(),
      mutant,
      injected: (fault) => {
        this.faults[fault] = (this.faults[fault] ?? 0) + 1;
      },
    };
  }

  node(user: string): SimNode | null {
    return this.nodes[this.#homes.findIndex((users) => users.includes(user))] ?? null;
  }

  startNode(index: number): void {
    this.nodes[index] = new SimNode({
      index,
      shards,
      scheduler: this.scheduler,
      options: this.options,
      conditions: this.conditions,
      bus: this.#bus,
      users: new Set(this.#homes[index]),
      model: () => this.model,
      database: this.#database,
      firstNumber: (this.#numbers[index] ?? index * numbersPerNode) + 1,
      numbered: (number) => {
        this.#numbers[index] = number;
      },
      fault: (what) => this.violations.push(what),
    });
  }

  crashNode(index: number): boolean {
    const node = this.nodes[index];
    if (node === null || node === undefined) return false;
    node.crash();
    this.nodes[index] = null;
    for (const client of this.clients) if (this.#homes[index]?.includes(client.user)) client.cut();
    this.model.leave(index);
    return true;
  }

  /** Every process ends; the data, perhaps of a backup, begin another life. */
  restartAll(from: SimModel | null): void {
    for (let index = 0; index < this.#homes.length; index++) this.crashNode(index);
    if (from !== null) {
      recordLogs(this);
      this.violations.push(...judgeLife(this));
      this.model = from;
      this.cuts.push({ at: this.recorder.events.length, heads: new Map([...from.rooms].map(([name, { head }]) => [name, head])) });
    }
    const begins = Math.max(this.model.ts, startTs + Math.floor(this.scheduler.now));
    const database = this.#database;
    if (database === null) this.model.begin(`life-${++this.#lives}`, begins);
    else {
      this.scheduler.after(0, this.#databaseStrand, () => {
        void database.restart(begins).then((epoch) => this.model.begin(epoch, begins));
      });
    }
  }

  /** Everything that is stored goes into a real file as well, and what that answers counts. */
  async runOnSqlite(): Promise<Outcome> {
    const database = await Database.open(startTs, this.options);
    this.#database = database;
    this.#homes = [homes.flat()];
    this.model.begin(database.store.epoch, startTs);
    try {
      return await this.run();
    } finally {
      await database.remove();
    }
  }

  /** Whether the data can be taken back to an earlier state. */
  get canRestore(): boolean {
    return this.#database === null;
  }

  async run(): Promise<Outcome> {
    const { scheduler } = this;
    const plan = new Plan(this);
    scheduler.after(0, this.clientStrand, () => this.#begin());
    const until = plan.begin();
    await scheduler.run(until);
    scheduler.after(0, this.clientStrand, () => this.#calm());
    await scheduler.run(until + calmMs);
    scheduler.after(0, this.clientStrand, () => this.#tellHeads());
    await scheduler.run(until + calmMs + settledMs);
    scheduler.after(0, this.clientStrand, () => this.#askMembers());
    await scheduler.run(until + calmMs + settledMs + askedMs);
    recordLogs(this);
    this.violations.push(...judge(this));
    const commands = this.recorder.events.reduce((sum, { t }) => sum + Number(t === 'op'), 0);
    const { hash, events, now } = scheduler;
    return { seed: scheduler.random.seed, hash, violations: this.violations, faults: this.faults, virtualMs: now, events, commands };
  }

  #begin(): void {
    for (let index = 0; index < this.#homes.length; index++) this.startNode(index);
    const { scheduler, recorder, clientStrand: strand } = this;
    const devices = ['', 'phone', 'desk'];
    for (const user of this.#homes.flat()) {
      const count = scheduler.chance(0.4) ? 2 : 1;
      for (let i = 0; i < count; i++) {
        const format = scheduler.chance(0.1) ? 'msgpack' : 'json';
        const lagMs = scheduler.between(0.1, 20);
        const client: SimClient = new SimClient(user, scheduler.random.pick(devices), format, {
          scheduler,
          strand,
          recorder,
          lagMs,
          token: () => this.model.ts + 1,
          dial: ({ user: who }) => {
            const node = this.node(who);
            return node === null || node.dead ? null : { accept: (socket, as) => node.accept(socket, as), strand: node.main };
          },
          fault: (what) => this.violations.push(what),
        });
        this.clients.push(client);
        client.connect();
      }
    }
  }

  /** The faults end, whoever may come back comes back. */
  #calm(): void {
    const { conditions } = this;
    Object.assign(conditions.faults, { statement: 0, commit: 0, read: 0, fullUntil: 0, dieNext: false, commitMs: 1 });
    Object.assign(conditions.lag, { ms: 0.2, spikes: 0 });
    conditions.busLoss = 0;
    for (let index = 0; index < this.#homes.length; index++) {
      const node = this.nodes[index];
      if (node === null || node === undefined) this.startNode(index);
      else for (const strand of node.strands) this.scheduler.wake(strand);
    }
    for (const client of this.clients) {
      client.setSlow(false);
      client.connect();
    }
  }

  /** What the bus lost is found with the next word of the room's head. */
  #tellHeads(): void {
    for (const [name, { head }] of this.model.rooms) for (const node of this.nodes) node?.hint(placeOf(name, shards), name, head);
    for (const client of this.clients) client.reading.ack();
  }

  /** When it is answered, no connection of his is left that was admitted before. */
  revoke(user: string): void {
    const node = this.node(user);
    void node?.command({ op: 'revoke', users: [user] }).then(({ op }) => {
      if (op === 'ok' && !node.dead) this.violations.push(...this.#admitted(node, user).map((name) => `${name} is open though ${user} was revoked`));
    });
  }

  /** Connections that are open on a token of before the last revocation. */
  admitted(): string[] {
    return this.nodes.flatMap((node) => (node === null ? [] : this.users().flatMap((user) => this.#admitted(node, user))));
  }

  #askMembers(): void {
    const named = this.roomNames().filter((room) => !room.includes(':'));
    for (const [node, one] of this.nodes.entries())
      for (const room of named) void one?.command({ op: 'members', room }).then((answer) => this.membersTold.push({ node, room, answer }));
  }

  #admitted({ pool }: SimNode, user: string): string[] {
    const until = this.model.barred.until(user);
    return [...pool.of(user)].filter(({ phase, issuedAt }) => phase.is === 'open' && until > 0 && issuedAt <= until).map(({ id }) => id);
  }

  /** Connections that gateways hold open, over all nodes. */
  openNumbers(): number[] {
    return this.nodes.flatMap((node) => [...(node?.pool.connections.values() ?? [])].filter(({ phase }) => phase.is === 'open').map(({ number }) => number));
  }

  homeOf(user: string): number {
    return this.#homes.findIndex((users) => users.includes(user));
  }

  users(): string[] {
    return this.#homes.flat();
  }

  /** The rooms that ever came into being. */
  roomNames(): string[] {
    return [...this.model.rooms.keys()];
  }

  isLocal(number: number, user: string): boolean {
    return nodeOf(number) === this.homeOf(user);
  }
}

/** One seed, from beginning to end. */
export function simulate(seed: number, mutant?: Mutant): Promise<Outcome> {
  return new World(seed, mutant).run();
}

/** One seed over a real SQLite file. */
export function simulateOnSqlite(seed: number): Promise<Outcome> {
  return new World(seed).runOnSqlite();
}
