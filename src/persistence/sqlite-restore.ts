/**
 * Takes the data back to a backup, or tells it that this was done by other means: both begin an epoch, so that clients which
 * saw what is gone are told (DESIGN 11.1). Called by the operator's commands; never while a hub lives on the data.
 */
import { chmodSync, chownSync, constants, copyFileSync, existsSync, renameSync, rmSync, statSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import type { Clock } from '../thread/clock.ts';
import { nameNew, syncFile, syncFolder } from './sqlite-backup.ts';
import { beginEpoch, livingNodes, type NodeRow, sweepAll } from './sqlite-node.ts';
import { codeOf, type Db, databaseFile, isBusy, openExisting, prepareFolder, reasonOf, StoreError } from './sqlite-open.ts';

/** `lastTs`: when the last entry of the backup was written. */
export type RestoreResult = { bytes: number; entries: number; lastTs: number | null; epoch: string };
type EpochRow = { id: number; name: string; first: number; started: number };

/** `force`: what is in the data folder may be replaced. */
export function restore(data: string, file: string, force: boolean, clock: Clock): RestoreResult {
  const target = databaseFile(data);
  const copied = `${target}.restoring`;
  try {
    prepareFolder(data);
    const later = refuseUnlessFree(data, force, clock);
    takeCopy(file, copied, target);
    const result = prepare(copied, file, later, clock);
    putInPlace(data, copied, target, force, clock);
    return result;
  } catch (error) {
    if (error instanceof StoreError) throw error;
    if (isBusy(error)) throw new StoreError(`another program has the database in ${data} open: stop it first`, { cause: error });
    throw new StoreError(`${file} cannot be restored to ${data}: ${reasonOf(error)}`, { cause: error });
  } finally {
    for (const suffix of ['', '-journal', '-wal', '-shm']) rmSync(`${copied}${suffix}`, { force: true });
  }
}

/** Begins an epoch on data that was changed by other means; returns its name. */
export function bumpEpoch(data: string, clock: Clock): string {
  try {
    const db = openExisting(databaseFile(data), { readonly: false, timeout: 0 });
    try {
      refuseLiving(livingNodes(db, clock.now()), data, clock); // a busy one would not let the transaction begin
      return db
        .transaction(() => {
          refuseLiving(livingNodes(db, clock.now()), data, clock);
          return beginEpoch(db, clock.now());
        })
        .immediate();
    } finally {
      db.close();
    }
  } catch (error) {
    if (error instanceof StoreError) throw error;
    throw new StoreError(`the database in ${data} cannot be used: ${isBusy(error) ? 'another program is writing to it' : reasonOf(error)}`, { cause: error });
  }
}

/** Before anything is copied. Returns the epochs of what is to be replaced, where it can be read. */
function refuseUnlessFree(data: string, force: boolean, clock: Clock): EpochRow[] {
  const target = databaseFile(data);
  if (!existsSync(target)) return [];
  const epochs = readable(data, (db) => {
    refuseLiving(livingNodes(db, clock.now()), data, clock);
    return epochsOf(db);
  });
  if (!force) throw new StoreError(`there is data in ${data}: --force replaces it (hubbub backup keeps a copy)`);
  return epochs ?? [];
}

function refuseLiving(nodes: readonly NodeRow[], data: string, clock: Clock): void {
  const [node] = nodes;
  if (node === undefined) return;
  const seconds = Math.ceil((node.leaseUntil - clock.now()) / 1_000);
  throw new StoreError(
    `a hub is running on ${data} (process ${node.pid} on ${node.host}): stop it first (if that machine is gone, this can be done in ${seconds} s)`,
  );
}

function takeCopy(file: string, copied: string, target: string): void {
  const wal = statSync(`${resolve(file)}-wal`, { throwIfNoEntry: false });
  if (wal !== undefined && wal.size > 0)
    throw new StoreError(`${file} has a write-ahead log beside it, so it is no backup: make one with hubbub backup --data ${dirname(file)}`);
  if (statSync(file).isDirectory()) throw new StoreError(`${file} is a folder: give the file that hubbub backup wrote`);
  rmSync(copied, { force: true });
  copyFileSync(file, copied, constants.COPYFILE_EXCL | constants.COPYFILE_FICLONE);
  const there = existsSync(target);
  const { uid, gid, mode } = statSync(there ? target : dirname(target));
  // Others read what they could read before; where there was nothing, nobody does.
  chmodSync(copied, 0o600 | (there ? mode & 0o066 : 0));
  // Root restores for the user whose hub it is.
  if (process.geteuid?.() === 0) chownSync(copied, uid, gid);
}

/** Verifies the copy and makes it the data of a hub that starts. */
function prepare(copied: string, file: string, later: readonly EpochRow[], clock: Clock): RestoreResult {
  const db = opened(copied, file);
  try {
    db.pragma('journal_mode = delete');
    const damage = db.pragma('integrity_check(1)', { simple: true });
    if (damage !== 'ok') throw new StoreError(`${file} is damaged (${String(damage).split('\n').at(-1)}): take another backup`);
    const lastTs = db.prepare<[], number>('select ts from entries order by id desc limit 1').pluck().get() ?? null;
    const entries = db.prepare<[], number>('select count(*) from entries').pluck().get() as number;
    const epoch = db
      .transaction(() => {
        sweepAll(db);
        adopt(db, later);
        return beginEpoch(db, clock.now());
      })
      .immediate();
    return { bytes: statSync(copied).size, entries, lastTs, epoch };
  } finally {
    db.close();
    syncFile(copied);
  }
}

function opened(copied: string, file: string): Db {
  try {
    return openExisting(copied, { readonly: false, timeout: 0 });
  } catch (error) {
    // The operator knows the file by another name.
    throw error instanceof StoreError ? new StoreError(error.message.replaceAll(copied, file), { cause: error }) : error;
  }
}

/**
 * Where the backup is an earlier state of what it replaces, the epochs since are known to it too: who stood, in one of them, at an
 * entry that is in the backup goes on from there. They own no entry, so that everything later than the backup is told.
 */
function adopt(db: Db, later: readonly EpochRow[]): void {
  const own = epochsOf(db);
  const end = db.prepare<[], number>('select coalesce(max(id), 0) + 1 from entries').pluck().get() as number;
  const since = later.slice(own.length);
  const earlier = own.every(({ id, name, first }, i) => later[i]?.id === id && later[i]?.name === name && later[i]?.first === first);
  // One that began below the end of the backup was a return to a still older one: another history.
  if (!earlier || since.some(({ first }) => first < end)) return;
  const insert = db.prepare('insert into epochs (name, first_entry, started_at) values (?, ?, ?)');
  for (const { name, started } of since) insert.run(name, end, started);
}

/** Whatever is there is shut while the copy takes its place, so that no hub can begin to write to what goes. */
function putInPlace(data: string, copied: string, target: string, force: boolean, clock: Clock): void {
  const stale = (): void => {
    for (const suffix of ['-wal', '-shm']) rmSync(`${target}${suffix}`, { force: true });
  };
  if (!existsSync(target)) {
    stale();
    if (!nameNew(copied, target)) throw new StoreError(`a database has appeared in ${data} meanwhile: nothing was restored`);
    return;
  }
  if (!force) throw new StoreError(`a database has appeared in ${data} meanwhile: nothing was restored`);
  const shut = readable(data, (db) => {
    refuseLiving(livingNodes(db, clock.now()), data, clock);
    // Takes the WAL into the file, and succeeds only where nobody else has it open.
    db.pragma('journal_mode = delete');
    db.exec('begin exclusive');
    replace(copied, target);
    return true;
  });
  if (shut === true) return;
  stale(); // first: the WAL of the old file would be played into the new one
  replace(copied, target);
}

function replace(copied: string, target: string): void {
  renameSync(copied, target);
  syncFolder(target);
}

/** Null where what is there is empty or damaged, and so no hub can live on it. */
function readable<T>(data: string, use: (db: Db) => T): T | null {
  const target = databaseFile(data);
  let db: Db | undefined;
  try {
    db = openExisting(target, { readonly: false, timeout: 0 });
    return use(db);
  } catch (error) {
    const code = codeOf(error) || (error instanceof StoreError ? codeOf(error.cause) : '');
    if (/^SQLITE_(?:CORRUPT|NOTADB|ERROR)/.test(code) || statSync(target).size === 0) return null;
    throw error;
  } finally {
    db?.close();
  }
}

function epochsOf(db: Db): EpochRow[] {
  return db.prepare<[], EpochRow>('select id, name, first_entry as first, started_at as started from epochs order by id').all();
}
