/** How SQLite answers what the store asks: a plan that reads through a table which grows would hold up every commit behind it. */
import { expect, it } from 'vitest';
import { type OpenDatabase, openDatabase } from '../src/persistence/sqlite-open.ts';
import { SqliteReader } from '../src/persistence/sqlite-reader.ts';
import { openedStore } from './sqlite-setup.ts';

/** Few rows (nodes, epochs), read at the start only (connections that a dead node left), or only those of the index (who is there). */
const harmless = /^SCAN (?:(?:nodes|epochs|connections|sqlite_master|CONSTANT|\d+-ROW)\b|\w+ USING INDEX presence_there$|\(subquery-)/;

it('no statement of the writer or the reader reads through a table that grows', async () => {
  const asked = new Set<string>();
  const open: OpenDatabase = (file, rest) => {
    const db = openDatabase(file, rest);
    const prepare = db.prepare.bind(db);
    db.prepare = ((sql: string) => {
      asked.add(sql);
      return prepare(sql);
    }) as typeof db.prepare;
    return db;
  };
  const { options, outsider } = await openedStore({ open });
  const reader = new SqliteReader(options.data, open);
  await reader.close();
  const db = outsider();
  const plans = [...asked].map((sql) => {
    const named = Object.fromEntries([...sql.matchAll(/[@$](\w+)/g)].map(([, name]) => [name, 1]));
    const values = Object.keys(named).length > 0 ? [named] : [...sql.matchAll(/\?/g)].map(() => 1);
    const steps = db.prepare(`explain query plan ${sql}`).all(...values) as { detail: string }[];
    return { sql, steps: steps.map(({ detail }) => detail) };
  });
  expect(plans.filter(({ steps }) => steps.some((step) => /^SEARCH e(?:ntries)?\b/.test(step))).length).toBeGreaterThan(12);
  const through = (step: string) => (step.startsWith('SCAN') && !harmless.test(step)) || step.includes('AUTOMATIC');
  expect(plans.filter(({ steps }) => steps.some(through))).toEqual([]);
});
