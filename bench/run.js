/**
 * `npm run bench`: builds the hub, installs the peers, drives every contestant through every scenario asked for, prints what
 * came out and, after a run of everything or with --write, writes it to RESULTS.md, RESULTS.json and results.svg.
 */
import { readArguments, usage } from './arguments.js';
import { growthTables } from './growth.js';
import { describeMachine } from './machine.js';
import { buildHub, installPeers } from './prepare.js';
import { targetTable, writeResults } from './report.js';
import { runScenario } from './rows.js';
import { figure, inTerminal, percent, rowTable } from './words.js';

const argv = process.argv.slice(2);

try {
  const options = readArguments(argv);
  if (options === null) console.log(usage);
  else await bench(options);
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
}

/** @param {import('./arguments.js').Options} options */
async function bench(options) {
  if (options.build) buildHub();
  installPeers();
  const machine = describeMachine();
  console.log(inTerminal({ head: ['what', 'with'], left: 2, rows: Object.entries(machine) }));

  const rows = [];
  const profiles = [];
  for (const scenario of options.scenarios) {
    console.log(`\n${scenario.name}: ${scenario.load}`);
    const found = await runScenario(scenario, options, progress);
    rows.push(...found.rows);
    profiles.push(...found.profiles);
    for (const { of, thread, busy, functions } of found.profiles)
      console.log(
        `\n${of}: ${thread}, busy ${percent(busy)}\n${functions.map(({ name, share }) => `${(share * 100).toFixed(1).padStart(6)} %  ${name}`).join('\n')}`,
      );
    const targets = targetTable(scenario, found.rows);
    if (targets.rows.length > 0) console.log(`\n${inTerminal(targets)}`);
  }
  const growth = options.growth ? await growthTables(options, console.log) : [];

  for (const { name } of options.scenarios) {
    const own = rows.filter(({ scenario }) => scenario === name);
    if (own.length > 0) console.log(`\n${name}\n${inTerminal(rowTable(own))}`);
  }
  for (const { title, head, rows: lines } of growth) console.log(`\n${title}\n${inTerminal({ head, rows: lines })}`);
  const origin = { command: ['npm run bench', ...(argv.length === 0 ? [] : ['--', ...argv])].join(' '), date: new Date().toISOString(), machine };
  // Profiling costs time of its own: such a run gives profiles and no figures.
  if (options.write) writeResults(origin, options.profile ? [] : rows, options.profile ? [] : growth, profiles);
  if (rows.some(({ errors }) => errors.length > 0)) process.exitCode = 1;
}

/** @param {import('./rows.js').Row} row */
function progress({ label, publishes, deliveries, p50, p99, cpuPerDelivery, errors }) {
  const figures = `${figure(publishes)} publishes/s, ${figure(deliveries)} deliveries/s, p50 ${figure(p50)} ms, p99 ${figure(p99)} ms`;
  console.log(`  ${label}: ${figures}, ${figure(cpuPerDelivery)} µs/delivery${errors.length === 0 ? '' : `; ${errors.join('; ')}`}`);
}
