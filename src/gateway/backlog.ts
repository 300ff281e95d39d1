/**
 * How far a shard is behind, and what the gateway does about it. A probe travels with the frames, through the shard and back
 * behind what it caused; while one is out for too long, or too much waits for the link, whoever sends to that shard is not
 * read. When it comes back, so much more is let in as took the shard a moment the last time; those who waited longest go
 * first. Only a shard that is more than `queueMsMax` behind, or frames of too many bytes held here, make `busy`.
 *
 *   open ──behind──▶ pressed ──probe back──▶ open
 *                       └──queueMsMax──▶ late: `busy` ──probe back──▶ open
 */
import type { Clock } from '../thread/clock.ts';
import type { Log } from '../thread/log.ts';
import type { Connection } from './connection.ts';
import type { Shard, Shards } from './shards.ts';

const turnMs = 50;
/** From here on the last pressure is forgotten, and nothing is left to be looked at. */
const pressureMin = 0.01;
/** A probe that is out for longer means that the shard is behind. */
const pressedAfterMs = 250;
/** What one round should take; the number of frames let in at once follows it. Where threads wait for a core even a short round takes long, hence the least. */
const roundMs = 400;
const roundFramesMin = 1_024;
const roundFramesMax = 8_192;
/** What a held frame costs beside its bytes: small ones come in thousands. */
const frameBytes = 160;
/** How slowly `pressure` follows: about a second. */
const smoothing = 0.05;

type Watch = {
  readonly shard: Shard;
  /** When the probe that is out was sent, by the clock, and for how long it is out in time that the hub could have listened. */
  sentAt: number | null;
  outMs: number;
  /** How long the last one took. */
  lastMs: number;
  pressure: number;
  readonly waiting: Set<Connection>;
};

export type BacklogDeps = {
  clock: Clock;
  log: Log;
  shards: Shards;
  limits: { queueMsMax: number; heldBytesMax: number };
  /** Takes one frame that was held. */
  receive(connection: Connection, bytes: Buffer): void;
};

export class Backlog {
  readonly #deps: BacklogDeps;
  readonly #watches: readonly Watch[];
  /** Runs only while a probe is out or pressure is left. */
  #timer: NodeJS.Timeout | null = null;
  #last = 0;
  #closed = false;
  heldBytes = 0;

  constructor(deps: BacklogDeps) {
    this.#deps = deps;
    this.#watches = deps.shards.all.map((shard) => ({ shard, sentAt: null, outMs: 0, lastMs: 0, pressure: 0, waiting: new Set<Connection>() }));
    for (const shard of deps.shards.all) Object.assign(shard, { roundFrames: roundFramesMax, due: true });
    deps.shards.probing = (shard) => this.#probe(this.#watch(shard));
  }

  get heldConnections(): number {
    return this.#watches.reduce((sum, { waiting }) => sum + waiting.size, 0);
  }
  /** Per shard, how long what is sent to it takes at present. */
  get queueMs(): number[] {
    return this.#watches.map((watch) => Math.round(Math.max(watch.lastMs, this.#ageOf(watch))));
  }
  /** Shards that cannot keep up: most of the last second they were behind. */
  get overloaded(): number[] {
    return this.#watches.filter(({ shard, pressure }) => shard.late || pressure > 0.5).map(({ shard }) => shard.index);
  }

  /** Keeps a frame of a connection that must wait. */
  hold(connection: Connection, bytes: Buffer): void {
    connection.waits ??= [];
    connection.waits.push(Buffer.from(bytes));
    this.#charge(bytes.length + frameBytes);
  }

  /** Nothing more is read from the connection until its shard has worked off what it has; false where it has already. */
  wait(connection: Connection): boolean {
    const watch = this.#watches[connection.waitsFor];
    if (watch === undefined || !watch.shard.pressed) {
      connection.waitsFor = -1;
      return false;
    }
    watch.waiting.add(connection);
    if (!connection.paused.backlog) connection.pause('backlog');
    return true;
  }

