/**
 * Copies the database into one file while a hub goes on writing to it. Called by the operator's command in a process of its
 * own. The file appears under its name complete and on the disk, or not at all, and never takes another's place.
 */
import { closeSync, existsSync, fdatasyncSync, fsyncSync, linkSync, openSync, renameSync, rmSync, statSync, unlinkSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import type { Clock } from '../thread/clock.ts';
import { type Db, isBusy, openDatabase, openForReading, reasonOf, StoreError } from './sqlite-open.ts';

export type BackupResult = { bytes: number; entries: number; ms: number };
/** Tells that the operator does not want to wait any longer. */
export type Stopped = { readonly stopped: boolean };

/** 512 KiB: what is read at once. With 4 MiB a hub's p99 under load was three times this. */
const stepPages = 128;
/** So much may wait for the disk at once, so that the hub's own flushes do not queue up behind it. */
const stepsPerFlush = 2;
const pauseMsMax = 50;

export async function backup(data: string, file: string, clock: Clock, signal: Stopped = { stopped: false }): Promise<BackupResult> {
  const started = clock.tick();
  const target = resolve(file);
  if (existsSync(target)) throw new StoreError(`${file} is already there: a backup overwrites nothing`);
  const partial = `${target}.partial`;
  const db = openForReading(data);
  try {
    reserve(partial, file);
    try {
      const entries = await copy(db, partial, clock, signal);
      await alone(partial);
      publish(partial, target, file);
      return { bytes: statSync(target).size, entries, ms: clock.tick() - started };
    } catch (error) {
      for (const suffix of ['', '-journal', '-wal', '-shm']) rmSync(`${partial}${suffix}`, { force: true });
      throw error;
    }
  } catch (error) {
    if (error instanceof StoreError) throw error;
    const reason = existsSync(dirname(target)) ? reasonOf(error) : 'its folder does not exist';
    throw new StoreError(`the backup ${file} cannot be written: ${reason}`, { cause: error });
  } finally {
    db.close();
  }
}

/** Makes a name lasting: the folder of `file` reaches the disk. */
export function syncFolder(file: string): void {
  syncFile(dirname(file));
}

export function syncFile(file: string): void {
  const fd = openSync(file, 'r');
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

/** Gives a file its name where nothing has that name; false where something has. */
export function nameNew(from: string, to: string): boolean {
  try {
    linkSync(from, to);
    unlinkSync(from);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'EEXIST' || existsSync(to)) return false;
    // File systems without hard links.
    renameSync(from, to);
  }
  syncFolder(to);
  return true;
}

function reserve(partial: string, file: string): void {
  try {
    // Whoever may read it reads every message.
    closeSync(openSync(partial, 'wx', 0o600));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    throw new StoreError(`${file}.partial is there: another backup is being written, or one was killed; then remove it`);
  }
}

/**
 * One snapshot for the whole copy: without it SQLite begins again after every commit of the hub, and so never ends. What the hub
 * writes meanwhile stays in its WAL, and nothing of it waits for us.
 */
async function copy(db: Db, partial: string, clock: Clock, signal: Stopped): Promise<number> {
  db.exec('begin');
  const entries = db.prepare<[], number>('select count(*) from entries').pluck().get() as number;
  const fd = openSync(partial, 'r+');
  let steps = 0;
  let last = clock.tick();
  try {
    await db.backup(partial, {
      progress: () => {
        if (signal.stopped) throw new StoreError('stopped: there is no backup');
        if (++steps % stepsPerFlush === 0) fdatasyncSync(fd);
        // As long as the step took, half of the disk is the hub's.
        sleep(Math.min(pauseMsMax, clock.tick() - last));
        last = clock.tick();
        return stepPages;
      },
    });
  } finally {
    closeSync(fd);
    db.exec('commit');
  }
  return entries;
}

/** A file without a WAL stands alone, and can be opened where nothing can be written. */
async function alone(partial: string): Promise<void> {
  const db = openDatabase(partial, { fileMustExist: true, timeout: 0 });
  try {
    db.pragma('journal_mode = delete');
  } catch (error) {
    if (isBusy(error)) throw new StoreError(`${partial} is in use`, { cause: error });
    throw error;
  } finally {
    db.close();
  }
  syncFile(partial);
}

function publish(partial: string, target: string, file: string): void {
  if (!nameNew(partial, target)) throw new StoreError(`${file} has appeared meanwhile: a backup overwrites nothing`);
}

/** The process does nothing else, and the progress of a copy cannot wait for a promise. */
function sleep(ms: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
}
