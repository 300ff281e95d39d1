/**
 * The worker threads of one hub: starts them, links them with each other and with the gateway, watches them, and stops them.
 * Part of the composition root (hub.ts), which makes one and asks it how the hub is.
 */
import { MessageChannel, threadId } from 'node:worker_threads';
import { v7 } from 'uuid';
import type { Gateway } from './gateway/gateway.ts';
import type { HubStats, StatValue } from './http/deps.ts';
import type { FilledOptions } from './options.ts';
import type { StoreOptions } from './persistence/store.ts';
import type { Clock } from './thread/clock.ts';
import type { Log } from './thread/log.ts';
import { showStack, type Watched } from './thread/main-stack.ts';
import { Quarantine } from './thread/quarantine.ts';
import { Spare } from './thread/spare.ts';
import { Stalls } from './thread/stalls.ts';
import { StuckError, Thread, type ThreadSpec } from './thread/supervisor.ts';
import { beatMs, type WitnessReader } from './thread/witness.ts';

const maintainMs = 5_000;
/** A spare thread is made when a hub has come up, and a while after its last one was taken: not while threads die one after the other. */
const firstSpareMs = 1_000;
const nextSpareMs = 2_000;
/** Each kind of thread gets so long to end when the hub gives up, and all of them together. */
const endMs = 2_000;
const endAllMs = 5_000;
const heapMb = { shard: 2_048, persistence: 1_024, reader: 512 } as const;

/** The worker threads of one hub and the links between them. */
export class Threads {
  readonly quarantine: Quarantine;
  readonly #persistence: Thread;
  readonly #readers: Thread[];
  readonly #shards: Thread[];
  /** For whichever thread dies next. */
  readonly #spare: Spare;
  /** From when the hub can be asked: how long a start takes concerns nobody. */
  #stalls: Stalls | null = null;
  readonly #deps: { clock: Clock; log: Log };
  readonly #diskWarnBytes: number;
  /** This thread, to the first reader, which watches it. */
  readonly #watched: Watched = { turns: new SharedArrayBuffer(4), threadId };
  #gateway: Gateway | null = null;
  #timer: NodeJS.Timeout | null = null;
  #failed: Error | null = null;

