/**
 * Owns the life of the worker threads: each is one long piscina task, given its control port (DESIGN 2.9). A task that ends
 * without having been told to is run again, with rising delay, and the caller links it up again; heartbeats show whether a
 * thread still turns. Runs on the main thread.
 */
import { MessageChannel, type MessagePort } from 'node:worker_threads';
import { Piscina } from 'piscina';
import type { Clock } from './clock.ts';
import type { Log } from './log.ts';
import type { Control, FromThread } from './messages.ts';

const beatMs = 500;
/** A thread that misses beats for so long is taken for hung and replaced. Longer than any native call may last. */
const hungMs = 5_000;
/** A successor may take so long to open what it needs. */
const startHungMs = 30_000;
const restartDelayMs = 20;
/** More restarts than this within the window: the process gives up, since something outside of it must change. */
const restartsMax = 10;
const restartWindowMs = 60_000;

export type ThreadRole = 'shard' | 'persistence' | 'reader';
export type ThreadSpec = {
  role: ThreadRole;
  index: number;
  /** Compiled module and the function in it that a worker runs. */
  filename: string;
  name: string;
  /** What the function gets besides `control` and `incarnation`; must survive structured clone. */
  task: object;
  heapMb: number;
  /** The thread is there (again): link it to its peers. */
  started(thread: Thread): void;
  /** It died: what it had under way is lost. Called before its successor starts. */
  died(): void;
};

export class Thread {
  readonly spec: ThreadSpec;
  readonly #deps: { clock: Clock; log: Log; gaveUp(error: Error): void };
  readonly #pool: Piscina;
  readonly #restarts: number[] = [];
  #control: MessagePort | null = null;
  #abort = new AbortController();
  #incarnation = 0;
  #ready = false;
  #stopping = false;
  #turn = 0;
  #beatSeen = 0;
  #stats: Record<string, number> = {};
  #finished: Promise<void> = Promise.resolve();
  #timer: NodeJS.Timeout | null = null;

  constructor(spec: ThreadSpec, deps: { clock: Clock; log: Log; gaveUp(error: Error): void }) {
    this.spec = spec;
    this.#deps = deps;
    this.#pool = new Piscina({
      minThreads: 1,
      maxThreads: 1,
      // The default blocks the worker's event loop between tasks; ours lives on it.
      atomics: 'disabled',
      resourceLimits: { maxOldGenerationSizeMb: spec.heapMb },
    });
    this.#pool.on('error', (error: unknown) => this.#deps.log('error', 'worker error', { role: spec.role, index: spec.index, error: String(error) }));
  }

  get ready(): boolean {
    return this.#ready;
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

  /** Resolves when the thread said `ready` for the first time; rejects when it could not start. */
  start(): Promise<void> {
    return new Promise((resolve, reject) => this.#run(resolve, reject));
  }

  /** Links the thread to a peer. */
  connect(role: ThreadRole | 'gateway', index: number, incarnation: number, port: MessagePort): void {
    this.#control?.postMessage({ t: 'peer', role, index, incarnation, port } satisfies Control, [port]);
  }

  /** Called about every `beatMs` by the owner; `late`: this call itself came late, so silence proves nothing. */
  beat(late: boolean): void {
    if (this.#stopping) return;
    if (!this.#ready) return this.#late(late);
    if (late) this.#beatSeen = this.#deps.clock.tick();
    else if (this.#deps.clock.tick() - this.#beatSeen > hungMs) {
      this.#deps.log('error', 'thread hangs, replacing it', { role: this.spec.role, index: this.spec.index });
      this.#abort.abort();
      return;
    }
    this.#control?.postMessage({ t: 'beat', turn: ++this.#turn } satisfies Control);
  }

  /** A successor that does not get ready: the first start is the caller's to wait for. */
  #late(late: boolean): void {
    if (this.#incarnation < 2 || this.#control === null) return;
    if (late) this.#beatSeen = this.#deps.clock.tick();
    else if (this.#deps.clock.tick() - this.#beatSeen > startHungMs) this.#abort.abort();
  }

  /** Asks the task to finish, waits for it, and takes the thread down. */
  async stop(graceMs: number): Promise<void> {
    this.#stopping = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#control?.postMessage({ t: 'stop' } satisfies Control);
    const timer = setTimeout(() => this.#abort.abort(), graceMs);
    await this.#finished;
    clearTimeout(timer);
    await this.#pool.destroy();
  }

  #run(firstReady?: () => void, firstFailed?: (error: Error) => void): void {
    const { spec } = this;
    const { port1, port2 } = new MessageChannel();
    const control = port1;
    this.#control = control;
    this.#abort = new AbortController();
    this.#incarnation++;
    this.#beatSeen = this.#deps.clock.tick();
    control.on('message', (message: FromThread) => {
      if (message.t === 'log') this.#deps.log(message.level, message.message, { role: spec.role, index: spec.index, ...message.fields });
      else if (message.t === 'beat') {
        this.#beatSeen = this.#deps.clock.tick();
        this.#stats = message.stats;
      } else {
        this.#ready = true;
        this.#beatSeen = this.#deps.clock.tick();
        spec.started(this);
        firstReady?.();
        firstReady = undefined;
        firstFailed = undefined;
      }
    });
    const task = { ...spec.task, control: port2, index: spec.index, incarnation: this.#incarnation };
    const running: Promise<unknown> = this.#pool.run(task, { filename: spec.filename, name: spec.name, transferList: [port2], signal: this.#abort.signal });
    this.#finished = running.then(
      () => this.#ended(control, null, firstFailed),
      (error: Error) => this.#ended(control, error, firstFailed),
    );
  }

  #ended(control: MessagePort, error: Error | null, firstFailed: ((error: Error) => void) | undefined): void {
    control.close();
    const wasReady = this.#ready;
    this.#ready = false;
    if (this.#stopping) {
      if (error !== null && error.name !== 'AbortError') this.#deps.log('warn', 'thread failed while stopping', { role: this.spec.role, error: error.message });
      return;
    }
    if (!wasReady && firstFailed !== undefined) return firstFailed(error ?? new Error(`${this.spec.role} ended at start`));
    this.#deps.log('error', 'thread died', { role: this.spec.role, index: this.spec.index, error: error?.stack ?? 'it returned' });
    this.spec.died();
    const now = this.#deps.clock.tick();
    this.#restarts.push(now);
    while (this.#restarts.length > 0 && now - (this.#restarts[0] as number) > restartWindowMs) this.#restarts.shift();
    if (this.#restarts.length > restartsMax) {
      return this.#deps.gaveUp(
        new Error(`${this.spec.role} ${this.spec.index} died ${this.#restarts.length} times within a minute; last: ${error?.message ?? 'it returned'}`),
      );
    }
    this.#timer = setTimeout(() => this.#run(), restartDelayMs * 2 ** Math.min(5, this.#restarts.length - 1));
  }
}

export const supervisorBeatMs = beatMs;
