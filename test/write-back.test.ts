/** Rows that are kept during a transaction: one write each, none after a rollback, and nothing of what another process has changed. */
import { expect, it } from 'vitest';
import { WriteBack } from '../src/persistence/sqlite-write-back.ts';

function kept(max = 100) {
  const written: { key: string; value: number }[] = [];
  const rows = new WriteBack<string, { key: string; value: number }>(max, (row) => written.push({ ...row }));
  const add = (key: string, value = 0) => rows.keep(key, { key, value });
  return { rows, written, add };
}

it('many changes of a row are one write, with its last values, at the flush', () => {
  const { rows, written, add } = kept();
  const [a, b] = [add('a'), add('b')];
  for (let i = 1; i <= 3; i++) {
    a.value = i;
    rows.touch(a);
  }
  rows.touch(b);
  expect(written).toEqual([]);
  rows.flush();
  expect(written).toEqual([
    { key: 'a', value: 3 },
    { key: 'b', value: 0 },
  ]);
});

it('a flush writes only what was changed since the last', () => {
  const { rows, written, add } = kept();
  const [a, b] = [add('a'), add('b')];
  rows.touch(a);
  rows.flush();
  rows.touch(b);
  rows.flush();
  rows.flush();
  expect(written.map(({ key }) => key)).toEqual(['a', 'b']);
});

it('after a rollback nothing is known and nothing is written', () => {
  const { rows, written, add } = kept();
  rows.touch(add('a', 1));
  rows.forget();
  rows.flush();
  expect([rows.get('a'), written]).toEqual([undefined, []]);
});

it('what another process may have changed is read again, once', () => {
  const { rows, add } = kept();
  const before = add('a', 1);
  expect(rows.get('a')).toBe(before);
  rows.foreignWrite();
  expect(rows.get('a')).toBeUndefined();
  const after = add('a', 2);
  expect(rows.get('a')).toBe(after);
});

it('between transactions rows that were not used lately are let go, within one never', () => {
  const { rows, add } = kept(4);
  for (const key of ['a', 'b', 'c', 'd', 'e', 'f']) add(key);
  expect(rows.get('a')).toBeDefined();
  rows.rotate();
  add('g');
  add('h');
  expect(rows.get('a')).toBeDefined();
  rows.rotate();
  expect(['a', 'b', 'g'].map((key) => rows.get(key) !== undefined)).toEqual([true, false, true]);
});
