/**
 * Where the main thread stands. `stackOfMain` is called in a worker thread, and starts a thread of a moment that does nothing else (this module, too):
 * the main thread is halted while its stack is read, and must not wait for anybody who might himself be busy.
 */
import { Session } from 'node:inspector';
import { parentPort, Worker, workerData } from 'node:worker_threads';

/** Then it stands where no script runs, in a native call that lasts, or the machine is too slow for the answer to be of use. */
const lookMs = 3_000;
const framesMax = 20;
const task = 'stack-of-main';

type Frame = { functionName: string; location: { scriptId: string; lineNumber: number; columnNumber?: number } };

if (workerData === task) look((frames) => parentPort?.postMessage(frames));

/** The innermost call first; null where that could not be found out. `still`: whether it still stands, asked while it is halted. */
export function stackOfMain(still: () => boolean): Promise<string[] | null> {
  return new Promise((resolve) => {
    const worker = new Worker(new URL(import.meta.url), { workerData: task, execArgv: [], env: {}, stdin: false });
    const end = (frames: string[] | null): void => {
      clearTimeout(late);
      resolve(frames);
      void worker.terminate();
    };
    const late = setTimeout(() => end(null), lookMs);
    worker.once('message', (frames: string[] | null) => end(still() ? frames : null));
    worker.once('error', () => end(null));
    worker.once('exit', () => end(null));
  });
}

/** In the thread of a moment. */
function look(found: (frames: string[] | null) => void): void {
  const session = new Session();
  const urls = new Map<string, string>();
  let asked = false;
  session.connectToMainThread();
  setTimeout(() => found(null), lookMs); // a session alone keeps no thread
  session.on('Debugger.scriptParsed', ({ params }) => urls.set(params.scriptId, params.url));
  session.on('Debugger.paused', ({ params }) => {
    // Halted before we asked: by somebody's debugger, whose affair it is.
    if (!asked) return found(null);
    session.post('Debugger.resume', () => {
      session.disconnect();
      found(params.callFrames.slice(0, framesMax).map((frame) => textOf(frame, urls)));
    });
  });
  session.post('Debugger.enable', () => {
    asked = true;
    session.post('Debugger.pause');
  });
}

function textOf({ functionName, location: { scriptId, lineNumber, columnNumber = 0 } }: Frame, urls: ReadonlyMap<string, string>): string {
  return `${functionName || '(anonymous)'} (${urls.get(scriptId) || 'unknown'}:${lineNumber + 1}:${columnNumber + 1})`;
}
