/**
 * One node of a simulated cluster: the real gateway parts, shards, writer and reader loop, each on a simulated thread of its
 * own and linked as `hub.ts` links them. Threads die and are replaced, or the whole node does; the world decides when.
 */

import type { MessagePort } from 'node:worker_threads';
import type { LocalBus } from '../../src/cluster/local.ts';
import type { Authenticator } from '../../src/gateway/authenticate.ts';
import { Connection } from '../../src/gateway/connection.ts';
import { composeGateway } from '../../src/gateway/gateway.ts';
import type { Pool } from '../../src/gateway/pool.ts';
import type { FilledOptions } from '../../src/options.ts';
import { ReadServer } from '../../src/persistence/reader.ts';
import { Writer } from '../../src/persistence/writer.ts';
import { Shard } from '../../src/shard/shard.ts';
import type { Clock } from '../../src/thread/clock.ts';
import type { Log } from '../../src/thread/log.ts';
import type { Format } from '../../src/thread/messages.ts';
import { Barrier } from '../../src/thread/quarantine.ts';
import { SimBus } from './bus.ts';
import type { Database } from './database.ts';
import { Port } from './port.ts';
import { type Scheduler, Strand } from './scheduler.ts';
import type { SimSocket } from './socket.ts';
import { type SimModel, SimStore, simReader } from './store.ts';
import type { Conditions } from './world.ts';

const shardTickMs = 1_000;
const maintainMs = 2_000;
const restartMs = 400;
/** The supervisor's looks at a thread are not part of this. */
const unseen = { frame: () => {}, step: () => {}, item: () => {}, clear: () => {}, calling: () => {}, returned: () => {} };
/** Microtasks that follow an event of such a thread, at most. */
const hops = { gateway: 6, shard: 1, writer: 14, sqlite: 60, reader: 8 } as const;

export type NodeDeps = {
  index: number;
  shards: number;
  scheduler: Scheduler;
  options: FilledOptions;
  conditions: Conditions;
  bus: LocalBus;
  users: ReadonlySet<string>;
  model(): SimModel;
  database: Database | null;
  /** The first connection number of this life: earlier ones are not given again. */
  firstNumber: number;
  numbered(number: number): void;
  fault(what: string): void;
};

type Live<T> = { strand: Strand; part: T };

/** One life of a node's process. */
export class SimNode {
  readonly #deps: NodeDeps;
  readonly #clock: Clock;
  readonly main: Strand;
  readonly #gateway: ReturnType<typeof composeGateway>;
  readonly #shardThreads: (Live<Shard> | null)[] = [];
  readonly #buses: SimBus[] = [];
  readonly #incarnations: number[] = [];
  #writer: Live<Writer> | null = null;
  #reader: Live<ReadServer> | null = null;
  /** Ms that its wall clock is off. */
  skewMs = 0;
  dead = false;

