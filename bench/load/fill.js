/** Writes entries that nobody follows into rooms in turn, every one acknowledged; for scenarios about long logs and many rooms. */
import { eventually } from './crowd.js';
import { micros } from './meter.js';
import { Writers } from './writers.js';

const writers = 32;
const inFlight = 256;
const waitMs = 600_000;

/**
 * Resolves when `count` entries more are stored, or `milliseconds` later; to how many were.
 * @param {number} port
 * @param {import('./dialects.js').Dialect} dialect whose publishes are durable and numbered
 * @param {string[]} rooms names of one length
 * @param {number} count
 * @param {number} [milliseconds]
 */
export async function fill(port, dialect, rooms, count, milliseconds = waitMs) {
  let left = count;
  let stored = 0;
  /** @param {import('./publisher.js').Publisher} publisher */
  const top = (publisher) => {
    const more = Math.min(publisher.free, left);
    left -= more;
    publisher.send(more, micros());
  };
  const team = new Writers(dialect, (publisher, answers) => {
    stored += answers;
    top(publisher);
  });
  const users = Array.from({ length: writers }, (_, i) => `writer-${i}`);
  await team.enter(
    port,
    users,
    (number) => {
      const own = rooms.length < writers ? [/** @type {string} */ (rooms[number % rooms.length])] : rooms.filter((_, k) => k % writers === number);
      const templates = own.map((room) => dialect.publish(room));
      return Array(Math.ceil(inFlight / templates.length))
        .fill(templates)
        .flat();
    },
    inFlight,
  );
  for (const publisher of team.all) top(publisher);
  const done = await eventually(() => stored >= count || team.refused !== '', milliseconds);
  left = 0;
  await team.settle();
  team.leave();
  if (team.refused !== '' || (!done && milliseconds === waitMs)) throw new Error(`filling stopped at ${stored} of ${count}: ${team.refused}`);
  return stored;
}
