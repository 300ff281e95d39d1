/**
 * A map for what there is one of per connection or user: most hold none or one, and an empty `Map` alone takes two hundred
 * bytes. The first entry is in the map itself, few more are a list behind it; from some number on it is a `Map`. Order and
 * iteration are those of a `Map`.
 */

/** Above it a search costs more than a `Map` does. */
const listMax = 8;
/** In place of the first key: there is none. */
const vacant = Symbol('vacant');

type Entry<K, V> = { readonly key: K; value: V; next: Entry<K, V> | null };

export class FewMap<K, V> {
  // Three fields and no more: there are many of these.
  #key: K | typeof vacant = vacant;
  #value: V | undefined = undefined;
  /** Behind the first entry; or all of them, and none is the first. */
  #rest: Entry<K, V> | Map<K, V> | null = null;

  get size(): number {
    if (this.#rest instanceof Map) return this.#rest.size;
    let size = this.#key === vacant ? 0 : 1;
    for (let entry = this.#rest; entry !== null; entry = entry.next) size++;
    return size;
  }

  get(key: K): V | undefined {
    if (this.#key === key) return this.#value;
    return this.#rest instanceof Map ? this.#rest.get(key) : entryOf(this.#rest, key)?.value;
  }

  has(key: K): boolean {
    if (this.#key === key) return true;
    return this.#rest instanceof Map ? this.#rest.has(key) : entryOf(this.#rest, key) !== null;
  }

  set(key: K, value: V): void {
    if (this.#rest instanceof Map) {
      this.#rest.set(key, value);
      return;
    }
    if (this.#key === vacant || this.#key === key) {
      this.#key = key;
      this.#value = value;
      return;
    }
    let last: Entry<K, V> | null = null;
    let size = 1;
    for (let entry = this.#rest; entry !== null; entry = entry.next) {
      if (entry.key === key) {
        entry.value = value;
        return;
      }
      last = entry;
      size++;
    }
    if (size >= listMax) {
      this.#rest = new Map([...this, [key, value]]);
      this.#key = vacant;
      this.#value = undefined;
    } else if (last === null) this.#rest = { key, value, next: null };
    else last.next = { key, value, next: null };
  }

  /** Whether it was there. */
  delete(key: K): boolean {
    if (this.#rest instanceof Map) {
      const deleted = this.#rest.delete(key);
      if (this.#rest.size === 0) this.#rest = null;
      return deleted;
    }
    if (this.#key === key) {
      const next = this.#rest;
      this.#key = next === null ? vacant : next.key;
      this.#value = next?.value;
      this.#rest = next?.next ?? null;
      return true;
    }
    let before: Entry<K, V> | null = null;
    for (let entry = this.#rest; entry !== null; entry = entry.next) {
      if (entry.key === key) {
        if (before === null) this.#rest = entry.next;
        else before.next = entry.next;
        return true;
      }
      before = entry;
    }
    return false;
  }

  clear(): void {
    this.#key = vacant;
    this.#value = undefined;
    this.#rest = null;
  }

  *keys(): IterableIterator<K> {
    for (const [key] of this) yield key;
  }

  *values(): IterableIterator<V> {
    for (const [, value] of this) yield value;
  }

  /** What is deleted or added meanwhile comes or does not. */
  *[Symbol.iterator](): IterableIterator<[K, V]> {
    if (this.#rest instanceof Map) {
      yield* this.#rest;
      return;
    }
    if (this.#key === vacant) return;
    const rest = this.#rest;
    yield [this.#key, this.#value as V];
    for (let entry = rest; entry !== null; entry = entry.next) yield [entry.key, entry.value];
  }
}

function entryOf<K, V>(first: Entry<K, V> | null, key: K): Entry<K, V> | null {
  let entry = first;
  while (entry !== null && entry.key !== key) entry = entry.next;
  return entry;
}
