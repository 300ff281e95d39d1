/**
 * Lays a promise that is rejected and handled by nobody to what the thread was about to do when the promise was made: by the time
 * the rejection is known, the turn that led to it has ended. A thread's task begins it once. Costs where promises are made, and
 * the loop of a shard makes next to none.
 */
import { promiseHooks } from 'node:v8';
import type { Note, Witness } from './witness.ts';

/** Returns what ends it. */
export function watchRejections(witness: Pick<Witness, 'note' | 'recall'>, failed: (reason: unknown) => void): () => void {
  const origins = new WeakMap<object, Note>();
  // One that comes of another one's end was begun with that one.
  const end = promiseHooks.onInit((promise, parent) => {
    const origin = witness.note() ?? origins.get(parent ?? promise);
    if (origin !== undefined) origins.set(promise, origin);
  }) as () => void;
  const rejected = (reason: unknown, promise: object): void => {
    const origin = origins.get(promise);
    if (origin !== undefined) witness.recall(origin);
    failed(reason);
  };
  process.on('unhandledRejection', rejected);
  return () => {
    end();
    process.off('unhandledRejection', rejected);
  };
}
