/** The rows at the size of the gate, one test each; `npm run faults` runs them at full size. Prints what each measured. */
import { describe, expect, it, onTestFailed } from 'vitest';
import { freshSeed } from '../kit/random.ts';
import { figuresOf } from './report.ts';
import { FaultKit, runRow } from './row.ts';
import { loadRows } from './rows.ts';

const say = (line: string): void => void process.stderr.write(`${line}\n`);

/** Those with numbers from `first` to `last`: several files, so that they run side by side. */
export async function gateOf(first: number, last: number): Promise<void> {
  const rows = (await loadRows()).filter(({ test }) => test >= first && test <= last);
  describe(`faults ${first} to ${last}`, () => {
    it('have a number of their own', () => {
      expect(rows.length).toBeGreaterThan(0);
      expect(new Set(rows.map(({ test }) => test)).size).toBe(rows.length);
    });

    for (const row of rows) {
      const why = row.needs?.() ?? null;
      if (why !== null) say(`fault ${row.test} not run here: ${why}`);
      it.skipIf(why !== null)(`${row.title} (fault ${row.test})`, async () => {
        const seed = freshSeed();
        onTestFailed(() => say(`repeat with TEST_SEED=${seed}`));
        const report = await runRow(row, row.gate, new FaultKit(seed));
        say(`fault ${row.test}: ${figuresOf({ row, report, seed, seconds: 0 })}`);
        expect(report.violations).toEqual([]);
      });
    }
  });
}
