/** The simulated cluster (`simulation/world.ts`): the second half of the gate's seeds, beside the first on another core. */
import { expect, it } from 'vitest';
import { runSeeds } from './simulation/seeds.ts';

it('every invariant holds whatever fails: seeds 5,001 to 10,000', { timeout: 600_000 }, async () => {
  expect((await runSeeds(5_001, 10_000)).failures).toEqual([]);
});
