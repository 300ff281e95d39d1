/**
 * How many connections the process has descriptors for. Without this bound a crowd takes the last one, and then the next file the
 * store opens, or the next worker thread, fails for want of it.
 */
import { readFileSync } from 'node:fs';

/** For the database, its journals and backups, threads, the log and the other listener. */
const reserved = 96;
const limitsFile = '/proc/self/limits';

/** 0: no limit is known; then the kernel's is met by closing what cannot be taken. */
export function socketsMax(read: (path: string) => string = (path) => readFileSync(path, 'utf8')): number {
  let limits: string;
  try {
    limits = read(limitsFile);
  } catch {
    return 0; // not Linux
  }
  const soft = /^Max open files\s+(\d+)/m.exec(limits)?.[1];
  return soft === undefined ? 0 : Math.max(reserved / 2, Number(soft) - reserved);
}
