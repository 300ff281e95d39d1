/**
 * How fast a session may send while the hub refuses for the rate. Waiting as long as a refusal says is not enough: what it
 * stands for is room for one command, and the hundreds that wait would be refused together, again and again, until the hub
 * takes it for abuse (R8). So each refusal costs a moment on top, and fewer commands are unanswered at once after it; answers
 * bring that back. Asked by session.ts for every command.
 */
import type { Cancel, ClientClock } from './clock.ts';

/** What each refusal costs: together, well below what the hub counts as going on without waiting. */
const refusalMs = 20;
/** Few enough to be refused together, enough for a hub far away. */
const windowMin = 8;

export class Pace {
  readonly #clock: ClientClock;
  readonly #resume: () => void;
  #window = Number.POSITIVE_INFINITY;
  #pausedAt = 0;
  #until = 0;
  #refused = 0;
  #stopTimer: Cancel | undefined;

  constructor(clock: ClientClock, resume: () => void) {
    this.#clock = clock;
    this.#resume = resume;
  }

  /** How many commands may be unanswered. */
  get window(): number {
    return this.#stopTimer === undefined ? this.#window : 0;
  }

  /** A command went through. */
  answered(): void {
    this.#window += 1 / this.#window;
  }

  /** One of `open` commands was refused for the rate. */
  refused(retryAfterMs: number, open: number): void {
    const now = this.#clock.tick();
    if (this.#stopTimer === undefined) {
      this.#pausedAt = now;
      this.#until = now;
      this.#refused = 0;
      this.#window = Math.max(windowMin, Math.floor(Math.min(this.#window, open) / 2));
    }
    this.#refused++;
    this.#until = Math.max(this.#until, now + retryAfterMs, this.#pausedAt + this.#refused * refusalMs);
    this.#stopTimer?.();
    this.#stopTimer = this.#clock.after(this.#until - now, () => {
      this.#stopTimer = undefined;
      this.#resume();
    });
  }

  stop(): void {
    this.#stopTimer?.();
  }
}
