/**
 * The token bucket of the rate limits that are asked for every command. Filled by a clock that its user reads, so that it
 * costs no timer; taking from it makes no garbage. `Keyed` keeps one thing per user, and a bounded number of those that
 * nobody holds any more, so that coming back does not bring a full bucket. What comes seldom is counted by quota.ts.
 */

/** So many a second, and so many at once. `perSecond` 0: no limit. */
export type Rate = { readonly perSecond: number; readonly burst: number };

/** How a limit stands, as a refusal tells it. */
export type RateState = { readonly limit: number; readonly remaining: number; readonly resetMs: number; readonly retryAfterMs: number };

export class Bucket {
  /** Below zero after something that cost more than was left. */
  tokens: number;
  #at: number;

  constructor(rate: Rate, now: number) {
    this.tokens = rate.burst;
    this.#at = now;
  }

  fill(rate: Rate, now: number): void {
    const passed = now - this.#at;
    if (passed <= 0) return;
    this.#at = now;
    const tokens = this.tokens + (passed * rate.perSecond) / 1_000;
    this.tokens = Math.min(tokens, rate.burst);
  }

  /** One token, if there is one. */
  take(rate: Rate, now: number): boolean {
    if (rate.perSecond === 0) return true;
    this.fill(rate, now);
    if (this.tokens < 1) return false;
    this.tokens--;
    return true;
  }

  /** As good as one that is made anew. */
  isFull(rate: Rate, now: number): boolean {
    if (rate.perSecond === 0) return true;
    this.fill(rate, now);
    return this.tokens >= rate.burst;
  }

  /** As it stood when it was last filled. */
  state({ perSecond, burst }: Rate): RateState {
    const msFor = (tokens: number): number => Math.max(0, Math.ceil(((tokens - this.tokens) * 1_000) / perSecond));
    return { limit: perSecond, remaining: Math.max(0, Math.floor(this.tokens)), resetMs: msFor(burst), retryAfterMs: Math.max(1, msFor(1)) };
  }
}

type Held<T> = { value: T; holders: number };

export class Keyed<T> {
  readonly #make: () => T;
  readonly #idleMax: number;
  readonly #held = new Map<string, Held<T>>();
  /** Nobody's, the longest so first. */
  readonly #idle = new Map<string, T>();

  constructor(make: () => T, idleMax: number) {
    this.#make = make;
    this.#idleMax = idleMax;
  }

  get size(): number {
    return this.#held.size + this.#idle.size;
  }

  /** Held until `release`. */
  hold(key: string): T {
    let held = this.#held.get(key);
    if (held === undefined) {
      held = { value: this.#idle.get(key) ?? this.#make(), holders: 0 };
      this.#idle.delete(key);
      this.#held.set(key, held);
    }
    held.holders++;
    return held.value;
  }

  /** `keep`: false where one that is made anew does as well. */
  release(key: string, keep = true): void {
    const held = this.#held.get(key);
    if (held === undefined || --held.holders > 0) return;
    this.#held.delete(key);
    if (!keep) return;
    this.#idle.set(key, held.value);
    if (this.#idle.size <= this.#idleMax) return;
    const [oldest] = this.#idle.keys();
    if (oldest !== undefined) this.#idle.delete(oldest);
  }
}
