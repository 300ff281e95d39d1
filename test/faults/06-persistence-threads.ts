/** The writer dies in mid-traffic, in each of five ways; then a reader does. */
import type { FaultRow } from './row.ts';
import { strikeThreads, type ThreadSize } from './threads.ts';

export const row: FaultRow<ThreadSize> = {
  test: 6,
  title: 'R7 M1 the writer, or a reader, throws, rejects, loops, fills its heap, or is stuck in a native call: nothing acknowledged is lost',
  target: 'acks pause ≤ 1 s (throw, rejection), ≤ 5 s (loop); 0 lost; main loop lag ≤ 50 ms',
  gate: { rounds: 1, faults: 3, users: 6, paceMs: 4, calmMs: 100, hangMs: 600, storeHangMs: 700, nativeS: 1.2 },
  full: { rounds: 3, faults: 10, users: 12, paceMs: 10, calmMs: 1_500, hangMs: 1_500, storeHangMs: 4_000, nativeS: 6 },

  run: (size, kit) => strikeThreads(['persistence', 'reader'], size, kit),
};
