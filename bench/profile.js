/**
 * Reads the CPU profiles that a hub wrote at its end, one per thread, and says which functions the time went to. A thread is
 * named after the part of the hub that it runs.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

/**
 * @typedef {{ name: string, share: number }} Hot share of the thread's busy time
 * @typedef {{ of: string, thread: string, busy: number, functions: Hot[] }} ThreadProfile busy: share of the thread's life
 * @typedef {{ id: number, callFrame: { functionName: string, url: string, lineNumber: number } }} ProfileNode
 */

const shown = 25;
const waiting = new Set(['(idle)', '(root)']);

/**
 * @param {string} folder
 * @param {string} of what was run
 * @returns {ThreadProfile[]} busiest first
 */
export function readProfiles(folder, of) {
  return readdirSync(folder)
    .filter((file) => file.endsWith('.cpuprofile'))
    .map((file) => summarize(JSON.parse(readFileSync(join(folder, file), 'utf8')), of))
    .toSorted((a, b) => b.busy - a.busy);
}

/**
 * @param {{ nodes: ProfileNode[], samples: number[], timeDeltas: number[] }} profile
 * @param {string} of
 * @returns {ThreadProfile}
 */
function summarize({ nodes, samples, timeDeltas }, of) {
  const names = new Map(nodes.map((node) => [node.id, nameOf(node)]));
  /** @type {Map<string, number>} */
  const times = new Map();
  for (const [i, id] of samples.entries()) {
    const name = names.get(id) ?? '';
    times.set(name, (times.get(name) ?? 0) + Math.max(0, timeDeltas[i] ?? 0));
  }
  const all = [...times.values()].reduce((sum, time) => sum + time, 0);
  const working = [...times].filter(([name]) => !waiting.has(name));
  const busy = working.reduce((sum, [, time]) => sum + time, 0);
  const functions = working
    .toSorted(([, a], [, b]) => b - a)
    .slice(0, shown)
    .map(([name, time]) => ({ name, share: time / busy }));
  return { of, thread: threadOf(nodes), busy: busy / all, functions };
}

/** @param {ProfileNode} node */
function nameOf({ callFrame: { functionName, url, lineNumber } }) {
  if (url === '') return functionName;
  const place = url.replace(/^file:\/\//, '').replace(/^.*\/(?=dist\/|node_modules\/)/, '');
  return `${functionName || '(anonymous)'} ${place}:${lineNumber + 1}`;
}

/** @param {ProfileNode[]} nodes */
function threadOf(nodes) {
  const parts = ['gateway', 'shard', 'persistence'];
  const urls = new Set(nodes.map(({ callFrame }) => callFrame.url));
  const counts = parts.map((part) => [...urls].filter((url) => url.includes(`/dist/${part}/`)).length);
  const most = Math.max(...counts);
  return most === 0 ? 'other' : /** @type {string} */ (parts[counts.indexOf(most)]);
}
