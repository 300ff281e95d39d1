/**
 * Opens the database file: for writing (creating it if need be) or for reading. Owns the file's name, its pragmas, its
 * version and the sentences a person reads when it cannot be used. Never keeps a connection that it did not hand out.
 */
import { accessSync, closeSync, constants, existsSync, mkdirSync, openSync, readFileSync, statSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import Database from 'better-sqlite3';
import type { StoreOptions } from './store.ts';

export type Db = Database.Database;

/** Why the store cannot be used, as one sentence for people. */
export class StoreError extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'StoreError';
  }
}

/** This writer's time is over: nothing it does is stored any more. */
export class SupersededError extends StoreError {}

/** What tests replace. `timeout`: ms a native call may wait for a lock. */
export type OpenDatabase = (file: string, options: { readonly?: boolean; fileMustExist?: boolean; timeout: number }) => Db;
export const openDatabase: OpenDatabase = (file, options) => new Database(file, options);

/** 'HUBB': in the file's header, so that a stranger's database is not taken for ours. */
const applicationId = 0x48554242;
/** Raised with every change of schema.sql; `migrate` then takes a file of the version before to it. */
export const schemaVersion = 4;
/** Older ones can corrupt a WAL that two connections use. */
const sqliteMin = '3.51.3';
const synchronous = { 'power-loss': 2, process: 1 } as const;
/** 16 MiB: large enough that commits seldom pay for it, small enough that one takes some 10 ms. */
const checkpointPages = 4_096;
/** Holds what commits change over and over. No larger: SQLite looks through all of it at the end of a commit that split pages out of order. */
const cacheKiB = 16_384;
/** Cut back to it whenever it is begun anew. */
export const walBytesMax = 64 * 1024 * 1024;
/** A reader may wait: nobody's commit waits for it. */
const readerTimeoutMs = 1_000;

export function databaseFile(data: string): string {
  return join(data, 'hubbub.db');
}

/** Opens for writing; a file of an earlier version is left as it is. Throws a `StoreError`, or an error of SQLite (`isBusy`) where another process holds the lock just now. */
export function openForWriting(options: Pick<StoreOptions, 'data' | 'durability'>, open: OpenDatabase = openDatabase): Db {
  const file = databaseFile(options.data);
  prepareFolder(options.data);
  return guarded(
    file,
    () => {
      makeFile(file);
      return open(file, { timeout: 0 });
    },
    (db) => {
      checkOwner(db, file);
      db.pragma('journal_mode = WAL');
      db.pragma(`synchronous = ${synchronous[options.durability]}`);
      // better-sqlite3 compiles WAL with NORMAL, which loses acknowledged commits at a power cut; so what is in force is read back.
      const mode = db.pragma('journal_mode', { simple: true });
      const level = db.pragma('synchronous', { simple: true });
      if (mode !== 'wal') throw new StoreError(`the database ${file} cannot be switched to write-ahead logging: its file system does not support it`);
      if (level !== synchronous[options.durability]) throw new StoreError(`the database ${file} does not accept durability ${options.durability}`);
      db.pragma(`wal_autocheckpoint = ${checkpointPages}`);
      db.pragma(`journal_size_limit = ${walBytesMax}`);
      db.pragma(`cache_size = -${cacheKiB}`);
      db.pragma('temp_store = memory');
      createSchema(db);
    },
  );
}

/** Opens for reading what a writer has created. */
export function openForReading(data: string, open: OpenDatabase = openDatabase): Db {
  return openExisting(databaseFile(data), { readonly: true, timeout: readerTimeoutMs }, open, (db) => {
    db.pragma('cache_size = -32768');
    db.pragma('temp_store = memory');
  });
}

/** Opens a file that must be a database of ours, whatever it is called; sets nothing up in it. */
export function openExisting(
  file: string,
  options: { readonly: boolean; timeout: number },
  open: OpenDatabase = openDatabase,
  prepare: (db: Db) => void = () => {},
): Db {
  return guarded(
    file,
    () => open(file, { ...options, fileMustExist: true }),
    (db) => {
      checkOwner(db, file);
      if (db.pragma('user_version', { simple: true }) === 0) throw new StoreError(`the database ${file} has not been set up yet`);
      prepare(db);
    },
  );
}

/** Tells one file from another that took its place; null where there is none. */
export function identityOf(file: string): string | null {
  try {
    const { dev, ino } = statSync(file, { bigint: true });
    return `${dev}:${ino}`;
  } catch {
    return null; // why it cannot be used, opening it will say
  }
}

/** What a file of this version holds. */
export function schemaText(): string {
  return readFileSync(new URL('../../schema.sql', import.meta.url), 'utf8');
}

/** Whether another connection holds the lock: to be tried again. */
export function isBusy(error: unknown): boolean {
  return codeOf(error).startsWith('SQLITE_BUSY');
}

