/** Stopping: nobody new, everybody told when to come back, what is under way answered, then the sockets closed. */
import type { Clock } from '../thread/clock.ts';
import type { Backend } from './backend.ts';
import type { Pool } from './pool.ts';
import type { Upgrade } from './upgrade.ts';

/** A crowd should not come back faster than this many in a second, nor later than in half a minute. */
const returnsPerSecond = 1_000;
const spreadMinMs = 1_000;
const spreadMaxMs = 30_000;
/** Part of the time that open commands may take; the rest is for closing. */
const answersShare = 0.7;
const pollMs = 20;

export type DrainDeps = { clock: Clock; pool: Pool; backend: Backend; upgrade: Upgrade };

export async function drain({ clock, pool, backend, upgrade }: DrainDeps, ms: number): Promise<void> {
  const deadline = clock.tick() + ms;
  const answersBy = clock.tick() + ms * answersShare;
  upgrade.draining = true;
  backend.stopping = true;
  const spreadMs = Math.min(spreadMaxMs, Math.max(spreadMinMs, (pool.size / returnsPerSecond) * 1_000));
  for (const connection of [...pool.connections.values()]) {
    if (connection.phase.is === 'open') connection.phase = { is: 'draining' };
    else if (connection.phase.is !== 'closed') pool.close(connection, 'draining');
    if (connection.phase.is === 'draining')
      connection.answer({ op: 'closing', reason: 'the hub is stopping', retryAfterMs: Math.round(clock.random() * spreadMs) });
  }
  while (pool.commandsOpen() + backend.open > 0 && clock.tick() < answersBy) await pause(pollMs);
  for (const connection of [...pool.connections.values()]) pool.close(connection, 'draining');
  const last = setTimeout(
    () => {
      for (const connection of [...pool.connections.values()]) connection.ws.terminate();
    },
    Math.max(0, deadline - clock.tick()),
  );
  await pool.empty();
  clearTimeout(last);
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, ms);
  });
}
