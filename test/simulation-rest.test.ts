/** The simulated cluster (`simulation/world.ts`): the second half of the gate's seeds, beside the first on another core. */
import { expect, it } from 'vitest';
import { runSeeds } from './simulation/seeds.ts';
import { simulateOnSqlite } from './simulation/world.ts';

it('every invariant holds whatever fails: seeds 5,001 to 10,000', { timeout: 600_000 }, async () => {
  expect((await runSeeds(5_001, 10_000)).failures).toEqual([]);
});

it('a real SQLite file answers as its model does, whatever fails: seeds 1 to 50', { timeout: 60_000 }, async () => {
  const account = await runSeeds(1, 50, simulateOnSqlite);
  expect(account.failures).toEqual([]);
  expect(account.faults).toMatchObject({ all: expect.any(Number), writer: expect.any(Number), statement: expect.any(Number), commit: expect.any(Number) });
});
