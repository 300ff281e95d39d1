/** Figures that the hub keeps of itself, from its `/stats`. */
import { setTimeout as sleep } from 'node:timers/promises';

/** Threads tell theirs with their heartbeat, so an answer may be as old as one. */
const beatMs = 1_100;

/** @typedef {Record<string, Record<string, unknown>>} Stats by thread, then by name */

/**
 * As they are now: waits until the answer holds everything that has happened.
 * @param {number} port
 * @returns {Promise<Stats>}
 */
export async function hubStats(port) {
  await sleep(beatMs);
  const answer = await fetch(`http://127.0.0.1:${port}/stats`);
  if (!answer.ok) throw new Error(`/stats answers ${answer.status}`);
  return /** @type {Promise<Stats>} */ (answer.json());
}

/**
 * Reads of the store carried out so far, by all readers.
 * @param {Stats} stats
 */
export function storeReads(stats) {
  return Object.entries(stats).reduce((sum, [thread, values]) => (thread.startsWith('reader') ? sum + numberIn(values, 'reads') : sum), 0);
}

/**
 * Means of the commits between two statistics.
 * @param {Stats} before
 * @param {Stats} after
 */
export function commitsBetween(before, after) {
  /** @param {string} name */
  const change = (name) => numberIn(after.persistence, name) - numberIn(before.persistence, name);
  const commits = change('commits');
  return { batch: change('entries') / commits, milliseconds: change('commitMs_sum') / commits };
}

/**
 * @param {Record<string, unknown> | undefined} values
 * @param {string} name
 */
function numberIn(values, name) {
  const value = values?.[name];
  if (typeof value !== 'number') throw new Error(`/stats has no ${name}`);
  return value;
}
