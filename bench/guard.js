/**
 * `npm run bench:guard [-- REF]`: CPU per delivery of this commit beside that of a previous release, in turns on the same
 * machine, so that a slow minute falls on both. Fails where the middle of the rounds is more than 15 % above.
 */
import { mkdtempSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { numberOf } from './arguments.js';
import { contestant, root } from './contestants.js';
import { buildHub, run } from './prepare.js';
import { runOnce } from './rows.js';
import { scenarios } from './scenarios.js';
import { figure, inTerminal } from './words.js';

const worseMax = 1.15;
/** Fan-out, and the two where a publish costs most. */
const cases = [
  ['fan1000', 'hubbub-durable'],
  ['rooms10', 'hubbub-ephemeral'],
  ['pairs', 'hubbub-durable-ok'],
];

try {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { rounds: { type: 'string', default: '5' }, seconds: { type: 'string', default: '3' } },
  });
  const ref = positionals[0] ?? latestRelease();
  await guard(ref, numberOf('rounds', values.rounds, 1), numberOf('seconds', values.seconds, 0.5));
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
}

/**
 * @param {string} ref of the build to compare with
 * @param {number} rounds
 * @param {number} seconds
 */
async function guard(ref, rounds, seconds) {
  buildHub();
  const checkout = checkOut(ref);
  try {
    const rows = [];
    for (const [name, id] of cases) {
      const one = contestant(/** @type {string} */ (id));
      const { drive, shape } = /** @type {import('./scenarios.js').Scenario} */ (scenarios.find((scenario) => scenario.name === name));
      /** @type {Record<'now' | 'before', number[]>} */
      const costs = { now: [], before: [] };
      for (let round = 0; round < rounds; round++) {
        // Who goes first changes, so that a machine that slows down steadily favours nobody.
        for (const side of round % 2 === 0 ? /** @type {const} */ (['before', 'now']) : /** @type {const} */ (['now', 'before'])) {
          const [part] = await runOnce({ drive, shape, seconds, contestant: one, root: side === 'now' ? root : checkout.path });
          if (part?.cpuPerDelivery == null) throw new Error('this system does not tell the CPU time of a process');
          if (part.errors.length > 0) throw new Error(`${name}, ${one.label}, ${side}: ${part.errors.join('; ')}`);
          costs[side].push(part.cpuPerDelivery);
        }
      }
      const [now, before] = [middle(costs.now), middle(costs.before)];
      rows.push([`${name}, ${one.label}`, figure(before), figure(now), figure(now / before), now / before > worseMax ? 'too much' : 'yes']);
    }
    console.log(inTerminal({ head: ['CPU µs per delivery', ref, 'now', 'ratio', 'within 15 %'], rows }));
    if (rows.some((row) => row.at(-1) !== 'yes')) process.exitCode = 1;
  } finally {
    checkout.remove();
  }
}

/**
 * Builds `ref` in a work tree of its own; with the packages installed here where it asks for the same ones.
 * @param {string} ref
 */
function checkOut(ref) {
  const path = mkdtempSync(join(tmpdir(), 'hubbub-guard-'));
  const remove = () => {
    rmSync(path, { recursive: true, force: true });
    run('git', ['worktree', 'prune'], root);
  };
  try {
    run('git', ['worktree', 'add', '--detach', '--force', path, ref], root);
    const lock = 'package-lock.json';
    if (readFileSync(join(path, lock), 'utf8') === readFileSync(join(root, lock), 'utf8')) symlinkSync(join(root, 'node_modules'), join(path, 'node_modules'));
    else run('npm', ['ci', '--no-audit', '--no-fund'], path);
    buildHub(path);
    return { path, remove };
  } catch (error) {
    remove();
    throw error;
  }
}

function latestRelease() {
  try {
    return run('git', ['describe', '--tags', '--abbrev=0', 'HEAD^'], root);
  } catch {
    throw new Error('no release is tagged: name the commit to compare with, npm run bench:guard -- REF');
  }
}

/** @param {number[]} values */
function middle(values) {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;
}
