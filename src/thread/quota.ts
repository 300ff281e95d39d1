/**
 * So many within a window of time for each key: the handshakes of an address, the requests of an API key. rate-limiter-flexible
 * counts; it keeps a record and a timer of each key until its window ends, so this keeps the number of keys bounded, whoever
 * comes. A window begins with its key's first request and is the wall clock's, but never lasts longer than its timer.
 */
import { RateLimiterMemory, RateLimiterRes } from 'rate-limiter-flexible';
import type { RateState } from './bucket.ts';

export class Quota {
  readonly #limit: number;
  readonly #keysMax: number;
  readonly #limiter: RateLimiterMemory;
  /** Those the limiter may remember, the longest silent first. */
  readonly #keys = new Set<string>();

  constructor(limit: number, windowMs: number, keysMax: number) {
    this.#limit = limit;
    this.#keysMax = keysMax;
    this.#limiter = new RateLimiterMemory({ points: limit, duration: windowMs / 1_000, keyPrefix: '' });
  }

  /** Counts one; `retryAfterMs` 0: it is within the quota. */
  async take(key: string): Promise<RateState> {
    // Both begin in this turn: a key that another one pushes out in between would be counted without being known here.
    const [state] = await Promise.all([this.#count(key), this.#remember(key)]);
    return state;
  }

  async #count(key: string): Promise<RateState> {
    try {
      return this.#state(await this.#limiter.consume(key), true);
    } catch (refusal) {
      if (!(refusal instanceof RateLimiterRes)) throw refusal;
      return this.#state(refusal, false);
    }
  }

  async #remember(key: string): Promise<void> {
    this.#keys.delete(key);
    this.#keys.add(key);
    if (this.#keys.size <= this.#keysMax) return;
    const [oldest] = this.#keys;
    if (oldest === undefined) return;
    this.#keys.delete(oldest);
    await this.#limiter.delete(oldest);
  }

  #state({ remainingPoints, msBeforeNext }: RateLimiterRes, taken: boolean): RateState {
    const resetMs = Math.max(1, Math.ceil(msBeforeNext));
    return { limit: this.#limit, remaining: remainingPoints, resetMs, retryAfterMs: taken ? 0 : resetMs };
  }
}
