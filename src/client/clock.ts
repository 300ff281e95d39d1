/**
 * Time and chance as the client gets them; the only file of the client that touches the real ones. Tests pass their own
 * clock and step it. Everything that waits does it through `after`, so that closing the client can release every timer.
 */

export type Cancel = () => void;

export type ClientClock = {
  /** Wall-clock milliseconds since 1970, for `mid`s only. */
  now(): number;
  /** Monotonic milliseconds, for ages. */
  tick(): number;
  /** From 0 (inclusive) to 1 (exclusive). */
  random(): number;
  bytes(count: number): Uint8Array;
  after(ms: number, run: () => void): Cancel;
};

/** A longer delay makes setTimeout fire at once. */
const delayMsMax = 2 ** 31 - 1;

export const systemClock: ClientClock = {
  now: () => Date.now(),
  tick: () => performance.now(),
  random: () => Math.random(),
  bytes: (count) => crypto.getRandomValues(new Uint8Array(count)),
  after: (ms, run) => {
    const timer = setTimeout(run, Math.min(ms, delayMsMax));
    return () => clearTimeout(timer);
  },
};

export type BackoffLimits = { readonly firstMs: number; readonly maxMs: number };

/** Doubling delays, each drawn from the upper half of its step: a crowd that lost its hub does not come back in one wave. */
export class Backoff {
  readonly #clock: ClientClock;
  readonly #limits: BackoffLimits;
  #attempt = 0;

  constructor(clock: ClientClock, limits: BackoffLimits) {
    this.#clock = clock;
    this.#limits = limits;
  }

  next(): number {
    const step = Math.min(this.#limits.maxMs, this.#limits.firstMs * 2 ** Math.min(this.#attempt++, 30));
    return Math.round(step * (0.5 + this.#clock.random() / 2));
  }

  reset(): void {
    this.#attempt = 0;
  }
}
