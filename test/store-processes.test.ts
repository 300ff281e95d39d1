/** Several processes on one SQLite file: locks, seqs, leases, succession, and what a dead one leaves behind. */
import { describe, expect, it } from 'vitest';
import { SqliteStore } from '../src/persistence/sqlite.ts';
import { check } from '../src/persistence/sqlite-check.ts';
import { openDatabase, SupersededError } from '../src/persistence/sqlite-open.ts';
import { SqliteReader } from '../src/persistence/sqlite-reader.ts';
import { failingCommits, nearBorder, openedStore } from './sqlite-setup.ts';
import { connect, defaults, direct, message, startTs } from './store-contract.ts';

describe('a lock of another process', () => {
  it('is waited out without blocking', async () => {
    const { store, outsider } = await openedStore();
    const other = outsider();
    other.exec('begin immediate');
    const committed = store.commit([message('r', 'x')], startTs);
    setImmediate(() => other.exec('commit')); // an event loop that was blocked would not come here
    expect(await committed).toMatchObject({ outcomes: [1] });
    expect(store.waits).toBeGreaterThan(0);
  });

  it('that stays is an error for each operation, and over when the lock is', async () => {
    const { store, clock, outsider } = await openedStore();
    const other = outsider();
    other.exec('begin immediate');
    clock.perLook = 500;
    const storage = { code: 'storage', message: 'the database is locked by another process' };
    expect(await store.commit([message('r', 'x'), connect('a', 1)], startTs)).toEqual({ ts: startTs, outcomes: [storage, storage], notices: [] });
    other.exec('commit');
    expect((await store.commit([message('r', 'x')], startTs)).outcomes).toEqual([1]);
  });
});

