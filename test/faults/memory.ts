/**
 * What a hub really holds in memory: every thread is made to collect all it can first, so that minutes show what would take hours
 * to see in the resident size. Through Node's own inspector, which the hub must be started with (`inspected`); the hub itself knows nothing of it.
 */
import { WebSocket } from 'ws';
import type { HubProcess } from '../../src/testing/hub-process.ts';

/** For the environment of a hub that is to be looked into. */
export const inspected = { NODE_OPTIONS: '--inspect=127.0.0.1:0' };

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

  /** Heaps of all threads and the buffers they hold, after a full collection. */
  async liveMiB(): Promise<number> {
    const of = async (worker: string | null): Promise<number> => {
      await this.#call(worker, 'HeapProfiler.collectGarbage', {});
      const expression = '(({ heapUsed, external }) => heapUsed + external)(process.memoryUsage())';
      const { result } = await this.#call(worker, 'Runtime.evaluate', { expression });
      return Number(result?.value);
    };
    const bytes = await Promise.all([null, ...this.#workers].map(of));
    return bytes.reduce((sum, one) => sum + one, 0) / 2 ** 20;
  }

  close(): void {
    this.#socket.terminate();
  }

  #call(worker: string | null, method: string, params: object): Promise<Result> {
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
