/** The command line of `npm run bench` and `npm run bench:guard`. */
import { parseArgs } from 'node:util';
import { contestants } from './contestants.js';
import { scenarios } from './scenarios.js';

export const usage = `npm run bench -- [scenario ...] [flags]
  scenario       ${scenarios.map(({ name }) => name).join(', ')}, growth; all of them without one
  --peers LIST   only these: ${contestants.map(({ id }) => id).join(', ')}; "hubbub" means every hubbub row
  --seconds N    length of a measured window (5)
  --rounds N     repeat every row in turn and keep the middle of each figure (1; calm 3)
  --entries N    entries of the long log of history and growth (1000000)
  --write        write RESULTS.md, RESULTS.json and results.svg; a run of everything does so anyway
  --profile      start hubs only, with CPU profiles, and print where each thread's time goes (--write: keeps these only)
  --no-build     take dist/ as it is
  --hub DIR      run the hub of another checkout, as it was built there`;

/**
 * @typedef {object} Options
 * @property {import('./scenarios.js').Scenario[]} scenarios
 * @property {boolean} growth
 * @property {(id: string) => boolean} takesPart
 * @property {number} seconds
 * @property {number} rounds
 * @property {number} entries
 * @property {boolean} write
 * @property {boolean} profile
 * @property {boolean} build
 * @property {string | undefined} hub another checkout
 */

/**
 * Throws with one line where the arguments make no sense.
 * @param {string[]} argv
 * @returns {Options | null} null: help was asked for
 */
export function readArguments(argv) {
  const { values, positionals } = parseArgs({
    args: argv,
    allowPositionals: true,
    options: {
      peers: { type: 'string' },
      seconds: { type: 'string', default: '5' },
      rounds: { type: 'string', default: '1' },
      entries: { type: 'string', default: '1000000' },
      write: { type: 'boolean', default: false },
      profile: { type: 'boolean', default: false },
      'no-build': { type: 'boolean', default: false },
      hub: { type: 'string' },
      help: { type: 'boolean', short: 'h', default: false },
    },
  });
  if (values.help) return null;
  const known = [...scenarios.map(({ name }) => name), 'growth'];
  const foreign = positionals.find((name) => !known.includes(name));
  if (foreign !== undefined) throw new Error(`no scenario ${foreign}; there are ${known.join(', ')}`);
  const peers = values.peers?.split(',') ?? [];
  const stranger = peers.find((peer) => !contestants.some(({ id }) => belongs(id, peer)));
  if (stranger !== undefined) throw new Error(`no contestant ${stranger}; there are ${contestants.map(({ id }) => id).join(', ')}`);
  const everything = positionals.length === 0;
  return {
    scenarios: scenarios.filter(({ name }) => everything || positionals.includes(name)),
    growth: everything || positionals.includes('growth'),
    takesPart: (id) => peers.length === 0 || peers.some((peer) => belongs(id, peer)),
    seconds: numberOf('seconds', values.seconds, 0.5),
    rounds: numberOf('rounds', values.rounds, 1),
    entries: numberOf('entries', values.entries, 20_000),
    write: values.write || (everything && peers.length === 0),
    profile: values.profile,
    build: !values['no-build'] && values.hub === undefined,
    hub: values.hub,
  };
}

/**
 * @param {string} id
 * @param {string} peer
 */
function belongs(id, peer) {
  return id === peer || (peer === 'hubbub' && id.startsWith('hubbub-'));
}

/**
 * @param {string} name
 * @param {string} text
 * @param {number} least
 */
export function numberOf(name, text, least) {
  const value = Number(text);
  if (!Number.isFinite(value) || value < least) throw new Error(`--${name} must be a number from ${least}, not ${text}`);
  return value;
}
