/** What makes the threads of a hub break on order: the options of a start, for tests and fault rows. Orders are described in test/fixtures/faults.mjs. */
import { renameSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { StartOptions } from '../../src/testing/hub-process.ts';
import { hubEntry, root } from './paths.ts';

/** Of each thread's old generation: what the hub gives them takes too long to fill. */
export const heapMb = 96;

/** `folder`: where orders are put, as files. */
export function brittle(folder: string): Pick<StartOptions, 'env'> {
  const faults = pathToFileURL(join(root, 'test/fixtures/faults.mjs')).href;
  return { env: { NODE_OPTIONS: `--import=${faults}`, HUBBUB_FAULTS: folder, HUBBUB_HEAP_MB: String(heapMb), HUBBUB_DIST: dirname(dirname(hubEntry)) } };
}

/** Orders that the next thread called `what` suffers `how`. In one step: a file that is there before it is filled could be taken for an empty order, and nobody would break. */
export function order(folder: string, what: string, how: string): void {
  const file = join(folder, what);
  writeFileSync(`${file}.order`, how);
  renameSync(`${file}.order`, file);
}
