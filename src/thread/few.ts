/**
 * A map for what there is one of per connection or user: most hold none or one, and an empty `Map` alone takes two hundred
 * bytes. Few entries are a list; from some number on it is a `Map`. Order and iteration are those of a `Map`.
 */

/** Above it a search costs more than a `Map` does. */
const listMax = 8;

type Entry<K, V> = { readonly key: K; value: V; next: Entry<K, V> | null };

export class FewMap<K, V> {
  /** One field: there are many of these. */
  #held: Entry<K, V> | Map<K, V> | null = null;

  get size(): number {
    if (this.#held instanceof Map) return this.#held.size;
    let size = 0;
    for (let entry = this.#held; entry !== null; entry = entry.next) size++;
    return size;
  }

  get(key: K): V | undefined {
    return this.#held instanceof Map ? this.#held.get(key) : entryOf(this.#held, key)?.value;
  }

  has(key: K): boolean {
    return this.#held instanceof Map ? this.#held.has(key) : entryOf(this.#held, key) !== null;
  }

  set(key: K, value: V): void {
    if (this.#held instanceof Map) {
      this.#held.set(key, value);
      return;
    }
    let last: Entry<K, V> | null = null;
    let size = 0;
    for (let entry = this.#held; entry !== null; entry = entry.next) {
      if (entry.key === key) {
        entry.value = value;
        return;
      }
      last = entry;
      size++;
    }
    if (last === null) this.#held = { key, value, next: null };
    else if (size < listMax) last.next = { key, value, next: null };
    else this.#held = new Map([...this, [key, value]]);
  }

  /** Whether it was there. */
  delete(key: K): boolean {
    if (this.#held instanceof Map) {
      const deleted = this.#held.delete(key);
      if (this.#held.size === 0) this.#held = null;
      return deleted;
    }
    let before: Entry<K, V> | null = null;
    for (let entry = this.#held; entry !== null; entry = entry.next) {
      if (entry.key === key) {
        if (before === null) this.#held = entry.next;
        else before.next = entry.next;
        return true;
      }
      before = entry;
    }
    return false;
  }

  clear(): void {
    this.#held = null;
  }

  *keys(): IterableIterator<K> {
    for (const [key] of this) yield key;
  }

  *values(): IterableIterator<V> {
    for (const [, value] of this) yield value;
  }

  /** What is deleted or added meanwhile comes or does not. */
  *[Symbol.iterator](): IterableIterator<[K, V]> {
    if (this.#held instanceof Map) yield* this.#held;
    else for (let entry = this.#held; entry !== null; entry = entry.next) yield [entry.key, entry.value];
  }
}

function entryOf<K, V>(first: Entry<K, V> | null, key: K): Entry<K, V> | null {
  let entry = first;
  while (entry !== null && entry.key !== key) entry = entry.next;
  return entry;
}
