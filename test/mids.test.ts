/** The hub's own UUIDv7s: of the right form, in the order of time, and never the same twice. */
import { validate, version } from 'uuid';
import { expect, it } from 'vitest';
import { Mids } from '../src/thread/mids.ts';
import { seeded } from './kit/seeded.ts';

it('every one is a UUIDv7 that carries its time, and none comes twice from a maker or from two', () => {
  const random = seeded();
  const makers = [new Mids(() => random.next()), new Mids(() => random.next())];
  const seen = new Set<string>();
  for (let i = 0; i < 20_000; i++) {
    const now = 1_790_000_000_000 + (i >> 4);
    for (const maker of makers) {
      const mid = maker.next(now);
      if (i % 100 === 0) {
        expect([validate(mid), version(mid)]).toEqual([true, 7]);
        expect(Number.parseInt(mid.replace('-', '').slice(0, 12), 16)).toBe(now);
      }
      seen.add(mid);
    }
  }
  expect(seen.size).toBe(40_000);
});

it('counting over its end goes on from the start', () => {
  const mids = new Mids(() => 0.999_999_999_9);
  const [a, b] = [mids.next(1), mids.next(1)];
  expect(a).not.toBe(b);
  expect([validate(a), validate(b)]).toEqual([true, true]);
});
