/** A system that allows the process no further thread: who needs one is told so in a sentence, and nobody else notices. */
import { createRequire } from 'node:module';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { poolOfOne, Spare } from '../src/thread/spare.ts';

const sentence = 'the system allows no further thread';
const threads = createRequire(import.meta.url)('node:worker_threads') as { Worker: unknown };
const { Worker } = threads;

beforeEach(() => {
  threads.Worker = class {
    constructor() {
      throw Object.assign(new Error('EAGAIN'), { code: 'ERR_WORKER_INIT_FAILED' });
    }
  };
});
afterEach(() => {
  threads.Worker = Worker;
});

describe('without another thread', () => {
  it('a task is refused with a sentence, and the end of its pool is no second fault', async () => {
    const pool = poolOfOne(32, () => {});
    await expect(pool.run(undefined, { filename: 'nowhere.js' })).rejects.toThrow(sentence);
    await pool.destroy();
  });

  it('there is no spare one, which is said and costs nothing else', async () => {
    const said: string[] = [];
    const loads = ['one', 'two'].map((name) => ({ filename: 'nowhere.js', name }));
    const told = new Promise<void>((resolve) => {
      const spare = new Spare({ loads, heapMb: 32 }, (level, message, fields) => {
        said.push(`${level}: ${message}: ${fields?.error}`);
        resolve();
      });
      spare.keep(0);
    });
    await told;
    await new Promise((resolve) => setImmediate(resolve)); // what the end of its pool might still bring
    expect(said).toEqual([expect.stringContaining(`warn: a spare thread could not be made ready: Error: ${sentence}`)]);
  });
});
