/**
 * How many connections the process has descriptors for. Without this bound a crowd takes the last one, and then the next file the
 * store opens, or the next worker thread, fails for want of it.
 */
import { readFileSync } from 'node:fs';

/** For the database, its journals and backups, threads and the log. */
const reserved = 96;
/** Backends and scrapers are few: beyond this they are a fault of somebody's. */
const operationsMax = 256;
const limitsFile = '/proc/self/limits';

export type SocketLimits = { public: number; operations: number };

/** 0: no limit is known; then the kernel's is met by closing what cannot be taken. */
export function socketLimits(read: (path: string) => string = (path) => readFileSync(path, 'utf8')): SocketLimits {
  const soft = softLimit(read);
  if (soft === null) return { public: 0, operations: operationsMax };
  const operations = Math.min(operationsMax, Math.ceil(soft / 8));
  return { public: Math.max(reserved / 2, soft - reserved - operations), operations };
}

function softLimit(read: (path: string) => string): number | null {
  try {
    const soft = /^Max open files\s+(\d+)/m.exec(read(limitsFile))?.[1];
    return soft === undefined ? null : Number(soft);
  } catch {
    return null; // not Linux
  }
}
