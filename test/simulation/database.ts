/**
 * A real SQLite file for a simulated node: opened once for writing and once for reading, in a folder that is removed with it.
 * It is asked from the simulation's one thread, so it answers within the turn and a seed replays with it as without.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type FilledOptions, fillOptions } from '../../src/options.ts';
import { SqliteStore } from '../../src/persistence/sqlite.ts';
import { type Db, type OpenDatabase, openDatabase } from '../../src/persistence/sqlite-open.ts';
import { SqliteReader } from '../../src/persistence/sqlite-reader.ts';
import type { Store, StoreReader } from '../../src/persistence/store.ts';
import type { Clock } from '../../src/thread/clock.ts';

export class Database {
  readonly #folder: string;
  readonly #options: FilledOptions;
  readonly #clock: Clock;
  store: Store;
  reader: StoreReader;
  #lives = 1;

  private constructor(folder: string, options: FilledOptions, clock: Clock, store: Store) {
    this.#folder = folder;
    this.#options = options;
    this.#clock = clock;
    this.store = store;
    this.reader = new SqliteReader(folder);
  }

  static async open(now: number, options = fillOptions({ dev: true })): Promise<Database> {
    const folder = mkdtempSync(join(tmpdir(), 'hubbub-simulation-'));
    const clock = { now: () => now, tick: () => 0, random: () => 0.5 };
    return new Database(folder, options, clock, await openStore(folder, options, clock, 1));
  }

  /** The process ends and another begins: another life of the data. */
  async restart(now: number): Promise<string> {
    await this.reader.close();
    await this.store.close();
    this.store = await openStore(this.#folder, this.#options, { ...this.#clock, now: () => now }, ++this.#lives);
    this.reader = new SqliteReader(this.#folder);
    return this.store.epoch;
  }

  async remove(): Promise<void> {
    await this.reader.close();
    await this.store.close();
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

/** Durability is tested elsewhere; here nothing waits for a disk. */
async function openStore(data: string, options: FilledOptions, clock: Clock, life: number): Promise<SqliteStore> {
  const hurried: Db[] = [];
  const hurry: OpenDatabase = (file, how) => {
    const db = openDatabase(file, how);
    db.pragma('synchronous = off');
    hurried.push(db);
    return db;
  };
  const store = await SqliteStore.open(
    { ...options, data, durability: 'process', node: `life-${life}`, exclusive: false },
    { clock, log: () => {}, open: hurry },
  );
  for (const db of hurried) db.pragma('synchronous = off');
  return store;
}
