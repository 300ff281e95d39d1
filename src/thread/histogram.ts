/**
 * Counts observations in buckets as flat numbers, the only shape that fits the `stats` of a thread's heartbeat, and reads
 * them back on the other side. The names (`commitMs_le_5`, `commitMs_le_inf`, `commitMs_sum`) are known to this file only.
 */

/** Cumulative counts up to each bound, the last one Infinity. */
export type HistogramStats = { buckets: [bound: number, count: number][]; sum: number };

export class Histogram {
  readonly #name: string;
  readonly #bounds: readonly number[];
  readonly #counts: number[];
  #sum = 0;

  /** `bounds` ascending; one more bucket takes what is above the last. */
  constructor(name: string, bounds: readonly number[]) {
    this.#name = name;
    this.#bounds = bounds;
    this.#counts = new Array<number>(bounds.length + 1).fill(0);
  }

  observe(value: number): void {
    let bucket = 0;
    while (bucket < this.#bounds.length && value > (this.#bounds[bucket] as number)) bucket++;
    this.#counts[bucket] = (this.#counts[bucket] as number) + 1;
    this.#sum += value;
  }

  /** To be spread into the thread's `stats`. */
  stats(): Record<string, number> {
    const stats: Record<string, number> = {};
    let below = 0;
    this.#counts.forEach((count, bucket) => {
      below += count;
      stats[`${this.#name}_le_${this.#bounds[bucket] ?? 'inf'}`] = below;
    });
    stats[`${this.#name}_sum`] = this.#sum;
    return stats;
  }
}

/** Separates the histograms in a thread's stats from its other numbers. */
export function splitHistograms<T>(stats: { readonly [name: string]: T }): { histograms: Map<string, HistogramStats>; rest: Record<string, T> } {
  const histograms = new Map<string, HistogramStats>();
  const rest: Record<string, T> = {};
  for (const [key, value] of Object.entries(stats)) {
    const [, name, bound] = /^(\w+?)_(?:le_([\d.]+|inf)|sum)$/.exec(key) ?? [];
    if (name === undefined || typeof value !== 'number') {
      rest[key] = value;
      continue;
    }
    const histogram = histograms.get(name) ?? { buckets: [], sum: 0 };
    histograms.set(name, histogram);
    if (bound === undefined) histogram.sum = value;
    else histogram.buckets.push([bound === 'inf' ? Infinity : Number(bound), value]);
  }
  for (const { buckets } of histograms.values()) buckets.sort(([a], [b]) => a - b);
  return { histograms, rest };
}
