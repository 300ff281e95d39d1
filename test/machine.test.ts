/**
 * Rooms, members and inboxes as a state machine (`simulation/machine-steps.ts`): rows of commands, shrunk when one is not
 * answered, or not heard of, as the model says. The hub is real down to its SQLite file.
 */
import { expect, it } from 'vitest';
import { freshSeed } from './kit/random.ts';
import { checkMachine } from './simulation/machine-check.ts';
import { bugs } from './simulation/mutants.ts';

it('rooms, members and inboxes do what the model says, whatever the row of commands', { timeout: 60_000 }, async () => {
  expect((await checkMachine({ runs: 60, seed: freshSeed() })).failure).toBeNull();
});

it.each(['a replay begins one entry late', 'who joins late sees what was before'])(
  'the state machine finds a hub in which %s, and says so in a few steps',
  { timeout: 60_000 },
  async (name) => {
    const undo = bugs.find(({ bug }) => bug === name)?.patch?.();
    try {
      const { failure, steps } = await checkMachine({ runs: 200, seed: 1 });
      expect(failure).not.toBeNull();
      expect(steps.length).toBeLessThanOrEqual(8);
    } finally {
      undo?.();
    }
  },
);
