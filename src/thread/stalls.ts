/**
 * Sees when the main thread, or the whole process, stood still: its own timer came late by that much. The composition root
 * owns one. Nobody is judged by it; who counts time on the main thread leaves out what passed meanwhile by himself.
 */
import type { Clock } from './clock.ts';
import type { Log } from './log.ts';

const lookMs = 50;
/** Shorter ones are the work of busy moments. */
const stallMs = 100;
/** From here on clients notice, and an operator should know. */
const tellMs = 500;

export class Stalls {
  readonly #clock: Clock;
  readonly #log: Log;
  /** Counted up at every look, for whoever watches from another thread (stall-watch.ts). */
  readonly #turns: Int32Array;
  readonly #timer: NodeJS.Timeout;
  #last: number;
  #count = 0;
  #total = 0;
  #longest = 0;

  constructor(clock: Clock, log: Log, turns: Int32Array) {
    this.#clock = clock;
    this.#log = log;
    this.#turns = turns;
    this.#last = clock.tick();
    this.#timer = setInterval(() => this.look(), lookMs);
  }

  look(): void {
    Atomics.add(this.#turns, 0, 1);
    const now = this.#clock.tick();
    const ms = Math.round(now - this.#last - lookMs);
    this.#last = now;
    if (ms < stallMs) return;
    this.#count++;
    this.#total += ms;
    this.#longest = Math.max(this.#longest, ms);
    if (ms >= tellMs) this.#log('warn', 'the main thread stood still: nobody was answered meanwhile', { ms });
  }

  stats(): { stalls: number; stalledMsTotal: number; stallMsMax: number } {
    return { stalls: this.#count, stalledMsTotal: this.#total, stallMsMax: this.#longest };
  }

  close(): void {
    clearInterval(this.#timer);
    Atomics.store(this.#turns, 0, 0);
  }
}
