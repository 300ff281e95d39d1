/**
 * Who takes part: how each is started, how the load client talks to it, and what a message that it has taken survives.
 * Heartbeats are longer than any row for everybody, so that no row pays for them.
 */
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = fileURLToPath(new URL('..', import.meta.url));
const here = fileURLToPath(new URL('.', import.meta.url));

/**
 * @typedef {object} Contestant
 * @property {string} id `family` or `family-variant`
 * @property {string} label
 * @property {string} durability
 * @property {string} dialect of load/dialects.js
 * @property {import('./load/dialects.js').Manner} manner
 * @property {boolean} hub takes `Launch` options
 * @property {(launch: Launch) => { command: string, args: string[], env?: Record<string, string> }} start
 *
 * @typedef {object} Launch for the hub only
 * @property {string} data folder for its data
 * @property {string} [root] checkout to run, this one by default
 * @property {string[]} [flags] more flags of `serve`
 * @property {string} [profiles] folder for CPU profiles
 */

const memory = { durability: 'none', manner: { ephemeral: true, ok: false }, hub: false };
/** `npm install ws` brings no native helpers; here another package does, so they are switched off. */
const bareWs = { WS_NO_BUFFER_UTIL: '1', WS_NO_UTF_8_VALIDATE: '1' };

/** @type {Contestant[]} */
export const contestants = [
  { ...memory, id: 'ws', label: 'ws, naive hub', dialect: 'plain', start: () => node('peers/ws.js') },
  { ...memory, id: 'socket-io', label: 'Socket.IO', dialect: 'socketIo', start: () => node('peers/socket-io.js') },
  { ...memory, id: 'uws', label: 'uWebSockets.js topics', dialect: 'plain', start: () => node('peers/uws.js') },
  { ...memory, id: 'bun', label: 'Bun topics', dialect: 'plain', start: () => ({ command: bunBinary(), args: [join(here, 'peers/bun.js')] }) },
  { ...memory, id: 'fastify', label: 'bare fastify', dialect: 'plain', start: () => node('peers/fastify.js') },
  hubbub('hubbub-ephemeral', 'Hubbub, ephemeral', true, false),
  hubbub('hubbub-ephemeral-ok', 'Hubbub, ephemeral, with ok', true, true),
  hubbub('hubbub-durable', 'Hubbub, durable', false, false),
  hubbub('hubbub-durable-ok', 'Hubbub, durable, with ok', false, true),
  hubbub('hubbub-ephemeral-msgpack', 'Hubbub, ephemeral, msgpack', true, false, 'hubbubMsgpack'),
  hubbub('hubbub-durable-msgpack', 'Hubbub, durable, msgpack', false, false, 'hubbubMsgpack'),
];

/** @param {string} id */
export function contestant(id) {
  const found = contestants.find((one) => one.id === id);
  if (found === undefined) throw new Error(`no contestant ${id}`);
  return found;
}

/**
 * @param {string} id
 * @param {string} label
 * @param {boolean} ephemeral
 * @param {boolean} ok
 * @param {string} [dialect]
 * @returns {Contestant}
 */
function hubbub(id, label, ephemeral, ok, dialect = 'hubbubJson') {
  return { id, label, durability: ephemeral ? 'none' : 'power loss (FULL)', dialect, manner: { ephemeral, ok }, hub: true, start: startHub };
}

/** @type {Contestant['start']} */
function startHub({ data, root: checkout = root, flags = [], profiles }) {
  const profiling = profiles === undefined ? [] : ['--cpu-prof', '--cpu-prof-dir', profiles];
  const serve = ['serve', '--dev', '--port', '0', '--data', data, '--accept-per-second', '0', '--heartbeat-ms', '600000'];
  return { command: process.execPath, args: [...profiling, join(checkout, 'dist/cli/main.js'), ...serve, ...flags] };
}

/** @param {string} file */
function node(file) {
  return { command: process.execPath, args: [join(here, file)], env: bareWs };
}

/** The binary itself: the `bun` command of the package needs an install script that this install does without. */
function bunBinary() {
  const require = createRequire(join(here, 'package.json'));
  const cpu = process.arch === 'arm64' ? 'aarch64' : process.arch;
  const names = [`${process.platform}-${cpu}`, `${process.platform}-${cpu}-musl`];
  for (const name of names) {
    try {
      return require.resolve(`@oven/bun-${name}/bin/bun`);
    } catch {
      // Not the package of this platform.
    }
  }
  throw new Error('npm installed no Bun for this platform');
}
