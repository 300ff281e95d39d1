/**
 * The pools that worker threads live in, and one that is kept ready: its thread has loaded its modules and waits for a life to
 * end, so that the next one need not wait for them. `hub.ts` keeps one for threads of all roles; `supervisor.ts` takes it.
 */
import { ArrayTaskQueue, Piscina } from 'piscina';
import type { Log } from './log.ts';

/** Half of what V8 takes by itself, which a busy thread fills however little of it is in use: 10 MB per thread are saved. */
const youngMb = 24;

const letGoMs = 2_000;

/** One thread, for one life: it must be gone for good, with all timers and ports, when that is over. */
export function poolOfOne(heapMb: number, failed: (error: unknown) => void): Piscina {
  const pool = new OneThread(heapMb);
  pool.on('error', failed);
  return pool;
}

class OneThread extends Piscina {
  readonly #tasks: ArrayTaskQueue;

  constructor(heapMb: number) {
    const tasks = new ArrayTaskQueue();
    super({
      // None takes the place of one whose task has failed.
      minThreads: 0,
      maxThreads: 1,
      idleTimeout: Number.POSITIVE_INFINITY,
      // The default blocks the worker's event loop between tasks; ours lives on it.
      atomics: 'disabled',
      resourceLimits: { maxOldGenerationSizeMb: heapMb, maxYoungGenerationSizeMb: youngMb },
      taskQueue: tasks,
    });
    this.#tasks = tasks;
  }

  /** Where the system allows no further thread, piscina throws at once: in a timer that would be the end of the process. */
  override run(...of: Parameters<Piscina['run']>): Promise<unknown> {
    try {
      return super.run(...of);
    } catch (error) {
      // What it promised nobody has: at the end of the pool it would be a rejection that nobody handles.
      while (this.#tasks.size > 0) this.#tasks.shift();
      const limited = error instanceof Error && error.message === 'EAGAIN';
      return Promise.reject(limited ? new Error('the system allows no further thread (ulimit -u, or the limit of a container)') : error);
    }
  }
}

/** A thread that still loads its modules is left to finish that, within bounds, before it is ended: being ended in the middle of it can take the process down. */
export async function letGo(pool: Piscina, loaded: Promise<unknown>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<'late'>((resolve) => {
    timer = setTimeout(() => resolve('late'), letGoMs);
  });
  const how = await Promise.race([loaded, late]);
  clearTimeout(timer);
  const gone = pool.destroy();
  if (how !== 'late') await gone; // else perhaps it never ends
}

/** `loads`: tasks that do nothing, with the modules they are in; running them loads the modules. */
export type SpareSpec = { loads: readonly { filename: string; name: string }[]; heapMb: number };

export class Spare {
  readonly #spec: SpareSpec;
  readonly #log: Log;
  #pool: Piscina | null = null;
  #loaded: Promise<unknown> = Promise.resolve();
  #timer: NodeJS.Timeout | null = null;
  #closed = false;

  constructor(spec: SpareSpec, log: Log) {
    this.#spec = spec;
    this.#log = log;
  }

  /** Makes one in a while, unless there is one. */
  keep(afterMs: number): void {
    if (this.#closed || this.#pool !== null) return;
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#make(), afterMs);
    this.#timer.unref();
  }

  /** The one that is ready, or about to be; null: there is none. From here on it is the caller's. */
  take(): Piscina | null {
    const pool = this.#pool;
    this.#pool = null;
    return pool;
  }

  async close(): Promise<void> {
    this.#closed = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
    const pool = this.take();
    if (pool !== null) await letGo(pool, this.#loaded);
  }

  #make(): void {
    const { loads, heapMb } = this.#spec;
    const failed = (error: unknown) => {
      if (this.#closed || this.#pool !== pool) return;
      this.#log('warn', 'a spare thread could not be made ready', { error: String(error) });
      void this.take()?.destroy();
    };
    const pool = poolOfOne(heapMb, failed);
    this.#pool = pool;
    this.#loaded = Promise.all(loads.map((load) => pool.run(undefined, load).catch(failed)));
  }
}
