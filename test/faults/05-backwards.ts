/**
 * History goes backwards: an older backup is restored, or the end of the log is cut off or damaged after a crash. Clients that had
 * seen more must be told and must be shown everything that comes then; nobody else may notice anything.
 */
import { spawnSync } from 'node:child_process';
import { closeSync, existsSync, openSync, readSync, statSync, truncateSync, writeSync } from 'node:fs';
import { join as path } from 'node:path';
import type { Hub as Client, Room } from '../../src/client/index.ts';
import type { HubProcess } from '../../src/testing/hub-process.ts';
import { hubEntry } from '../kit/paths.ts';
import type { Random } from '../kit/random.ts';
import { RawClient } from '../kit/raw-client.ts';
import { join, passed } from './app.ts';
import { type FaultRow, violationsOf } from './row.ts';

type Size = { rounds: number; restoreEvery: number; clients: number; messages: number };
const rooms = ['one', 'two', 'three'];
const newMessages = 5;
const commitMessages = 10;
const patienceMs = 20_000;
const pollMs = 5;

/** What a client's application was shown, and what it was told: by room, up to where it begins anew. */
type Watcher = { client: Client; rooms: Room[]; heads: Map<string, number>; shown: Set<string>; epochGaps: Map<string, number> };
type Written = { room: string; seq: number; body: string };

export const row: FaultRow<Size> = {
  test: 5,
  title: 'F4 I7 a restored backup, a cut or damaged log: who saw more is told, nobody is kept from what is new',
  target: '0 new messages hidden, 0 seqs with two meanings within an epoch',
  gate: { rounds: 2, restoreEvery: 2, clients: 4, messages: 60 },
  full: { rounds: 80, restoreEvery: 8, clients: 8, messages: 300 },

  async run({ rounds, restoreEvery, clients: clientCount, messages }, kit) {
    const { random } = kit;
    const hub = await kit.hub({ durability: 'process', presenceGraceMs: 0, drainMs: 1_000 });
    const backup = path(kit.folder(), 'backup.db');
    const meanings = new Map<string, string>();
    const violations: string[] = [];
    const figures = { rounds, cuts: 0, flips: 0, restores: 0, entriesLost: 0, announced: 0, hidden: 0, twoMeanings: 0 };
    const watchers = await Promise.all(Array.from({ length: clientCount }, (_, i) => watch(join(kit, hub.url, `reader-${i}`))));
    await write(hub, messages, 'first');
    await allShown(watchers, hub);
    command('backup', backup, '--data', hub.data);

    for (let round = 1; round <= rounds; round++) {
      await write(hub, messages, `round ${round}`);
      await allShown(watchers, hub);
      const seen = watchers.map(({ heads }) => new Map(heads));
      const before = await headsOf(hub);
      for (const watcher of watchers) watcher.epochGaps.clear();
      if (round % restoreEvery === 0) {
        await hub.stop();
        command('restore', backup, '--force', '--data', hub.data);
        figures.restores++;
      } else {
        await hub.kill('SIGKILL');
        if (damage(path(hub.data, 'hubbub.db-wal'), random)) figures.cuts++;
        else figures.flips++;
      }
      await hub.start();
      const after = await headsOf(hub);
      // Some find what is new when they come back, others are there when it comes.
      if (round % 2 === 0) await until(() => watchers.every((watcher) => watcher.rooms.every(({ live }) => live)));
      const fresh = await write(hub, newMessages, `new ${round}`);
      await until(() => watchers.every((watcher) => fresh.every((one) => knows(watcher, one))));
      for (const [i, watcher] of watchers.entries()) {
        const missing = fresh.filter((one) => !knows(watcher, one));
        figures.hidden += missing.length;
        if (missing.length > 0) violations.push(`round ${round}: reader-${i} was not shown ${missing.map(({ room, seq }) => `${room} ${seq}`).join(', ')}`);
      }
      for (const room of rooms) {
        const [had, has] = [before.get(room) ?? 0, after.get(room) ?? 0];
        figures.entriesLost += Math.max(0, had - has);
        for (const [i, watcher] of watchers.entries()) {
          const ahead = (seen[i]?.get(room) ?? 0) > has;
          if (watcher.epochGaps.has(room)) figures.announced++;
          if (ahead !== watcher.epochGaps.has(room))
            violations.push(
              `round ${round}: reader-${i} had seen ${seen[i]?.get(room)} of ${room}, ${has} are left, and he was ${ahead ? 'not ' : ''}told of an epoch`,
            );
        }
      }
      if (violations.length > 10) break;
    }
    await Promise.all(watchers.map(({ client }) => client.close()));
    await hub.stop();
    const whole = spawnSync(process.execPath, [hubEntry, 'check', '--data', hub.data]).status === 0;
    return {
      figures,
      violations: [
        ...violations.slice(0, 20),
        ...violationsOf({ 'the database is whole in the end': whole, 'something was lost and announced': figures.announced > 0 }),
      ],
    };

    async function watch(client: Client): Promise<Watcher> {
      const watcher: Watcher = { client, rooms: [], heads: new Map(), shown: new Set(), epochGaps: new Map() };
      let epoch = (await client.ready).epoch;
      for (const name of rooms) {
        const room = await client.subscribe(name, { position: { epoch, seq: 0 } });
        room.on('entry', ({ seq, mid, body }) => {
          epoch = room.position?.epoch ?? epoch;
          const key = `${epoch} ${name} ${seq}`;
          const known = meanings.get(key) ?? mid ?? '';
          meanings.set(key, known);
          if (known !== (mid ?? '')) {
            figures.twoMeanings++;
            violations.push(`${key} means ${known} and ${mid}`);
          }
          watcher.heads.set(name, seq);
          watcher.shown.add(String(body));
        });
        room.on('gap', ({ reason, to }) => {
          if (reason !== 'epoch') violations.push(`a gap of ${name} for ${reason}`);
          watcher.epochGaps.set(name, to ?? 0);
        });
        watcher.rooms.push(room);
      }
      return watcher;
    }
  },
};

