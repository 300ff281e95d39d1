/**
 * Sees from another thread that the main thread stands still, while it does, and has its stack told in the log: afterwards nobody can say
 * where it was. The first reader runs one. Until the main thread stands still it costs a look at a number; it judges nobody.
 */
import type { Clock } from './clock.ts';
import type { Log } from './log.ts';
import type { Standing } from './main-stack.ts';

const lookMs = 100;
/** A look that came late counts no more than one in time: who stood still himself, as in a stopped process, has seen nothing. */
const looksMin = 3;
/** From so long on clients notice (as in stalls.ts). Until then there is time for a thread to come up. */
const stillMs = 500;
/** Between two stacks: one costs a thread, and halts the main thread for a moment. */
const restMs = 10_000;
/** The same where it had gone on, and no stack was read. */
const shortRestMs = 1_000;

export type StallWatchDeps = {
  /** The number that the main thread counts up; 0 before it begins to, and after it has ended. */
  turns: Int32Array;
  clock: Clock;
  log: Log;
  /** Where it stands `afterMs` from now, if it has not gone on by then since the number was `seen`. */
  stack(seen: number, afterMs: number): Promise<Standing | null>;
  /** For what the log cannot hold: the main thread, which writes it, does not go on. */
  cry(line: string): void;
};

export class StallWatch {
  readonly #deps: StallWatchDeps;
  readonly #timer: NodeJS.Timeout;
  #seen = 0;
  /** Since the number last moved. */
  #looks = 0;
  #restsUntil = Number.NEGATIVE_INFINITY;
  #asking: Promise<void> | null = null;
  /** What the number was when a stack was last told. */
  #toldAt = 0;
  #failed = false;

  constructor(deps: StallWatchDeps) {
    this.#deps = deps;
    this.#timer = setInterval(() => this.look(), lookMs);
    this.#timer.unref();
  }

  look(): void {
    const { turns, clock } = this.#deps;
    const seen = Atomics.load(turns, 0);
    this.#looks = seen === this.#seen && seen !== 0 ? this.#looks + 1 : 0;
    this.#seen = seen;
    if (this.#looks < looksMin || this.#asking !== null || clock.tick() < this.#restsUntil) return;
    this.#asking = this.#ask(seen).finally(() => {
      this.#asking = null;
    });
  }

  /** Who looks at a stack must not be ended meanwhile. */
  async close(): Promise<void> {
    clearInterval(this.#timer);
    await this.#asking;
  }

  async #ask(seen: number): Promise<void> {
    const { clock, log, stack } = this.#deps;
    let restsMs = restMs;
    try {
      const standing = await stack(seen, stillMs - looksMin * lookMs);
      if (standing === null) restsMs = shortRestMs;
      else this.#tell(standing, seen);
    } catch (error) {
      if (!this.#failed) log('debug', 'where the main thread stands still cannot be told', { error: String(error) });
      this.#failed = true;
    }
    this.#restsUntil = clock.tick() + restsMs;
  }

  #tell(standing: Standing, seen: number): void {
    const { log, cry } = this.#deps;
    const message = messageOf(standing);
    if (seen === this.#toldAt) cry(`${message}; it still does, and can log nothing: ${standing.stack.join(' < ')}`);
    else log('warn', message, { stack: standing.stack });
    this.#toldAt = seen;
  }
}

function messageOf({ native, stack }: Standing): string {
  const where = 'where the main thread stood still';
  if (!native) return where;
  return stack.length === 0 ? `${where}: in native code, which has not returned for seconds` : `${where}: in native code; the stack is from when that returned`;
}
