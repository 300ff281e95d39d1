/**
 * Reads the CPU profiles that a hub wrote at its end, one per thread, and says which functions the time of a measured window
 * went to. A thread is named after the part of the hub that it runs.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

/**
 * @typedef {{ name: string, share: number }} Hot share of the thread's busy time
 * @typedef {{ of: string, thread: string, busy: number, functions: Hot[] }} ThreadProfile busy: share of the window
 * @typedef {{ id: number, callFrame: { functionName: string, url: string, lineNumber: number } }} ProfileNode
 */

const shown = 25;
const threads = /** @type {const} */ ([
  ['main', 'gateway/gateway.js'],
  ['shard', 'shard/shard.js'],
  ['reader', 'persistence/reader.js'],
  ['persistence', 'persistence/writer.js'],
]);
const waiting = new Set(['(idle)', '(root)']);

/**
 * @param {string} folder
 * @param {string} of what was run
 * @param {[number, number]} window
 * @returns {ThreadProfile[]} busiest first
 */
export function readProfiles(folder, of, window) {
  return readdirSync(folder)
    .filter((file) => file.endsWith('.cpuprofile'))
    .map((file) => summarize(JSON.parse(readFileSync(join(folder, file), 'utf8')), of, window))
    .toSorted((a, b) => b.busy - a.busy);
}

/**
 * @param {{ nodes: ProfileNode[], samples: number[], timeDeltas: number[], startTime: number }} profile
 * @param {string} of
 * @param {[number, number]} window
 * @returns {ThreadProfile}
 */
function summarize({ nodes, samples, timeDeltas, startTime }, of, [begin, end]) {
  const names = new Map(nodes.map((node) => [node.id, nameOf(node)]));
  /** @type {Map<string, number>} */
  const times = new Map();
  let now = startTime;
  for (const [i, id] of samples.entries()) {
    const took = timeDeltas[i] ?? 0;
    now += took;
    const name = names.get(id) ?? '';
    if (now >= begin && now <= end) times.set(name, (times.get(name) ?? 0) + Math.max(0, took));
  }
  const all = [...times.values()].reduce((sum, time) => sum + time, 0);
  const working = [...times].filter(([name]) => !waiting.has(name));
  const busy = working.reduce((sum, [, time]) => sum + time, 0);
  const functions = working
    .toSorted(([, a], [, b]) => b - a)
    .slice(0, shown)
    .map(([name, time]) => ({ name, share: time / busy }));
  return { of, thread: threadOf(nodes), busy: all === 0 ? 0 : busy / all, functions };
}

/** @param {ProfileNode} node */
function nameOf({ callFrame: { functionName, url, lineNumber } }) {
  if (url === '') return functionName || '(native)';
  const place = url.replace(/^file:\/\//, '').replace(/^.*\/(?=dist\/|node_modules\/)/, '');
  return `${functionName || '(anonymous)'} ${place}:${lineNumber + 1}`;
}

/**
 * By the first file that only this thread runs.
 * @param {ProfileNode[]} nodes
 */
function threadOf(nodes) {
  const urls = [...new Set(nodes.map(({ callFrame }) => callFrame.url))];
  return threads.find(([, file]) => urls.some((url) => url.endsWith(`/dist/${file}`)))?.[0] ?? 'other';
}
