/**
 * Owns the life of the worker threads: each life is one long piscina task in a pool of its own, given its control port
 * (DESIGN 2.9). A life that ends without having been told to is followed by another, with rising delay, and the caller links
 * it up again. Whether a thread still turns is seen in its witness. Runs on the main thread.
 *
 * No false alarm: silence is added up only over looks of the main thread that came on time, so neither its own stalls nor a
 * stopped process count; and a thread is silent only while neither its loop turns nor its work gets on (thread/witness.ts).
 */
import { MessageChannel, type MessagePort } from 'node:worker_threads';
import type { Piscina } from 'piscina';
import type { Clock } from './clock.ts';
import type { Log } from './log.ts';
import type { Control, FromThread } from './messages.ts';
import { letGo, poolOfOne, type Spare } from './spare.ts';
import { makeWitness, WitnessReader } from './witness.ts';

/** A successor may take so long to load its modules, and to open what it needs. */
const startMs = 30_000;
/** To load alone: so long, or so many times what the first life took on this machine; twice that for each that was too slow. */
const loadMs = 3_000;
const loadTimes = 10;
/** A thread in a native call does not end before the call does. */
const exitMs = 10_000;
/** Looks between two requests for statistics. */
const looksPerStats = 2;
const restartDelayMs = 20;
const restartWindowMs = 60_000;

export type ThreadRole = 'shard' | 'persistence' | 'reader';
export type ThreadSpec = {
  role: ThreadRole;
  index: number;
  /** Compiled module and the function in it that a worker runs. */
  filename: string;
  name: string;
  /** What the function gets besides `control`, `witness` and `incarnation`, made anew for each life; must survive structured clone. */
  task(): object;
  heapMb: number;
  /** Where a successor finds a thread that has its modules loaded; else each life loads them. */
  spare: Spare | null;
  /** More restarts than this within a minute: the process gives up, since something outside of it must change. */
  restartsMax: number;
  /** The largest frame that the thread names in its witness. */
  frameBytesMax: number;
  /** Silence after which the thread is replaced; the second while it is in a call of the database. */
  hangMs: number;
  callHangMs: number;
  /** Whether a successor may start while the thread's last native call has not returned. Never for the writer (DESIGN 11.5). */
  overlap: boolean;
  /** The thread is there (again): link it to its peers. */
  started(thread: Thread): void;
  /** It died: what it had under way is lost. Called before its successor starts. */
  died(witness: WitnessReader): void;
};

/** One incarnation. `silentMs`: for how long, counted on time, it has shown no life; `ageMs`: since its start, or its end was asked for. */
type Life = {
  readonly pool: Piscina;
  readonly control: MessagePort;
  readonly witness: WitnessReader;
  readonly exited: Promise<void>;
  ready: boolean;
  hung: string | null;
  silentMs: number;
  ageMs: number;
};

/** The process can only be killed: a thread of it will not end. */
export class StuckError extends Error {
  override readonly name = 'StuckError';
}

export class Thread {
  readonly spec: ThreadSpec;
  readonly #deps: { clock: Clock; log: Log; gaveUp(error: Error): void };
  readonly #restarts: number[] = [];
  /** For the first life: its thread loads its modules while others still make ready what it needs. */
  #loading: { pool: Piscina; loaded: Promise<unknown> } | null = null;
  #loadTook = 0;
  #slowLoads = 0;
  #life: Life | null = null;
  /** Waits for the exit of the last life before the next may start. */
  #ending: Life | null = null;
  #incarnation = 0;
  #stopping = false;
  #looks = 0;
  #stats: Record<string, number> = {};
  #finished: Promise<void> = Promise.resolve();
  #timer: NodeJS.Timeout | null = null;

  constructor(spec: ThreadSpec, deps: { clock: Clock; log: Log; gaveUp(error: Error): void }) {
    this.spec = spec;
    this.#deps = deps;
  }

