/** Chance inside a test: the seed is new on every run unless `TEST_SEED` gives it, and a failing test prints it. */
import { onTestFailed } from 'vitest';
import { freshSeed, type Random, randomFrom } from './random.ts';

/** Inside a test without a seed: a new one, printed when that test fails. */
export function seeded(seed: number = printedSeed()): Random {
  return randomFrom(seed);
}

function printedSeed(): number {
  const seed = freshSeed();
  onTestFailed(() => {
    process.stderr.write(`repeat with TEST_SEED=${seed}\n`);
  });
  return seed;
}
