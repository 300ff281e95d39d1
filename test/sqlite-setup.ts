/** What tests of the SQLite store share: a folder for each database, a clock that a test steps, a store that is closed with its test. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { onTestFinished } from 'vitest';
import { SqliteStore } from '../src/persistence/sqlite.ts';
import { type Db, databaseFile, type OpenDatabase, openDatabase } from '../src/persistence/sqlite-open.ts';
import type { StoreOptions } from '../src/persistence/store.ts';
import type { Clock } from '../src/thread/clock.ts';
import type { Log } from '../src/thread/log.ts';
import { defaults, startTs } from './store-contract.ts';

/** `perLook` is added to `monotonic` by every look at it. */
export type SteppedClock = Clock & { wall: number; monotonic: number; perLook: number };

export function steppedClock(wall: number): SteppedClock {
  return {
    wall,
    monotonic: 0,
    perLook: 0,
    now() {
      return this.wall;
    },
    tick() {
      this.monotonic += this.perLook;
      return this.monotonic;
    },
    random: () => 0.5,
  };
}

/** Removed when the test is over. */
export function freshFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'hubbub-store-'));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

export const silent: Log = () => {};

/** A store that is closed with the test, its clock, and an outsider's connection to its file. */
export async function openedStore(rest: Partial<StoreOptions> & { open?: OpenDatabase } = {}) {
  const { open, ...overrides } = rest;
  const clock = steppedClock(startTs);
  const options = { ...defaults, data: freshFolder(), ...overrides };
  const lines: string[] = [];
  const parts = { clock, log: (_level: string, line: string) => lines.push(line), ...(open === undefined ? {} : { open }) };
  const store = await SqliteStore.open(options, parts);
  onTestFinished(() => store.close());
  return { store, clock, options, parts, lines, outsider: (): Db => outsiderOf(options.data) };
}

export function outsiderOf(data: string): Db {
  const db = openDatabase(databaseFile(data), { timeout: 0 });
  onTestFinished(() => {
    db.close();
  });
  return db;
}

/** Ids in a part of the log, as in schema.sql. */
const partIds = 16_384;

/** Stores an entry of a room of its own where so many ids of a part are left after it: instead of thousands that are written one by one. */
export function nearBorder(db: Db, left: number): void {
  const last = db.prepare('select coalesce(max(id), 0) from entries').pluck().get() as number;
  const id = (Math.floor((last + left + 1) / partIds) + 1) * partIds - left - 1;
  db.prepare('insert into rooms (name, head_seq) values (?, 1)').run(`border-${id}`);
  db.prepare('insert into entries (id, room, seq, kind, ts) select ?, id, 1, 0, 0 from rooms where name = ?').run(id, `border-${id}`);
  db.prepare('insert into parts (room, first, part) select id, 1, ? from rooms where name = ?').run(Math.floor(id / partIds), `border-${id}`);
}

/** A connection whose commits, or whatever `which` is, fail with the code that `fails` names. */
export function failingCommits(db: Db, fails: () => string | null, connections: Db[] = [], which = 'commit'): Db {
  connections.push(db);
  const prepare = db.prepare.bind(db);
  db.prepare = ((sql: string) => {
    const statement = prepare(sql);
    if (sql !== which) return statement;
    const run = () => {
      const code = fails();
      if (code !== null) throw new Database.SqliteError('failed', code);
      return statement.run();
    };
    return { run };
  }) as typeof db.prepare;
  return db;
}
