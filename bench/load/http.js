/**
 * HTTP by autocannon: the backend API beside a bare route on the same machine. For publishing, WebSocket subscribers in this
 * process count what arrives: every request that was answered must reach each of them.
 */
import autocannon from 'autocannon';
import { enter, eventually, leave } from './crowd.js';
import { Meter, problems } from './meter.js';
import { blankBody, Scanner } from './stamp.js';

const connections = 20;
const waitMs = 5_000;

/** @typedef {{ part: string, method: 'GET' | 'POST', path: string, body?: Record<string, unknown>, room?: string }} Request */

/**
 * @param {import('./main.js').Job & { shape: { requests: Request[], subscribers: number } }} job
 * @param {import('./dialects.js').Dialect} dialect
 * @returns {Promise<import('./meter.js').Part[]>}
 */
export async function http(job, dialect) {
  /** @type {import('./meter.js').Part[]} */
  const parts = [];
  for (const request of job.shape.requests) parts.push(await cannon(job, dialect, request));
  return parts;
}

/**
 * @param {import('./main.js').Job & { shape: { subscribers: number } }} job
 * @param {import('./dialects.js').Dialect} dialect
 * @param {Request} request
 * @returns {Promise<import('./meter.js').Part>}
 */
async function cannon({ port, pid, seconds, shape }, dialect, { part, method, path, body, room }) {
  const meter = new Meter(pid);
  const scanner = new Scanner();
  const guests = room === undefined ? [] : Array.from({ length: shape.subscribers }, (_, i) => ({ user: `user-${i}`, rooms: [room] }));
  const subscribers = await enter({
    port,
    dialect,
    guests,
    receive: (connection, bytes, length) => {
      const count = scanner.scan(connection.carry, bytes, length);
      connection.received += count;
      meter.deliveries += count;
    },
  });
  const payload = body === undefined ? {} : { body: JSON.stringify({ ...body, body: blankBody }), headers: { 'content-type': 'application/json' } };
  const options = { url: `http://127.0.0.1:${port}${path}`, connections, method, ...payload };
  await autocannon({ ...options, duration: 1 });
  const warm = subscribers.map(({ received }) => received);
  meter.begin();
  const result = await autocannon({ ...options, duration: Math.max(1, Math.round(seconds)) });
  const measured = meter.end();
  const good = result['2xx'];
  // A request that autocannon gave up on at the end may have been carried out all the same.
  const most = good + connections;
  await eventually(() => subscribers.every(({ received }, i) => received - (warm[i] ?? 0) >= good), waitMs);
  const wrong = subscribers.filter(({ received }, i) => received - (warm[i] ?? 0) < good || received - (warm[i] ?? 0) > most + connections).length;
  leave(subscribers);
  return {
    ...measured,
    part,
    publishes: good / measured.seconds,
    deliveries: room === undefined ? null : measured.deliveries,
    p50: result.latency.p50,
    p99: result.latency.p99,
    p999: result.latency.p99_9,
    cpuPerDelivery: room === undefined ? null : measured.cpuPerDelivery,
    ...(measured.cpuShare === null ? {} : { extra: { 'CPU µs/request': (measured.cpuShare * measured.seconds * 1_000_000) / Math.max(1, good) } }),
    errors: problems({ 'requests failed': result.errors + result.timeouts + result.non2xx, 'subscribers that did not get what was answered': wrong }),
  };
}
