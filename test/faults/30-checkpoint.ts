/**
 * Others at the hub's database: a reader that holds a snapshot (the log cannot shrink below it), a stranger that holds the write
 * lock, and an online backup under load. Writes go on or wait, nothing is refused, and the log shrinks when they are gone.
 */
import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, statSync } from 'node:fs';
import { join } from 'node:path';
import type { HubProcess } from '../../src/testing/hub-process.ts';
import { hubEntry, root } from '../kit/paths.ts';
import { RawClient } from '../kit/raw-client.ts';
import { readLogs } from '../kit/reader.ts';
import { passed } from './app.ts';
import { percentile, rounded } from './percentile.ts';
import { type FaultKit, type FaultRow, violationsOf } from './row.ts';

type Size = { filledMiB: number; calmSeconds: number; perSecond: number; heldMiB: number; lockSeconds: number };
const walMiBMax = 64;
const bodyBytes = 4_000;
const fillers = 8;
const rooms = ['ops', 'general'];

export const row: FaultRow<Size> = {
  test: 30,
  title: 'M1 M7 a held snapshot, a held write lock and a backup under load: writes go on, a log that grows is told of and shrinks again, the backup is whole',
  target: 'write p99 during a backup ≤ 3 × of before; write-ahead log ≤ 64 MiB when nobody holds it; the copy passes the check',
  gate: { filledMiB: 12, calmSeconds: 1, perSecond: 200, heldMiB: 4, lockSeconds: 1 },
  full: { filledMiB: 400, calmSeconds: 30, perSecond: 500, heldMiB: 100, lockSeconds: 1.5 },

  async run({ filledMiB, calmSeconds, perSecond, heldMiB, lockSeconds }, kit) {
    const hub = await kit.hub();
    const writer = await RawClient.connect(hub.url, { user: 'writer', recorder: kit.recorder });
    await fill(writer, filledMiB);
    const load = new Load(writer, perSecond);

    // A backup while others write.
    await passed(calmSeconds * 1_000);
    const calm = load.take();
    const walBefore = walMiB(hub);
    const copy = join(kit.folder(), 'copy.db');
    const backup = await runBackup(hub, copy);
    const busy = load.take();
    const walDuring = walMiB(hub);
    await load.stop();

    // A reader that holds on to an old state.
    const reader = await Outsider.start(kit, hub, 'reader');
    await fill(writer, heldMiB);
    const walHeld = walMiB(hub);
    const warned = walHeld <= walMiBMax || (await said(hub, 'the write-ahead log grows'));
    await reader.leave();
    await shrunk(hub, writer);
    const walAfter = walMiB(hub);

    // A stranger that holds the write lock: the hub waits for it, and goes on serving what needs no write.
    const locker = await Outsider.start(kit, hub, 'writer');
    const began = performance.now();
    const waiting = Array.from({ length: 20 }, (_, i) => writer.ok('publish', { room: 'ops', body: `waits ${i}` }));
    const pings: number[] = [];
    while (performance.now() - began < lockSeconds * 1_000) {
      const from = performance.now();
      await writer.ok('history', { room: 'ops', limit: 1 });
      pings.push(performance.now() - from);
    }
    await locker.leave();
    await Promise.all(waiting);
    const waitedMs = performance.now() - began;

    await readLogs(hub.url, rooms, kit.recorder);
    await writer.close();
    await hub.stop();
    const whole = await checked(kit, copy);
    const before = percentile(calm, 0.99);
    const during = percentile(busy, 0.99);
    const ratio = during / before;
    return {
      figures: {
        writeP99BeforeMs: rounded(before),
        writeP99DuringBackupMs: rounded(during),
        ratio: rounded(ratio),
        backupSeconds: rounded(backup.seconds),
        walBeforeMiB: rounded(walBefore),
        walBehindBackupMiB: rounded(walDuring),
        walWhileHeldMiB: rounded(walHeld),
        walAfterwardsMiB: rounded(walAfter),
        readP99WhileLockedMs: rounded(percentile(pings, 0.99)),
        writesWaitedMs: rounded(waitedMs),
      },
      violations: [
        ...(await kit.checkSettled()),
        ...violationsOf({
          'the backup succeeded': backup.code === 0,
          'the copy is whole': whole === 0,
          'an operator was warned of a log that could not be shortened': warned,
          'the log shrank when nobody held it': walAfter <= walMiBMax,
        }),
      ],
      missed: [
        ...(ratio <= 3 ? [] : [`writes took ${rounded(ratio)} × as long during the backup`]),
        ...(walDuring <= walMiBMax ? [] : [`the log had ${rounded(walDuring)} MiB after the backup`]),
      ],
    };
  },
};

