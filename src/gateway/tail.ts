/**
 * What comes for a socket while a write to it is not finished: small frames are put together in blocks, for each write that waits
 * costs several hundred bytes beside its own, and somebody who sends pings and reads nothing could make the hub keep very many. Only
 * outbox.ts uses it, and it alone decides when a block is written. A tail writes nothing itself.
 */

export const blockBytes = 8 * 1024;
/** Larger ones are written by themselves: beside them, what a write costs is little. */
export const joinedBytesMax = blockBytes / 4;

/** What a block keeps in memory, until its write has finished or it is given up. */
type Release = () => void;
export type Sealed = { bytes: Buffer; release: Release };

export class Tail {
  /** Writes whose end was not heard of yet. While there is one, its end takes along what waits here. */
  writes = 0;
  #block: Buffer | null = null;
  #length = 0;
  #release: Release | null = null;

  /** Bytes that wait. */
  get length(): number {
    return this.#length;
  }

  fits(bytes: number): boolean {
    return this.#block === null || this.#length + bytes <= blockBytes;
  }

  /** It must fit. `hold` is told of a block that is taken for it. */
  add(bytes: Buffer, hold: (bytes: number) => Release): void {
    if (this.#block === null) {
      this.#block = Buffer.allocUnsafeSlow(blockBytes);
      this.#release = hold(blockBytes);
    }
    this.#length += bytes.copy(this.#block, this.#length);
  }

  /** All that waits, as one write; null: nothing does. */
  take(): Sealed | null {
    const block = this.#block;
    const release = this.#release;
    if (block === null || release === null) return null;
    const bytes = block.subarray(0, this.#length);
    this.#block = null;
    this.#release = null;
    this.#length = 0;
    return { bytes, release };
  }
}
