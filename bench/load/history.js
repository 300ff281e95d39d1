/** Pages of a room's log at random places, first with a short log, then with a long one: a page must cost the same. */
import { enter, eventually, leave } from './crowd.js';
import { fill } from './fill.js';
import { Meter, micros, problems } from './meter.js';
import { Scanner } from './stamp.js';

const room = 'log';
const pageItems = 50;
const readers = 8;

/**
 * @param {import('./main.js').Job & { shape: { short: number, long: number } }} job
 * @param {import('./dialects.js').Dialect} dialect
 * @returns {Promise<import('./meter.js').Part[]>}
 */
export async function history(job, dialect) {
  const { port, shape } = job;
  await fill(port, dialect, [room], shape.short);
  const short = await pages(job, dialect, shape.short);
  await fill(port, dialect, [room], shape.long - shape.short);
  return [short, await pages(job, dialect, shape.long)];
}

/**
 * @param {import('./main.js').Job} job
 * @param {import('./dialects.js').Dialect} dialect
 * @param {number} entries in the log
 * @returns {Promise<import('./meter.js').Part>}
 */
async function pages({ port, pid, seconds, warmMs }, dialect, entries) {
  const { frame } = /** @type {Required<import('./dialects.js').Dialect>} */ (dialect);
  const meter = new Meter(pid);
  const scanner = new Scanner();
  /** @type {{ asked: number, got: number }[]} */
  const readings = Array.from({ length: readers }, () => ({ asked: 0, got: 0 }));
  let reading = true;
  /** @param {import('./connection.js').Connection} connection */
  const ask = (connection) => {
    const before = pageItems + 1 + Math.floor(Math.random() * (entries - pageItems));
    readings[connection.number] = { asked: micros(), got: 0 };
    connection.write(frame({ op: 'history', id: 1, room, before, limit: pageItems }));
  };
  const connections = await enter({
    port,
    dialect,
    guests: readings.map((_, i) => ({ user: `reader-${i}`, rooms: [] })),
    receive: (connection, bytes, length) => {
      const count = scanner.scan(connection.carry, bytes, length);
      const mine = readings[connection.number];
      if (mine === undefined || mine.asked === 0) return;
      mine.got += count;
      if (meter.running) meter.deliveries += count;
      if (mine.got < pageItems) return;
      if (meter.running) {
        meter.publishes++;
        meter.latency.add(micros() - mine.asked);
      }
      if (reading) ask(connection);
      else mine.asked = 0;
    },
  });
  for (const connection of connections) ask(connection);
  await eventually(() => false, warmMs);
  meter.begin();
  await eventually(() => false, seconds * 1_000);
  const measured = meter.end();
  reading = false;
  const complete = await eventually(() => readings.every(({ asked }) => asked === 0), 3_000);
  const closed = connections.filter((connection) => connection.ended !== '').length;
  leave(connections);
  const extra = { 'pages/s': measured.publishes ?? 0 };
  return {
    ...measured,
    part: `${entries.toLocaleString('en')} entries`,
    publishes: null,
    extra,
    errors: problems({ 'incomplete pages': complete ? 0 : 1, closed }),
  };
}
