/**
 * Where the main thread stands, read from another thread. `showStack` is called by the main thread, so that it can be asked; `stackOfMain` by
 * a thread that watches it, and starts a thread of a moment: reading takes up to 5 s while the main thread is in native code.
 * Nothing here loads the native library: that could fail, and must harm neither.
 */
import { Worker } from 'node:worker_threads';
import { systemClock } from './clock.ts';

/** The innermost call first. `native`: it was in native code; then none, or those that called that. */
export type Standing = { readonly stack: readonly string[]; readonly native: boolean };
/** The main thread to one that watches it: the number that it counts up, and who it is. */
export type Watched = { readonly turns: SharedArrayBuffer; readonly threadId: number };
export type StackTask = Watched & { readonly task: typeof stackTask; readonly seen: number; readonly askedAt: number; readonly afterMs: number };

export const stackTask = 'stack of the main thread';

/** Where there is no library for this machine, whoever asks is told so (stackOfMain). */
export async function showStack(): Promise<void> {
  try {
    const { register } = await import('./stack-reader.ts');
    register();
  } catch {}
}

/** `afterMs` from now; null: it has gone on by then since its number was `seen`. Ends when its thread has. */
export async function stackOfMain(watched: Watched, seen: number, afterMs: number): Promise<Standing | null> {
  const workerData: StackTask = { ...watched, task: stackTask, seen, askedAt: systemClock.now(), afterMs };
  // Neither options of the process, such as an inspector's, nor what a library takes from its environment.
  const worker = new Worker(new URL('./stack-reader.js', import.meta.url), { workerData, execArgv: [], env: {} });
  let standing: Standing | null = null;
  worker.once('message', (message: Standing | null) => {
    standing = message;
  });
  return await new Promise((resolve, reject) => {
    worker.once('error', reject);
    worker.once('exit', () => resolve(standing));
  });
}
