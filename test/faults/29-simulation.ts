/**
 * A whole cluster in one thread under one seeded scheduler (`test/simulation/`): real shards, writers, gateways and bus, every
 * fault there is, and what must hold at the end of every seed. `npm test` runs 10,000 fixed seeds; here they are fresh ones.
 */
import { runSeeds } from '../simulation/seeds.ts';
import type { FaultRow } from './row.ts';

/** `seeds` at most, for `seconds` at most. */
type Size = { seeds: number; seconds: number };
const perTurn = 500;
const seedsBelow = 2 ** 31;

export const row: FaultRow<Size> = {
  test: 29,
  title: 'a simulated cluster keeps every invariant, whatever fails and in whatever order',
  target: 'no violation in 10,000 seeds (gate) and as many more as fit (full)',
  gate: { seeds: 100, seconds: 10 },
  full: { seeds: 1_000_000, seconds: 570 },

  async run({ seeds, seconds }, { random, say }) {
    const first = random.int(seedsBelow);
    const began = performance.now();
    const spent = (): number => (performance.now() - began) / 1_000;
    const sum = { seeds: 0, virtualMs: 0, commands: 0, faults: 0, failed: 0 };
    const failures: string[] = [];
    while (sum.seeds < seeds && spent() < seconds) {
      const many = Math.min(perTurn, seeds - sum.seeds);
      const account = await runSeeds(first + sum.seeds, first + sum.seeds + many - 1);
      sum.seeds += account.seeds;
      sum.virtualMs += account.virtualMs;
      sum.commands += account.commands;
      sum.faults += account.faultsPerSeed * account.seeds;
      sum.failed += account.failed;
      failures.push(...account.failures);
      if (sum.seeds % (perTurn * 20) === 0) say(`${sum.seeds} seeds, ${sum.failed} failed`);
      // The row before and after may have timers of their own.
      await new Promise((resolve) => setImmediate(resolve));
    }
    const minutes = spent() / 60;
    return {
      figures: {
        seeds: sum.seeds,
        firstSeed: first,
        failedSeeds: sum.failed,
        faultsPerSeed: Number((sum.faults / sum.seeds).toFixed(1)),
        commandsPerSeed: Number((sum.commands / sum.seeds).toFixed(1)),
        simulatedHoursPerRealMinute: Number((sum.virtualMs / 3_600_000 / minutes).toFixed(1)),
      },
      violations: failures,
    };
  },
};
