/**
 * Clients that fall silent without a word: the link to their host goes down, or their process stands still. The hub finds
 * out by its heartbeats, says that they are gone, and lets go of their sockets; a client that comes back on another
 * connection replaces its ghost at once.
 */
import type { ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { readdirSync, readlinkSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { SignJWT } from 'jose';
import type { HubProcess } from '../../src/testing/hub-process.ts';
import { RawClient } from '../kit/raw-client.ts';
import { cannotSeparate, OtherHost } from './namespace.ts';
import { type FaultReport, type FaultRow, violationsOf } from './row.ts';

type Size = { rounds: number; clients: number };
/** How a client falls silent. */
type Silence = 'link down' | 'stopped';

const heartbeatMs = 1_000;
const heartbeatGraceMs = 1_000;
/** What is allowed beyond both. */
const slackMs = 1_000;
const room = 'hall';
const silentClient = fileURLToPath(new URL('./silent-client.js', import.meta.url));

export const row: FaultRow<Size> = {
  test: 18,
  title: 'P1 C5 H6 a client that falls silent without a goodbye is found, told of as offline, and leaves no descriptor',
  target: `found within ${heartbeatMs + heartbeatGraceMs + slackMs} ms (heartbeat + grace + 1 s); descriptors back to the base`,
  gate: { rounds: 1, clients: 2 },
  full: { rounds: 10, clients: 20 },
  needs: cannotSeparate,
  async run({ rounds, clients }, kit): Promise<FaultReport> {
    const secret = randomBytes(32).toString('hex');
    // On every address, so that the other host reaches it.
    const hub = await kit.hub({
      production: true,
      host: '0.0.0.0',
      origins: ['https://chat.example'],
      jwtSecrets: [`k1:${secret}`],
      autoCreate: 'on',
      heartbeatMs,
      heartbeatGraceMs,
      presenceGraceMs: 0,
    });
    const token = (user: string): Promise<string> =>
      new SignJWT({ sub: user }).setProtectedHeader({ alg: 'HS256', kid: 'k1' }).setIssuedAt().setExpirationTime('1h').sign(Buffer.from(secret));
    const watcher = await RawClient.connect(hub.url, { token: await token('watcher') });
    await watcher.ok('subscribe', { room });
    const world: World = { hub, token, watcher };
    await comeBack(world); // once before counting: files of the data are opened at their first use
    const base = await descriptors(hub);

    const found: number[] = [];
    const replaced: number[] = [];
    for (let round = 0; round < rounds; round++) {
      for (const silence of ['link down', 'stopped'] as const) {
        found.push(...(await fallSilent(world, silence, clients)));
        kit.say(`round ${round + 1} of ${rounds}, ${silence}: found after ${Math.round(found.at(-1) ?? 0)} ms`);
      }
      replaced.push(await comeBack(world));
    }
    const left = await untilFew(() => descriptors(hub), base);
    const slowest = Math.max(...found);
    return {
      figures: {
        silenced: found.length,
        detectionMaxMs: Math.round(slowest),
        ghostReplacedMaxMs: Math.round(Math.max(...replaced)),
        descriptorsLeft: left - base,
      },
      violations: violationsOf({ 'descriptors are back to the base': left <= base }),
      missed: slowest <= heartbeatMs + heartbeatGraceMs + slackMs ? [] : [`detection ${Math.round(slowest)} ms`],
    };
  },
};

type World = { hub: HubProcess; token(user: string): Promise<string>; watcher: RawClient };

/** Clients connect, fall silent together, and are told of as offline; returns how long each took, in ms. */
async function fallSilent({ hub, token, watcher }: World, silence: Silence, clients: number): Promise<number[]> {
  const users = Array.from({ length: clients }, (_, i) => `${silence.replace(' ', '-')}-${i}`);
  await watcher.ok('watch', { users });
  return elsewhere(hub, await Promise.all(users.map(token)), async (host, child) => {
    await Promise.all(users.map((user) => watcher.next('presence', (push) => push.user === user && push.status === 'online')));
    const began = performance.now();
    if (silence === 'link down') await host.cut();
    else child.kill('SIGSTOP');
    const gone = users.map(async (user) => {
      await watcher.next('presence', (push) => push.user === user && push.status === 'offline');
      return performance.now() - began;
    });
    return Promise.all(gone);
  });
}

/** One client falls silent and comes back from here as the same device; returns how long its ghost stays, in ms. */
async function comeBack({ hub, token }: World): Promise<number> {
  return elsewhere(hub, [await token('roamer')], async (host) => {
    await host.cut();
    const began = performance.now();
    const client = await RawClient.connect(hub.url, { token: await token('roamer'), device: 'phone' });
    // The watcher and this one; the ghost is only waiting for the answer to its close frame.
    const open = await untilFew(() => openConnections(hub), 2);
    const took = performance.now() - began;
    await client.close();
    if (open > 2) throw new Error('the ghost of a client that came back is still there');
    return took;
  });
}

/** Runs clients in a process on another host, one for each token, for as long as `during` takes. */
async function elsewhere<T>(hub: HubProcess, tokens: readonly string[], during: (host: OtherHost, child: ChildProcess) => Promise<T>): Promise<T> {
  const host = await OtherHost.create();
  const child = host.spawn(process.execPath, silentClient, `ws://${host.address}:${hub.port}`, 'phone', room, ...tokens);
  try {
    await ready(child);
    return await during(host, child);
  } finally {
    await end(child);
    await host.remove();
  }
}

async function openConnections(hub: HubProcess): Promise<number> {
  const stats = (await (await fetch(`${hub.http}/stats`, { headers: { connection: 'close' } })).json()) as { gateway: { states: { open: number } } };
  return stats.gateway.states.open;
}

function ready(child: ChildProcess): Promise<void> {
  return new Promise((resolve, reject) => {
    child.stdout?.on('data', () => resolve());
    child.once('exit', (code) => reject(new Error(`the clients of the other host ended with ${code}`)));
  });
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGKILL'); // ends a stopped process too
  await ended;
}

/** Of sockets, since threads come and go with descriptors of their own. Right after a request, so that its connection is always among them. */
async function descriptors(hub: HubProcess): Promise<number> {
  await openConnections(hub);
  const folder = `/proc/${hub.pid}/fd`;
  return readdirSync(folder).filter((name) => isSocket(`${folder}/${name}`)).length;
}

function isSocket(path: string): boolean {
  try {
    return readlinkSync(path).startsWith('socket:');
  } catch {
    return false; // closed meanwhile
  }
}

/** The count when it is `few` at last, or what it stays at: a socket's descriptor goes a moment after its connection. */
async function untilFew(count: () => Promise<number>, few: number): Promise<number> {
  let now = await count();
  for (let tries = 0; tries < 1_000 && now > few; tries++) now = await count();
  return now;
}
