/**
 * `npm run faults -- [test …] [--seed N] [--minutes N] [--size gate] [--no-write]`: runs the rows at full size, one after the other and
 * each in a process of its own, prints what came out and writes it to RESULTS.md. `--minutes`: how long rows last that can (28).
 * Exit 1: something did not hold.
 */
import { fork } from 'node:child_process';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { setup } from '../kit/build.ts';
import { freshSeed } from '../kit/random.ts';
import { figuresOf, held, type Outcome, verdictOf, writeResults } from './report.ts';
import type { FaultReport, FaultRow } from './row.ts';
import { loadRows } from './rows.ts';

/** A row that is not done by then hangs, unless it has a limit of its own. */
const rowMsMax = 15 * 60_000;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    seed: { type: 'string' },
    minutes: { type: 'string' },
    size: { type: 'string', default: 'full' },
    'no-write': { type: 'boolean', default: false },
  },
});
const rows = await loadRows();
const unknown = positionals.filter((number) => !rows.some(({ test }) => test === Number(number)));
const minutes = Number(values.minutes ?? 0);
if (unknown.length > 0 || !['gate', 'full'].includes(values.size) || !(minutes >= 0)) {
  process.stderr.write(`there are the tests ${rows.map(({ test }) => test).join(', ')}, and the sizes gate and full; minutes are a number\n`);
  process.exit(2);
}
const seed = values.seed === undefined ? freshSeed() : Number(values.seed);
setup();
const outcomes: Outcome[] = [];
for (const row of rows.filter(({ test }) => positionals.length === 0 || positionals.map(Number).includes(test))) {
  process.stdout.write(`\n${row.test}: ${row.title}\n`);
  const began = performance.now();
  const why = row.needs?.() ?? null;
  const end = why === null ? { report: await inItsOwnProcess(row) } : { notRun: why };
  const outcome: Outcome = { row, seed, seconds: (performance.now() - began) / 1_000, ...end };
  outcomes.push(outcome);
  process.stdout.write(`  ${figuresOf(outcome)}\n  target: ${row.target}\n  held: ${verdictOf(outcome)} (${Math.round(outcome.seconds)} s)\n`);
  if (!values['no-write'] && values.size === 'full') writeResults(outcomes, ['npm run faults --', ...process.argv.slice(2), `--seed ${seed}`].join(' '));
}
process.exit(outcomes.every(held) ? 0 : 1);

function inItsOwnProcess(row: FaultRow): Promise<FaultReport> {
  const hooks = join(import.meta.dirname, 'typescript.js');
  const child = fork(join(import.meta.dirname, 'one.ts'), [String(row.test), values.size, String(seed), ...(minutes > 0 ? [String(minutes)] : [])], {
    execArgv: ['--import', hooks, '--enable-source-maps', '--expose-gc', '--max-old-space-size=12000'],
  });
  return new Promise((resolve) => {
    const lasting = row.lasting === undefined ? 0 : 2 * minutes * 60_000;
    const timer = setTimeout(() => child.kill('SIGKILL'), (row.fullMsMax ?? rowMsMax) + lasting);
    const broken = (what: string): FaultReport => ({ figures: {}, violations: [what] });
    child.once('message', (report: FaultReport) => resolve(report));
    child.once('exit', (code, signal) => {
      clearTimeout(timer);
      resolve(broken(`the row did not end by itself (code ${code}, signal ${signal})`));
    });
  });
}
