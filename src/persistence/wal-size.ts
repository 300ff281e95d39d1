/**
 * How long the write-ahead log is. SQLite writes it over from its beginning once everything in it is in the database and nobody
 * reads an older state; whoever holds such a state from outside (a shell, a stray backup) makes it grow, and nothing can shorten
 * it until he is gone. The persistence thread owns one: it tells the log once that it is so, and once that it is over.
 */
import { stat } from 'node:fs/promises';
import type { Log } from '../thread/log.ts';
import { databaseFile, walBytesMax } from './sqlite-open.ts';

const everyMs = 5_000;

export type WalSizeDeps = {
  folder: string;
  log: Log;
  /** Bytes of a file; rejects where there is none. */
  bytes?(file: string): Promise<number>;
};

export class WalSize {
  readonly #deps: WalSizeDeps;
  readonly #timer: NodeJS.Timeout;
  #bytes = 0;
  #long = false;

  constructor(deps: WalSizeDeps) {
    this.#deps = deps;
    this.#timer = setInterval(() => void this.look(), everyMs);
  }

  stats(): { walBytes: number; walHeld: number } {
    return { walBytes: this.#bytes, walHeld: this.#long ? 1 : 0 };
  }

  async look(): Promise<void> {
    const { folder, log, bytes = bytesOf } = this.#deps;
    this.#bytes = await bytes(`${databaseFile(folder)}-wal`).catch(() => 0);
    const fields = { walBytes: this.#bytes };
    if (!this.#long && this.#bytes > walBytesMax) {
      this.#long = true;
      log('warn', 'the write-ahead log grows: another process holds an old state of the database open, and until it lets go the log takes up disk', fields);
    } else if (this.#long && this.#bytes <= walBytesMax) {
      this.#long = false;
      log('info', 'the write-ahead log is short again', fields);
    }
  }

  close(): void {
    clearInterval(this.#timer);
  }
}

async function bytesOf(file: string): Promise<number> {
  return (await stat(file)).size;
}
