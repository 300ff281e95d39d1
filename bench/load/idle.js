/** Many connections that follow one room each and do nothing: how fast they get in, and what each of them costs. */
import { setTimeout as sleep } from 'node:timers/promises';
import { residentBytes } from '../proc.js';
import { enter, leave } from './crowd.js';
import { Meter, problems } from './meter.js';

/** First ones in, before anything is measured: they pay for what the contestant loads and compiles, which with a few hundred it has only begun to. */
const early = 3_000;
const settleMs = 2_000;

/**
 * @param {import('./main.js').Job & { shape: { connections: number, perRoom: number } }} job
 * @param {import('./dialects.js').Dialect} dialect
 * @returns {Promise<import('./meter.js').Part[]>}
 */
export async function idle({ shape, port, pid }, dialect) {
  const meter = new Meter(pid);
  const guests = Array.from({ length: early + shape.connections }, (_, i) => ({ user: `user-${i}`, rooms: [`room-${Math.floor(i / shape.perRoom)}`] }));
  const receive = () => {};
  const first = await enter({ port, dialect, guests: guests.slice(0, early), receive });
  await sleep(settleMs);
  const before = residentBytes(pid);
  meter.begin();
  const rest = await enter({ port, dialect, guests: guests.slice(early), receive, atOnce: 256 });
  const measured = meter.end();
  await sleep(settleMs);
  const after = residentBytes(pid);
  const closed = [...first, ...rest].filter((connection) => connection.ended !== '');
  leave([...first, ...rest]);
  /** @type {Record<string, number>} */
  const extra = { 'connects/s': shape.connections / measured.seconds };
  if (measured.cpuShare !== null) extra['CPU µs/connect'] = (measured.cpuShare * measured.seconds * 1_000_000) / shape.connections;
  if (before !== null && after !== null) extra['KiB/connection'] = (after - before) / shape.connections / 1_024;
  return [{ ...measured, publishes: null, deliveries: null, extra, errors: problems({ [`connections closed (${closed[0]?.ended})`]: closed.length }) }];
}
