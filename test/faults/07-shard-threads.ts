/** One of two shards dies in mid-traffic, in each of five ways. */
import type { FaultRow } from './row.ts';
import { strikeThreads, type ThreadSize } from './threads.ts';

export const row: FaultRow<ThreadSize> = {
  test: 7,
  title: 'R7 F2 M1 a shard throws, rejects, loops, fills its heap, or is stuck in a native call: its rooms pause, nothing else does',
  target: 'rooms back ≤ 1 s (throw, rejection, memory), hang found in 2 s; other shards’ p99 change ≤ 20 %; 0 lost',
  gate: { rounds: 1, faults: 2, users: 6, calmAcks: 200, hangMs: 600, storeHangMs: 700, nativeS: 1.2 },
  full: { rounds: 3, faults: 5, users: 24, calmAcks: 4_000, hangMs: 1_500, storeHangMs: 4_000, nativeS: 6 },

  run: (size, kit) => strikeThreads(['shard'], size, kit),
};
