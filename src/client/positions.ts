/**
 * Where each room was read to, kept by the application (localStorage, a file) so that a reload resumes like a reconnect.
 * Saves are collected; what a handler had in hand at the moment of a crash may come again, and nothing is left out.
 */
import type { Position } from '../protocol/inputs.ts';
import type { Cancel, ClientClock } from './clock.ts';

export type SavedPositions = Record<string, Position>;
export type PositionStore = {
  load(): SavedPositions | null | Promise<SavedPositions | null>;
  save(positions: SavedPositions): void | Promise<void>;
};

const saveAfterMs = 250;

export class Positions {
  readonly #store: PositionStore | undefined;
  readonly #clock: ClientClock;
  readonly #failed: (cause: unknown) => void;
  readonly #positions = new Map<string, Position>();
  /** Resolved once `get` knows what was stored. */
  readonly loaded: Promise<void>;
  #stopTimer: Cancel | undefined;

  constructor(store: PositionStore | undefined, clock: ClientClock, failed: (cause: unknown) => void) {
    this.#store = store;
    this.#clock = clock;
    this.#failed = failed;
    this.loaded = this.#load();
  }

  get(room: string): Position | null {
    return this.#positions.get(room) ?? null;
  }

  set(room: string, position: Position): void {
    if (this.#store === undefined) return;
    this.#positions.set(room, position);
    this.#stopTimer ??= this.#clock.after(saveAfterMs, () => void this.save());
  }

  async save(): Promise<void> {
    if (this.#stopTimer === undefined) return;
    this.#stopTimer();
    this.#stopTimer = undefined;
    try {
      await this.#store?.save(Object.fromEntries(this.#positions));
    } catch (cause) {
      this.#failed(cause);
    }
  }

  async #load(): Promise<void> {
    await null; // whoever makes the client can add listeners before anything fails
    try {
      for (const [room, position] of Object.entries((await this.#store?.load()) ?? {})) this.#positions.set(room, position);
    } catch (cause) {
      this.#failed(cause);
    }
  }
}
