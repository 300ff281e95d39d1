/**
 * The persistence thread's loop: group commit. What all shards have sent by the time a commit ends goes into the next one;
 * there is no timer and no delay when calm. Owns the links to the shards and the order of what it tells them.
 *
 *   shard ports ──▶ waiting ──(turn: as much as fits)──▶ store.commit ──▶ results, then notices ──▶ next turn or upkeep
 */
import type { MessagePort } from 'node:worker_threads';
import type { Clock } from '../thread/clock.ts';
import { Histogram } from '../thread/histogram.ts';
import type { Batch, FromPersistence, InboxItem, InboxLoss, MessageAppend, Operation, Outcome, ToPersistence } from '../thread/messages.ts';
import { toNoticeColumns } from '../thread/notice-columns.ts';
import { placeOf } from '../thread/placement.ts';
import type { Barrier } from '../thread/quarantine.ts';
import { suspectOfOperation } from '../thread/suspects.ts';
import { stepBytes, type Witness } from '../thread/witness.ts';
import type { CommitResult, Store } from './store.ts';

/** Operations in one transaction: at 100,000 a second, about 40 ms. */
const operationsMax = 4_096;
/** Commits after which upkeep that is due gets a turn, however much waits. */
const commitsPerUpkeep = 8;
/** Writers that died with a batch: from then on each operation of it is carried out alone, under its name. */
const doubtedAfter = 2;
const commitMsBounds = [0.5, 1, 2, 5, 10, 20, 50, 100, 250, 1_000] as const;
const batchBounds = [1, 4, 16, 64, 256, 1_024, operationsMax] as const;

/** A shard's link. `opened`: its introduction was answered. */
type Peer = { readonly shard: number; readonly incarnation: number; readonly port: MessagePort; opened: boolean };
type Waiting = { readonly peer: Peer; readonly batch: Batch };

export type WriterDeps = {
  store: Store;
  shards: number;
  maintainMs: number;
  clock: Clock;
  /** Is told when the store is at work, which may wait for the disk. */
  witness: Pick<Witness, 'calling' | 'returned' | 'step' | 'clear'>;
  /** What is not carried out, having crashed writers before. */
  barrier: Barrier;
  /** The store is of no use any more: the thread must end. */
  failed(error: unknown): void;
};

