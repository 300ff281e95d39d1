/** The one file that reads the clock and throws dice; everything else gets a `Clock`, so that tests step time. */

export type Clock = {
  /** Wall-clock milliseconds since 1970; may jump. Never used for order. */
  now(): number;
  /** Monotonic milliseconds; for ages and deadlines. */
  tick(): number;
  /** From 0 (inclusive) to 1 (exclusive). */
  random(): number;
};

export const systemClock: Clock = {
  now: () => Date.now(),
  tick: () => performance.now(),
  random: () => Math.random(),
};