describe('another process that writes', () => {
  it('is seen: seqs and authority go on from what it wrote', async () => {
    const { store, options, parts } = await openedStore();
    const other = await SqliteStore.open({ ...options, node: 'other' }, parts);
    expect(other.epoch).toBe(store.epoch);
    for (const one of [store, other, other, store]) await one.commit([message('r', 'x')], startTs);
    expect((await store.commit([message('r', 'x')], startTs)).outcomes).toEqual([5]);
    await other.close();
    expect((await store.commit([message('r', 'x')], startTs)).outcomes).toEqual([6]);
  });

  it('is seen where no index would forbid what was known before: over the border of a part, and in the counters of an inbox', async () => {
    const { store, options, parts, clock, outsider } = await openedStore();
    const other = await SqliteStore.open({ ...options, node: 'other' }, parts);
    await store.commit([message('r', 'x'), connect('b', 1), direct('a', 'b'), direct('a', 'b')], startTs);
    await other.commit([message('r', 'x'), { type: 'ack', user: 'b', device: 'phone', through: 2 }], startTs);
    nearBorder(outsider(), 0);
    const { outcomes, notices } = await store.commit([message('r', 'x'), direct('a', 'b')], startTs);
    expect(outcomes).toEqual([3, { code: 'ok', seq: 3 }]);
    expect(notices).toMatchObject([{ user: 'b', n: 3 }]);
    expect(check(options.data, clock).problems).toEqual([]);
    await other.close();
  });

  it('victims on another node are told by that node', async () => {
    const { store, options, parts } = await openedStore();
    const other = await SqliteStore.open({ ...options, node: 'other' }, parts);
    const limited = { perUserMax: 1, policy: 'evict-oldest' } as const;
    await other.commit([connect('a', 1, limited)], startTs);
    expect((await store.commit([connect('a', 1, limited)], startTs)).outcomes).toMatchObject([{ victims: [] }]);
    expect((await other.commit([connect('a', 1, limited)], startTs)).outcomes).toMatchObject([{ victims: [{ connection: 1, close: 'evicted' }] }]);
    await other.close();
  });

  it('a node that wants the folder for itself is refused while another lives, by name, and let in when that one has left', async () => {
    const { store, options, parts } = await openedStore();
    const alone = { ...options, node: 'alone', exclusive: true };
    await expect(SqliteStore.open(alone, parts)).rejects.toThrow(new RegExp(`another hub \\(process ${process.pid} on .+\\) uses .+ its claim ends in \\d+ s`));
    await store.close();
    const opened = await SqliteStore.open(alone, parts);
    await opened.close();
  });

  it('whose lease ran out is swept, with its connections', async () => {
    const { store, outsider } = await openedStore();
    const db = outsider();
    db.prepare("insert into nodes values ('dead', 0, 'elsewhere', 1, 0, ?, ?)").run(startTs, startTs + 15_000);
    await store.commit([connect('a', 1), connect('b', 2)], startTs);
    db.exec("update connections set node = 'dead' where connection = 1");
    await store.maintain(startTs + 14_000);
    expect(db.prepare('select count(*) from connections').pluck().get()).toBe(2);
    await store.maintain(startTs + 20_000);
    expect(db.prepare('select node, connection from connections').all()).toEqual([{ node: defaults.node, connection: 2 }]);
    expect(db.prepare('select status from presence order by user').pluck().all()).toEqual([2, 0]);
  });

  describe('finds a hub that lives', () => {
    const refused = async ({ options, parts }: Awaited<ReturnType<typeof openedStore>>) =>
      await expect(SqliteStore.open({ ...options, node: 'alone', exclusive: true }, parts)).rejects.toThrow('another hub');

    it('whose clock went back', async () => {
      const opened = await openedStore();
      const { store, clock } = opened;
      clock.wall -= 60_000;
      await store.maintain(clock.wall);
      await refused(opened);
    });

    it('whose connection to the file was opened anew', async () => {
      let fails = false;
      const opened = await openedStore({ open: (file, rest) => failingCommits(openDatabase(file, rest), () => (fails ? 'SQLITE_IOERR_FSYNC' : null)) });
      const { store, clock } = opened;
      clock.wall += 14_000;
      fails = true;
      expect((await store.commit([message('r', 'x')], clock.wall)).outcomes).toMatchObject([{ code: 'storage' }]);
      fails = false;
      await store.maintain(clock.wall);
      clock.wall += 14_000;
      await refused(opened);
    });

    it('that was taken for dead, and whose next commit failed', async () => {
      let fails = false;
      const opened = await openedStore({ open: (file, rest) => failingCommits(openDatabase(file, rest), () => (fails ? 'SQLITE_CONSTRAINT' : null)) });
      const { store, clock, outsider } = opened;
      await store.maintain(clock.wall);
      outsider().exec('delete from nodes');
      fails = true;
      expect((await store.commit([message('r', 'x')], clock.wall)).outcomes).toMatchObject([{ code: 'storage' }]);
      fails = false;
      await store.maintain(clock.wall);
      await refused(opened);
    });
  });

  it('a second writer of the same node ends the first for good, in the same epoch and with its connections', async () => {
    const { store, options, parts } = await openedStore();
    await store.commit([connect('a', 1, { perUserMax: 1 })], startTs);
    const successor = await SqliteStore.open(options, parts);
    expect(successor.epoch).toBe(store.epoch);
    await expect(store.commit([message('r', 'x')], startTs)).rejects.toThrow(SupersededError);
    await expect(store.maintain(startTs)).rejects.toThrow('another writer of this node has taken over');
    expect((await successor.commit([message('r', 'x'), connect('a', 2, { perUserMax: 1 })], startTs)).outcomes).toEqual([1, { code: 'rejected' }]);
    await successor.close();
  });

  it('that died without goodbye is found dead by its process: a new epoch, and nobody is left', async () => {
    const { store, options, parts, outsider } = await openedStore();
    await store.commit([connect('a', 1)], startTs);
    store.abandon();
    outsider().prepare('update nodes set process = 1').run(); // an earlier process that had this one's pid
    const next = await SqliteStore.open({ ...options, node: 'next' }, parts);
    expect(next.epoch).not.toBe(store.epoch);
    const reader = new SqliteReader(options.data);
    expect(await reader.read({ read: 'presence', users: ['a'] })).toEqual({ users: [{ user: 'a', status: 'offline', lastSeen: startTs }] });
    await reader.close();
    await next.close();
  });
});
