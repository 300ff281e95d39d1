/** One of two shards dies in mid-traffic, in each of five ways. */
import type { FaultRow } from './row.ts';
import { strikeThreads, type ThreadSize } from './threads.ts';

export const row: FaultRow<ThreadSize> = {
  test: 7,
  title: 'R7 F2 M1 a shard throws, rejects, loops, fills its heap, or is stuck in a native call: its rooms pause and lose nothing, the other shard’s go on',
  target:
    'rooms back ≤ 1 s (throw, rejection), a loop ended within 5 s; the other shard’s p99 change ≤ 20 % (median of the strikes, each beside equally long windows just before and after; a loop and a full heap beside one in which another process does the same, for they take one of two cores and more whatever the hub does); 0 lost',
  gate: { rounds: 1, faults: 2, users: 6, paceMs: 4, calmMs: 100, hangMs: 600, storeHangMs: 700, nativeS: 1.2 },
  full: { rounds: 5, faults: 5, users: 12, paceMs: 10, calmMs: 5_000, hangMs: 1_500, storeHangMs: 4_000, nativeS: 6 },

  run: (size, kit) => strikeThreads(['shard'], size, kit),
};
