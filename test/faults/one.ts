/** One row in a process of its own, started by `run.ts`: a row that crashes, hangs or eats memory takes no other with it. */
import { FaultKit, runRow } from './row.ts';
import { loadRows } from './rows.ts';

const [test, size, seed, minutes] = process.argv.slice(2);
const row = (await loadRows()).find((one) => one.test === Number(test));
if (row === undefined) throw new Error(`there is no row ${test}`);
const kit = new FaultKit(Number(seed), (line) => process.stderr.write(`  ${line}\n`));
const full = minutes === undefined ? row.full : (row.lasting?.(Number(minutes)) ?? row.full);
const report = await runRow(row, size === 'gate' ? row.gate : full, kit);
process.send?.(report, () => process.exit(0));
