/**
 * The only file that touches the library which reads another thread's stack. The main thread loads it to let itself be read; it is also
 * what the thread of a moment runs that main-stack.ts starts: looks once, says what it saw, and ends.
 */
import { fileURLToPath } from 'node:url';
import { parentPort, Worker, workerData } from 'node:worker_threads';
import { captureStackTrace, registerThread } from '@sentry-internal/node-native-stacktrace';
import { systemClock } from './clock.ts';
import { type StackTask, type Standing, stackTask } from './main-stack.ts';

/** Who runs JavaScript answers at once; who takes longer was in native code, and answers as it returns. */
const atOnceMs = 50;
const framesMax = 20;
const charactersMax = 200;

/** Calls of code in this folder are told without it. */
const home = fileURLToPath(new URL('../..', import.meta.url));

if ((workerData as Partial<StackTask> | null)?.task === stackTask) {
  await proveThread();
  parentPort?.postMessage(look(workerData as StackTask));
}

export function register(): void {
  registerThread();
}

/** The library starts a thread of its own, and where the system allows none it ends the process: another one is tried before. */
function proveThread(): Promise<unknown> {
  return new Promise((resolve, reject) => {
    new Worker('', { eval: true, execArgv: [], env: {} }).once('exit', resolve).once('error', reject);
  });
}

function look({ turns, threadId, seen, askedAt, afterMs }: StackTask): Standing | null {
  const number = new Int32Array(turns);
  const still = (): boolean => Atomics.load(number, 0) === seen;
  const leftMs = askedAt + afterMs - systemClock.now();
  Atomics.wait(number, 0, seen, Math.min(afterMs, Math.max(0, leftMs)));
  if (!still()) return null;
  const began = systemClock.tick();
  const read = captureStackTrace()[threadId];
  const native = systemClock.tick() - began > atOnceMs;
  if (read === undefined) throw new Error('the main thread cannot be read');
  // It may have gone on as it was being asked. Out of native code it has gone on in any case.
  if (!native && !still()) return null;
  return { native, stack: read.frames.slice(0, framesMax).map(textOf) };
}

function textOf(frame: { function: string; filename: string; lineno: number; colno: number }): string {
  const name = frame.function === '?' ? '(anonymous)' : frame.function;
  return `${name} (${placeOf(frame.filename)}:${frame.lineno}:${frame.colno})`.slice(0, charactersMax);
}

function placeOf(filename: string): string {
  if (filename.startsWith('data:')) return 'data'; // the code itself
  const path = filename.startsWith('file:') ? fileURLToPath(filename) : filename;
  return path.startsWith(home) ? path.slice(home.length) : path;
}
