/**
 * Opens many connections, a bounded number at a time, and waits for what they bring. Used by every scenario; knows nothing
 * of what the connections are for.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { Connection } from './connection.js';

/**
 * @typedef {import('./dialects.js').Dialect} Dialect
 * @typedef {{ user: string, rooms: string[], positions?: Record<string, import('./dialects.js').Position> }} Guest
 */

/**
 * Resolves when all are in. Connection numbers are places in `guests`.
 * @param {{ port: number, dialect: Dialect, guests: Guest[], receive: import('./connection.js').Receive, atOnce?: number }} crowd
 * @returns {Promise<Connection[]>}
 */
export async function enter({ port, dialect, guests, receive, atOnce = 64 }) {
  /** @type {Connection[]} */
  const connections = [];
  const line = guests.entries();
  const usher = async () => {
    for (const [number, guest] of line) {
      const connection = new Connection(number, port, receive);
      connections[number] = connection;
      await connection.run([...dialect.open(port), ...dialect.enter(guest.user, guest.rooms, guest.positions)]);
    }
  };
  await Promise.all(Array.from({ length: Math.min(atOnce, guests.length) }, usher));
  return connections;
}

/** @param {Connection[]} connections */
export function leave(connections) {
  for (const connection of connections) connection.close();
}

/**
 * Resolves to whether `condition` came true within `limitMs`.
 * @param {() => boolean} condition
 * @param {number} limitMs
 */
export async function eventually(condition, limitMs) {
  const end = performance.now() + limitMs;
  while (!condition()) {
    if (performance.now() > end) return false;
    await sleep(2);
  }
  return true;
}
