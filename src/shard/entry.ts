/** What a worker thread runs to be a shard: one long task that ends when it is told to stop, or throws. */
import type { MessagePort } from 'node:worker_threads';
import type { FilledOptions } from '../options.ts';
import { systemClock } from '../thread/clock.ts';
import type { Control, FromThread } from '../thread/messages.ts';
import type { Barred } from '../thread/quarantine.ts';
import { watchRejections } from '../thread/rejections.ts';
import { Witness } from '../thread/witness.ts';
import { Shard, type ShardBus } from './shard.ts';

export type ShardTask = {
  control: MessagePort;
  witness: SharedArrayBuffer;
  index: number;
  incarnation: number;
  shards: number;
  options: FilledOptions;
  barred: Barred;
};

const tickMs = 1_000;

export function shardTask(task: ShardTask, bus: ShardBus): Promise<void> {
  return new Promise((resolve, reject) => {
    const { control, index, incarnation, shards, options, barred } = task;
    const tell = (message: FromThread) => control.postMessage(message);
    const witness = new Witness(task.witness);
    const still = witness.beat();
    const shard = new Shard({
      index,
      incarnation,
      shards,
      options,
      clock: systemClock,
      bus,
      witness,
      barred,
      log: (level, message, fields = {}) => tell({ t: 'log', level, message, fields }),
      failed: reject,
    });
    const unwatch = watchRejections(witness, (reason) => shard.fail(reason));
    const ticker = setInterval(() => shard.guarded(() => shard.tick()), tickMs);
    control.on('message', (message: Control) => {
      switch (message.t) {
        case 'peer': {
          const port = message.port as MessagePort;
          shard.guarded(() => shard.connect(message.role, message.index, port));
          return;
        }
        case 'beat':
          tell({ t: 'beat', turn: message.turn, stats: shard.stats() });
          return;
        case 'quarantine':
          shard.bar(message.barred);
          return;
        case 'stop':
          shard.stop(() => {
            still();
            unwatch();
            clearInterval(ticker);
            control.close();
            resolve();
          });
          return;
      }
    });
    tell({ t: 'ready' });
  });
}
