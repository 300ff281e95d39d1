/**
 * Rows as the writing transactions see them: what is changed in one stays in memory until the transaction ends, so that a
 * thousand changes of a row cost one update, and a row that was used lately costs no select. Rooms and inboxes are kept so.
 * What another process may have changed since is never given.
 */
import { Cache } from './sqlite-names.ts';

export class WriteBack<K, V extends object> {
  readonly #cache: Cache<K, Kept<V>>;
  readonly #write: (row: V) => void;
  #changed = new Set<V>();
  #foreign = 0;

  /** At most `max` rows are kept from one transaction to the next. `write`: puts a row's values into its table. */
  constructor(max: number, write: (row: V) => void) {
    this.#cache = new Cache(max);
    this.#write = write;
  }

  /** Changed in place, followed by `touch`. Undefined: to be read, and given to `keep`. */
  get(key: K): V | undefined {
    const kept = this.#cache.get(key);
    return kept === undefined || kept.foreign !== this.#foreign ? undefined : kept.row;
  }

  keep(key: K, row: V): V {
    this.#cache.set(key, { row, foreign: this.#foreign });
    return row;
  }

  /** The row was changed. */
  touch(row: V): void {
    this.#changed.add(row);
  }

  /** Before every commit, and before a savepoint is released. */
  flush(): void {
    if (this.#changed.size === 0) return;
    for (const row of this.#changed) this.#write(row);
    this.#changed = new Set();
  }

  /** Another process has written: called at the beginning of a transaction. */
  foreignWrite(): void {
    this.#foreign++;
  }

  /** After a rollback. */
  forget(): void {
    this.#changed = new Set();
    this.#cache.clear();
  }

  /** Between transactions. */
  rotate(): void {
    this.#cache.rotate();
  }
}

/** `foreign`: the count of foreign writes when the row was read. */
type Kept<V> = { readonly row: V; readonly foreign: number };
