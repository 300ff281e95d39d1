/** A database of an earlier version: brought to the present one with the first start, whole, and not under a hub that lives. */
import { readFileSync } from 'node:fs';
import Database from 'better-sqlite3';
import { expect, it } from 'vitest';
import { SqliteStore } from '../src/persistence/sqlite.ts';
import { check } from '../src/persistence/sqlite-check.ts';
import { databaseFile, type OpenDatabase } from '../src/persistence/sqlite-open.ts';
import { SqliteReader } from '../src/persistence/sqlite-reader.ts';
import type { ReadQuery } from '../src/thread/messages.ts';
import { freshFolder, silent, steppedClock } from './sqlite-setup.ts';
import { connect, day, defaults, message } from './store-contract.ts';

/** After the last time in the file. */
const now = 1_752_678_400_020;
const mid = (last: string) => `01890000-0000-7000-8000-${last.padStart(12, '0')}`;
const user = (name: string) => ({ read: 'inbox', user: name, device: null, after: 0, limit: 10, bytesMax: 1_000_000 }) as const;

function fixture(name: string): string {
  return readFileSync(new URL(`./fixtures/${name}`, import.meta.url), 'utf8');
}

/** The data of a hub of version 1 that has stopped; `lives`: it still runs. */
function versionOne({ lives = false } = {}) {
  const data = freshFolder();
  const db = new Database(databaseFile(data));
  db.pragma('application_id = 0x48554242');
  db.pragma('user_version = 1');
  db.exec(fixture('version-1.sql'));
  if (lives) db.exec(`insert into nodes values ('old', 1, 'elsewhere', 1, 0, ${now}, ${now + 10_000})`);
  db.close();
  const clock = steppedClock(now);
  const options = { ...defaults, data, ledgerAgeMs: 60 * day };
  return { data, clock, open: () => SqliteStore.open(options, { clock, log: silent }) };
}

/** As versions 1 to 3 had the log. */
function withoutParts(db: Database.Database): void {
  db.exec('drop table parts; drop index entries_seq; create unique index entries_seq on entries (room, seq)');
}

it('what version 1 held of inboxes is the same afterwards: what waits, what was lost, and every state of the ledger', async () => {
  const { data, clock, open } = versionOne();
  const store = await open();
  const reader = new SqliteReader(data);
  const before = JSON.parse(fixture('version-1.json')) as { query: ReadQuery; reply: unknown }[];
  for (const { query, reply } of before) expect({ query, reply: await reader.read(query as never) }).toEqual({ query, reply });
  expect(check(data, clock).problems).toEqual([]);

  // And it goes on from there.
  await store.commit([connect('d', 9), { type: 'sent', user: 'd', through: 5 }, { type: 'ack', user: 'd', device: 'phone', through: 5 }], now);
  expect((await reader.read(user('d'))).items).toEqual([]);
  const { deliveries } = await reader.read({ read: 'delivery', room: 'dm:a:d', mid: mid('c'), user: null });
  expect(deliveries).toMatchObject([{ user: 'd', state: 'received', sentAt: 1_752_678_400_014, receivedAt: now }]);
  expect((await reader.read({ read: 'delivery', room: 'dm:a:b', mid: mid('1'), user: null })).deliveries).toHaveLength(1);
  while ((await store.maintain(now + 31 * day)).more);
  expect((await reader.read(user('a'))).items).toEqual([]);
  expect((await reader.read({ read: 'delivery', room: 'dm:a:b', mid: mid('1'), user: null })).deliveries).toEqual([]);
  expect(check(data, clock).problems).toEqual([]);
  await reader.close();
  await store.close();
});