  /** The shard's answer to the probe. */
  answered(shard: Shard): void {
    const watch = this.#watch(shard);
    if (watch.sentAt === null) return;
    const ms = this.#ageOf(watch);
    watch.lastMs = ms;
    if (ms > roundMs || shard.pressed) {
      const factor = Math.min(1.5, Math.max(0.25, roundMs / Math.max(1, ms)));
      shard.roundFrames = Math.round(Math.min(roundFramesMax, Math.max(roundFramesMin, shard.roundFrames * factor)));
    }
    this.#open(watch);
  }

  /** The shard's thread is gone. */
  lost(shard: Shard): void {
    this.#open(this.#watch(shard));
  }

  close(): void {
    this.#closed = true;
    this.#rest();
  }

  #turn(): void {
    const now = this.#deps.clock.tick();
    const passed = now - this.#last;
    this.#last = now;
    for (const watch of this.#watches) {
      const { shard } = watch;
      watch.pressure += ((shard.pressed || shard.late ? 1 : 0) - watch.pressure) * smoothing;
      if (watch.sentAt === null) continue;
      // What came back while the hub itself stood still is not read yet.
      watch.outMs += Math.min(passed, 2 * turnMs);
      if (watch.outMs > pressedAfterMs && !shard.late) shard.pressed = true;
      if (watch.outMs > this.#deps.limits.queueMsMax && !shard.late) this.#refuse(watch, 'it did not answer in time');
    }
    if (this.#watches.some(({ sentAt, pressure }) => sentAt !== null || pressure > pressureMin)) return;
    for (const watch of this.#watches) watch.pressure = 0;
    this.#rest();
  }

  #rest(): void {
    if (this.#timer !== null) clearInterval(this.#timer);
    this.#timer = null;
  }

  #watch(shard: Shard): Watch {
    return this.#watches[shard.index] as Watch;
  }

  #ageOf({ sentAt }: Watch): number {
    return sentAt === null ? 0 : this.#deps.clock.tick() - sentAt;
  }

  #probe(watch: Watch): void {
    const { shard } = watch;
    const crowded = shard.link !== null && shard.link.items >= shard.roundFrames;
    if (crowded && !shard.late) shard.pressed = true;
    if (shard.link === null) return;
    shard.due = false;
    if (watch.sentAt !== null) return;
    watch.sentAt = this.#deps.clock.tick();
    if (this.#timer === null && !this.#closed) {
      this.#last = watch.sentAt;
      this.#timer = setInterval(() => this.#turn(), turnMs);
    }
    watch.outMs = 0;
    shard.link.push({ t: 'probe' });
  }

  #charge(bytes: number): void {
    this.heldBytes += bytes;
    if (this.heldBytes <= this.#deps.limits.heldBytesMax) return;
    for (const watch of this.#watches) if (watch.shard.pressed) this.#refuse(watch, 'too much waits for it');
  }

  /** From here on commands for it are `busy`; what was held is answered so too. */
  #refuse(watch: Watch, why: string): void {
    const { shard } = watch;
    this.#deps.log('warn', 'a shard is too far behind: commands for it are refused', { shard: shard.index, why });
    shard.late = true;
    shard.pressed = false;
    setImmediate(() => this.#release(watch));
  }

  #open(watch: Watch): void {
    const { shard } = watch;
    watch.sentAt = null;
    shard.due = true;
    shard.late = false;
    shard.pressed = false;
    this.#release(watch);
  }

  /** In the order in which they came to wait, until the shard has enough again. */
  #release({ shard, waiting }: Watch): void {
    for (const connection of waiting) {
      if (shard.pressed) return;
      waiting.delete(connection);
      connection.waitsFor = -1;
      this.#feed(connection);
      if (connection.waitsFor < 0 || !this.wait(connection)) connection.unpause('backlog');
    }
  }

  #feed(connection: Connection): void {
    const held = connection.waits ?? [];
    let fed = 0;
    while (fed < held.length && (connection.waitsFor < 0 || connection.phase.is === 'closed')) {
      const bytes = held[fed++] as Buffer;
      this.heldBytes -= bytes.length + frameBytes;
      this.#deps.receive(connection, bytes);
    }
    connection.waits = fed < held.length ? held.slice(fed) : null;
  }
}
