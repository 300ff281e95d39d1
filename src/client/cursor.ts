/**
 * A cumulative mark: how far everything was handled, and one command at a time that says so. However many items are
 * handled while an answer is on its way, the next command covers them all. Used for inbox acks and received marks.
 */
import type { Cancel, ClientClock } from './clock.ts';
import type { HubError } from './errors.ts';

/** Sends the mark and reports what the hub said (null: ok); false where nothing can be sent now. */
export type SendMark = (through: number, done: (error: HubError | null) => void) => boolean;

const retryMs = 1_000;

export class Cursor {
  readonly #clock: ClientClock;
  readonly #failed: (error: HubError) => void;
  readonly #send: SendMark;
  #open: number[] = [];
  #done = new Set<number>();
  #through = 0;
  #sent = 0;
  #busy = false;
  /** For good, as far as this connection goes: a mark in a room one is no member of. */
  #refused = false;
  #stopTimer: Cancel | undefined;

  constructor(clock: ClientClock, failed: (error: HubError) => void, send: SendMark) {
    this.#clock = clock;
    this.#failed = failed;
    this.#send = send;
  }

  /** Everything up to here was handled, as far as it was announced. */
  get through(): number {
    return this.#through;
  }

  get unsent(): boolean {
    return this.#through > this.#sent;
  }

  /** Announces `n`, in rising order; it holds the mark back until it is `done`. */
  add(n: number): void {
    this.#open.push(n);
  }

  done(n: number): void {
    if (n <= this.#through) return; // of before a reset
    this.#done.add(n);
    let first = this.#open[0];
    while (first !== undefined && this.#done.delete(first)) {
      this.#through = first;
      this.#open.shift();
      first = this.#open[0];
    }
    this.flush();
  }

  flush(): void {
    if (this.#busy || this.#refused || !this.unsent) return;
    const through = this.#through;
    // Before the call, since the answer may be there when it returns.
    this.#busy = true;
    const sent = this.#send(through, (error) => {
      this.#busy = false;
      if (error === null) {
        this.#sent = Math.max(this.#sent, through);
        this.flush();
      } else if (!error.retry) {
        this.#refused = true;
        this.#failed(error);
      } else if (error.code !== 'disconnected') this.#stopTimer = this.#clock.after(error.retryAfterMs ?? retryMs, () => this.flush());
    });
    if (!sent) this.#busy = false;
  }

  /** The connection is gone; what was not said is said on the next one. */
  stop(): void {
    this.#refused = false;
    this.#stopTimer?.();
  }

  /** Starts over: what was announced is forgotten, the mark stands at `through`. */
  reset(through: number): void {
    this.#open = [];
    this.#done.clear();
    this.#through = through;
    this.#sent = through;
  }
}
