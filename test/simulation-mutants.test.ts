/** The simulation finds bugs: each of a row of planted ones, within a few hundred seeds, and nothing without one. */
import { describe, expect, it } from 'vitest';
import { bugs } from './simulation/mutants.ts';
import { firstFailure } from './simulation/seeds.ts';

const seedsMax = 1_000;

describe('the simulation finds a hub in which', () => {
  it.each(bugs)('$bug', { timeout: 60_000 }, async ({ mutant, patch }) => {
    const undo = patch?.();
    try {
      expect(await firstFailure(seedsMax, mutant)).not.toBeNull();
    } finally {
      undo?.();
    }
  });
});
