/**
 * Subscribers drop, miss entries, and come back all at once from where they were. Measured from the first connect to the
 * last missed entry; how often the hub had to read its store for that is asked of the hub itself.
 */
import { hubStats, storeReads } from '../stats.js';
import { enter, eventually, leave } from './crowd.js';
import { Meter, micros, problems } from './meter.js';
import { Publisher } from './publisher.js';
import { Scanner } from './stamp.js';

const waitMs = 30_000;

/**
 * @param {import('./main.js').Job & { shape: { clients: number, rooms: number, behind: number } }} job
 * @param {import('./dialects.js').Dialect} dialect
 * @returns {Promise<import('./meter.js').Part[]>}
 */
export async function recover({ port, pid, shape }, dialect) {
  const meter = new Meter(pid);
  const scanner = new Scanner();
  const rooms = Array.from({ length: shape.rooms }, (_, i) => `room-${i}`);
  const guests = Array.from({ length: shape.clients }, (_, i) => ({ user: `user-${i}`, rooms: [/** @type {string} */ (rooms[i % rooms.length])] }));

  const writers = await enter({
    port,
    dialect,
    guests: rooms.map((room, i) => ({ user: `writer-${i}`, rooms: [room] })),
    receive: (connection, bytes, length) => {
      connection.received += scanner.scan(connection.carry, bytes, length);
    },
  });
  const publishers = writers.map((writer, i) => new Publisher(writer, dialect, Array(shape.behind).fill(dialect.publish(/** @type {string} */ (rooms[i])))));
  /** @param {number} entries each room's in all */
  const writeUpTo = async (entries) => {
    for (const publisher of publishers) publisher.send(entries - publisher.sent, micros());
    if (!(await eventually(() => writers.every((writer) => writer.received >= entries), waitMs))) throw new Error('the writers do not see their entries');
  };

  const settled = Math.ceil(shape.behind / 4);
  await writeUpTo(settled);
  const heard = await Promise.all(writers.map((writer) => writer.run([again(dialect, /** @type {string} */ (rooms[writer.number]))])));
  const positions = Object.fromEntries(heard.map((text, i) => [rooms[i], positionIn(text)]));
  const first = await enter({ port, dialect, guests, receive: () => {} });
  leave(first);
  await writeUpTo(settled + shape.behind);

  const reads = storeReads(await hubStats(port));
  meter.begin();
  const start = micros();
  const back = await enter({
    port,
    dialect,
    guests: guests.map((guest) => ({ ...guest, positions })),
    atOnce: shape.clients,
    receive: (connection, bytes, length) => {
      const count = scanner.scan(connection.carry, bytes, length);
      connection.received += count;
      meter.deliveries += count;
      if (count > 0 && connection.received === shape.behind) meter.latency.add(micros() - start);
    },
  });
  const total = shape.clients * shape.behind;
  await eventually(() => meter.deliveries >= total, waitMs);
  const seconds = (micros() - start) / 1_000_000;
  const measured = meter.end();
  const wrong = back.filter((connection) => connection.received !== shape.behind).length;
  leave([...writers, ...back]);
  const extra = { 'all caught up s': seconds, 'store reads': storeReads(await hubStats(port)) - reads };
  return [{ ...measured, publishes: null, extra, errors: problems({ 'clients without exactly what they missed': wrong }) }];
}

/**
 * Following a room again answers with where it is now.
 * @param {import('./dialects.js').Dialect} dialect
 * @param {string} room
 */
function again({ frame, answered }, room) {
  return { bytes: /** @type {NonNullable<typeof frame>} */ (frame)({ op: 'subscribe', id: 1_000, room }), expect: answered, times: 1 };
}

/** @param {string} text an answer in json */
function positionIn(text) {
  const [, epoch, seq] = /"position":\{"epoch":"([^"]+)","seq":(\d+)\}/.exec(text) ?? [];
  if (epoch === undefined) throw new Error(`no position in ${text}`);
  return { epoch, seq: Number(seq) };
}
