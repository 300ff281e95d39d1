/** What a worker thread runs to be a shard: one long task that ends when it is told to stop, or throws. */
import type { MessagePort } from 'node:worker_threads';
import type { FilledOptions } from '../options.ts';
import { systemClock } from '../thread/clock.ts';
import type { Control, FromThread } from '../thread/messages.ts';
import { Shard, type ShardBus } from './shard.ts';

export type ShardTask = { control: MessagePort; index: number; incarnation: number; shards: number; options: FilledOptions };

const tickMs = 1_000;

export function shardTask(task: ShardTask, bus: ShardBus): Promise<void> {
  return new Promise((resolve, reject) => {
    const { control, index, incarnation, shards, options } = task;
    const tell = (message: FromThread) => control.postMessage(message);
    const shard = new Shard({
      index,
      incarnation,
      shards,
      options,
      clock: systemClock,
      bus,
      log: (level, message, fields = {}) => tell({ t: 'log', level, message, fields }),
      failed: reject,
    });
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
        case 'stop':
          shard.stop(() => {
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
