/**
 * Sees from another thread that the main thread stands still, while it does, and has its stack told in the log, once for each time: afterwards
 * nobody can say where it was. The first reader runs one. Until the main thread stands still it costs a look at a number; it judges nobody.
 */
import type { Clock } from './clock.ts';
import type { Log } from './log.ts';

const lookMs = 250;
/** From so long on clients notice (as in stalls.ts). */
const stillMs = 500;
/** Reading a stack halts the main thread for a moment, which one that is overloaded should not suffer again and again. */
const restMs = 10_000;

export type StallWatchDeps = {
  /** The number that the main thread counts up, 0 before it begins to. */
  turns: Int32Array;
  clock: Clock;
  log: Log;
  stack(still: () => boolean): Promise<string[] | null>;
};

export class StallWatch {
  readonly #deps: StallWatchDeps;
  readonly #timer: NodeJS.Timeout;
  #turns = 0;
  #stillMs = 0;
  #last: number;
  #restsUntil = 0;

  constructor(deps: StallWatchDeps) {
    this.#deps = deps;
    this.#last = deps.clock.tick();
    this.#timer = setInterval(() => this.look(), lookMs);
    this.#timer.unref();
  }

  look(): void {
    const { turns, clock, log, stack } = this.#deps;
    const now = clock.tick();
    const passed = now - this.#last;
    this.#last = now;
    const seen = Atomics.load(turns, 0);
    // What passed while this thread stood still itself proves nothing.
    this.#stillMs = seen === 0 || seen !== this.#turns ? 0 : this.#stillMs + (passed > 2 * lookMs ? 0 : passed);
    this.#turns = seen;
    if (this.#stillMs < stillMs || now < this.#restsUntil) return;
    this.#restsUntil = now + restMs;
    void stack(() => Atomics.load(turns, 0) === seen).then((frames) => {
      if (frames !== null) log('warn', 'where the main thread stood still', { stack: frames });
    });
  }

  close(): void {
    clearInterval(this.#timer);
  }
}