async function fill(writer: RawClient, mib: number): Promise<void> {
  const body = 'x'.repeat(bodyBytes);
  let left = Math.ceil((mib * 2 ** 20) / bodyBytes);
  const lane = async (): Promise<void> => {
    while (left > 0) {
      left -= 32;
      await Promise.all(Array.from({ length: 32 }, () => writer.ok('publish', { room: 'general', body })));
    }
  };
  await Promise.all(Array.from({ length: fillers }, lane));
}

/** A steady load: what a message took from its due time to its ack. */
class Load {
  #took: number[] = [];
  #over = false;
  readonly #running: Promise<void>;

  constructor(writer: RawClient, perSecond: number) {
    this.#running = this.#run(writer, perSecond);
  }

  async #run(writer: RawClient, perSecond: number): Promise<void> {
    const began = performance.now();
    const body = 'x'.repeat(200);
    const open: Promise<void>[] = [];
    for (let sent = 0; !this.#over; await passed(1)) {
      for (; sent < ((performance.now() - began) / 1_000) * perSecond; sent++) {
        const due = performance.now();
        open.push(writer.ok('publish', { room: 'ops', body }).then(() => void this.#took.push(performance.now() - due)));
      }
      if (open.length > perSecond) await Promise.all(open.splice(0, perSecond / 2));
    }
    await Promise.all(open);
  }

  take(): number[] {
    return this.#took.splice(0);
  }

  async stop(): Promise<void> {
    this.#over = true;
    await this.#running;
  }
}

class Outsider {
  readonly #child: ChildProcessWithoutNullStreams;

  static async start(kit: FaultKit, hub: HubProcess, what: 'reader' | 'writer'): Promise<Outsider> {
    const file = join(hub.data, 'hubbub.db');
    const child = spawn(process.execPath, [join(root, 'test/faults/outsider.js'), file, what]);
    kit.defer(() => child.kill('SIGKILL'));
    let wrong = '';
    child.stderr.on('data', (text: Buffer) => (wrong += text.toString()));
    await Promise.race([once(child.stdout, 'data'), once(child, 'exit').then(() => Promise.reject(new Error(`the outsider ended: ${wrong}`)))]);
    return new Outsider(child);
  }

  constructor(child: ChildProcessWithoutNullStreams) {
    this.#child = child;
  }

  async leave(): Promise<void> {
    const gone = once(this.#child, 'exit');
    this.#child.stdin.end();
    await gone;
  }
}

async function runBackup(hub: HubProcess, file: string): Promise<{ code: number; seconds: number }> {
  const began = performance.now();
  const child = spawn(process.execPath, [hubEntry, 'backup', file, '--data', hub.data], { stdio: 'ignore' });
  const [code] = (await once(child, 'exit')) as [number];
  return { code, seconds: (performance.now() - began) / 1_000 };
}

/** Restores the copy into a folder of its own and lets the operator's command look at all of it. */
async function checked(kit: FaultKit, copy: string): Promise<number> {
  const data = kit.folder();
  for (const words of [['restore', copy], ['check']]) {
    const child = spawn(process.execPath, [hubEntry, ...words, '--data', data], { stdio: 'ignore' });
    const [code] = (await once(child, 'exit')) as [number];
    if (code !== 0) return code;
  }
  return 0;
}

/** Whether the hub's log says so, now or soon: it looks every few seconds. */
async function said(hub: HubProcess, words: string): Promise<boolean> {
  const until = performance.now() + 15_000;
  while (!hub.stdout.includes(words) && performance.now() < until) await passed(50);
  return hub.stdout.includes(words);
}

/** Writes a little until the log is small again, or for some seconds. */
async function shrunk(hub: HubProcess, writer: RawClient): Promise<void> {
  const until = performance.now() + 10_000;
  do {
    await writer.ok('publish', { room: 'ops', body: 'x' });
    await passed(20);
  } while (walMiB(hub) > walMiBMax && performance.now() < until);
}

function walMiB(hub: HubProcess): number {
  const file = join(hub.data, 'hubbub.db-wal');
  return existsSync(file) ? statSync(file).size / 2 ** 20 : 0;
}
