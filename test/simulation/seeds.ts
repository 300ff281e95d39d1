/** Runs ranges of seeds and keeps account: what was found and of which seed, what was broken, how much time that would have been. */
import { type Mutant, type Outcome, simulate } from './world.ts';

const shownMax = 8;

export class Account {
  seeds = 0;
  virtualMs = 0;
  commands = 0;
  readonly faults: Record<string, number> = {};
  /** The first of them, each with its seed. */
  readonly failures: string[] = [];
  failed = 0;

  add({ seed, violations, virtualMs, commands, faults }: Outcome): void {
    this.seeds++;
    this.virtualMs += virtualMs;
    this.commands += commands;
    for (const [fault, count] of Object.entries(faults)) this.faults[fault] = (this.faults[fault] ?? 0) + count;
    if (violations.length === 0) return;
    this.failed++;
    if (this.failures.length < shownMax) this.failures.push(`seed ${seed}: ${violations.slice(0, shownMax).join('\n  ')}`);
  }

  get faultsPerSeed(): number {
    return Object.values(this.faults).reduce((sum, count) => sum + count, 0) / Math.max(1, this.seeds);
  }
}

export async function runSeeds(from: number, through: number, run: (seed: number) => Promise<Outcome> = simulate): Promise<Account> {
  const account = new Account();
  for (let seed = from; seed <= through; seed++) account.add(await run(seed));
  return account;
}

/** The first seed that shows something wrong; null: none did. */
export async function firstFailure(through: number, mutant?: () => Mutant): Promise<number | null> {
  for (let seed = 1; seed <= through; seed++) if ((await simulate(seed, mutant?.())).violations.length > 0) return seed;
  return null;
}
