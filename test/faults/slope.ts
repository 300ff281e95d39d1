/** How fast something grows, and how sure that is. */

export type Slope = { readonly perHour: number; readonly error: number };

/** A straight line through the samples by least squares, for what is up and down by itself each time. NaN of less than three samples. */
export function slopeOf<S extends { readonly seconds: number }>(samples: readonly S[], of: (sample: S) => number): Slope {
  const points = samples.map((sample) => ({ x: sample.seconds / 3_600, y: of(sample) }));
  const mean = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length;
  const sum = (value: (point: { x: number; y: number }) => number): number => points.reduce((total, point) => total + value(point), 0);
  const [x, y] = [mean(points.map((point) => point.x)), mean(points.map((point) => point.y))];
  const spread = sum((point) => (point.x - x) ** 2);
  const perHour = sum((point) => (point.x - x) * (point.y - y)) / spread;
  const rest = sum((point) => (point.y - y - perHour * (point.x - x)) ** 2);
  return points.length < 3 ? { perHour: Number.NaN, error: Number.NaN } : { perHour, error: Math.sqrt(rest / (points.length - 2) / spread) };
}

/**
 * The mean of the steps from each sample to the next, for what keeps what it has and moves by steps, as resident memory does by pages and arenas:
 * least squares would take a single step for growth, and for certain. NaN of less than three samples.
 */
export function driftOf<S extends { readonly seconds: number }>(samples: readonly S[], of: (sample: S) => number): Slope {
  const steps = samples.slice(1).map((sample, i) => of(sample) - of(samples[i] as S));
  const hours = ((samples.at(-1)?.seconds ?? 0) - (samples[0]?.seconds ?? 0)) / 3_600;
  if (steps.length < 2) return { perHour: Number.NaN, error: Number.NaN };
  const mean = steps.reduce((sum, step) => sum + step, 0) / steps.length;
  const variance = steps.reduce((sum, step) => sum + (step - mean) ** 2, 0) / (steps.length - 1);
  return { perHour: (mean * steps.length) / hours, error: Math.sqrt(variance * steps.length) / hours };
}

/** Whether it grows faster than that with all the certainty that two standard errors give. */
export function exceeds({ perHour, error }: Slope, most: number): boolean {
  return perHour - 2 * error > most;
}
