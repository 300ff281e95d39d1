/**
 * The token: asked for per connection, and refreshed in band before it expires, so that a long life of a connection needs no
 * reconnect. A fixed token cannot be refreshed; the hub closes the connection when its time is up.
 */
import { Backoff, type BackoffLimits, type Cancel, type ClientClock } from './clock.ts';
import { HubError } from './errors.ts';
import type { Token } from './options.ts';
import type { Session } from './session.ts';

/** Refreshed so long before it expires, at most; never earlier than at half of its life. */
const leadMs = 60_000;
/** A hub that gives out lives of no length must not be asked in a loop. */
const pauseMsMin = 1_000;

export class TokenKeeper {
  readonly #token: Token | undefined;
  readonly #clock: ClientClock;
  readonly #backoff: Backoff;
  readonly #failed: (error: HubError) => void;
  #session: Session | null = null;
  #refreshing = false;
  #stopTimer: Cancel | undefined;

  constructor(token: Token | undefined, clock: ClientClock, backoff: BackoffLimits, failed: (error: HubError) => void) {
    this.#token = token;
    this.#clock = clock;
    this.#backoff = new Backoff(clock, backoff);
    this.#failed = failed;
  }

  /** The next connection would say the same again. */
  get fixed(): boolean {
    return typeof this.#token !== 'function';
  }

  async get(): Promise<string | undefined> {
    try {
      return typeof this.#token === 'function' ? await this.#token() : this.#token;
    } catch (cause) {
      throw new HubError('token', 'the token function failed', { retry: true, cause });
    }
  }

  opened(session: Session, expiresInMs: number | null): void {
    this.#session = session;
    this.#refreshing = false;
    this.#plan(expiresInMs);
  }

  lost(): void {
    this.#session = null;
    this.#stopTimer?.();
  }

  /** Time is nearly up, says the hub. */
  expiring(): void {
    const session = this.#session;
    if (session === null || this.fixed || this.#refreshing) return;
    this.#refreshing = true;
    this.#stopTimer?.();
    const again = (error: HubError) => {
      if (session !== this.#session) return;
      this.#refreshing = false;
      this.#failed(error);
      if (error.retry) this.#stopTimer = this.#clock.after(error.retryAfterMs ?? this.#backoff.next(), () => this.expiring());
    };
    void this.get().then((token = '') => {
      if (session !== this.#session) return;
      session.request('refresh', { token }, (answer) => {
        if (!answer.ok) return again(answer.error);
        this.#refreshing = false;
        this.#backoff.reset();
        this.#plan(answer.reply.expiresInMs);
      });
    }, again);
  }

  #plan(expiresInMs: number | null): void {
    if (expiresInMs === null || this.fixed) return;
    this.#stopTimer = this.#clock.after(Math.max(pauseMsMin, expiresInMs / 2, expiresInMs - leadMs), () => this.expiring());
  }
}
