/**
 * Lists of words of which most are the same, such as scopes of connections: each is kept once, as long as the same ones come
 * one behind the other. Whoever has one must not change it.
 */
export class Alike {
  #last: readonly string[] = [];

  /** The list, or the one before that says the same. */
  of(list: readonly string[]): readonly string[] {
    const same = list.length === this.#last.length && list.every((word, i) => word === this.#last[i]);
    if (!same) this.#last = list;
    return this.#last;
  }
}