/** Writes to every room; resolves to what was written when it is acked. */
async function write(hub: HubProcess, count: number, what: string): Promise<Written[]> {
  const writer = await RawClient.connect(hub.url, { user: 'writer' });
  const messages = rooms.flatMap((room) => Array.from({ length: count }, (_, i) => ({ room, body: `${what}: ${room} ${i} ${'x'.repeat(200)}` })));
  const written: Written[] = [];
  // Many small commits, so that a cut finds the end of one anywhere.
  for (let at = 0; at < messages.length; at += commitMessages) {
    const page = messages.slice(at, at + commitMessages).map(async (fields) => ({ ...fields, seq: (await writer.ok('publish', fields)).seq ?? 0 }));
    written.push(...(await Promise.all(page)));
  }
  writer.terminate();
  return written;
}

/** He was shown it, or told that he begins behind it. */
function knows({ shown, epochGaps }: Watcher, { room, seq, body }: Written): boolean {
  return shown.has(body) || seq <= (epochGaps.get(room) ?? 0);
}

async function headsOf(hub: HubProcess): Promise<Map<string, number>> {
  const reader = await RawClient.connect(hub.url, { user: 'auditor' });
  const heads = new Map<string, number>();
  for (const room of rooms) {
    const answer = await reader.command('info', { room });
    // The cut may have taken the room itself.
    heads.set(room, answer.op === 'error' ? 0 : answer.position.seq);
  }
  reader.terminate();
  return heads;
}

async function allShown(watchers: readonly Watcher[], hub: HubProcess): Promise<void> {
  const heads = await headsOf(hub);
  await until(() => watchers.every((watcher) => rooms.every((room) => (watcher.heads.get(room) ?? 0) >= (heads.get(room) ?? 0))));
}

/** Gives up in the end, so that what never comes is told by who looks next. */
async function until(condition: () => boolean): Promise<void> {
  const deadline = performance.now() + patienceMs;
  while (!condition() && performance.now() < deadline) await passed(pollMs);
}

/** Cuts the log somewhere (true) or turns over one bit of it (false). The beginning stays, so that there are rooms at all. */
function damage(file: string, random: Random): boolean {
  const size = existsSync(file) ? statSync(file).size : 0;
  const at = Math.floor(size * (0.3 + random.next() * 0.7));
  if (random.int(2) === 0) {
    truncateSync(file, at);
    return true;
  }
  const fd = openSync(file, 'r+');
  const byte = Buffer.alloc(1);
  readSync(fd, byte, 0, 1, at);
  byte[0] = (byte[0] ?? 0) ^ (1 << random.int(8));
  writeSync(fd, byte, 0, 1, Math.min(at, size - 1));
  closeSync(fd);
  return false;
}

function command(...words: string[]): void {
  const { status, stderr } = spawnSync(process.execPath, [hubEntry, ...words], { encoding: 'utf8' });
  if (status !== 0) throw new Error(`hubbub ${words[0]} failed: ${stderr}`);
}
