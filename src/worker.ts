/**
 * The composition root of a shard's thread: hands it the bus to other nodes. Loaded by piscina; the names of its exports are
 * the tasks that `hub.ts` runs.
 */
import { LocalBus } from './cluster/local.ts';
import { type ShardTask, shardTask } from './shard/entry.ts';

/** Loads what a shard needs, for a thread that is to become one. */
export function loadShard(): void {}

/** One node has nobody to talk to, so its bus has one member. */
export function runShard(task: ShardTask): Promise<void> {
  return shardTask(task, new LocalBus().join());
}
