/** What Linux says of a process: memory, processor time, descriptors. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';

const ticksPerSecond = 100;
const lookMs = 5;

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

/** What the main thread of a process computes, looked at every few milliseconds. Where there is no /proc it finds nothing. */
export class MainThread {
  readonly #file: string;
  readonly #windowMs: number;
  readonly #timer: NodeJS.Timeout | null;
  /** Of the last window: when it was looked, and the processor time until then. */
  #looks: { at: number; ms: number }[] = [];
  #most = 0;

  constructor(pid: number, windowMs: number) {
    this.#file = `/proc/${pid}/task/${pid}/schedstat`;
    this.#windowMs = windowMs;
    this.#timer = existsSync(this.#file) ? setInterval(() => this.#look(), lookMs) : null;
  }

  /** The most processor time it took in any window since the last call. The rest of a window it waited: for work, or for a processor. */
  take(): number {
    const most = this.#most;
    this.#most = 0;
    this.#looks = [];
    return this.#timer === null ? Number.NaN : most;
  }

  stop(): void {
    if (this.#timer !== null) clearInterval(this.#timer);
  }

  #look(): void {
    if (!existsSync(this.#file)) return this.stop(); // it has ended
    const at = performance.now();
    const ms = Number(readFileSync(this.#file, 'utf8').split(' ')[0]) / 1e6;
    this.#looks.push({ at, ms });
    // A look that came late makes a window longer, and its figure larger than it should be.
    while ((this.#looks[1]?.at ?? at) <= at - this.#windowMs) this.#looks.shift();
    this.#most = Math.max(this.#most, ms - (this.#looks[0]?.ms ?? ms));
  }
}
