/** Writes entries that nobody follows into rooms in turn, every one acknowledged; for scenarios about long logs and many rooms. */
import { occurrences } from './connection.js';
import { enter, eventually, leave } from './crowd.js';
import { micros } from './meter.js';
import { Publisher } from './publisher.js';

const writers = 32;
const inFlight = 256;
const waitMs = 600_000;
const drainMs = 10_000;

/**
 * Resolves when `count` entries more are stored, or `milliseconds` later; to how many were.
 * @param {number} port
 * @param {import('./dialects.js').Dialect} dialect whose publishes are durable and numbered
 * @param {string[]} rooms names of one length
 * @param {number} count
 * @param {number} [milliseconds]
 */
export async function fill(port, dialect, rooms, count, milliseconds = waitMs) {
  /** @type {Publisher[]} */
  const publishers = [];
  let left = count;
  let stored = 0;
  let refused = '';
  /** @param {Publisher} publisher */
  const top = (publisher) => {
    const more = Math.min(publisher.free, left);
    left -= more;
    publisher.send(more, micros());
  };
  const connections = await enter({
    port,
    dialect,
    guests: Array.from({ length: writers }, (_, i) => ({ user: `writer-${i}`, rooms: [] })),
    receive: (connection, bytes, length) => {
      const publisher = publishers[connection.number];
      if (publisher === undefined) return;
      const text = bytes.toString('latin1', 0, length);
      const answers = occurrences(text, dialect.answered);
      if (refused === '' && text.includes(dialect.refused)) refused = text.slice(0, 300);
      stored += answers;
      publisher.inFlight -= answers;
      top(publisher);
    },
  });
  for (const [i, connection] of connections.entries()) {
    const own = rooms.length < writers ? [/** @type {string} */ (rooms[i % rooms.length])] : rooms.filter((_, k) => k % writers === i);
    const templates = own.map((room) => dialect.publish(room));
    const turns = Math.ceil(inFlight / templates.length);
    publishers.push(new Publisher(connection, dialect, Array(turns).fill(templates).flat(), inFlight));
  }
  for (const publisher of publishers) top(publisher);
  const done = await eventually(() => stored >= count || refused !== '', milliseconds);
  left = 0;
  await eventually(() => publishers.every((publisher) => publisher.inFlight === 0), drainMs);
  leave(connections);
  if (refused !== '' || (!done && milliseconds === waitMs)) throw new Error(`filling stopped at ${stored} of ${count}: ${refused}`);
  return stored;
}