/** Whether an error is about the file, its disk or its locks, and so about the whole batch; else it is about one statement. */
export function isAboutFile(error: unknown): boolean {
  return /^SQLITE_(?:BUSY|LOCKED|FULL|IOERR|READONLY|CANTOPEN|CORRUPT|NOTADB|NOMEM|PROTOCOL|PERM|AUTH|INTERRUPT)/.test(codeOf(error));
}

export function codeOf(error: unknown): string {
  return error instanceof Database.SqliteError ? error.code : '';
}

export function prepareFolder(data: string): void {
  try {
    makeFolder(resolve(data));
    accessSync(data, constants.R_OK | constants.W_OK | constants.X_OK);
  } catch (error) {
    throw new StoreError(`the data folder ${data} cannot be used: ${reasonOf(error)}`, { cause: error });
  }
}

/** Folder by folder: Node's own recursion never ends where a parent exists and takes no folders (/proc). Nobody else reads what lies in it. */
function makeFolder(path: string): void {
  const found = statSync(path, { throwIfNoEntry: false });
  if (found?.isDirectory()) return;
  if (found !== undefined) throw Object.assign(new Error('not a folder'), { code: 'ENOTDIR' });
  makeFolder(dirname(path));
  try {
    mkdirSync(path, { mode: 0o700 });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error; // another process made it meanwhile
  }
}

/** Of its owner alone, also in a folder that others may look into: SQLite would let everybody read it. Its logs take the same mode. */
function makeFile(file: string): void {
  if (existsSync(file)) return;
  try {
    closeSync(openSync(file, 'wx', 0o600));
  } catch {
    // another process made it meanwhile, or SQLite says why it cannot be made
  }
}

/** Opens, prepares, and on failure closes again and says what is wrong. */
function guarded(file: string, open: () => Db, prepare: (db: Db) => void): Db {
  let db: Db | undefined;
  try {
    db = open();
    checkLibrary(db);
    prepare(db);
    return db;
  } catch (error) {
    db?.close();
    if (error instanceof StoreError || isBusy(error)) throw error;
    throw new StoreError(`the database ${file} cannot be opened: ${reasonOf(error)}`, { cause: error });
  }
}

function checkLibrary(db: Db): void {
  const version = String(db.prepare('select sqlite_version()').pluck().get());
  const parts = version.split('.').map(Number);
  const wanted = sqliteMin.split('.').map(Number);
  const differing = wanted.findIndex((part, i) => part !== (parts[i] ?? 0));
  if (differing >= 0 && (parts[differing] ?? 0) < (wanted[differing] ?? 0))
    throw new StoreError(`SQLite ${version} is too old: ${sqliteMin} is needed; reinstall better-sqlite3`);
}

/** Again in the transaction that changes it: another process may have come in between. */
export function checkOwner(db: Db, file: string): void {
  const version = Number(db.pragma('user_version', { simple: true }));
  const empty = db.prepare('select count(*) from sqlite_schema').pluck().get() === 0;
  if (!empty && db.pragma('application_id', { simple: true }) !== applicationId) throw new StoreError(`the database ${file} is not one of Hubbub's`);
  if (version > schemaVersion)
    throw new StoreError(`the database ${file} was written by a newer Hubbub (version ${version} of the data, ${schemaVersion} is known here)`);
}

/** One transaction, repeated harmlessly: of two processes that open a new file at once, the second finds it done. */
function createSchema(db: Db): void {
  db.transaction(() => {
    if (db.pragma('user_version', { simple: true }) !== 0) return;
    db.exec(schemaText());
    db.pragma(`application_id = ${applicationId}`);
    db.pragma(`user_version = ${schemaVersion}`);
  }).immediate();
}

/** What is wrong with a file, for the end of a sentence. */
export function reasonOf(error: unknown): string {
  const code = codeOf(error) || (error as NodeJS.ErrnoException | null)?.code || '';
  switch (code) {
    case 'SQLITE_NOTADB':
      return 'it is not a database';
    case 'SQLITE_CORRUPT':
      return 'it is damaged; restore a backup';
    case 'SQLITE_CANTOPEN':
      return 'the file is missing or may not be opened';
    case 'ENOENT':
      return 'it does not exist';
    case 'SQLITE_READONLY':
    case 'SQLITE_READONLY_DBMOVED':
    case 'SQLITE_READONLY_DIRECTORY':
    case 'EROFS':
      return 'it is read-only';
    case 'SQLITE_FULL':
    case 'ENOSPC':
      return 'the disk is full';
    case 'EACCES':
    case 'EPERM':
      return 'permission denied';
    case 'ENOTDIR':
    case 'EEXIST':
      return 'it is not a folder';
    default:
      return error instanceof Error ? error.message : String(error);
  }
}
