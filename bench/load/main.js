/**
 * The load generator's process: takes one job over IPC, drives the contestant with it, answers with what it measured and
 * ends. Started anew for every row, so that no row inherits another's garbage.
 */
import { hubbubJson, hubbubMsgpack, plain, socketIo } from './dialects.js';
import { fill } from './fill.js';
import { history } from './history.js';
import { http } from './http.js';
import { idle } from './idle.js';
import { inbox } from './inbox.js';
import { recover } from './recover.js';
import { spread } from './spread.js';
import { subscriptions } from './subscriptions.js';
import { traffic } from './traffic.js';

/**
 * @typedef {object} Job
 * @property {string} drive which of `drives`
 * @property {string} dialect which of `dialects`
 * @property {import('./dialects.js').Manner} manner
 * @property {number} port
 * @property {number} pid of the contestant
 * @property {number} warmMs
 * @property {number} seconds
 * @property {any} shape as the drive wants it
 */

const dialects = { plain, socketIo, hubbubJson, hubbubMsgpack };
/** @type {Record<string, (job: Job, dialect: import('./dialects.js').Dialect) => Promise<import('./meter.js').Part[]>>} */
const drives = { traffic, idle, inbox, recover, history, http, spread, subscriptions, fillLog };

process.once('message', (message) => {
  void run(/** @type {Job} */ (message));
});

/** @param {Job} job */
async function run(job) {
  /** @type {import('./meter.js').Part[] | { failed: string }} */
  let answer;
  try {
    const drive = drives[job.drive];
    const dialect = dialects[/** @type {keyof typeof dialects} */ (job.dialect)](job.manner);
    if (drive === undefined) throw new Error(`no drive ${job.drive}`);
    answer = await drive(job, dialect);
  } catch (error) {
    answer = { failed: error instanceof Error ? error.message : String(error) };
  }
  process.send?.(answer, () => process.exit());
}

/**
 * Only fills: for what is measured without a load, such as a start.
 * @param {Job} job
 * @param {import('./dialects.js').Dialect} dialect
 */
async function fillLog({ port, shape }, dialect) {
  const rooms = Array.from({ length: shape.rooms }, (_, i) => `room-${String(i).padStart(7, '0')}`);
  await fill(port, dialect, rooms, shape.entries);
  return [];
}
