/** Latencies in microseconds, counted in buckets at most 1.6 % wide; adding one is a few instructions and no memory. */

const subBits = 6;
const sub = 1 << subBits;

export class Histogram {
  #counts = new Uint32Array((31 - subBits + 1) * sub);
  count = 0;
  max = 0;

  /**
   * @param {number} micros a whole number; below zero counts as zero
   * @param {number} [times]
   */
  add(micros, times = 1) {
    const value = Math.max(micros, 0);
    const shift = value < sub ? 0 : 31 - Math.clz32(value) - subBits;
    const index = shift === 0 && value < sub ? value : (shift + 1) * sub + ((value >>> shift) & (sub - 1));
    this.#counts[index] = /** @type {number} */ (this.#counts[index]) + times;
    this.count += times;
    if (value > this.max) this.max = value;
  }

  /**
   * In milliseconds; null while empty.
   * @param {number} share 0.99 for the 99th percentile
   */
  percentile(share) {
    if (this.count === 0) return null;
    let left = Math.ceil(this.count * share);
    for (let index = 0; index < this.#counts.length; index++) {
      left -= /** @type {number} */ (this.#counts[index]);
      if (left <= 0) return Math.min(middleOf(index), this.max) / 1_000;
    }
    return this.max / 1_000;
  }

  reset() {
    this.#counts.fill(0);
    this.count = 0;
    this.max = 0;
  }
}

/** @param {number} index of a bucket */
function middleOf(index) {
  if (index < sub) return index;
  const shift = (index >>> subBits) - 1;
  const low = (sub + (index & (sub - 1))) * 2 ** shift;
  return low + (2 ** shift - 1) / 2;
}
