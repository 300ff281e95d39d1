/**
 * Rooms, members and inboxes as a state machine (`simulation/machine-steps.ts`): rows of commands, shrunk when one is not
 * answered, or not heard of, as the model says. The hub is real down to its SQLite file.
 */
import { expect, it } from 'vitest';
import { freshSeed } from './kit/random.ts';
import { checkMachine } from './simulation/machine-check.ts';
import { plainBugs } from './simulation/mutants.ts';

it('rooms, members and inboxes do what the model says, whatever the row of commands', { timeout: 60_000 }, async () => {
  const { failure, commands } = await checkMachine({ runs: 20, seed: freshSeed() });
  expect(failure).toBeNull();
  expect(commands).toBeGreaterThan(100);
});

it.each(plainBugs)('the state machine finds a hub in which $bug, and shrinks it to a few steps', { timeout: 60_000 }, async ({ patch }) => {
  const undo = patch?.();
  try {
    const { failure, steps } = await checkMachine({ runs: 200, seed: 1, store: 'model' });
    expect(failure).toMatch(/answered|heard/);
    expect(failure).toContain('TEST_SEED=1');
    expect(steps.length).toBeLessThanOrEqual(6);
  } finally {
    undo?.();
  }
});
