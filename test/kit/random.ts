/** Chance that can be repeated: mulberry32 from a seed. Asks nothing of the test runner, so that processes of their own can use it. */

export type Random = {
  readonly seed: number;
  /** From 0 (inclusive) to 1 (exclusive). */
  next(): number;
  /** A whole number from 0 to `below` − 1. */
  int(below: number): number;
  pick<T>(from: readonly T[]): T;
  bytes(length: number): Uint8Array;
};

export function randomFrom(seed: number): Random {
  let state = seed >>> 0;
  const next = (): number => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  };
  const int = (below: number): number => Math.floor(next() * below);
  return {
    seed,
    next,
    int,
    pick: <T>(from: readonly T[]): T => from[int(from.length)] as T,
    bytes: (length) => Uint8Array.from({ length }, () => int(256)),
  };
}

export function freshSeed(): number {
  const given = process.env.TEST_SEED;
  return given === undefined ? Math.floor(Math.random() * 2 ** 32) : Number(given);
}
