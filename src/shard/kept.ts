/**
 * Keeps one value in the store equal to the one an actor wants: one operation on its way at a time, the newest value next,
 * and again at a tick where the store or the queue refused. So a value that flaps costs one operation per commit, and a
 * failure is never forgotten. It reads no clock and holds no queue.
 */
import { CodedError } from '../protocol/codes.ts';
import type { Operation, Outcome } from '../thread/messages.ts';
import type { Effects } from './actor.ts';

/** Whose value it is. An object and not two functions: there is one of these for every user. */
export type Keeper<T> = {
  operation(value: T): Operation;
  /** Called when an operation was answered, so that a newer value can follow. */
  wake(): void;
};

export class Kept<T> {
  #stored: T;
  #state: 'settled' | 'flying' | 'stalled' = 'settled';
  readonly #keeper: Keeper<T>;

  constructor(stored: T, keeper: Keeper<T>) {
    this.#stored = stored;
    this.#keeper = keeper;
  }

  get stored(): T {
    return this.#stored;
  }

  get settled(): boolean {
    return this.#state === 'settled';
  }

  get stalled(): boolean {
    return this.#state === 'stalled';
  }

  /** What the store holds after something else changed it. */
  learn(value: T): void {
    this.#stored = value;
  }

  save(value: T, effects: Effects, ticking: boolean): void {
    if (this.#state === 'flying' || (this.#state === 'stalled' && !ticking)) return;
    if (value === this.#stored) {
      this.#state = 'settled';
      return;
    }
    this.#state = 'flying';
    const accepted = effects.commit(this.#keeper.operation(value), (outcome) => {
      this.#state = 'settled';
      if (failure(outcome) === null) this.#stored = value;
      else this.#state = 'stalled';
      this.#keeper.wake();
    });
    if (!accepted) this.#state = 'stalled';
  }
}

/** Why an operation of a user actor was not carried out, or null where it was. */
export function failure(outcome: Outcome): CodedError | null {
  if (typeof outcome === 'number') return null;
  switch (outcome.code) {
    case 'ok':
    case 'duplicate':
    case 'connected':
    case 'pruned':
    case 'done':
      return null;
    case 'storage':
      return new CodedError('storage');
    case 'stale':
    case 'conflict':
    case 'exists':
    case 'not-found':
    case 'room-full':
    case 'inbox-full':
    case 'rejected':
    case 'revoked':
      return new CodedError('internal', `the store answered ${outcome.code}`);
  }
}
