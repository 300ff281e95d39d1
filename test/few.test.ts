/** A `FewMap` is a `Map` in all but size. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { FewMap } from '../src/thread/few.ts';

const step = fc.oneof(
  { weight: 4, arbitrary: fc.record({ is: fc.constant('set' as const), key: fc.nat(14), value: fc.nat() }) },
  { weight: 3, arbitrary: fc.record({ is: fc.constant('delete' as const), key: fc.nat(14) }) },
  { weight: 1, arbitrary: fc.constant({ is: 'clear' as const }) },
);

describe('a map of few', () => {
  it('answers as a Map does after any steps, however many entries they leave', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const [few, map] = [new FewMap<number, number>(), new Map<number, number>()];
        for (const one of steps) {
          if (one.is === 'set') {
            few.set(one.key, one.value);
            map.set(one.key, one.value);
          } else if (one.is === 'delete') expect(few.delete(one.key)).toBe(map.delete(one.key));
          else {
            few.clear();
            map.clear();
          }
          expect(few.size).toBe(map.size);
          expect([...few]).toEqual([...map]);
        }
        expect([...few.keys()]).toEqual([...map.keys()]);
        expect([...few.values()]).toEqual([...map.values()]);
        for (let key = 0; key < 15; key++) expect([few.has(key), few.get(key)]).toEqual([map.has(key), map.get(key)]);
      }),
    );
  });

  it.each([3, 20])('lets what it iterates over be deleted, with %i entries', (count) => {
    const few = new FewMap<number, string>();
    for (let i = 0; i < count; i++) few.set(i, 'x');
    const seen: number[] = [];
    for (const [key] of few) {
      seen.push(key);
      few.delete(key);
    }
    expect(seen).toHaveLength(count);
    expect(few.size).toBe(0);
  });
});
