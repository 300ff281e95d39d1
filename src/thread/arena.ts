/**
 * The bytes of one batch, written in place. Many are handed over whole, as one exclusively owned ArrayBuffer in the transfer
 * list: posting a slice of a pooled Buffer would copy its pool, transferring one would empty its siblings (DESIGN 11.10). A
 * few are copied exactly, which costs less than to hand over memory and to make new memory.
 */

/** Small: what crosses counts in full as memory outside the receiver's heap, and so hastens its collection. */
const arenaBytesMin = 1024;
/** A calm hub's batches: those of one or two messages. */
const fewBytes = 2_048;

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

  /** Gives the bytes away (null: there are none) and starts over, sized after the recent batches. A Uint8Array is a copy, an ArrayBuffer wants to be transferred. */
  take(): ArrayBuffer | Uint8Array | null {
    if (this.offset === 0) return null;
    this.taken++;
    // A mean that rises at once and falls slowly: a burst must not leave every later flush with a large empty arena.
    this.#expected = Math.max(arenaBytesMin, this.offset, Math.floor(this.#expected * 0.9));
    const few = this.offset <= fewBytes && this.buffer.length <= 2 * fewBytes;
    const taken = few ? new Uint8Array(this.buffer.subarray(0, this.offset)) : (this.buffer.buffer as ArrayBuffer);
    if (!few) this.buffer = Buffer.allocUnsafeSlow(this.#expected);
    this.offset = 0;
    return taken;
  }
}
