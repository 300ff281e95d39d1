/**
 * Typed listeners. A listener that throws or rejects never breaks the stream it listens to: its error goes to `onError`,
 * and the other listeners are called all the same.
 */

export class Emitter<Events extends Record<string, unknown>> {
  readonly #listeners = new Map<keyof Events, Set<(event: never) => unknown>>();
  readonly #onError: (cause: unknown, name: keyof Events) => void;
  /** Told of every new listener, for what waits for one. */
  readonly #onListener: ((name: keyof Events) => void) | undefined;

  constructor(onError: (cause: unknown, name: keyof Events) => void, onListener?: (name: keyof Events) => void) {
    this.#onError = onError;
    this.#onListener = onListener;
  }

  /** Adds a listener; the function it returns removes it. */
  on<K extends keyof Events>(name: K, listener: (event: Events[K]) => unknown): () => void {
    if (typeof listener !== 'function') throw new TypeError(`on: the listener of ${String(name)} must be a function`);
    const listeners = this.#listeners.get(name) ?? new Set();
    this.#listeners.set(name, listeners.add(listener));
    this.#onListener?.(name);
    return () => void listeners.delete(listener);
  }

  has(name: keyof Events): boolean {
    return (this.#listeners.get(name)?.size ?? 0) > 0;
  }

  emit<K extends keyof Events>(name: K, event: Events[K]): void {
    void this.run(name, event);
  }

  /** Calls every listener now. The result is undefined or, where a listener is asynchronous, a promise; true: none failed. */
  run<K extends keyof Events>(name: K, event: Events[K]): boolean | Promise<boolean> {
    let fine = true;
    const failed = (cause: unknown) => {
      this.#onError(cause, name);
      return false;
    };
    const waiting: Promise<boolean>[] = [];
    for (const listener of [...(this.#listeners.get(name) ?? [])] as ((event: Events[K]) => unknown)[]) {
      try {
        const result = listener(event);
        if (isThenable(result)) waiting.push(Promise.resolve(result).then(() => true, failed));
      } catch (cause) {
        fine = failed(cause);
      }
    }
    return waiting.length === 0 ? fine : Promise.all(waiting).then((all) => fine && all.every(Boolean));
  }
}

function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof value === 'object' && value !== null && 'then' in value;
}
