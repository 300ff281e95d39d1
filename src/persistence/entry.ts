/**
 * What the worker threads of persistence run: one long task each, that ends when it is told to stop, or throws when its store
 * can be used no more. Called by piscina; everything else is in `writer.ts` and `reader.ts`.
 */
import { write } from 'node:fs';
import type { MessagePort } from 'node:worker_threads';
import { systemClock } from '../thread/clock.ts';
import type { Log } from '../thread/log.ts';
import { stackOfMain, type Watched } from '../thread/main-stack.ts';
import type { Control, FromThread } from '../thread/messages.ts';
import { type Barred, Barrier } from '../thread/quarantine.ts';
import { StallWatch } from '../thread/stall-watch.ts';
import { Witness } from '../thread/witness.ts';
import { DiskSpace } from './disk-space.ts';
import { ReadServer } from './reader.ts';
import { SqliteStore } from './sqlite.ts';
import { SqliteReader } from './sqlite-reader.ts';
import type { StoreOptions } from './store.ts';
import { WalSize } from './wal-size.ts';
import { Writer } from './writer.ts';

export type PersistenceTask = {
  control: MessagePort;
  witness: SharedArrayBuffer;
  options: StoreOptions;
  shards: number;
  maintainMs: number;
  diskWarnBytes: number;
  barred: Barred;
};
/** `watched`: the main thread, for the one that watches it. */
export type ReaderTask = { control: MessagePort; witness: SharedArrayBuffer; options: StoreOptions; watched: Watched | null };

/** The loop of a thread, as the control port drives it. */
type Served = {
  connect(index: number, port: MessagePort): void;
  stats(): Record<string, number>;
  stop(stopped: () => void): void;
  bar?(barred: Barred): void;
};

/** Loads what both tasks need, for a thread that may come to run one. */
export function loadPersistence(): void {}

export async function runPersistence({ control, witness: memory, options, shards, maintainMs, diskWarnBytes, barred }: PersistenceTask): Promise<void> {
  const witness = new Witness(memory);
  const still = witness.beat();
  const store = await during(witness, () => SqliteStore.open(options, { clock: systemClock, log: logTo(control) }));
  let fail: (error: unknown) => void = () => {};
  const failed = new Promise<never>((_resolve, reject) => {
    fail = reject;
  });
  const barrier = new Barrier(barred);
  const writer = new Writer({ store, barrier, shards, maintainMs, clock: systemClock, witness, failed: fail });
  const disk = new DiskSpace({ folder: options.data, warnBytes: diskWarnBytes, log: logTo(control) });
  const wal = new WalSize({ folder: options.data, log: logTo(control) });
  const served: Served = {
    connect: (_index, port) => writer.connect(port),
    stats: () => ({ ...writer.stats(), lockWaits: store.waits, ...disk.stats(), ...wal.stats() }),
    stop: (stopped) => writer.stop(stopped),
    bar: (more) => barrier.set(more),
  };
  try {
    await Promise.race([serve(control, served), failed]);
    await store.close();
  } finally {
    still();
    disk.close();
    wal.close();
    writer.release();
    store.abandon();
    control.close();
  }
}

export async function runReader({ control, witness: memory, options, watched }: ReaderTask): Promise<void> {
  const witness = new Witness(memory);
  const still = witness.beat();
  const reader = new SqliteReader(options.data);
  const watch = watched === null ? null : watchOf(watched, control);
  const server = new ReadServer(reader, systemClock, logTo(control), witness);
  try {
    await serve(control, server);
  } finally {
    still();
    await watch?.close();
    server.release();
    await reader.close();
    control.close();
  }
}

function watchOf(watched: Watched, control: MessagePort): StallWatch {
  return new StallWatch({
    turns: new Int32Array(watched.turns),
    clock: systemClock,
    log: logTo(control),
    stack: (seen, afterMs) => stackOfMain(watched, seen, afterMs),
    // All that a thread can write to by itself. Nobody waits for it, and if nobody reads it there is nobody to tell.
    cry: (line) => write(2, `hubbub: ${line}\n`, () => {}),
  });
}

/** Obeys the supervisor until it says stop. */
function serve(control: MessagePort, served: Served): Promise<void> {
  return new Promise((resolve) => {
    const tell = (message: FromThread) => control.postMessage(message);
    control.on('message', (message: Control) => {
      switch (message.t) {
        case 'peer':
          return served.connect(message.index, message.port as MessagePort);
        case 'beat':
          return tell({ t: 'beat', turn: message.turn, stats: served.stats() });
        case 'quarantine':
          return served.bar?.(message.barred);
        case 'stop':
          return served.stop(resolve);
      }
    });
    tell({ t: 'ready' });
  });
}

async function during<T>(witness: Witness, call: () => Promise<T>): Promise<T> {
  witness.calling();
  try {
    return await call();
  } finally {
    witness.returned();
  }
}

function logTo(control: MessagePort): Log {
  return (level, message, fields = {}) => control.postMessage({ t: 'log', level, message, fields } satisfies FromThread);
}
