/**
 * How much of its disk is left to the data folder. The persistence thread owns one; it looks now and then beside the commits,
 * never in their way, tells the log once when space gets short, and once when there is enough again. It refuses nothing:
 * what a full disk refuses is up to the store.
 */
import { statfs } from 'node:fs/promises';
import type { Log } from '../thread/log.ts';

const everyMs = 10_000;
/** There is enough again only with so much above the bound, or a disk at its edge would be told of for ever. */
const enough = 1.1;

export type DiskSpaceDeps = {
  folder: string;
  /** Less than this is told of; 0: never. */
  warnBytes: number;
  log: Log;
  /** Free bytes of a folder's disk, for whom the process writes as. */
  free?(folder: string): Promise<number>;
};

export class DiskSpace {
  readonly #deps: DiskSpaceDeps;
  readonly #timer: NodeJS.Timeout;
  /** Null: not known. */
  #free: number | null = null;
  #short = false;

  constructor(deps: DiskSpaceDeps) {
    this.#deps = deps;
    this.#timer = setInterval(() => void this.look(), everyMs);
    void this.look();
  }

  stats(): { diskFreeBytes?: number } {
    return this.#free === null ? {} : { diskFreeBytes: this.#free };
  }

  async look(): Promise<void> {
    const { folder, warnBytes, log, free = freeOf } = this.#deps;
    this.#free = await free(folder).catch(() => null);
    if (this.#free === null) return;
    const fields = { freeBytes: this.#free, diskWarnBytes: warnBytes };
    if (!this.#short && this.#free < warnBytes) {
      this.#short = true;
      log('warn', 'the disk of the data folder is nearly full: once it is, writes are refused', fields);
    } else if (this.#short && this.#free >= warnBytes * enough) {
      this.#short = false;
      log('info', 'the disk of the data folder has enough space again', fields);
    }
  }

  close(): void {
    clearInterval(this.#timer);
  }
}

async function freeOf(folder: string): Promise<number> {
  const { bavail, bsize } = await statfs(folder);
  return bavail * bsize;
}
