/** What is counted in windows by the library: its own timers and its own look at the clock, both standing until they are moved. */
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { Quota } from '../src/thread/quota.ts';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

const within = async (quota: Quota, key: string): Promise<boolean> => (await quota.take(key)).retryAfterMs === 0;

describe('a quota', () => {
  it('says with each request how it stands', async () => {
    const quota = new Quota(2, 10_000, 10);
    expect(await quota.take('a')).toEqual({ limit: 2, remaining: 1, resetMs: 10_000, retryAfterMs: 0 });
    vi.advanceTimersByTime(2_500);
    expect(await quota.take('a')).toEqual({ limit: 2, remaining: 0, resetMs: 7_500, retryAfterMs: 0 });
    expect(await quota.take('a')).toEqual({ limit: 2, remaining: 0, resetMs: 7_500, retryAfterMs: 7_500 });
    expect(await quota.take('b')).toMatchObject({ remaining: 1, retryAfterMs: 0 });
    // Whoever waits as long as he was told comes in.
    vi.advanceTimersByTime(7_500);
    expect(await quota.take('a')).toEqual({ limit: 2, remaining: 1, resetMs: 10_000, retryAfterMs: 0 });
  });

  it('is not exceeded by requests at the same moment, and not put off by those it refuses', async () => {
    const quota = new Quota(3, 1_000, 10);
    const told = await Promise.all(Array.from({ length: 50 }, () => within(quota, 'a')));
    expect(told.filter(Boolean)).toHaveLength(3);
    vi.advanceTimersByTime(999);
    expect(await within(quota, 'a')).toBe(false);
    vi.advanceTimersByTime(1);
    expect(await within(quota, 'a')).toBe(true);
  });

  it('lasts no longer than its window when the wall clock is set back', async () => {
    const quota = new Quota(1, 1_000, 10);
    await quota.take('a');
    vi.setSystemTime(Date.now() - 3_600_000);
    vi.advanceTimersByTime(1_000);
    expect(await within(quota, 'a')).toBe(true);
  });

  it('remembers so many keys, also with none of them over, and forgets the longest silent first', async () => {
    const quota = new Quota(1, 60_000, 3);
    for (const key of ['a', 'b', 'c', 'a', 'd']) await quota.take(key);
    expect(vi.getTimerCount()).toBe(3);
    expect(await within(quota, 'a')).toBe(false);
    expect(await within(quota, 'd')).toBe(false);
    expect(await within(quota, 'b')).toBe(true);
    expect(vi.getTimerCount()).toBe(3);
    vi.advanceTimersByTime(60_000);
    expect(vi.getTimerCount()).toBe(0);
  });

  it('is bounded at every moment when many come at once', async () => {
    const quota = new Quota(1, 60_000, 3);
    let most = 0;
    const takes = Array.from({ length: 20 }, async (_, i) => {
      await quota.take(`key-${i}`);
      most = Math.max(most, vi.getTimerCount());
    });
    await Promise.all(takes);
    expect(most).toBeLessThanOrEqual(3);
  });
});
