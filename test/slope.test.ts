/** The measure of growth that the soak is judged by. */
import { describe, expect, it } from 'vitest';
import { exceeds, slopeOf } from './faults/slope.ts';

/** One sample every ten seconds of five minutes: so much growth in an hour, up and down by `noise`. */
const samples = (perHour: number, noise: number) =>
  Array.from({ length: 30 }, (_, i) => ({ seconds: 300 + i * 10, mib: 200 + (perHour * i * 10) / 3_600 + ((i % 3) - 1) * noise }));
const slope = (perHour: number, noise: number) => slopeOf(samples(perHour, noise), ({ mib }) => mib);

describe('slope', () => {
  it('of a line is its own, without an error', () => {
    const { perHour, error } = slope(5, 0);
    expect(perHour).toBeCloseTo(5, 6);
    expect(error).toBeCloseTo(0, 6);
  });

  it('says how sure it is: growth within the noise is none, growth beyond it is', () => {
    expect(exceeds(slope(0, 0.3), 1)).toBe(false);
    expect(exceeds(slope(60, 0.3), 1)).toBe(true);
    expect(exceeds(slope(60, 30), 1)).toBe(false);
    expect(slope(60, 30).error).toBeGreaterThan(slope(60, 0.3).error * 20);
  });

  it('of too few samples is none', () => {
    expect(slopeOf([{ seconds: 1 }, { seconds: 2 }], () => 1)).toEqual({ perHour: Number.NaN, error: Number.NaN });
  });
});
