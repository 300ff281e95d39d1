/** A list of words in the place of its like. */
import { expect, it } from 'vitest';
import { Alike } from '../src/thread/alike.ts';

it('a list that says the same as the one before is that one, and says what it was given in any case', () => {
  const alike = new Alike();
  const none = alike.of([]);
  expect(alike.of([])).toBe(none);
  const first = alike.of(['a', 'b']);
  expect(first).toEqual(['a', 'b']);
  expect(alike.of(['a', 'b'])).toBe(first);
  for (const other of [['a'], ['a', 'c'], ['b', 'a'], ['a', 'b', 'c'], []]) expect(alike.of(other)).toEqual(other);
  expect(first).toEqual(['a', 'b']);
});
