/** Whose positions stay good when the data goes back: after a restored backup, a bump, and a log whose end was lost in a crash. */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { v7 } from 'uuid';
import { describe, expect, it } from 'vitest';
import { SqliteStore } from '../src/persistence/sqlite.ts';
import { backup } from '../src/persistence/sqlite-backup.ts';
import { check } from '../src/persistence/sqlite-check.ts';
import { databaseFile } from '../src/persistence/sqlite-open.ts';
import { SqliteReader } from '../src/persistence/sqlite-reader.ts';
import { bumpEpoch, restore } from '../src/persistence/sqlite-restore.ts';
import { freshFolder, openedStore, silent, steppedClock } from './sqlite-setup.ts';
import { defaults, message, startTs } from './store-contract.ts';

const clock = steppedClock(startTs);
const into = (): string => join(freshFolder(), 'backup.db');
const open = (data: string, at = clock): Promise<SqliteStore> => SqliteStore.open({ ...defaults, data, node: v7() }, { clock: at, log: silent });
const say = (store: SqliteStore, room: string, count: number) =>
  store.commit(
    Array.from({ length: count }, () => message(room, 'a')),
    startTs,
  );

/** One life of a hub: what it says into `room`, and its epoch. */
async function life(data: string, room: string, count: number): Promise<string> {
  const store = await open(data);
  await say(store, room, count);
  await store.close();
  return store.epoch;
}

/** Why a position does not resume (null: it does), as a hub that starts on the data would say. */
async function judge(data: string, room: string, ...positions: (readonly [epoch: string, seq: number])[]): Promise<(string | null)[]> {
  const store = await open(data);
  const reader = new SqliteReader(data);
  const reasons = await Promise.all(positions.map(([epoch, seq]) => reader.read({ read: 'position', room, epoch, seq })));
  await reader.close();
  await store.close();
  return reasons.map(({ reason }) => reason);
}

describe('a restored backup', () => {
  /** Data with a backup after `saved` messages, and `lost` more. */
  async function backedUp(saved = 5, lost = 5) {
    const data = freshFolder();
    const store = await open(data);
    await say(store, 'r', saved);
    const file = into();
    await backup(data, file, clock);
    await say(store, 'r', lost);
    return { data, file, store, epoch: store.epoch };
  }

  it('tells who saw the lost future, even when the log has grown again, and nobody else', async () => {
    const { data, file, store, epoch } = await backedUp(5, 5);
    await store.close();
    restore(data, file, true, clock);
    expect(await judge(data, 'r', [epoch, 0], [epoch, 5], [epoch, 6], [epoch, 10])).toEqual([null, null, 'epoch', 'epoch']);
    const after = await life(data, 'r', 9);
    expect(await judge(data, 'r', [epoch, 5], [epoch, 6], [epoch, 10], [after, 14], [after, 15])).toEqual([null, 'epoch', 'epoch', null, 'epoch']);
    expect(check(data, clock).problems).toEqual([]);
  });

  it('knows the epochs since the backup, so that who stood within it in one of them resumes', async () => {
    const { data, file, store, epoch } = await backedUp(5, 5);
    await store.close();
    const later = await life(data, 'r', 5);
    restore(data, file, true, clock);
    expect(await judge(data, 'r', [epoch, 5], [later, 3], [later, 5], [later, 6])).toEqual([null, null, null, 'epoch']);
    await life(data, 'r', 20);
    expect(await judge(data, 'r', [later, 5], [later, 6], [later, 12])).toEqual([null, 'epoch', 'epoch']);
    // The same once more: all of it is still known.
    restore(data, file, true, clock);
    expect(await judge(data, 'r', [epoch, 5], [later, 5], [later, 6])).toEqual([null, null, 'epoch']);
    expect(check(data, clock).problems).toEqual([]);
  });

  it('adopts no epoch of another history', async () => {
    const { data, file: older, store } = await backedUp(5, 5);
    await store.close();
    const first = await life(data, 'r', 5);
    const newer = into();
    await backup(data, newer, clock);
    restore(data, older, true, clock);
    const second = await life(data, 'r', 30);
    // Back to the history that the first return had ended: entry 10 of the second one is not in it.
    restore(data, newer, true, clock);
    expect(await judge(data, 'r', [first, 15], [second, 3], [second, 10])).toEqual([null, 'epoch', 'epoch']);
  });
});

describe('epoch bump', () => {
  it('begins an epoch; entries from there on are of it', async () => {
    const data = freshFolder();
    const before = await life(data, 'r', 5);
    const name = bumpEpoch(data, clock);
    expect(await judge(data, 'r', [before, 5], [name, 5], [before, 6])).toEqual([null, null, 'epoch']);
    expect(check(data, clock)).toMatchObject({ problems: [], counts: { epochs: 3 } });
  });

  it('is refused while a hub runs, and where there is no data', async () => {
    const { options } = await openedStore();
    expect(() => bumpEpoch(options.data, clock)).toThrow(/^a hub is running on /);
    const data = freshFolder();
    expect(() => bumpEpoch(data, clock)).toThrow('the file is missing');
    expect(readdirSync(data)).toEqual([]);
  });
});

describe('a log that was cut', () => {
  it('ends positions above the cut, at every place of the cut, and keeps those below', async () => {
    const data = freshFolder();
    const store = await open(data);
    for (let i = 0; i < 40; i++) await say(store, 'r', 1);
    const wal = readFileSync(`${databaseFile(data)}-wal`);
    const main = readFileSync(databaseFile(data));
    let shortened = 0;
    for (let cut = 0; cut < 12; cut++) {
      const crashed = freshFolder();
      writeFileSync(databaseFile(crashed), main);
      // Half of them lose their end, half have a bit of it turned.
      const at = Math.floor(wal.length * (0.3 + cut * 0.055));
      const bytes = Buffer.from(cut % 2 ? wal : wal.subarray(0, at));
      if (cut % 2) bytes.writeUInt8((bytes[at] ?? 0) ^ 4, at);
      writeFileSync(`${databaseFile(crashed)}-wal`, bytes);
      const next = await open(crashed, steppedClock(startTs + 20_000)); // by then its process is gone
      const head = (await say(next, 'r', 1)).outcomes[0] as number;
      expect(next.epoch).not.toBe(store.epoch);
      if (head <= 40) shortened++;
      await say(next, 'r', 60);
      await next.close();
      const positions = Array.from({ length: 41 }, (_, seq) => [store.epoch, seq] as const);
      expect(await judge(crashed, 'r', ...positions)).toEqual(positions.map(([, seq]) => (seq < head ? null : 'epoch')));
      expect(check(crashed, clock).problems).toEqual([]);
    }
    expect(shortened).toBeGreaterThan(8);
    await store.close();
  });
});
