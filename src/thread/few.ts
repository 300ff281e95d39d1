/**
 * A map for what there is one of per connection or user: most hold none or one, and an empty `Map` alone takes two hundred
 * bytes. Few entries are a list; from some number on it is a `Map`. Order and iteration are those of a `Map`.
 */

/** Above it a search costs more than a `Map` does. */
const listMax = 8;

type Entry<K, V> = { readonly key: K; value: V; next: Entry<K, V> | null };

export class FewMap<K, V> {
  #first: Entry<K, V> | null = null;
  #many: Map<K, V> | null = null;

  get size(): number {
    if (this.#many !== null) return this.#many.size;
    let size = 0;
    for (let entry = this.#first; entry !== null; entry = entry.next) size++;
    return size;
  }

  get(key: K): V | undefined {
    return this.#many === null ? this.#find(key)?.value : this.#many.get(key);
  }

  has(key: K): boolean {
    return this.#many === null ? this.#find(key) !== null : this.#many.has(key);
  }

  set(key: K, value: V): void {
    if (this.#many !== null) {
      this.#many.set(key, value);
      return;
    }
    let last: Entry<K, V> | null = null;
    let size = 0;
    for (let entry = this.#first; entry !== null; entry = entry.next) {
      if (entry.key === key) {
        entry.value = value;
        return;
      }
      last = entry;
      size++;
    }
    if (size === listMax) {
      this.#many = new Map(this);
      this.#many.set(key, value);
      this.#first = null;
    } else if (last === null) this.#first = { key, value, next: null };
    else last.next = { key, value, next: null };
  }

  /** Whether it was there. */
  delete(key: K): boolean {
    if (this.#many !== null) {
      const deleted = this.#many.delete(key);
      if (this.#many.size === 0) this.#many = null;
      return deleted;
    }
    let before: Entry<K, V> | null = null;
    for (let entry = this.#first; entry !== null; entry = entry.next) {
      if (entry.key === key) {
        if (before === null) this.#first = entry.next;
        else before.next = entry.next;
        return true;
      }
      before = entry;
    }
    return false;
  }

  clear(): void {
    this.#first = null;
    this.#many = null;
  }

  *keys(): IterableIterator<K> {
    for (const [key] of this) yield key;
  }

  *values(): IterableIterator<V> {
    for (const [, value] of this) yield value;
  }

  /** What is deleted meanwhile may still come; what is added at the end comes. */
  *[Symbol.iterator](): IterableIterator<[K, V]> {
    if (this.#many !== null) yield* this.#many;
    else for (let entry = this.#first; entry !== null; entry = entry.next) yield [entry.key, entry.value];
  }

  #find(key: K): Entry<K, V> | null {
    let entry = this.#first;
    while (entry !== null && entry.key !== key) entry = entry.next;
    return entry;
  }
}
