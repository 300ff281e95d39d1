/**
 * What a hub really holds in memory: every thread is made to collect all it can first, so that minutes show what would take hours
 * to see in the resident size. Through Node's own inspector, which the hub must be started with (`inspected`); the hub itself knows nothing of it.
 */
import { WebSocket } from 'ws';
import type { HubProcess } from '../../src/testing/hub-process.ts';

/** For the environment of a hub that is to be looked into. */
export const inspected = { NODE_OPTIONS: '--inspect=127.0.0.1:0' };

/** Heap and the buffers it holds; and what keeps the loop going: sockets, ports, timers. */
export type Held = { liveMiB: number; handles: number };

const look = "(({ heapUsed, external }) => heapUsed + external + ' ' + process.getActiveResourcesInfo().length)(process.memoryUsage())";

const answerMsMax = 20_000;
const triesMax = 3;

type Result = { result?: { value?: unknown } };
type Message = { id?: number; method?: string; result?: Result; error?: { message: string }; params?: { sessionId?: string; message?: string } };

export class Memory {
  readonly #socket: WebSocket;
  /** Threads beside the main one. */
  readonly #workers = new Set<string>();
  readonly #waiting = new Map<number, { done(result: Result): void; failed(error: Error): void }>();
  #ids = 0;

  static async of(hub: HubProcess): Promise<Memory> {
    const url = /Debugger listening on (ws:\S+)/.exec(hub.stderr)?.[1];
    if (url === undefined) throw new Error('the hub was not started with an inspector');
    const socket = new WebSocket(url);
    await new Promise((resolve, reject) => socket.once('open', resolve).once('error', reject));
    const memory = new Memory(socket);
    await memory.#call(null, 'NodeWorker.enable', { waitForDebuggerOnStart: false });
    return memory;
  }

  private constructor(socket: WebSocket) {
    this.#socket = socket;
    socket.on('message', (data: Buffer) => this.#heard(JSON.parse(data.toString()) as Message));
    socket.on('error', () => {}); // its close ends what waits
    socket.on('close', () => {
      for (const { failed } of this.#waiting.values()) failed(new Error('the inspector is gone'));
    });
  }

  /** Of all threads together, each after a full collection of its own. */
  async all(): Promise<Held> {
    const held = await Promise.all([null, ...this.#workers].map((worker) => this.#held(worker)));
    const sum = (of: (one: Held) => number): number => held.reduce((total, one) => total + of(one), 0);
    return { liveMiB: sum(({ liveMiB }) => liveMiB), handles: sum(({ handles }) => handles) };
  }

  /** Of the main thread alone: the others may come and go meanwhile. */
  main(): Promise<Held> {
    return this.#held(null);
  }

  close(): void {
    this.#socket.terminate();
  }

  async #held(worker: string | null): Promise<Held> {
    await this.#call(worker, 'HeapProfiler.collectGarbage', {});
    const { result } = await this.#call(worker, 'Runtime.evaluate', { expression: look });
    const [bytes = Number.NaN, handles = Number.NaN] = String(result?.value).split(' ').map(Number);
    return { liveMiB: bytes / 2 ** 20, handles };
  }

  /** Asks again where no answer comes: a thread that has nothing else to do can sleep on what its inspector was sent. */
  async #call(worker: string | null, method: string, params: object): Promise<Result> {
    for (let tries = 1; tries <= triesMax; tries++) {
      let timer: NodeJS.Timeout | undefined;
      const late = new Promise<null>((resolve) => {
        timer = setTimeout(resolve, answerMsMax, null);
      });
      const result = await Promise.race([this.#ask(worker, method, params), late]).finally(() => clearTimeout(timer));
      if (result !== null) return result;
    }
    throw new Error(`thread ${worker ?? 'main'} does not answer ${method}`);
  }

  #ask(worker: string | null, method: string, params: object): Promise<Result> {
    const id = ++this.#ids;
    const call = { id, method, params };
    const whole =
      worker === null ? call : { id: ++this.#ids, method: 'NodeWorker.sendMessageToWorker', params: { sessionId: worker, message: JSON.stringify(call) } };
    return new Promise((done, failed) => {
      this.#waiting.set(id, { done, failed });
      this.#socket.send(JSON.stringify(whole));
    });
  }

  #heard({ id, method, result, error, params }: Message): void {
    if (method === 'NodeWorker.attachedToWorker' && params?.sessionId !== undefined) this.#workers.add(params.sessionId);
    else if (method === 'NodeWorker.detachedFromWorker' && params?.sessionId !== undefined) this.#workers.delete(params.sessionId);
    else if (method === 'NodeWorker.receivedMessageFromWorker' && params?.message !== undefined) this.#heard(JSON.parse(params.message) as Message);
    if (id === undefined) return;
    const waiting = this.#waiting.get(id);
    this.#waiting.delete(id);
    if (error !== undefined) waiting?.failed(new Error(error.message));
    else waiting?.done(result ?? {});
  }
}