  get ready(): boolean {
    return this.#life?.ready === true;
  }
  /** Whether it is there and does not answer. */
  get silent(): boolean {
    return this.#life !== null && this.#life.silentMs > this.spec.hangMs;
  }
  get incarnation(): number {
    return this.#incarnation;
  }
  get restarts(): number {
    return Math.max(0, this.#incarnation - 1);
  }
  /** What the thread last said of itself. */
  get stats(): Record<string, number> {
    return this.#stats;
  }

  /** `name`: a function of the spec's module that does nothing; running it loads the module. What fails here fails again, and is told, at the start. */
  load(name: string): void {
    const { heapMb, filename } = this.spec;
    const began = this.#deps.clock.tick();
    const failed = (): void => {
      if (this.#loading?.pool !== pool) return;
      this.#loading = null;
      void pool.destroy();
    };
    const pool = poolOfOne(heapMb, failed);
    const loaded = pool.run(undefined, { filename, name }).then(() => {
      this.#loadTook = this.#deps.clock.tick() - began;
    });
    this.#loading = { pool, loaded: loaded.catch(failed) };
  }

  /** Resolves when the thread said `ready` for the first time; rejects when it could not start. */
  start(): Promise<void> {
    return new Promise((resolve, reject) => this.#run(resolve, reject));
  }

  /** Links the thread to a peer. */
  connect(role: ThreadRole | 'gateway', index: number, incarnation: number, port: MessagePort): void {
    this.tell({ t: 'peer', role, index, incarnation, port }, [port]);
  }

  tell(message: Control, transfer: MessagePort[] = []): void {
    this.#life?.control.postMessage(message, transfer);
  }

  /** Called every `beatMs` (thread/witness.ts) by the owner. `onTimeMs`: since the last call, 0 where this one came late and silence proves nothing. */
  look(onTimeMs: number): void {
    if (this.#ending !== null) return this.#lookAtEnd(this.#ending, onTimeMs);
    const life = this.#life;
    if (life === null || this.#stopping || life.hung !== null) return;
    life.ageMs += onTimeMs;
    const before = life.silentMs;
    life.silentMs = life.witness.moved() ? 0 : before + onTimeMs;
    const { role, index, hangMs } = this.spec;
    if (life.witness.calling && before <= hangMs && life.silentMs > hangMs) this.#deps.log('warn', 'a call of the database takes long', { role, index });
    const hung = this.#judge(life);
    if (hung !== null) return this.#kill(life, hung);
    if (life.ready && ++this.#looks % looksPerStats === 0) this.tell({ t: 'beat', turn: this.#looks });
  }

  /** Asks the task to finish, waits for it, and takes the thread down. */
  async stop(graceMs: number): Promise<void> {
    this.#stopping = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
    const life = this.#life;
    this.tell({ t: 'stop' });
    if (this.#loading !== null) await letGo(this.#loading.pool, this.#loading.loaded);
    const timer = setTimeout(() => void life?.pool.destroy(), graceMs);
    await this.#finished;
    clearTimeout(timer);
    await (life ?? this.#ending)?.exited;
  }

  #run(firstReady?: () => void, firstFailed?: (error: Error) => void): void {
    const { spec } = this;
    const { port1: control, port2 } = new MessageChannel();
    const memory = makeWitness(spec.frameBytesMax);
    const pool = this.#loading?.pool ?? spec.spare?.take() ?? poolOfOne(spec.heapMb, () => {});
    this.#loading = null;
    this.#incarnation++;
    const task = { ...spec.task(), control: port2, witness: memory, index: spec.index, incarnation: this.#incarnation };
    const running: Promise<unknown> = pool.run(task, { filename: spec.filename, name: spec.name, transferList: [port2] });
    const exited = new Promise<void>((resolve) => {
      const [worker] = pool.threads;
      if (worker === undefined) return resolve();
      worker.once('exit', () => {
        resolve();
        // Of one that has not come as far as its task the pool says nothing: the task would wait for ever.
        void pool.destroy();
      });
    });
    const life: Life = { pool, control, witness: new WitnessReader(memory), exited, ready: false, hung: null, silentMs: 0, ageMs: 0 };
    this.#life = life;
    pool.on('error', (error: unknown) => {
      this.#deps.log('error', 'worker error', { role: spec.role, index: spec.index, error: String(error) });
      life.hung ??= `its thread could not be started: ${String(error)}`;
      void pool.destroy();
    });
    control.on('message', (message: FromThread) => {
      if (message.t === 'log') this.#deps.log(message.level, message.message, { role: spec.role, index: spec.index, ...message.fields });
      else if (message.t === 'beat') this.#stats = message.stats;
      else if (this.#life === life) {
        life.ready = true;
        this.#slowLoads = 0;
        spec.started(this);
        firstReady?.();
        firstReady = undefined;
        firstFailed = undefined;
      }
    });
    this.#finished = running.then(
      () => this.#ended(life, null, firstFailed),
      (error: Error) => this.#ended(life, error, firstFailed),
    );
  }

  /** Why the thread must be replaced, or null. */
  #judge({ witness, ready, silentMs, ageMs }: Life): string | null {
    const { hangMs, callHangMs } = this.spec;
    // Nobody waits for a first start but the caller; opening an old database may take its time.
    if (!ready && this.#incarnation < 2) return null;
    if (!ready && ageMs > startMs) return 'it does not get ready';
    if (!witness.begun && ageMs > Math.max(loadMs, loadTimes * this.#loadTook) * 2 ** this.#slowLoads) {
      this.#slowLoads++;
      return 'it does not load its modules';
    }
    if (!witness.begun || (!ready && witness.calling)) return null;
    if (witness.calling) return silentMs > callHangMs ? 'it hangs in a call of the database' : null;
    return silentMs > hangMs ? 'it hangs' : null;
  }

  #kill(life: Life, why: string): void {
    life.hung = why;
    this.#deps.log('error', 'replacing a thread', { role: this.spec.role, index: this.spec.index, why, silentMs: Math.round(life.silentMs) });
    void life.pool.destroy(); // fails the task at once; the thread ends when it leaves native code
  }

  async #ended(life: Life, error: Error | null, firstFailed: ((error: Error) => void) | undefined): Promise<void> {
    const { spec } = this;
    life.control.close();
    life.ready = false;
    void life.pool.destroy();
    if (this.#stopping) {
      if (error !== null) this.#deps.log('warn', 'thread failed while stopping', { role: spec.role, error: error.message });
      return;
    }
    if (firstFailed !== undefined && this.#incarnation === 1) {
      this.#life = null;
      if (life.hung !== null) return firstFailed(new Error(life.hung));
      return firstFailed(error ?? new Error(`${spec.role} ended at start`));
    }
    this.#life = null;
    const why = life.hung ?? error?.stack ?? 'it returned';
    this.#deps.log('error', 'thread died', { role: spec.role, index: spec.index, error: why });
    spec.died(life.witness);
    if (!this.#mayRestart(life.hung ?? error?.message ?? 'it returned')) return;
    life.ageMs = 0;
    if (!spec.overlap) {
      this.#ending = life;
      await life.exited;
      this.#ending = null;
    }
    if (this.#stopping) return;
    // At once after the first death of a while; what dies again and again gets time for its cause to pass.
    const again = this.#restarts.length - 1;
    this.#timer = setTimeout(() => this.#run(), again === 0 ? 0 : restartDelayMs * 2 ** Math.min(5, again));
  }

  /** Counts the death; false: it was one too many. */
  #mayRestart(why: string): boolean {
    const now = this.#deps.clock.tick();
    this.#restarts.push(now);
    while (this.#restarts.length > 0 && now - (this.#restarts[0] as number) > restartWindowMs) this.#restarts.shift();
    if (this.#restarts.length <= this.spec.restartsMax) return true;
    this.#deps.gaveUp(new Error(`${this.spec.role} ${this.spec.index} died ${this.#restarts.length} times within a minute; last: ${why}`));
    return false;
  }

  #lookAtEnd(life: Life, onTimeMs: number): void {
    const before = life.ageMs;
    life.ageMs += onTimeMs;
    if (before <= exitMs && life.ageMs > exitMs) {
      const { role, index } = this.spec;
      this.#deps.gaveUp(new StuckError(`${role} ${index} hangs in a native call and has not ended ${exitMs} ms after it was told to`));
    }
  }
}
