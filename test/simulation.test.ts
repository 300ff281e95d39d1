/** The simulated cluster (`simulation/world.ts`): the first half of the gate's seeds, and that a seed replays exactly. */
import { expect, it } from 'vitest';
import { Port } from './simulation/port.ts';
import { Scheduler, Strand } from './simulation/scheduler.ts';
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

it('what one simulated thread says to another arrives in order, however late', async () => {
  const scheduler = new Scheduler(1);
  const [sender, receiver] = [new Strand('sender', 0), new Strand('receiver', 0)];
  const [here, there] = Port.pair(scheduler, { ms: 1, spikeMs: 100, spikes: 0.5 }, sender, receiver);
  const heard: number[] = [];
  there.on('message', (message: number) => heard.push(message));
  const said = Array.from({ length: 1_000 }, (_, i) => i);
  for (const i of said) scheduler.after(i * 1.37, sender, () => here.postMessage(i));
  await scheduler.run(10_000);
  expect(heard).toEqual(said);
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
