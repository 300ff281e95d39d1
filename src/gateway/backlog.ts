/**
 * Keeps short what is under way to a shard. A probe travels with the frames and comes back behind what they caused; until then
 * so many more may follow it. Who sends beyond that is not read; when the probe is back those who waited longest go first. How
 * many it is follows the time that probes take. Only a shard whose probe is out for `queueMsMax`, or for which frames of too
 * many bytes are held here, makes `busy`.
 */
import type { Clock } from '../thread/clock.ts';
import type { Log } from '../thread/log.ts';
import type { Connection } from './connection.ts';
import type { Shard, Shards } from './shards.ts';

/** What a probe should take: what is sent right behind it takes up to twice as long. */
const roundMs = 250;
/** Where threads wait for a core even a short round takes long, hence the least. */
const roundFramesMin = 512;
const roundFramesMax = 8_192;
/** What a held frame costs beside its bytes: small ones come in thousands. */
const frameBytes = 160;

type Round = {
  readonly shard: Shard;
  /** Frames that may follow one probe. */
  frames: number;
  /** When the probe that is out was sent, by the clock and by the sweep's time. */
  sent: { tick: number; time: number } | null;
  /** How long the last one took. */
  lastMs: number;
  readonly waiting: Set<Connection>;
};

export type BacklogDeps = {
  clock: Clock;
  log: Log;
  shards: Shards;
  limits: { queueMsMax: number; heldBytesMax: number };
  /** The sweep's time, which stands still while the hub does: what came back meanwhile is not read yet. */
  time: { readonly now: number };
  /** Takes one frame that was held. */
  receive(connection: Connection, bytes: Buffer): void;
};

export class Backlog {
  readonly #deps: BacklogDeps;
  readonly #rounds: readonly Round[];
  heldBytes = 0;

  constructor(deps: BacklogDeps) {
    this.#deps = deps;
    this.#rounds = deps.shards.all.map((shard) => ({ shard, frames: roundFramesMax, sent: null, lastMs: 0, waiting: new Set<Connection>() }));
    for (const { shard, frames } of this.#rounds) shard.left = frames;
    deps.shards.probing = (shard) => this.#probe(this.#round(shard));
  }

  get heldConnections(): number {
    return this.#rounds.reduce((sum, { waiting }) => sum + waiting.size, 0);
  }
  /** Per shard, how long what is sent to it takes at present. */
  get queueMs(): number[] {
    return this.#rounds.map((round) => Math.round(Math.max(round.lastMs, this.#ageOf(round))));
  }
  /** Shards whose commands are refused. */
  get overloaded(): number[] {
    return this.#rounds.flatMap(({ shard }) => (shard.late ? [shard.index] : []));
  }

  /** Keeps a frame of a connection that must wait. */
  hold(connection: Connection, bytes: Buffer): void {
    connection.waits ??= [];
    connection.waits.push(Buffer.from(bytes));
    this.heldBytes += bytes.length + frameBytes;
    if (this.heldBytes <= this.#deps.limits.heldBytesMax) return;
    for (const round of this.#rounds) if (round.waiting.size > 0) this.#refuse(round, 'too much waits for it');
  }

  /** Nothing more is read from the connection until its shard has worked off what it has; false where it has already, and nothing is held that must go first. */
  wait(connection: Connection): boolean {
    const round = this.#rounds[connection.waitsFor];
    if (round === undefined || (connection.waits === null && (round.shard.left > 0 || round.shard.late))) {
      connection.waitsFor = -1;
      return false;
    }
    round.waiting.add(connection);
    if (!connection.paused.backlog) connection.pause('backlog');
    return true;
  }

  /** The shard's answer to the probe. */
  answered(shard: Shard): void {
    const round = this.#round(shard);
    if (round.sent === null) return;
    const ms = this.#ageOf(round);
    round.lastMs = ms;
    // What was never used up says nothing against a round as large as it is.
    const factor = Math.max(1 / 4, Math.min(shard.left > 0 ? 1 : 2, roundMs / Math.max(1, ms)));
    round.frames = Math.round(Math.max(roundFramesMin, Math.min(roundFramesMax, round.frames * factor)));
    this.#open(round);
  }

  /** The shard's thread is gone. */
  lost(shard: Shard): void {
    this.#open(this.#round(shard));
  }

  /** From time to time: whether a probe is out for too long. */
  sweep(): void {
    const { time, limits } = this.#deps;
    for (const round of this.#rounds)
      if (round.sent !== null && time.now - round.sent.time > limits.queueMsMax) this.#refuse(round, 'it did not answer in time');
  }

  #round(shard: Shard): Round {
    return this.#rounds[shard.index] as Round;
  }

  #ageOf({ sent }: Round): number {
    return sent === null ? 0 : this.#deps.clock.tick() - sent.tick;
  }

  #probe(round: Round): void {
    const { shard } = round;
    shard.due = false;
    round.sent = { tick: this.#deps.clock.tick(), time: this.#deps.time.now };
    shard.link?.push({ t: 'probe' });
  }

  /** From here on commands for it are `busy`; what was held is answered so too. */
  #refuse(round: Round, why: string): void {
    const { shard } = round;
    if (shard.late) return;
    this.#deps.log('warn', 'a shard is too far behind: commands for it are refused', { shard: shard.index, why });
    shard.late = true;
    setImmediate(() => this.#release(round));
  }

  #open(round: Round): void {
    const { shard } = round;
    round.sent = null;
    shard.due = true;
    shard.late = false;
    shard.left = round.frames;
    this.#release(round);
  }

  /** In the order in which they came to wait, until the shard has enough again. */
  #release({ shard, waiting }: Round): void {
    for (const connection of waiting) {
      if (shard.left <= 0 && !shard.late) return;
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
