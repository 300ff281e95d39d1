/**
 * The bytes of one batch, written in place and handed over whole. A batch crosses as one exclusively owned ArrayBuffer in
 * the transfer list: posting a slice of a pooled Buffer would copy its pool, transferring one would empty its siblings
 * (DESIGN 11.10).
 */

/**
 * Small, since a calm hub sends a thousand batches a second of one message each: what crosses counts in full as memory outside the receiver's heap, and
 * with 16 KiB each the main thread collected its whole heap every second or two.
 */
const arenaBytesMin = 1024;

export class Arena {
  /** Where to write: at `offset`, after `ensure`. Replaced when it grows, so read it anew after each `ensure`. */
  buffer: Buffer;
  offset = 0;
  /** How many batches were given away: what lies in the arena is there until the next one. */
  taken = 0;
  #expected = arenaBytesMin;

  constructor() {
    this.buffer = Buffer.allocUnsafeSlow(arenaBytesMin);
  }

  /** Makes room for `bytes` more at `offset`. */
  ensure(bytes: number): void {
    if (this.offset + bytes <= this.buffer.length) return;
    const larger = Buffer.allocUnsafeSlow(Math.max(this.buffer.length * 2, this.offset + bytes));
    this.buffer.copy(larger, 0, 0, this.offset);
    this.buffer = larger;
  }

  /** Copies `bytes` in and says where they begin. */
  put(bytes: Uint8Array): number {
    this.ensure(bytes.length);
    const at = this.offset;
    this.buffer.set(bytes, at);
    this.offset += bytes.length;
    return at;
  }

  /** Gives the bytes away (null: there are none) and starts over, sized after the recent batches. */
  take(): ArrayBuffer | null {
    if (this.offset === 0) return null;
    // A mean that rises at once and falls slowly: a burst must not leave every later flush with a large empty arena.
    this.#expected = Math.max(arenaBytesMin, this.offset, Math.floor(this.#expected * 0.9));
    this.taken++;
    const taken = this.buffer.buffer as ArrayBuffer;
    this.buffer = Buffer.allocUnsafeSlow(this.#expected);
    this.offset = 0;
    return taken;
  }
}
