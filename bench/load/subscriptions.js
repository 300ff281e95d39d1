/** What one more followed room costs a connection that is there already. */
import { setTimeout as sleep } from 'node:timers/promises';
import { residentBytes } from '../proc.js';
import { enter, leave } from './crowd.js';
import { Meter } from './meter.js';

const settleMs = 2_000;

/**
 * @param {import('./main.js').Job & { shape: { connections: number, rooms: number } }} job
 * @param {import('./dialects.js').Dialect} dialect
 * @returns {Promise<import('./meter.js').Part[]>}
 */
export async function subscriptions({ port, pid, shape }, dialect) {
  const { frame, answered } = /** @type {Required<import('./dialects.js').Dialect>} */ (dialect);
  const meter = new Meter(pid);
  const names = Array.from({ length: shape.rooms }, (_, i) => `room-${i}`);
  const receive = () => {};
  const first = await enter({ port, dialect, guests: [{ user: 'first', rooms: names }], receive });
  const connections = await enter({ port, dialect, guests: Array.from({ length: shape.connections }, (_, i) => ({ user: `user-${i}`, rooms: [] })), receive });
  await sleep(settleMs);
  const before = residentBytes(pid);
  meter.begin();
  const bytes = Buffer.concat(names.map((room, i) => frame({ op: 'subscribe', id: i + 2, room })));
  for (const connection of connections) await connection.run([{ bytes, expect: answered, times: names.length }]);
  const measured = meter.end();
  await sleep(settleMs);
  const after = residentBytes(pid);
  leave([...first, ...connections]);
  const count = shape.connections * shape.rooms;
  /** @type {Record<string, number>} */
  const extra = { 'subscriptions/s': count / measured.seconds };
  if (before !== null && after !== null) extra['bytes/subscription'] = (after - before) / count;
  return [{ ...measured, publishes: null, deliveries: null, extra, errors: [] }];
}
