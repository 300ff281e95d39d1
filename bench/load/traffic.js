/**
 * Rooms full of subscribers, some of whom publish: closed loop (each keeps a number of messages in flight) or open loop (a
 * fixed rate, whatever comes back). After the window everything still on its way must arrive: what is missing is an error.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { occurrences } from './connection.js';
import { enter, eventually, leave } from './crowd.js';
import { Meter, micros, problems } from './meter.js';
import { Publisher } from './publisher.js';
import { Scanner } from './stamp.js';

/** Messages an open-loop publisher may have in flight before the rate counts as not kept. */
const openSlots = 64;
/** Timers fire up to this late without the client being at fault; beyond it a publish counts from when it was due. */
const lateMicros = 2_000;
const drainMs = 3_000;

/**
 * @typedef {object} Shape
 * @property {number} rooms
 * @property {number} members per room
 * @property {number} publishers per room, the first of its members
 * @property {number} [inFlight] closed loop: messages of one publisher on their way
 * @property {number} [rate] open loop: publishes per second, all together
 */

/**
 * @param {import('./main.js').Job & { shape: Shape }} job
 * @param {import('./dialects.js').Dialect} dialect
 * @returns {Promise<import('./meter.js').Part[]>}
 */
export async function traffic(job, dialect) {
  const { shape, port, pid } = job;
  const meter = new Meter(pid);
  const scanner = new Scanner();
  const guests = Array.from({ length: shape.rooms * shape.members }, (_, i) => ({ user: `user-${i}`, rooms: [roomOf(i, shape)] }));
  /** @type {(Publisher | undefined)[]} */
  const publishers = [];
  let received = 0;
  let answered = 0;
  let sending = false;
  let refusal = '';

  /** @type {import('./connection.js').Receive} */
  const receive = (connection, bytes, length) => {
    const count = scanner.scan(connection.carry, bytes, length);
    const publisher = publishers[connection.number];
    if (job.manner.ok && publisher) answered += occurrences(bytes.toString('latin1', 0, length), dialect.answered);
    if (count === 0) {
      if (refusal === '' && publisher && bytes.toString('latin1', 0, length).includes(dialect.refused))
        refusal = bytes.toString('latin1', 0, Math.min(length, 300));
      return;
    }
    received += count;
    const now = micros();
    if (meter.running) {
      meter.deliveries += count;
      // Messages that were sent together lie together.
      for (let i = 0, from = 0; i < count; from = i) {
        const time = /** @type {number} */ (scanner.times[i]);
        while (++i < count && scanner.times[i] === time);
        meter.latency.add(now - time, i - from);
      }
    }
    if (publisher === undefined) return;
    let own = 0;
    for (let i = 0; i < count; i++) if (scanner.senders[i] === connection.number) own++;
    publisher.inFlight -= own;
    if (own > 0 && sending && shape.inFlight) publish(publisher, publisher.free, now);
  };
  /** @type {(publisher: Publisher, count: number, time: number) => void} */
  const publish = (publisher, count, time) => {
    publisher.send(count, time);
    if (meter.running) meter.publishes += count;
  };

  const connections = await enter({ port, dialect, guests, receive });
  answered = 0;
  for (const [i, connection] of connections.entries())
    if (i % shape.members < shape.publishers)
      publishers[i] = new Publisher(connection, dialect, Array(shape.inFlight ?? openSlots).fill(dialect.publish(roomOf(i, shape))));
  const active = publishers.filter((publisher) => publisher !== undefined);

  sending = true;
  const pace = shape.rate ? openLoop(shape.rate, active, publish) : closedLoop(active, publish);
  await sleep(job.warmMs);
  meter.begin();
  await sleep(job.seconds * 1_000);
  const measured = meter.end();
  sending = false;
  const skipped = pace();

  const sent = active.reduce((sum, publisher) => sum + publisher.sent, 0);
  const expected = sent * shape.members;
  await eventually(() => received >= expected && (!job.manner.ok || answered >= sent), drainMs);
  const closed = connections.filter((connection) => connection.ended !== '');
  leave(connections);
  const errors = problems({
    [`deliveries missing (${refusal})`]: Math.max(0, expected - received),
    'deliveries too many': Math.max(0, received - expected),
    'answers missing': job.manner.ok ? sent - answered : 0,
    [`connections closed (${closed[0]?.ended})`]: closed.length,
    'publishes not sent in time': skipped,
  });
  return [{ ...measured, errors }];
}

/**
 * Starts it; what it returns stops it and says how many publishes could not be sent.
 * @param {Publisher[]} publishers
 * @param {(publisher: Publisher, count: number, time: number) => void} publish
 */
function closedLoop(publishers, publish) {
  for (const publisher of publishers) publish(publisher, publisher.free, micros());
  return () => 0;
}

/**
 * The same at a fixed rate, one publisher after the other.
 * @param {number} rate
 * @param {Publisher[]} publishers
 * @param {(publisher: Publisher, count: number, time: number) => void} publish
 */
function openLoop(rate, publishers, publish) {
  const start = micros();
  const gap = 1_000_000 / rate;
  let next = 0;
  let skipped = 0;
  const timer = setInterval(() => {
    const now = micros();
    for (; start + next * gap <= now; next++) {
      const due = Math.trunc(start + next * gap);
      const publisher = /** @type {Publisher} */ (publishers[next % publishers.length]);
      if (publisher.free === 0) skipped++;
      else publish(publisher, 1, now - due > lateMicros ? due : now);
    }
  }, 1);
  return () => {
    clearInterval(timer);
    return skipped;
  };
}

/**
 * @param {number} member
 * @param {Shape} shape
 */
function roomOf(member, { members }) {
  return `room-${Math.floor(member / members)}`;
}
