/** How fast something grows, and how sure that is: a straight line through samples by least squares, with the standard error of its slope. */

export type Slope = { readonly perHour: number; readonly error: number };

/** NaN of less than three samples. */
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

/** Whether it grows faster than that with all the certainty that two standard errors give. */
export function exceeds({ perHour, error }: Slope, most: number): boolean {
  return perHour - 2 * error > most;
}
