/** Which shard owns a name: evenly, and stable when shards are added. */
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { placeOf } from '../src/thread/placement.ts';

const names = Array.from({ length: 20_000 }, (_, i) => `room-${i}`);

it('every name has one shard, among those there are', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), fc.integer({ min: 1, max: 64 }), (name, shards) => {
      const place = placeOf(name, shards);
      expect(place).toBe(placeOf(name, shards));
      expect(Number.isInteger(place) && place >= 0 && place < shards).toBe(true);
    }),
  );
});

it('names spread evenly: no shard has a tenth more or less than its share', () => {
  for (const shards of [2, 3, 4, 7]) {
    const counts = new Array<number>(shards).fill(0);
    for (const name of names) counts[placeOf(name, shards)] = (counts[placeOf(name, shards)] ?? 0) + 1;
    for (const count of counts) expect(Math.abs(count / (names.length / shards) - 1)).toBeLessThan(0.1);
  }
});

it('one more shard moves only names that it gets', () => {
  for (const name of names) {
    const before = placeOf(name, 4);
    const after = placeOf(name, 5);
    expect(after === before || after === 4).toBe(true);
  }
});
