/** SQLite keeps the store's contract, and what can go wrong with a file: full disks, failed commits, bad files. */
import { chmodSync, mkdirSync, readdirSync, readFileSync, renameSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { describe, expect, it } from 'vitest';
import { SqliteStore } from '../src/persistence/sqlite.ts';
import { databaseFile, type OpenDatabase, openDatabase, openForWriting, StoreError } from '../src/persistence/sqlite-open.ts';
import { SqliteReader } from '../src/persistence/sqlite-reader.ts';
import { failingCommits, freshFolder, openedStore, outsiderOf, silent, steppedClock } from './sqlite-setup.ts';
import { defaults, direct, message, mid, startTs, storeContract } from './store-contract.ts';

storeContract('SQLite', async (given) => {
  const clock = steppedClock(startTs);
  const options = { ...given, data: freshFolder() };
  const open = async (node: string) => ({
    store: await SqliteStore.open({ ...options, node }, { clock, log: silent }),
    reader: new SqliteReader(options.data),
  });
  const { store, reader } = await open('first');
  return {
    store,
    reader,
    reopen: async () => {
      await reader.close();
      await store.close();
      return open('second');
    },
  };
});

describe('the files', () => {
  it('are read by nobody else, also in a folder that everybody may look into', async () => {
    const data = freshFolder();
    chmodSync(data, 0o755);
    const clock = steppedClock(startTs);
    const store = await SqliteStore.open({ ...defaults, data, node: 'n' }, { clock, log: silent });
    await store.commit([message('r', 'a')], startTs);
    const files = readdirSync(data);
    expect(files).toContain('hubbub.db-wal');
    expect(files.map((file) => [file, statSync(join(data, file)).mode & 0o077])).toEqual(files.map((file) => [file, 0]));
    await store.close();
  });
});

describe('durability', () => {
  it.each([
    ['power-loss', 2],
    ['process', 1],
  ] as const)('%s is synchronous level %i in WAL, whatever the library was built with', (durability, level) => {
    const db = openForWriting({ data: freshFolder(), durability });
    expect([db.pragma('synchronous', { simple: true }), db.pragma('journal_mode', { simple: true })]).toEqual([level, 'wal']);
    db.close();
  });

  it('what was answered is read by a connection of its own, before the writer closes', async () => {
    const { store, options } = await openedStore();
    await store.commit([message('r', 'x')], startTs);
    const reader = new SqliteReader(options.data);
    expect((await reader.read({ read: 'room', room: 'r' })).headSeq).toBe(1);
    await store.commit([message('r', 'x')], startTs);
    expect((await reader.read({ read: 'room', room: 'r' })).headSeq).toBe(2);
    await reader.close();
  });
});

describe('a failing disk', () => {
  it('a full one refuses the batch whole, and writing goes on when there is room', async () => {
    let db: Database.Database | undefined;
    const { store, options } = await openedStore({
      open: (file, rest) => {
        db = openDatabase(file, rest);
        return db;
      },
    });
    await store.commit([message('r', 'x')], startTs);
    const pages = Number(db?.pragma('page_count', { simple: true }));
    db?.pragma(`max_page_count = ${pages + 2}`);
    const large = message('r', 'x', { body: JSON.stringify('x'.repeat(60_000)) });
    const full = { code: 'storage', message: 'the disk is full' };
    expect((await store.commit([message('r', 'x', { mid: mid(1) }), large], startTs)).outcomes).toEqual([full, full]);
    expect((await store.commit([message('r', 'x', { mid: mid(1) })], startTs)).outcomes).toEqual([2]);
    db?.pragma('max_page_count = 1000000');
    expect((await store.commit([large], startTs)).outcomes).toEqual([3]);
    const reader = new SqliteReader(options.data);
    expect((await reader.read({ read: 'room', room: 'r' })).headSeq).toBe(3);
    await reader.close();
  });

  it.each([
    ['SQLITE_IOERR_FSYNC', 'the disk reported an error'],
    ['SQLITE_FULL', 'the disk is full'],
  ])('after a commit that failed with %s the file is opened anew, before the batch is answered', async (code, text) => {
    const connections: Database.Database[] = [];
    let failing = false;
    const { store } = await openedStore({ open: (file, rest) => failingCommits(openDatabase(file, rest), () => (failing ? code : null), connections) });
    await store.commit([message('r', 'x')], startTs);
    failing = true;
    const refused = store.commit([message('r', 'x')], startTs);
    expect((await refused).outcomes).toEqual([{ code: 'storage', message: text }]);
    expect(connections.map((db) => db.open)).toEqual([false, true]);
    failing = false;
    expect((await store.commit([message('r', 'x')], startTs)).outcomes).toEqual([2]);
  });

  it('a file that cannot be opened again refuses batches until it can', async () => {
    let state: 'sound' | 'failing' | 'gone' = 'sound';
    const { store } = await openedStore({
      open: (file, rest) => {
        if (state === 'gone') throw new Database.SqliteError('gone', 'SQLITE_IOERR');
        const fails = () => {
          if (state === 'sound') return null;
          state = 'gone';
          return 'SQLITE_IOERR_FSYNC';
        };
        return failingCommits(openDatabase(file, rest), fails, []);
      },
    });
    state = 'failing';
    expect((await store.commit([message('r', 'x')], startTs)).outcomes).toMatchObject([{ code: 'storage' }]);
    expect((await store.commit([message('r', 'x')], startTs)).outcomes).toMatchObject([{ code: 'storage' }]);
    expect(await store.maintain(startTs)).toEqual({ notices: [], more: false });
    state = 'sound';
    expect((await store.commit([message('r', 'x')], startTs)).outcomes).toEqual([1]);
  });

  it('a file that is gone when it is opened again refuses batches until it is back: no empty one takes its place', async () => {
    let fails = false;
    const { store, options } = await openedStore({
      open: (file, rest) => failingCommits(openDatabase(file, rest), () => (fails ? 'SQLITE_IOERR_FSYNC' : null)),
    });
    await store.commit([message('r', 'x')], startTs);
    const names = readdirSync(options.data);
    const elsewhere = freshFolder();
    for (const name of names) renameSync(join(options.data, name), join(elsewhere, name));
    fails = true;
    expect((await store.commit([message('r', 'x')], startTs)).outcomes).toMatchObject([{ code: 'storage' }]);
    fails = false;
    expect((await store.commit([message('r', 'x')], startTs)).outcomes).toEqual([{ code: 'storage', message: 'the database file is gone' }]);
    for (const name of readdirSync(elsewhere)) renameSync(join(elsewhere, name), join(options.data, name));
    expect((await store.commit([message('r', 'x')], startTs)).outcomes).toEqual([2]);
  });

  it('upkeep that fails is logged and left for the next time', async () => {
    const { store, clock, lines, outsider } = await openedStore();
    const other = outsider();
    other.exec('begin immediate');
    clock.perLook = 500;
    expect(await store.maintain(startTs)).toMatchObject({ notices: [] });
    expect(lines).toContain('upkeep of the database failed');
    other.exec('commit');
  });
});

it('an operation that fails unexpectedly takes back only itself, with all it had written and would have told', async () => {
  const { store, outsider } = await openedStore();
  outsider().exec("create trigger t before insert on inbox when new.n = 2 begin select raise(abort, 'no second'); end");
  await store.commit([direct('a', 'c')], startTs);
  const both = { ...direct('a', 'b'), room: 'r', autoCreate: 'public' as const, inbox: ['b', 'c'] };
  const { outcomes, notices } = await store.commit([message('r', 'x'), both, message('r', 'x'), direct('a', 'd')], startTs);
  expect(outcomes).toEqual([1, { code: 'storage', message: 'no second' }, 2, { code: 'ok', seq: 1 }]);
  expect(notices).toMatchObject([{ user: 'd', n: 1 }]);
  expect((await store.commit([direct('a', 'b')], startTs)).notices).toMatchObject([{ user: 'b', n: 1 }]);
});

it('a disk that fails while operations are carried out one by one refuses them all', async () => {
  const codes = ['SQLITE_IOERR_WRITE'];
  const { store, outsider } = await openedStore({
    open: (file, rest) => failingCommits(openDatabase(file, rest), () => codes.shift() ?? null, [], 'release one'),
  });
  outsider().exec("create trigger t before insert on inbox when new.n = 1 begin select raise(abort, 'not this one'); end");
  const storage = { code: 'storage', message: 'the disk reported an error' };
  expect((await store.commit([message('r', 'x'), direct('a', 'b'), message('r', 'x')], startTs)).outcomes).toEqual([storage, storage, storage]);
  expect((await store.commit([message('r', 'x')], startTs)).outcomes).toEqual([1]);
});

it.each(['batch', 'operation'])('users and rooms that were new in what was taken back (%s) are not taken for those that came next', async (taken) => {
  let fails = false;
  const { store, options, outsider } = await openedStore({
    open: (file, rest) => failingCommits(openDatabase(file, rest), () => (fails ? 'SQLITE_CONSTRAINT' : null)),
  });
  if (taken === 'operation') outsider().exec("create trigger t before insert on inbox when new.bytes = 3 begin select raise(abort, 'not this one'); end");
  fails = taken === 'batch';
  expect((await store.commit([direct('a', 'b', { body: '"x"' })], startTs)).outcomes).toMatchObject([{ code: 'storage' }]);
  fails = false;
  await store.commit([direct('c', 'd'), direct('b', 'a', { device: 'b-phone' })], startTs);
  const reader = new SqliteReader(options.data);
  for (const [room, from, to] of [
    ['dm:c:d', 'c', 'd'],
    ['dm:a:b', 'b', 'a'],
  ] as const) {
    const { entries } = await reader.read({ read: 'entries', room, from: 1, to: 9, limit: 9, bytesMax: 1_000, kind: null, descending: false });
    expect(entries).toMatchObject([{ room, seq: 1, from }]);
    expect(await reader.read({ read: 'inbox', user: to, device: null, after: 0, limit: 9, bytesMax: 1_000 })).toMatchObject({
      items: [{ n: 1, entry: { room, from } }],
    });
  }
  await reader.close();
});

describe('opening', () => {
  const sentence = async (data: string) => {
    const error = await SqliteStore.open({ ...defaults, data }, { clock: steppedClock(startTs), log: silent }).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(StoreError);
    const { message: text } = error as StoreError;
    expect(text).not.toContain('\n');
    return text;
  };

  it('says in a sentence what is wrong with the folder or the file', async () => {
    const folder = freshFolder();
    writeFileSync(join(folder, 'file'), 'x');
    expect(await sentence(join(folder, 'file'))).toBe(`the data folder ${join(folder, 'file')} cannot be used: it is not a folder`);

    const garbage = freshFolder();
    writeFileSync(databaseFile(garbage), 'x'.repeat(10_000));
    expect(await sentence(garbage)).toBe(`the database ${databaseFile(garbage)} cannot be opened: it is not a database`);

    const foreign = freshFolder();
    outsiderOf(foreign).exec('create table t (x)');
    expect(await sentence(foreign)).toBe(`the database ${databaseFile(foreign)} is not one of Hubbub's`);

    const occupied = freshFolder();
    mkdirSync(databaseFile(occupied));
    expect(await sentence(occupied)).toBe(`the database ${databaseFile(occupied)} cannot be opened: the file is missing or may not be opened`);
  });

  it('refuses data of a newer version and leaves it as it is', async () => {
    const { store, options, outsider } = await openedStore();
    await store.close();
    const db = outsider();
    db.pragma('user_version = 99');
    db.pragma('wal_checkpoint(truncate)');
    const before = readFileSync(databaseFile(options.data));
    expect(await sentence(options.data)).toMatch(/was written by a newer Hubbub \(version 99 of the data/);
    expect(readFileSync(databaseFile(options.data)).equals(before)).toBe(true);
  });

  it('refuses an SQLite with the WAL-reset fault', async () => {
    const old: OpenDatabase = (file, rest) => {
      const db = openDatabase(file, rest);
      const prepare = db.prepare.bind(db);
      db.prepare = ((sql: string) => prepare(sql.replace('sqlite_version()', "'3.51.2'"))) as typeof db.prepare;
      return db;
    };
    const opening = SqliteStore.open({ ...defaults, data: freshFolder() }, { clock: steppedClock(startTs), log: silent, open: old });
    await expect(opening).rejects.toThrow('SQLite 3.51.2 is too old: 3.51.3 is needed; reinstall better-sqlite3');
  });

  it('a reader does not create what is not there', () => {
    expect(() => new SqliteReader(freshFolder())).toThrow('the file is missing or may not be opened');
  });

  it('a closed store refuses, and closing again is nothing', async () => {
    const { store } = await openedStore();
    await store.close();
    await store.close();
    await expect(store.commit([], startTs)).rejects.toThrow('the store is closed');
  });
});
