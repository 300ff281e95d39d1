/** RESULTS.json, RESULTS.md and results.svg: a run replaces the scenarios it measured and leaves the others as they were. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { root } from './contestants.js';
import { picture } from './picture.js';
import { scenarios } from './scenarios.js';
import { figure, inMarkdown, percent, rowTable } from './words.js';

/**
 * @typedef {{ title: string, note: string, head: string[], rows: string[][] }} GrowthTable
 * @typedef {{ command: string, date: string, machine: Record<string, string> }} Origin
 *
 * @typedef {object} Results
 * @property {Record<string, { origin: Origin, rows: import('./rows.js').Row[] }>} scenarios
 * @property {{ origin: Origin, tables: GrowthTable[] } | null} growth
 * @property {import('./profile.js').ThreadProfile[]} profiles
 */

const folder = join(root, 'bench');
const functionsShown = 10;

/**
 * @param {Origin} origin
 * @param {import('./rows.js').Row[]} rows
 * @param {GrowthTable[]} growth
 * @param {import('./profile.js').ThreadProfile[]} profiles
 */
export function writeResults(origin, rows, growth, profiles) {
  const results = readResults();
  for (const { name } of scenarios) {
    const own = rows.filter((row) => row.scenario === name);
    const known = results.scenarios[name]?.rows ?? [];
    const order = scenarios.find((scenario) => scenario.name === name)?.contestants ?? [];
    const place = (/** @type {import('./rows.js').Row} */ row) => order.indexOf(/** @type {string} */ (row.id.split('/')[0]));
    const kept = known.filter((row) => !own.some(({ id }) => id.split('/')[0] === row.id.split('/')[0]));
    if (own.length > 0) results.scenarios[name] = { origin, rows: [...kept, ...own].toSorted((a, b) => place(a) - place(b)) };
  }
  if (growth.length > 0) results.growth = { origin, tables: growth };
  const profiled = new Set(profiles.map(({ of }) => of));
  results.profiles = [...results.profiles.filter(({ of }) => !profiled.has(of)), ...profiles];
  writeFileSync(join(folder, 'RESULTS.json'), `${JSON.stringify(results, null, 1)}\n`);
  writeFileSync(join(folder, 'RESULTS.md'), markdown(results));
  writeFileSync(join(folder, 'results.svg'), picture(Object.values(results.scenarios).flatMap((scenario) => scenario.rows)));
}

/**
 * Every target whose rows were measured, with what was reached.
 * @param {import('./scenarios.js').Scenario} scenario
 * @param {import('./rows.js').Row[]} rows
 * @returns {import('./words.js').Table}
 */
export function targetTable({ targets }, rows) {
  /** @type {(id: string, name: string) => number | null} */
  const read = (id, name) => {
    const row = rows.find((one) => one.id === id);
    const value = row === undefined ? null : { ...row, ...row.extra }[/** @type {keyof typeof row} */ (name)];
    return typeof value === 'number' ? value : null;
  };
  const lines = targets.map(({ row, figure: name, bound, times, than }) => {
    const value = read(row, name);
    const base = than === undefined ? 1 : read(than, name);
    if (value === null || base === null) return null;
    const reached = bound === 'at least' ? value / base >= times : value / base <= times;
    const aim = than === undefined ? figure(times) : `${times} × ${than}`;
    return [`${row}: ${name}`, `${bound} ${aim}`, than === undefined ? figure(value) : `${figure(value / base)} ×`, reached ? 'yes' : 'no'];
  });
  return { head: ['target', 'aim', 'measured', 'reached'], left: 2, rows: lines.filter((line) => line !== null) };
}

/** @returns {Results} */
function readResults() {
  const file = join(folder, 'RESULTS.json');
  return existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')) : { scenarios: {}, growth: null, profiles: [] };
}

/** @param {Results} results */
function markdown(results) {
  const measured = scenarios.filter(({ name }) => results.scenarios[name] !== undefined);
  const origins = [...measured.map(({ name }) => results.scenarios[name]?.origin), results.growth?.origin].filter((origin) => origin !== undefined);
  const newest = origins.toSorted((a, b) => b.date.localeCompare(a.date))[0];
  return [
    '# Benchmark results',
    'Written by `npm run bench`; edits are lost. Every contestant had a process of its own and the same load from one load generator on the same machine.',
    '![Deliveries per second beside the other hubs](results.svg)',
    newest === undefined ? '' : inMarkdown({ head: ['what', 'with'], left: 2, rows: Object.entries(newest.machine) }),
    howToRead,
    ...measured.flatMap((scenario) => scenarioText(scenario, /** @type {Results['scenarios'][string]} */ (results.scenarios[scenario.name]))),
    ...(results.growth === null ? [] : growthText(results.growth)),
    ...(results.profiles.length === 0 ? [] : profileText(results.profiles)),
  ]
    .filter((part) => part !== '')
    .join('\n\n')
    .concat('\n');
}

const howToRead = `**How to read it.** Bodies are 100 bytes. *Survives*: what a message that was delivered survives; "power loss (FULL)" means that it was
committed to SQLite with \`synchronous=FULL\` before anybody saw it. *p50 … p99.9*: from the publisher's send to a subscriber's receive, both in the
load generator; in closed loops it says how long a message waits in the contestant's queues, so compare it only where the rates are alike. *CPU µs/delivery*:
user and system time of all the contestant's processes and threads, the figure that a busy machine changes least; *cores* is the same per second. *Peak MiB*:
most resident memory. *Client idle*: share of the time in which the load generator used no processor: near 0 the load generator was the limit and the row says too little.
*Stolen*: share of the time of all cores that the host of this machine gave to others meanwhile, in which everybody waits; a window of
which more than 1 % was stolen is taken again, at most twice, and the one that had least stolen counts.
*Errors*: after each window everything still on its way must arrive; what does not, or arrives twice, is counted here. Where a scenario takes several rounds in turn (calm always: 3), each figure is the middle one.`;

/**
 * @param {import('./scenarios.js').Scenario} scenario
 * @param {{ origin: Origin, rows: import('./rows.js').Row[] }} measured
 */
function scenarioText(scenario, { origin, rows }) {
  const targets = targetTable(scenario, rows);
  return [
    `## ${scenario.name}`,
    `${scenario.load}. \`${origin.command}\`, ${origin.date.slice(0, 10)}.`,
    inMarkdown(rowTable(rows)),
    targets.rows.length === 0 ? '' : inMarkdown(targets),
  ];
}

/** @param {NonNullable<Results['growth']>} growth */
function growthText({ origin, tables }) {
  return [
    '## Growth',
    `\`${origin.command}\`, ${origin.date.slice(0, 10)}.`,
    ...tables.flatMap(({ title, note, head, rows }) => [`### ${title}`, note, inMarkdown({ head, rows })]),
  ];
}

/** @param {import('./profile.js').ThreadProfile[]} profiles */
function profileText(profiles) {
  return [
    '## Where the time goes',
    'By the CPU profiles of every thread (`npm run bench -- <scenario> --profile`): the share of the window in which a thread was busy, and of that the functions themselves.',
    ...profiles.map(({ of, thread, busy, functions }) =>
      [
        `**${of}: ${thread}**, busy ${percent(busy)}`,
        inMarkdown({ head: ['function', 'share'], rows: functions.slice(0, functionsShown).map(({ name, share }) => [`\`${name}\``, percent(share)]) }),
      ].join('\n\n'),
    ),
  ];
}
