/** The simulated cluster (`simulation/world.ts`): the first half of the gate's seeds, and that a seed replays exactly. */
import { expect, it } from 'vitest';
import { runSeeds } from './simulation/seeds.ts';
import { simulate } from './simulation/world.ts';

it('a seed replays exactly, and no two are alike', async () => {
  const hashes = new Set<string>();
  for (let seed = 1; seed <= 100; seed++) {
    const { hash, events } = await simulate(seed);
    const again = await simulate(seed);
    expect([again.hash, again.events]).toEqual([hash, events]);
    hashes.add(hash);
  }
  expect(hashes.size).toBe(100);
});

it('every fault there is happens, and every invariant holds: seeds 1 to 5,000', { timeout: 600_000 }, async () => {
  const account = await runSeeds(1, 5_000);
  expect(account.failures).toEqual([]);
  const kinds = [
    'all',
    'bus-doubled',
    'bus-late',
    'bus-lost',
    'clock',
    'commit',
    'cut',
    'flood',
    'full-disk',
    'lost-answer',
    'node',
    'pause',
    'read',
    'reader',
    'restore',
    'shard',
  ];
  expect(Object.keys(account.faults).sort()).toEqual([...kinds, 'statement', 'writer']);
});
