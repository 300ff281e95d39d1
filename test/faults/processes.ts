/** What Linux says of a process: memory, processor time, descriptors. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';

const ticksPerSecond = 100;

export function withoutProc(): string | null {
  return existsSync('/proc/self/status') ? null : 'there is no /proc here';
}

/** Descriptors that this process may have open. */
export function filesMax(): number {
  return Number(/^Max open files\s+(\d+)/m.exec(readFileSync('/proc/self/limits', 'utf8'))?.[1] ?? 0);
}

export function residentKiB(pid: number): number {
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? Number.NaN);
}

export function openFiles(pid: number): number {
  return readdirSync(`/proc/${pid}/fd`).length;
}

/** Processor time of all threads since the start. */
export function processorSeconds(pid: number): number {
  const text = readFileSync(`/proc/${pid}/stat`, 'utf8');
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) / ticksPerSecond;
}
