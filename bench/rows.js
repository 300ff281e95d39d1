/**
 * Runs one scenario: every contestant in a process of its own, a load generator of its own for each, one after the other;
 * with several rounds in turn, so that a slow minute of the machine does not fall on one of them alone.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { contestant } from './contestants.js';
import { readProfiles } from './profile.js';
import { httpRequests } from './scenarios.js';
import { dataFolder, runLoad, startServer } from './server.js';

const warmMsUsual = 2_000;
/** Of the machine's time, in a window that counts as it is: beyond, it says more of the machine's host than of a contestant. */
const stolenMax = 0.01;
const triesMax = 3;

/**
 * @typedef {import('./load/meter.js').Part & { scenario: string, id: string, label: string, durability: string }} Row
 *
 * @typedef {object} Run
 * @property {string} drive
 * @property {any} shape
 * @property {number} seconds
 * @property {number} [warmMs] load before the window
 * @property {import('./contestants.js').Contestant} contestant
 * @property {string[]} [flags] of the hub
 * @property {string} [root] checkout of the hub
 * @property {string} [profiles] folder for them
 */

/**
 * One contestant, started for this and stopped after it.
 * @param {Run} run
 * @returns {Promise<import('./load/meter.js').Part[]>}
 */
export async function runOnce({ drive, shape, seconds, warmMs = warmMsUsual, contestant, flags, root, profiles }) {
  const data = dataFolder();
  const server = await startServer(contestant, { data: data.path, flags, root, profiles });
  try {
    return await runLoad({ drive, shape, seconds, warmMs }, contestant, server);
  } finally {
    await server.stop();
    data.remove();
  }
}

/**
 * Again where the machine was taken away meanwhile; what had least taken away counts, but errors count whenever they happen. Profiles are of one try.
 * @param {Run} run
 */
async function undisturbed(run) {
  let least = await runOnce(run);
  for (let tries = 1; tries < triesMax && run.profiles === undefined && stolenOf(least) > stolenMax; tries++) {
    const again = await runOnce(run);
    const [better, worse] = stolenOf(again) < stolenOf(least) ? [again, least] : [least, again];
    least = better.map((part, i) => ({ ...part, errors: [...part.errors, ...(worse[i]?.errors ?? [])] }));
  }
  return least;
}

/** @param {import('./load/meter.js').Part[]} parts */
function stolenOf(parts) {
  return Math.max(0, ...parts.map(({ stolen }) => stolen ?? 0));
}

/**
 * @param {import('./scenarios.js').Scenario} scenario
 * @param {import('./arguments.js').Options} options
 * @param {(row: Row) => void} report called for each as it comes
 * @returns {Promise<{ rows: Row[], profiles: import('./profile.js').ThreadProfile[] }>}
 */
export async function runScenario(scenario, options, report) {
  /** @type {Map<string, Row[]>} */
  const found = new Map();
  /** @type {import('./profile.js').ThreadProfile[]} */
  const profiles = [];
  const rounds = options.profile ? 1 : Math.max(options.rounds, scenario.rounds ?? 1);
  const taking = scenario.contestants.filter(options.takesPart).map(contestant);
  for (let round = 0; round < rounds; round++) {
    for (const one of taking) {
      if (options.profile && !one.hub) continue;
      const folder = options.profile ? mkdtempSync(join(tmpdir(), 'hubbub-profile-')) : undefined;
      const own = await rowsOf(scenario, one, options, folder);
      for (const row of own) {
        found.set(row.id, [...(found.get(row.id) ?? []), row]);
        report(row);
      }
      if (folder === undefined) continue;
      profiles.push(...own.flatMap((row) => readProfiles(folder, `${scenario.name}, ${row.label}`, row.window)));
      rmSync(folder, { recursive: true });
    }
  }
  return { rows: [...found.values()].map(middle), profiles };
}

/**
 * A contestant that fails is a row that says so: the others still count.
 * @param {import('./scenarios.js').Scenario} scenario
 * @param {import('./contestants.js').Contestant} contestant
 * @param {import('./arguments.js').Options} options
 * @param {string | undefined} profiles
 * @returns {Promise<Row[]>}
 */
async function rowsOf({ name, drive, shape, flags, warmMs }, contestant, { seconds, entries, hub }, profiles) {
  const { id, label, durability } = contestant;
  const load = {
    ...shape,
    ...(drive === 'history' ? { long: entries } : {}),
    ...(drive === 'http' ? { requests: httpRequests[contestant.hub ? 'hub' : 'fastify'] } : {}),
  };
  let parts;
  try {
    parts = await undisturbed({ drive, shape: load, seconds, warmMs, contestant, flags, profiles, root: hub });
  } catch (error) {
    parts = [failed(error)];
  }
  return parts.map((part) => ({
    ...part,
    scenario: name,
    id: part.part === undefined ? id : `${id}/${part.part}`,
    label: part.part === undefined ? label : `${label}: ${part.part}`,
    durability,
  }));
}

/**
 * @param {unknown} error
 * @returns {import('./load/meter.js').Part}
 */
function failed(error) {
  const nothing = {
    publishes: null,
    deliveries: null,
    p50: null,
    p99: null,
    p999: null,
    cpuPerDelivery: null,
    cpuShare: null,
    peakBytes: null,
    clientIdle: null,
  };
  return { ...nothing, seconds: 0, window: [0, 0], errors: [oneLine(error instanceof Error ? error.message : String(error))] };
}

/** @param {string} text */
function oneLine(text) {
  return text.replace(/\s+/g, ' ').slice(0, 200);
}

/**
 * Of each figure the middle one of several rounds, with the errors of all.
 * @param {Row[]} rows of one contestant
 * @returns {Row}
 */
function middle(rows) {
  const [first] = rows;
  if (first === undefined) throw new Error('no round');
  const { extra, ...plain } = first;
  const figures = middles(rows);
  const errors = rows.flatMap((row) => row.errors);
  return { ...plain, ...figures, errors, ...(extra === undefined ? {} : { extra: middles(rows.map((row) => row.extra ?? {})) }) };
}

/**
 * @template {object} T
 * @param {T[]} rows
 * @returns {T} the numbers of it
 */
function middles(rows) {
  const names = new Set(rows.flatMap((row) => Object.keys(row)));
  const numbers = (/** @type {string} */ name) =>
    rows.map((row) => /** @type {Record<string, unknown>} */ (row)[name]).filter((value) => typeof value === 'number');
  return /** @type {T} */ (
    Object.fromEntries(
      [...names].flatMap((name) => {
        const sorted = numbers(name).toSorted((a, b) => a - b);
        return sorted.length === 0 ? [] : [[name, sorted[Math.floor(sorted.length / 2)]]];
      }),
    )
  );
}