export class Writer {
  readonly #deps: WriterDeps;
  readonly #peers = new Map<number, Peer>();
  readonly #counts = {
    commits: 0,
    operations: 0,
    entries: 0,
    refused: 0,
    inboxQueued: 0,
    inboxAcks: 0,
    inboxLost: 0,
    commitMsTotal: 0,
    commitMsMax: 0,
    commitMsLast: 0,
    batchLast: 0,
    batchMax: 0,
  };
  readonly #commitMs = new Histogram('commitMs', commitMsBounds);
  readonly #batchOperations = new Histogram('batchOperations', batchBounds);
  readonly #timer: NodeJS.Timeout;
  #waiting: Waiting[] = [];
  #running = false;
  #upkeep = false;
  #sinceUpkeep = 0;
  #stopped: (() => void) | null = null;

  constructor(deps: WriterDeps) {
    this.#deps = deps;
    this.#timer = setInterval(() => {
      this.#upkeep = true;
      this.#wake();
    }, deps.maintainMs);
  }

  /** A shard's end of a link; it introduces itself with its first message. */
  connect(port: MessagePort): void {
    let peer: Peer | null = null;
    port.on('message', (message: ToPersistence) => {
      if (!('t' in message)) {
        if (peer === null || this.#peers.get(peer.shard) !== peer) return; // an older incarnation's: nobody waits for it
        this.#waiting.push({ peer, batch: message });
      } else peer = this.#admit({ shard: message.shard, incarnation: message.incarnation, port, opened: false });
      this.#wake();
    });
    port.once('close', () => {
      if (peer !== null && this.#peers.get(peer.shard) === peer) this.#remove(peer);
    });
  }

  stats(): Record<string, number> {
    const { commitMsTotal, ...counts } = this.#counts;
    this.#counts.commitMsMax = 0;
    this.#counts.batchMax = 0;
    return {
      ...counts,
      commitMsAverage: counts.commits === 0 ? 0 : commitMsTotal / counts.commits,
      commitMsTotal,
      queuedBatches: this.#waiting.length,
      queuedOperations: this.#waiting.reduce((sum, { batch }) => sum + batch.operations.length, 0),
      shards: this.#peers.size,
      ...this.#commitMs.stats(),
      ...this.#batchOperations.stats(),
    };
  }

  /** Commits and answers what has arrived, then calls `stopped`. */
  stop(stopped: () => void): void {
    clearInterval(this.#timer);
    this.#upkeep = false;
    this.#stopped = stopped;
    this.#wake();
  }

  /** Lets go of timer and ports, whatever is under way. */
  release(): void {
    clearInterval(this.#timer);
    for (const peer of this.#peers.values()) peer.port.close();
    this.#peers.clear();
    this.#waiting = [];
  }

  /** What an older incarnation has waiting is dropped at once; what of it is being committed ends before this one is let in. */
  #admit(peer: Peer): Peer {
    const before = this.#peers.get(peer.shard);
    if (before !== undefined) {
      if (before.incarnation > peer.incarnation) {
        peer.port.close();
        return peer;
      }
      this.#remove(before);
      if (before.port !== peer.port) before.port.close();
    }
    this.#peers.set(peer.shard, peer);
    return peer;
  }

  #remove(peer: Peer): void {
    this.#peers.delete(peer.shard);
    this.#waiting = this.#waiting.filter((waiting) => waiting.peer !== peer);
  }

  /** Runs turns until nothing is left; each begins in a new turn of the event loop, so that a burst collects. */
  #wake(): void {
    if (this.#running) return;
    this.#running = true;
    setImmediate(() => {
      this.#turn().then(
        (more) => {
          this.#running = false;
          if (more || this.#waiting.length > 0) return this.#wake();
          this.#stopped?.();
          this.#stopped = null;
        },
        (error: unknown) => this.#deps.failed(error),
      );
    });
  }

  /** True if there is something to do even if nothing arrives. */
  async #turn(): Promise<boolean> {
    for (const peer of this.#peers.values()) {
      if (peer.opened) continue;
      peer.opened = true;
      post(peer, { t: 'opened', epoch: this.#deps.store.epoch });
    }
    if (this.#waiting.length > 0 && !(this.#upkeep && this.#sinceUpkeep >= commitsPerUpkeep)) {
      this.#sinceUpkeep++;
      await this.#commit(this.#take());
      return true;
    }
    if (!this.#upkeep) return false;
    this.#sinceUpkeep = 0;
    const { notices, more } = await this.#calling((store) => store.maintain(this.#deps.clock.now()));
    this.#tell(notices);
    this.#upkeep = more && this.#stopped === null;
    return this.#upkeep;
  }

  /** Whole batches, as many as one transaction takes, at least one; one that two writers died with goes alone. */
  #take(): Waiting[] {
    let operations = 0;
    let count = 0;
    for (const { batch } of this.#waiting) {
      if (count > 0 && (batch.again >= doubtedAfter || operations + batch.operations.length > operationsMax)) break;
      operations += batch.operations.length;
      count++;
      if (batch.again >= doubtedAfter) break;
    }
    return this.#waiting.splice(0, count);
  }

  async #commit(taken: readonly Waiting[]): Promise<void> {
    const { clock } = this.#deps;
    const operations = taken.length === 1 && taken[0] !== undefined ? taken[0].batch.operations : taken.flatMap(({ batch }) => batch.operations);
    const began = clock.tick();
    const doubted = (taken[0]?.batch.again ?? 0) >= doubtedAfter || this.#someBarred(operations);
    const { ts, outcomes, notices } = await (doubted ? this.#oneByOne(operations, clock.now()) : this.#inParts(operations, clock.now()));
    this.#count(operations, outcomes, clock.tick() - began);
    let at = 0;
    for (const { peer, batch } of taken) {
      const end = at + batch.operations.length;
      post(peer, { t: 'result', batch: batch.batch, ts, outcomes: taken.length === 1 ? outcomes : outcomes.slice(at, end) });
      at = end;
    }
    this.#tell(notices);
  }

  /** Shards know what clients may not send, and send again and again what they owe the store themselves. */
  #someBarred(operations: readonly (MessageAppend | Operation)[]): boolean {
    const { barrier } = this.#deps;
    return barrier.up && operations.some((operation) => barrier.holds(suspectOfOperation(operation)));
  }

  /** A batch larger than a transaction may be is committed in parts, and answered as one. */
  async #inParts(operations: readonly (MessageAppend | Operation)[], now: number): Promise<CommitResult> {
    if (operations.length <= operationsMax) return this.#calling((store) => store.commit(operations, now));
    const whole: CommitResult = { ts: now, outcomes: [], notices: [] };
    for (let at = 0; at < operations.length; at += operationsMax) {
      const part = await this.#calling((store) => store.commit(operations.slice(at, at + operationsMax), whole.ts));
      whole.ts = part.ts;
      for (const outcome of part.outcomes) whole.outcomes.push(outcome);
      for (const notice of part.notices) whole.notices.push(notice);
      await new Promise((resolve) => setImmediate(resolve)); // heartbeats are answered in between
    }
    return whole;
  }

  /** One of them may be what writers die of: it is named before it is carried out, and once it is set aside it is not carried out at all. */
  async #oneByOne(operations: readonly (MessageAppend | Operation)[], now: number): Promise<CommitResult> {
    const { witness, barrier } = this.#deps;
    const whole: CommitResult = { ts: now, outcomes: [], notices: [] };
    for (const operation of operations) {
      const suspect = suspectOfOperation(operation);
      if (barrier.up && barrier.bars(suspect)) {
        whole.outcomes.push({ code: 'storage', message: 'quarantined' });
        continue;
      }
      const { op, room, mid, user } = suspect;
      witness.step(0, stepBytes(op, room, mid, user));
      const one = await this.#calling((store) => store.commit([operation], whole.ts));
      witness.clear();
      whole.ts = one.ts;
      whole.outcomes.push(...one.outcomes);
      whole.notices.push(...one.notices);
    }
    return whole;
  }

  async #calling<T>(call: (store: Store) => Promise<T>): Promise<T> {
    const { store, witness } = this.#deps;
    witness.calling();
    try {
      return await call(store);
    } finally {
      witness.returned();
    }
  }

  #tell(notices: readonly (InboxItem | InboxLoss)[]): void {
    const byPeer = new Map<Peer, (InboxItem | InboxLoss)[]>();
    for (const notice of notices) {
      if (notice.t === 'inbox') this.#counts.inboxQueued++;
      else this.#counts.inboxLost += notice.to - notice.from + 1;
      const peer = this.#peers.get(placeOf(notice.user, this.#deps.shards));
      if (peer?.opened !== true) continue;
      const told = byPeer.get(peer);
      if (told === undefined) byPeer.set(peer, [notice]);
      else told.push(notice);
    }
    // One message for all of it: each would wake the shard for a turn of its own.
    for (const [peer, told] of byPeer) post(peer, { t: 'notices', notices: toNoticeColumns(told) });
  }

  #count(operations: readonly (MessageAppend | Operation)[], outcomes: readonly Outcome[], ms: number): void {
    const counts = this.#counts;
    this.#commitMs.observe(ms);
    this.#batchOperations.observe(outcomes.length);
    counts.commits++;
    counts.operations += outcomes.length;
    for (const outcome of outcomes) {
      if (typeof outcome === 'number' || outcome.code === 'ok') counts.entries++;
      else if (outcome.code === 'storage') counts.refused++;
    }
    for (const operation of operations) if ('type' in operation && operation.type === 'ack') counts.inboxAcks++;
    counts.commitMsLast = ms;
    counts.commitMsTotal += ms;
    counts.commitMsMax = Math.max(counts.commitMsMax, ms);
    counts.batchLast = outcomes.length;
    counts.batchMax = Math.max(counts.batchMax, outcomes.length);
  }
}

function post(peer: Peer, message: FromPersistence): void {
  peer.port.postMessage(message);
}
