/** Threads of a hub that die one after the other, and what its main thread keeps of each: for the soak, beside the hub that it works with, whose successors would begin with empty caches. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { brittle, order } from '../kit/brittle.ts';
import { RawClient } from '../kit/raw-client.ts';
import { type Held, inspected, Memory } from './memory.ts';
import type { FaultKit } from './row.ts';
import { replaced, type Struck, statsOf } from './threads.ts';

const roles: readonly Struck[] = ['shard', 'persistence', 'reader'];
const people = 20;
const rooms = 5;
const restartsMax = 1_000;
const pollMs = 25;

/** What the main thread holds after each of so many deaths. */
export async function heldAfterDeaths(deaths: number, kit: FaultKit): Promise<Held[]> {
  const folder = kit.folder();
  const { env } = brittle(folder);
  const hub = await kit.hub({ shards: 1, restartsMax, env: { ...env, NODE_OPTIONS: `${env?.NODE_OPTIONS} ${inspected.NODE_OPTIONS}` } });
  const memory = await Memory.of(hub);
  kit.defer(() => memory.close());
  const clients = await Promise.all(Array.from({ length: people }, (_, i) => RawClient.connect(hub.url, { user: `bystander-${i}` })));
  await Promise.all(clients.map((client, i) => client.ok('subscribe', { room: `room-${i % rooms}` })));
  const held: Held[] = [];
  for (let n = 0; n < deaths; n++) {
    const role = roles[n % roles.length] as Struck;
    const client = clients[n % people] as RawClient;
    const before = await statsOf(hub);
    order(folder, role, 'throw');
    // Until somebody's command has met it; what becomes of the command is for other rows.
    while (existsSync(join(folder, role))) {
      const room = `room-${n % rooms}`;
      await Promise.race([role === 'reader' ? client.command('rooms') : client.command('publish', { room, body: 'x' }), sleep(pollMs)]);
    }
    await replaced(hub, role, before, 0);
    held.push(await memory.main());
  }
  await Promise.all(clients.map((client) => client.close()));
  return held;
}
