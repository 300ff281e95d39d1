/** Copying the data while it is written, and taking it back: what is refused, what a restored file holds, whose positions stay good. */
import { chmodSync, copyFileSync, existsSync, readdirSync, readFileSync, renameSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import Database from 'better-sqlite3';
import { v7 } from 'uuid';
import { describe, expect, it, onTestFinished } from 'vitest';
import { SqliteStore } from '../src/persistence/sqlite.ts';
import { backup } from '../src/persistence/sqlite-backup.ts';
import { check } from '../src/persistence/sqlite-check.ts';
import { databaseFile, openDatabase } from '../src/persistence/sqlite-open.ts';
import { restore } from '../src/persistence/sqlite-restore.ts';
import { freshFolder, openedStore, outsiderOf, silent, steppedClock } from './sqlite-setup.ts';
import { connect, defaults, message, startTs } from './store-contract.ts';

const clock = steppedClock(startTs);
const say = (store: SqliteStore, room: string, count: number, body = '"x"') =>
  store.commit(
    Array.from({ length: count }, () => message(room, 'a', { body })),
    startTs,
  );
const into = (): string => join(freshFolder(), 'backup.db');
const open = (data: string): Promise<SqliteStore> => SqliteStore.open({ ...defaults, data, node: v7() }, { clock, log: silent });

describe('backup', () => {
  it('holds one state, whatever is committed while it is written', async () => {
    const { store, options } = await openedStore();
    await say(store, 'r', 3_000, JSON.stringify('x'.repeat(4_000))); // more than a step
    const file = into();
    let done = false;
    const writing = (async () => {
      let said = 0;
      for (; !done; said++) {
        await say(store, 'r', 1);
        await setImmediate();
      }
      return said;
    })();
    const { entries, bytes } = await backup(options.data, file, clock).finally(() => {
      done = true;
    });
    expect(await writing).toBeGreaterThan(0);
    const db = new Database(file, { readonly: true });
    onTestFinished(() => {
      db.close();
    });
    expect(db.prepare('select head_seq, (select count(*) from entries) from rooms').raw().get()).toEqual([entries, entries]);
    expect([db.pragma('integrity_check', { simple: true }), db.pragma('journal_mode', { simple: true })]).toEqual(['ok', 'delete']);
    expect(bytes).toBe(statSync(file).size);
    // Whoever may read it reads every message.
    expect(statSync(file).mode & 0o777).toBe(0o600);
    expect(readdirSync(dirname(file))).toEqual(['backup.db']);
  });

  it('says so where its folder does not exist', async () => {
    const { options } = await openedStore();
    await expect(backup(options.data, join(freshFolder(), 'no', 'backup.db'), clock)).rejects.toThrow('cannot be written: its folder does not exist');
  });

  it('overwrites nothing, also what appears while it is written', async () => {
    const { store, options } = await openedStore();
    await say(store, 'r', 10);
    const file = into();
    writeFileSync(file, 'precious');
    await expect(backup(options.data, file, clock)).rejects.toThrow('is already there');
    const other = into();
    await expect(
      backup(options.data, other, clock, {
        get stopped() {
          writeFileSync(other, 'precious');
          return false;
        },
      }),
    ).rejects.toThrow('has appeared meanwhile');
    for (const precious of [file, other]) expect([readFileSync(precious, 'utf8'), readdirSync(dirname(precious))]).toEqual(['precious', ['backup.db']]);
  });

  it('that is stopped, or cannot be written, leaves nothing behind', async () => {
    const { options } = await openedStore();
    const file = into();
    await expect(backup(options.data, file, clock, { stopped: true })).rejects.toThrow('stopped: there is no backup');
    expect(readdirSync(dirname(file))).toEqual([]);
    await expect(backup(options.data, join(file, 'nowhere', 'b.db'), clock)).rejects.toThrow(/^the backup .* cannot be written: /);
    await expect(backup(freshFolder(), file, clock)).rejects.toThrow('the file is missing');
  });

  it('of which there is one already under way is refused', async () => {
    const { options } = await openedStore();
    const file = into();
    writeFileSync(`${file}.partial`, '');
    await expect(backup(options.data, file, clock)).rejects.toThrow('another backup is being written, or one was killed');
    expect(existsSync(`${file}.partial`)).toBe(true);
  });
});

describe('restore', () => {
  /** Data with a backup after `saved` messages, and `lost` more. */
  async function backedUp(saved = 5, lost = 5) {
    const data = freshFolder();
    const store = await open(data);
    await store.commit([connect('a', 1)], startTs);
    await say(store, 'r', saved);
    const file = into();
    await backup(data, file, clock);
    await say(store, 'r', lost);
    return { data, file, store, epoch: store.epoch };
  }

  it('is read by nobody else where there was nothing, and by whoever could read before where there was', async () => {
    const { data, file, store } = await backedUp();
    await store.close();
    const mode = (folder: string): number => statSync(databaseFile(folder)).mode & 0o777;
    const empty = freshFolder();
    chmodSync(empty, 0o755);
    restore(empty, file, false, clock);
    expect(mode(empty)).toBe(0o600);
    chmodSync(databaseFile(data), 0o640);
    restore(data, file, true, clock);
    expect(mode(data)).toBe(0o640);
  });

  it('brings back the backup with an epoch of its own and nobody connected', async () => {
    const { data, file, store, epoch } = await backedUp();
    await store.close();
    const restored = restore(data, file, true, clock);
    expect(restored).toMatchObject({ entries: 5, lastTs: startTs });
    expect(restored.epoch).not.toBe(epoch);
    const db = openDatabase(databaseFile(data), { timeout: 0 });
    expect(db.prepare('select (select count(*) from nodes), (select count(*) from connections), (select status from presence)').raw().get()).toEqual([0, 0, 2]);
    db.close();
    expect(check(data, clock)).toMatchObject({ problems: [], counts: { entries: 5, epochs: 2 } });
    expect(readdirSync(data).filter((name) => !/^hubbub\.db(-wal|-shm)?$/.test(name))).toEqual([]);
  });

  it('works in a folder that is empty or not there', async () => {
    const { file } = await backedUp();
    const data = join(freshFolder(), 'not', 'there');
    restore(data, file, false, clock);
    expect(check(data, clock)).toMatchObject({ problems: [], counts: { entries: 5 } });
  });

  it('leaves alone what a hub lives on, and what there is without --force', async () => {
    const { data, file, store } = await backedUp();
    for (const force of [false, true]) expect(() => restore(data, file, force, clock)).toThrow(/^a hub is running on .* \(process \d+ on .*\): stop it first/);
    await store.close();
    expect(() => restore(data, file, false, clock)).toThrow('--force replaces it');
    expect(check(data, clock)).toMatchObject({ problems: [], counts: { entries: 10 } });
  });

  it('waits for the lease of a node of another machine, and for no dead process of this one', async () => {
    const { data, file, store } = await backedUp();
    await store.close();
    const db = openDatabase(databaseFile(data), { timeout: 0 });
    db.prepare("insert into nodes values ('far', 1, 'elsewhere', 1, 0, ?, ?)").run(startTs, startTs + 15_000);
    db.close();
    expect(() => restore(data, file, true, clock)).toThrow('process 1 on elsewhere');
    restore(data, file, true, steppedClock(startTs + 15_001));
  });

  it('is refused while another program has the database open', async () => {
    const { data, file, store } = await backedUp();
    await store.close();
    const shell = openDatabase(databaseFile(data), { timeout: 0 });
    shell.prepare('select count(*) from entries').get();
    expect(() => restore(data, file, true, clock)).toThrow('another program has the database');
    shell.close();
    restore(data, file, true, clock);
  });

  it('verifies the file before it touches anything', async () => {
    const { data, file, store } = await backedUp(400);
    await store.close();
    const bad = (name: string, change: (path: string) => void): string => {
      const path = join(freshFolder(), name);
      copyFileSync(file, path);
      change(path);
      return path;
    };
    const version = (path: string, to: number) => {
      const db = new Database(path);
      db.pragma(`user_version = ${to}`);
      db.close();
    };
    const cases: readonly (readonly [string, RegExp])[] = [
      [bad('noise.db', (path) => writeFileSync(path, 'x'.repeat(50_000))), /it is not a database$/],
      [bad('cut.db', (path) => truncateSync(path, statSync(path).size / 2 - ((statSync(path).size / 2) % 4_096))), /damaged/],
      [
        bad('flipped.db', (path) => {
          const bytes = readFileSync(path);
          bytes.fill(0xff, bytes.length / 2, bytes.length / 2 + 6_000);
          writeFileSync(path, bytes);
        }),
        /damaged/,
      ],
      [bad('newer.db', (path) => version(path, 99)), /was written by a newer Hubbub/],
      [bad('empty.db', (path) => truncateSync(path, 0)), /has not been set up yet/],
      [bad('live.db', (path) => writeFileSync(`${path}-wal`, 'x')), /has a write-ahead log beside it/],
      [
        bad('foreign.db', (path) => {
          const db = new Database(path);
          db.pragma('application_id = 1');
          db.close();
        }),
        /is not one of Hubbub's$/,
      ],
      [join(data, 'nothing.db'), /cannot be restored to .*: it does not exist$/],
      [dirname(file), /is a folder/],
    ];
    for (const [path, reason] of cases) {
      expect(() => restore(data, path, true, clock)).toThrow(reason);
      expect(() => restore(data, path, true, clock)).not.toThrow('.restoring');
    }
    expect(check(data, clock)).toMatchObject({ problems: [], counts: { entries: 405 } });
    expect(readdirSync(data).some((name) => name.includes('restoring'))).toBe(false);
  });

  it('replaces what is damaged or empty, and no log of it is played into the new file', async () => {
    const { file } = await backedUp();
    const lived = freshFolder();
    const store = await open(lived);
    await say(store, 'r', 50);
    const other = outsiderOf(lived);
    other.pragma('wal_checkpoint(restart)');
    other.exec('delete from nodes; update rooms set head_seq = 99');
    for (const broken of ['not a database, and not a page long', '']) {
      const data = freshFolder();
      for (const suffix of ['-wal', '-shm']) copyFileSync(`${databaseFile(lived)}${suffix}`, `${databaseFile(data)}${suffix}`);
      writeFileSync(databaseFile(data), broken);
      expect(() => restore(data, file, false, clock)).toThrow('--force replaces it');
      restore(data, file, true, clock);
      expect(check(data, clock)).toMatchObject({ problems: [], counts: { entries: 5 } });
    }
    await store.abandon();
  });

  it('is seen by a hub that opened the old file just before', async () => {
    const { data, file, store } = await backedUp();
    await store.close();
    const opening = SqliteStore.open(
      { ...defaults, data, node: 'unlucky' },
      {
        clock,
        log: silent,
        open: (path, options) => {
          const db = openDatabase(path, options);
          copyFileSync(file, `${path}.other`);
          renameSync(`${path}.other`, path);
          return db;
        },
      },
    );
    await expect(opening).rejects.toThrow('has just been restored');
  });
});
