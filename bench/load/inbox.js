/**
 * Direct messages to users who are away, then all of them come back at once. Two rows: `queue`, where every message is
 * acknowledged to its sender, and `drain`, from the first hello to the last message.
 */
import { Connection } from './connection.js';
import { eventually, leave } from './crowd.js';
import { Meter, micros, problems } from './meter.js';
import { Scanner } from './stamp.js';
import { Writers } from './writers.js';

const senders = 50;
/** Below the items one inbox holds by default. */
const perUserMax = 900;
const ackEvery = 100;
const waitMs = 30_000;

/**
 * @param {import('./main.js').Job & { shape: { users: number } }} job
 * @param {import('./dialects.js').Dialect} dialect
 * @returns {Promise<import('./meter.js').Part[]>}
 */
export async function inbox(job, dialect) {
  const meter = new Meter(job.pid);
  const queue = await fill(job, dialect, meter);
  const drain = await comeBack(job, dialect, meter, queue.sent);
  return [queue.part, drain];
}

/**
 * @param {import('./main.js').Job & { shape: { users: number } }} job
 * @param {import('./dialects.js').Dialect} dialect
 * @param {Meter} meter
 */
async function fill({ port, shape, seconds }, dialect, meter) {
  const each = shape.users / senders;
  const { direct } = /** @type {Required<import('./dialects.js').Dialect>} */ (dialect);
  const limit = perUserMax * each;
  let sending = false;
  const team = new Writers(dialect, (publisher, answers) => {
    meter.publishes += answers;
    if (sending) publisher.send(Math.min(publisher.free, limit - publisher.sent), micros());
  });
  const users = Array.from({ length: senders }, (_, i) => `sender-${i}`);
  await team.enter(port, users, (number) => Array.from({ length: each }, (_, k) => direct(userName(number * each + k))));
  meter.begin();
  sending = true;
  for (const publisher of team.all) publisher.send(publisher.free, micros());
  await eventually(() => team.all.every((publisher) => publisher.sent >= limit), seconds * 1_000);
  sending = false;
  const unanswered = await team.settle();
  const measured = meter.end();
  team.leave();
  const sent = team.all.map((publisher) => publisher.sent);
  return { sent, part: { ...measured, part: 'queue', deliveries: null, errors: problems({ [`unanswered (${team.refused})`]: unanswered }) } };
}

/**
 * @param {import('./main.js').Job & { shape: { users: number } }} job
 * @param {import('./dialects.js').Dialect} dialect
 * @param {Meter} meter
 * @param {number[]} sent by sender
 * @returns {Promise<import('./meter.js').Part>}
 */
async function comeBack({ port, shape }, dialect, meter, sent) {
  const { frame } = /** @type {Required<import('./dialects.js').Dialect>} */ (dialect);
  const each = shape.users / senders;
  const scanner = new Scanner();
  const total = sent.reduce((sum, one) => sum + one, 0);
  /** @param {number} user */
  const expected = (user) => {
    const all = /** @type {number} */ (sent[Math.floor(user / each)]);
    return Math.floor(all / each) + (user % each < all % each ? 1 : 0);
  };
  let began = 0;
  /** @type {import('./connection.js').Receive} */
  const receive = (connection, bytes, length) => {
    const count = scanner.scan(connection.carry, bytes, length);
    const before = connection.received;
    connection.received += count;
    meter.deliveries += count;
    const done = connection.received === expected(connection.number);
    if (count > 0 && (done || Math.floor(before / ackEvery) < Math.floor(connection.received / ackEvery)))
      connection.write(frame({ op: 'ack', through: connection.received }));
    if (count > 0 && done) meter.latency.add(micros() - began);
  };
  const users = Array.from({ length: shape.users }, (_, i) => new Connection(i, port, receive));
  await Promise.all(users.map((user) => user.run(dialect.open(port))));
  meter.begin();
  began = micros();
  await Promise.all(users.map((user) => user.run(dialect.enter(userName(user.number), []))));
  const complete = await eventually(() => meter.deliveries >= total, waitMs);
  const measured = meter.end();
  const closed = users.filter((user) => user.ended !== '').length;
  leave(users);
  const errors = problems({ 'deliveries missing': complete ? 0 : total - meter.deliveries, 'deliveries too many': meter.deliveries - total, closed });
  return { ...measured, part: 'drain', publishes: null, errors };
}

/**
 * All of one length.
 * @param {number} user
 */
function userName(user) {
  return `away-${String(user).padStart(6, '0')}`;
}
