/**
 * UUIDv7 (RFC 9562 section 5.7) for connections, and for entries whose sender gave none. The general library draws random
 * bytes for each, which cost more than the rest of a publish; here a maker draws once, and counts: 42 random bits name the
 * maker, 32 bits count up from a random start within it (section 6.2), so that two makers meet as rarely as two random draws
 * would.
 */
const countMax = 0x1_0000_0000;
/** Every byte in hexadecimal. */
const pairs: readonly string[] = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, '0'));

export class Mids {
  /** The fourth group and the first letters of the fifth: variant and random bits of this maker. */
  readonly #maker: string;
  readonly #third: string;
  #count: number;
  #ms = -1;
  #time = '';

  /** `random`: from 0 (inclusive) to 1 (exclusive). */
  constructor(random: () => number) {
    const letters = (count: number): string => hex(Math.floor(random() * 16 ** count), count);
    this.#third = `7${letters(3)}`;
    this.#maker = `${hex(8 + Math.floor(random() * 4), 1)}${letters(3)}-${letters(4)}`;
    this.#count = Math.floor(random() * countMax);
  }

  /** `now`: wall-clock ms. */
  next(now: number): string {
    if (now !== this.#ms) {
      this.#ms = now;
      const time = hex(now, 12);
      this.#time = `${time.slice(0, 8)}-${time.slice(8)}-${this.#third}-${this.#maker}`;
    }
    this.#count = (this.#count + 1) % countMax;
    const count = this.#count;
    return this.#time + (pairs[count >>> 24] as string) + pairs[(count >>> 16) & 255] + pairs[(count >>> 8) & 255] + pairs[count & 255];
  }
}

function hex(value: number, letters: number): string {
  return value.toString(16).padStart(letters, '0');
}
