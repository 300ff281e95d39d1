/**
 * Durable publishes to many rooms in turn, followed by nobody: what a publish costs by the number of rooms, and what a room
 * costs once it is put away.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { residentBytes } from '../proc.js';
import { fill } from './fill.js';
import { Meter } from './meter.js';

/**
 * @param {import('./main.js').Job & { shape: { rooms: number, settleMs: number } }} job
 * @param {import('./dialects.js').Dialect} dialect
 * @returns {Promise<import('./meter.js').Part[]>}
 */
export async function spread({ port, pid, shape, seconds }, dialect) {
  const meter = new Meter(pid);
  const rooms = Array.from({ length: shape.rooms }, (_, i) => `room-${String(i).padStart(7, '0')}`);
  await fill(port, dialect, rooms, Math.max(shape.rooms, 20_000));
  const before = residentBytes(pid);
  meter.begin();
  const stored = await fill(port, dialect, rooms, Number.MAX_SAFE_INTEGER, seconds * 1_000);
  const measured = meter.end();
  await sleep(shape.settleMs);
  /** @type {Record<string, number>} */
  const extra = {};
  if (measured.cpuShare !== null) extra['CPU µs/publish'] = (measured.cpuShare * measured.seconds * 1_000_000) / stored;
  if (before !== null) extra['resident MiB'] = (residentBytes(pid) ?? 0) / 2 ** 20;
  return [{ ...measured, publishes: stored / measured.seconds, deliveries: null, extra, errors: [] }];
}