it('H9 version 2 knew no single revoked token; afterwards one is refused', async () => {
  const data = freshFolder();
  const clock = steppedClock(now);
  const open = () => SqliteStore.open({ ...defaults, data }, { clock, log: silent });
  const before = await open();
  await before.commit([connect('a', 1), { type: 'revoke', user: 'b', disabled: true }], now);
  await before.close();
  const db = new Database(databaseFile(data));
  withoutParts(db);
  db.exec('drop table revoked_tokens');
  db.pragma('user_version = 2');
  db.close();
  const store = await open();
  await store.commit([{ type: 'revokeToken', user: 'a', jti: 'x', until: null }], now);
  const { outcomes } = await store.commit([connect('a', 2, { jti: 'x' }), connect('b', 3), connect('a', 4)], now);
  expect(outcomes).toMatchObject([{ code: 'revoked' }, { code: 'revoked' }, { code: 'connected' }]);
  expect(check(data, clock).problems).toEqual([]);
  await store.close();
});

it('version 3 knew no parts of the log; afterwards every entry is found through them', async () => {
  const data = freshFolder();
  const clock = steppedClock(now);
  const open = () => SqliteStore.open({ ...defaults, data }, { clock, log: silent });
  const before = await open();
  await before.commit([message('r', 'x'), message('s', 'x'), message('r', 'x')], now);
  await before.close();
  const db = new Database(databaseFile(data));
  db.exec('update entries set id = 20000 where id = 3');
  withoutParts(db);
  db.pragma('user_version = 3');
  db.close();
  const store = await open();
  expect((await store.commit([message('r', 'x'), message('s', 'x')], now)).outcomes).toEqual([3, 2]);
  const reader = new SqliteReader(data);
  const seqs = async (room: string) => {
    const { entries } = await reader.read({ read: 'entries', room, from: 1, to: 10, limit: 10, bytesMax: 1_000_000, kind: null, descending: false });
    return entries.map(({ seq }) => seq);
  };
  expect([await seqs('r'), await seqs('s')]).toEqual([
    [1, 2, 3],
    [1, 2],
  ]);
  expect(check(data, clock).problems).toEqual([]);
  await reader.close();
  await store.close();
});

it('what a migration sorts goes into files, and afterwards nothing does', async () => {
  const { data, clock } = versionOne();
  const ran: string[] = [];
  const open: OpenDatabase = (file, options) => new Database(file, { ...options, verbose: (sql) => ran.push(String(sql).toLowerCase()) });
  const store = await SqliteStore.open({ ...defaults, data }, { clock, log: silent, open });
  await store.close();
  const steps = ran.flatMap((sql) => /temp_store = \w+|create unique index entries_seq/.exec(sql)?.[0] ?? []);
  expect(steps.slice(-3)).toEqual(['temp_store = file', 'create unique index entries_seq', 'temp_store = memory']);
});

it('another node that lives, and would go on in the old way, is not disturbed', async () => {
  const { data, open } = versionOne({ lives: true });
  await expect(open()).rejects.toThrow('another hub');
  const db = new Database(databaseFile(data));
  expect(db.pragma('user_version', { simple: true })).toBe(1);
  expect(db.prepare('select count(*) from inbox where room = 1').pluck().get()).toBeGreaterThan(0);
  db.close();
});

it('a file that a newer hub took over while it was being opened keeps its version', async () => {
  const data = freshFolder();
  const clock = steppedClock(now);
  const before = await SqliteStore.open({ ...defaults, data }, { clock, log: silent });
  await before.close();
  const db = new Database(databaseFile(data));
  let looks = 0;
  const tick = () => {
    if (++looks === 2) db.pragma('user_version = 99'); // the file is open, and its transaction has not begun
    return 0;
  };
  await expect(SqliteStore.open({ ...defaults, data }, { clock: { ...clock, tick }, log: silent })).rejects.toThrow(
    'was written by a newer Hubbub (version 99',
  );
  expect(db.pragma('user_version', { simple: true })).toBe(99);
  db.close();
});

it('check says what to do with it', () => {
  const { data, clock } = versionOne();
  expect(() => check(data, clock)).toThrow('the next start of the hub brings it up to date');
});