  constructor(deps: NodeDeps) {
    this.#deps = deps;
    const { scheduler, options, index } = deps;
    this.main = new Strand(`gateway${index}`, hops.gateway);
    this.#clock = { now: () => this.wall, tick: () => scheduler.now, random: () => scheduler.random.next() };
    const log: Log = (_level, message, fields) => {
      if (fields?.error instanceof Error) deps.fault(`${message}: ${fields.error.stack}`);
    };
    // A token says when it was issued, and nothing else.
    const authenticate: Authenticator = async ({ user, token }) => ({
      user: user ?? '',
      scopes: ['broadcast'],
      expiresAtMs: null,
      issuedAtMs: Number(token ?? 0),
    });
    const parts = { options, clock: this.#clock, log, authenticate, shards: deps.shards };
    this.#gateway = scheduler.as(this.main, () => composeGateway(parts, deps.firstNumber));
    const { sweep } = this.#gateway;
    scheduler.as(this.main, () => scheduler.every(sweep.intervalMs, () => sweep.run()));
    this.startWriter();
    this.startReader();
    for (let shard = 0; shard < deps.shards; shard++) this.startShard(shard);
  }

  get pool(): Pool {
    return this.#gateway.pool;
  }

  /** As the backend API does it. */
  command(command: Record<string, unknown>): Promise<Record<string, unknown>> {
    return this.#gateway.backend.command({ user: 'backend', scopes: [] }, command);
  }

  get wall(): number {
    return Math.floor(1_790_000_000_000 + this.#deps.scheduler.now + this.skewMs);
  }

  /** Threads by name, as faults pick them. */
  get strands(): Strand[] {
    return [this.main, this.#writer, this.#reader, ...this.#shardThreads].flatMap((one) => (one === null ? [] : one instanceof Strand ? [one] : [one.strand]));
  }

  /** A handshake. */
  accept(socket: SimSocket, format: Format): void {
    const { options, shards } = this.#deps;
    const { inbound, outbox, pool, time } = this.#gateway;
    const number = this.#gateway.nextNumber();
    this.#deps.numbered(number);
    const connection = new Connection(
      {
        ...{ number, id: `c${number}`, format, shards, address: '', bearer: null, openedAt: this.wall, now: time.now },
        ws: socket as unknown as Connection['ws'],
        socket: socket as unknown as Connection['socket'],
        helloTimeoutMs: options.helloTimeoutMs,
        pingAfterMs: options.heartbeatMs,
      },
      (to, fields) => outbox.send(to, fields),
    );
    pool.add(connection);
    socket.server = {
      message: (bytes, binary) => inbound.message(connection, bytes, binary),
      close: (code) => pool.gone(connection, code),
    };
  }

  /** A head that another node says a room has. */
  hint(shard: number, room: string, seq: number): void {
    const payload = Buffer.alloc(8);
    payload.writeDoubleBE(seq);
    this.#buses[shard]?.deliver({ topic: `room:${room}`, payload });
  }

  startShard(index: number): void {
    const { scheduler, options, shards, bus, conditions, fault } = this.#deps;
    const incarnation = (this.#incarnations[index] ?? 0) + 1;
    this.#incarnations[index] = incarnation;
    const strand = new Strand(`shard${this.#deps.index}.${index}`, hops.shard);
    const own = new SimBus({ scheduler, strand, conditions, bus: bus.join() });
    this.#buses[index] = own;
    const shard = scheduler.as(
      strand,
      () =>
        new Shard({
          index,
          incarnation,
          shards,
          options,
          clock: this.#clock,
          log: () => {},
          bus: own,
          witness: unseen,
          barred: { rooms: [], commands: [] },
          failed: (error) => fault(`${strand.name} failed: ${error instanceof Error ? error.stack : String(error)}`),
        }),
    );
    this.#shardThreads[index] = { strand, part: shard };
    const [here, there] = this.#pair(this.main, strand);
    scheduler.as(this.main, () => this.#gateway.reattach.attach(index, here));
    scheduler.as(strand, () => {
      shard.guarded(() => shard.connect('gateway', 0, there));
      scheduler.every(shardTickMs, () => shard.guarded(() => shard.tick()));
    });
    this.#linkReader(index);
    this.#linkWriter(index);
  }

  killShard(index: number): boolean {
    const thread = this.#shardThreads[index];
    if (thread === null || thread === undefined) return false;
    this.#end(thread.strand);
    this.#shardThreads[index] = null;
    this.#buses[index]?.leave();
    this.#deps.scheduler.as(this.main, () => this.#gateway.reattach.detach(index));
    return true;
  }

  startWriter(): void {
    if (this.#writer !== null) return;
    const { scheduler, conditions, model, database, users, index, shards, fault } = this.#deps;
    const strand = new Strand(`writer${index}`, database === null ? hops.writer : hops.sqlite);
    const { faults, injected, mutant } = conditions;
    const store = new SimStore({
      ...{ scheduler, strand, node: index, users, faults, model, database, fault, injected },
      mutant: mutant?.store,
      die: () => this.#dieWriter(),
    });
    const writer = scheduler.as(
      strand,
      () =>
        new Writer({
          store,
          shards,
          maintainMs,
          clock: this.#clock,
          witness: unseen,
          barrier: new Barrier({ rooms: [], commands: [] }),
          failed: (error) => this.#deps.fault(`${strand.name} failed: ${String(error)}`),
        }),
    );
    this.#writer = { strand, part: writer };
    for (let shard = 0; shard < shards; shard++) this.#linkWriter(shard);
  }

  killWriter(): boolean {
    if (this.#writer === null) return false;
    this.#end(this.#writer.strand);
    this.#writer = null;
    return true;
  }

  #dieWriter(): void {
    const { scheduler } = this.#deps;
    this.killWriter();
    scheduler.after(scheduler.between(1, restartMs), this.main, () => this.startWriter());
  }

  startReader(): void {
    const { scheduler, index, shards, conditions, model, database, fault } = this.#deps;
    const strand = new Strand(`reader${index}`, hops.reader);
    const { faults, injected } = conditions;
    this.#reader = { strand, part: new ReadServer(simReader({ scheduler, strand, faults, injected, model, database, fault }), this.#clock, () => {}, unseen) };
    for (let shard = 0; shard < shards; shard++) this.#linkReader(shard);
  }

  killReader(): boolean {
    if (this.#reader === null) return false;
    this.#end(this.#reader.strand);
    this.#reader = null;
    return true;
  }

  /** The process is killed: nothing of it goes on, and every socket is cut. */
  crash(): void {
    this.dead = true;
    for (const bus of this.#buses) bus.leave();
    for (const strand of this.strands) this.#end(strand);
  }

  #end(strand: Strand): void {
    strand.dead = true;
    this.#deps.scheduler.note(`end ${strand.name}`);
    for (const port of this.#deps.conditions.ports.get(strand) ?? []) port.close();
    this.#deps.conditions.ports.delete(strand);
  }

  #linkReader(shard: number): void {
    this.#link(shard, 'reader', this.#reader, (reader, port) => reader.connect(shard, port));
  }

  #linkWriter(shard: number): void {
    this.#link(shard, 'persistence', this.#writer, (writer, port) => writer.connect(port));
  }

  #link<T>(shard: number, role: 'reader' | 'persistence', other: Live<T> | null, connect: (part: T, port: MessagePort) => void): void {
    const thread = this.#shardThreads[shard];
    if (other === null || thread === null || thread === undefined) return;
    const [here, there] = this.#pair(thread.strand, other.strand);
    const { scheduler } = this.#deps;
    scheduler.as(other.strand, () => connect(other.part, there));
    scheduler.as(thread.strand, () => thread.part.guarded(() => thread.part.connect(role, 0, here)));
  }

  #pair(a: Strand, b: Strand): ReturnType<typeof Port.pair> {
    const { scheduler, conditions } = this.#deps;
    const pair = Port.pair(scheduler, conditions.lag, a, b, conditions.mutant?.tamper);
    for (const [strand, port] of [
      [a, pair[0]],
      [b, pair[1]],
    ] as const)
      conditions.ports.set(strand, [...(conditions.ports.get(strand) ?? []), port as unknown as Port]);
    return pair;
  }
}