  constructor(options: FilledOptions, shards: number, deps: { clock: Clock; log: Log; gaveUp(error: Error): void }) {
    const watched = { ...deps, gaveUp: (error: Error) => this.#giveUp(error, deps.gaveUp) };
    this.quarantine = new Quarantine({
      ...deps,
      ms: options.quarantineMs,
      changed: () => {
        for (const thread of [this.#persistence, ...this.#shards]) thread.tell({ t: 'quarantine', barred: this.quarantine.barred() });
      },
    });
    const store: StoreOptions = { ...options, node: v7(), exclusive: true };
    const module = (path: string) => new URL(path, import.meta.url).href;
    const [shardModule, storeModule] = [module('./worker.js'), module('./persistence/entry.js')];
    const loads = [
      { filename: shardModule, name: 'loadShard' },
      { filename: storeModule, name: 'loadPersistence' },
    ];
    // The largest heap, since it may take any place: a bound costs nothing before it is needed.
    this.#spare = new Spare({ loads, heapMb: Math.max(...Object.values(heapMb)) }, deps.log);
    const { hangMs, storeHangMs: callHangMs, restartsMax } = options;
    const died = (witness: WitnessReader): void => this.quarantine.crashed(witness.suspect(() => null));
    const usual = { spare: this.#spare, hangMs, callHangMs, restartsMax, overlap: true, frameBytesMax: 0, died };
    const spec = (role: ThreadSpec['role'], index: number, rest: Pick<ThreadSpec, 'filename' | 'name' | 'task' | 'started'> & Partial<ThreadSpec>) =>
      new Thread({ role, index, heapMb: heapMb[role], ...usual, ...rest }, watched);
    const persistenceTask = () => ({ options: store, shards, maintainMs, diskWarnBytes: options.diskWarnBytes, barred: this.quarantine.barred() });
    this.#persistence = spec('persistence', 0, {
      filename: storeModule,
      name: 'runPersistence',
      task: persistenceTask,
      overlap: false,
      started: (thread) => this.#linkStore(thread),
    });
    this.#readers = Array.from({ length: options.readers }, (_, index) =>
      spec('reader', index, {
        filename: storeModule,
        name: 'runReader',
        task: () => ({ options: store, watched: index === 0 ? this.#watched : null }),
        started: (thread) => this.#linkStore(thread),
      }),
    );
    this.#shards = Array.from({ length: shards }, (_, index) =>
      spec('shard', index, {
        filename: shardModule,
        name: 'runShard',
        task: () => ({ options, shards, barred: this.quarantine.barred() }),
        frameBytesMax: options.frameBytesMax,
        started: (thread) => this.#linkShard(thread),
        died: (witness) => this.#shardDied(index, witness),
      }),
    );
    for (const thread of this.#all()) thread.load(thread.spec.role === 'shard' ? 'loadShard' : 'loadPersistence');
    this.#deps = deps;
    this.#diskWarnBytes = options.diskWarnBytes;
    let last = deps.clock.tick();
    this.#timer = setInterval(() => {
      const now = deps.clock.tick();
      const passed = now - last;
      last = now;
      for (const thread of this.#all()) thread.look(passed > 2 * beatMs ? 0 : passed);
      this.quarantine.sweep();
    }, beatMs);
  }

  /** Persistence first: it creates what the others open. */
  async start(gateway: Gateway): Promise<void> {
    this.#gateway = gateway;
    const shown = showStack(); // while the threads come up
    await this.#persistence.start();
    await Promise.all(this.#readers.map((reader) => reader.start()));
    await Promise.all(this.#shards.map((shard) => shard.start()));
    await shown;
    this.#stalls = new Stalls(this.#deps.clock, this.#deps.log, new Int32Array(this.#watched.turns));
  }

  /** Shards first: what they have under way still reaches the store. The writer last: the last to close the file leaves no WAL. */
  async stop(graceMs: number): Promise<void> {
    this.#stalls?.close();
    try {
      await Promise.all([this.#spare.close(), ...this.#shards.map((shard) => shard.stop(graceMs))]);
      await Promise.all(this.#readers.map((reader) => reader.stop(graceMs)));
      await this.#persistence.stop(graceMs);
    } finally {
      // Until then those who are still needed are watched: shards would wait for a writer that hangs.
      if (this.#timer !== null) clearInterval(this.#timer);
    }
  }

  ready(): { ready: boolean; reasons: string[] } {
    const reasons = this.#all()
      .filter((thread) => !thread.ready || thread.silent)
      .map((thread) => `${thread.spec.role} ${thread.spec.index} ${thread.ready ? 'does not answer' : 'is not running'}`);
    if (this.#failed !== null) reasons.push(this.#failed.message);
    return { ready: reasons.length === 0, reasons };
  }

  /** What does not stop it, yet. */
  warnings(): string[] {
    const { diskFreeBytes: free, walBytes = 0, walHeld } = this.#persistence.stats;
    const mib = (bytes: number): string => `${Math.floor(bytes / 2 ** 20)} MiB`;
    return [
      ...(free !== undefined && free < this.#diskWarnBytes ? [`the disk of the data folder is nearly full: ${mib(free)} are left`] : []),
      ...(walHeld === 1 ? [`another process holds an old state of the database open: the write-ahead log has ${mib(walBytes)}`] : []),
    ];
  }

  stats(): HubStats {
    const stats: Record<string, Record<string, StatValue>> = { main: this.#stalls?.stats() ?? {}, quarantine: this.quarantine.stats() };
    for (const thread of this.#all()) {
      stats[thread.spec.role === 'persistence' ? 'persistence' : `${thread.spec.role}${thread.spec.index}`] = { ...thread.stats, restarts: thread.restarts };
    }
    return stats;
  }

  /** The process may end at once after `gaveUp`, and an exit that ends threads while they load their modules can abort: they are ended in good order before. */
  #giveUp(error: Error, gaveUp: (error: Error) => void): void {
    if (this.#failed !== null) return; // two at once, or one while the others end
    this.#failed = error;
    if (error instanceof StuckError) return gaveUp(error); // there is one that does not end
    this.#deps.log('error', 'the hub gives up', { error: error.message });
    const late = setTimeout(() => gaveUp(error), endAllMs);
    const ended = (): void => {
      clearTimeout(late);
      gaveUp(error);
    };
    this.stop(endMs).then(ended, ended);
  }

  #shardDied(index: number, witness: WitnessReader): void {
    this.quarantine.crashed(witness.suspect((connection) => this.#gateway?.userOf(connection) ?? null));
    this.#gateway?.detachShard(index);
  }

  #linkShard(shard: Thread): void {
    const { port1, port2 } = new MessageChannel();
    this.#gateway?.attachShard(shard.spec.index, port1);
    shard.connect('gateway', 0, 0, port2);
    this.#eachReady(this.#readers, (reader) => link(shard, reader));
    this.#eachReady([this.#persistence], (persistence) => link(shard, persistence));
    this.#spare.keep(shard.incarnation > 1 ? nextSpareMs : firstSpareMs);
  }

  #linkStore(store: Thread): void {
    this.#eachReady(this.#shards, (shard) => link(shard, store));
    if (store.incarnation > 1) this.#spare.keep(nextSpareMs);
  }

  #eachReady(threads: readonly Thread[], use: (thread: Thread) => void): void {
    for (const thread of threads) if (thread.ready) use(thread);
  }

  #all(): Thread[] {
    return [this.#persistence, ...this.#readers, ...this.#shards];
  }
}

function link(a: Thread, b: Thread): void {
  const { port1, port2 } = new MessageChannel();
  a.connect(b.spec.role, b.spec.index, b.incarnation, port1);
  b.connect(a.spec.role, a.spec.index, a.incarnation, port2);
}
