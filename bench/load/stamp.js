/**
 * The marker inside every published body: when it was sent and by whom, in ASCII that no framing changes. Publishers patch
 * it in place; `Scanner` finds it again in whatever bytes a contestant sends, so every framing is counted alike.
 */

/** Bytes of every body. The marker is followed by padding. */
export const bodyBytes = 100;
const mark = '^~~^';
const timeDigits = 6;
const senderDigits = 3;
const markerBytes = mark.length + timeDigits + senderDigits;
/** Reads of these sizes are compared with the one before: shorter ones are scanned as fast. */
const sameBytesMin = 1_024;
const sameBytesMax = 64 * 1_024;
const markBytes = Buffer.from(mark);
const [mark0, mark1, mark2, mark3] = /** @type {[number, number, number, number]} */ (/** @type {unknown} */ (markBytes));
/** Digits are base 32 from '0' upwards: letters that JSON, UTF-8 and msgpack all leave alone. */
const zero = 0x30;

/** A body of `bodyBytes` with an empty marker. */
export const blankBody = mark + '0'.repeat(timeDigits + senderDigits) + 'x'.repeat(bodyBytes - markerBytes);

/**
 * Where the time digits are in a frame that holds `blankBody`.
 * @param {Buffer} frame
 */
export function stampOffset(frame) {
  const at = frame.indexOf(markBytes);
  if (at < 0) throw new Error('the frame holds no marker');
  return at + mark.length;
}

/**
 * @param {Buffer} bytes
 * @param {number} at from `stampOffset`
 * @param {number} time below 2^30
 */
export function writeTime(bytes, at, time) {
  for (let i = timeDigits - 1; i >= 0; i--) {
    bytes[at + i] = zero + (time & 31);
    time >>>= 5;
  }
}

/**
 * @param {Buffer} bytes
 * @param {number} at from `stampOffset`
 * @param {number} sender below 2^15
 */
export function writeSender(bytes, at, sender) {
  const start = at + timeDigits;
  bytes[start] = zero + ((sender >> 10) & 31);
  bytes[start + 1] = zero + ((sender >> 5) & 31);
  bytes[start + 2] = zero + (sender & 31);
}

/**
 * Finds markers in what sockets bring. One for all connections: it learns how far apart deliveries are, so that in a long
 * run of them it looks where the next must be instead of searching. A guess could skip one only where two together are
 * shorter than one and a half of the shortest ever found, and deliveries of one row differ by a few digits at most.
 */
export class Scanner {
  /** What the last `scan` found. */
  times = new Int32Array(8_192);
  senders = new Int32Array(8_192);
  #count = 0;
  #least = Number.MAX_SAFE_INTEGER;
  #guess = 0;
  /** What was scanned last, if it began afresh: the next subscriber of the same room mostly gets the same bytes. */
  #same = Buffer.allocUnsafeSlow(sameBytesMax);
  #sameLength = -1;
  #sameEnd = new Carry();

  /**
   * Returns how many markers are in `carry` and the first `length` of `bytes`; `carry` is updated.
   * @param {Carry} carry
   * @param {Buffer} bytes
   * @param {number} length
   */
  scan(carry, bytes, length) {
    if (length >= sameBytesMin && length <= sameBytesMax && carry.length === 0) {
      if (length !== this.#sameLength || this.#same.compare(bytes, 0, length, 0, length) !== 0) {
        this.#count = this.#search(carry, bytes, length);
        bytes.copy(this.#same, 0, 0, length);
        this.#sameLength = length;
        this.#sameEnd.become(carry);
      } else carry.become(this.#sameEnd);
    } else {
      this.#sameLength = -1;
      this.#count = this.#search(carry, bytes, length);
    }
    return this.#count;
  }

  /**
   * @param {Carry} carry
   * @param {Buffer} bytes
   * @param {number} length
   */
  #search(carry, bytes, length) {
    let count = 0;
    let at = 0;
    if (carry.length > 0) {
      at = Math.min(markerBytes - carry.length, length);
      bytes.copy(carry.bytes, carry.length, 0, at);
      carry.length += at;
      if (carry.length < markerBytes) return 0;
      carry.length = 0;
      if (isMark(carry.bytes, 0)) this.#take(carry.bytes, 0, count++);
      else at = 0;
    }
    const last = length - markerBytes;
    let previous = -1;
    while (at <= last) {
      const guess = previous + this.#guess;
      if (previous >= 0 && this.#guess > 0 && guess <= last && isMark(bytes, guess)) {
        at = guess;
      } else {
        at = bytes.indexOf(markBytes, previous < 0 ? at : previous + bodyBytes);
        if (at < 0 || at > last) break;
        if (previous >= 0) this.#learn(at - previous);
      }
      this.#take(bytes, at, count++);
      previous = at;
      at += markerBytes;
    }
    this.#keep(carry, bytes, Math.max(previous < 0 ? 0 : previous + markerBytes, last + 1), length);
    return count;
  }

  /** @param {number} distance of two neighbours */
  #learn(distance) {
    if (distance < this.#least) this.#least = distance;
    this.#guess = distance < 1.5 * this.#least ? distance : 0;
  }

  /**
   * @param {Buffer} bytes
   * @param {number} at
   * @param {number} index
   */
  #take(bytes, at, index) {
    if (index === this.times.length) this.#grow();
    let time = 0;
    let i = at + mark.length;
    for (const end = i + timeDigits; i < end; i++) time = (time << 5) | ((bytes[i] ?? zero) - zero);
    this.times[index] = time;
    let sender = 0;
    for (const end = i + senderDigits; i < end; i++) sender = (sender << 5) | ((bytes[i] ?? zero) - zero);
    this.senders[index] = sender;
  }

  #grow() {
    const [times, senders] = [this.times, this.senders];
    this.times = new Int32Array(times.length * 2);
    this.senders = new Int32Array(senders.length * 2);
    this.times.set(times);
    this.senders.set(senders);
  }

  /**
   * Keeps what may be the start of a marker at the end of a read.
   * @param {Carry} carry
   * @param {Buffer} bytes
   * @param {number} from
   * @param {number} length
   */
  #keep(carry, bytes, from, length) {
    for (let i = Math.max(from, 0); i < length; i++) {
      if (bytes[i] !== mark0 || !couldStart(bytes, i, length)) continue;
      bytes.copy(carry.bytes, 0, i, length);
      carry.length = length - i;
      return;
    }
  }
}

/** The end of one connection's last read, where it may be the start of a marker. */
export class Carry {
  bytes = Buffer.alloc(markerBytes);
  length = 0;

  /** @param {Carry} other */
  become(other) {
    this.length = other.length;
    if (other.length > 0) this.bytes.set(other.bytes);
  }
}

/**
 * @param {Buffer} bytes
 * @param {number} at
 */
function isMark(bytes, at) {
  return bytes[at] === mark0 && bytes[at + 1] === mark1 && bytes[at + 2] === mark2 && bytes[at + 3] === mark3;
}

/**
 * @param {Buffer} bytes
 * @param {number} at
 * @param {number} length
 */
function couldStart(bytes, at, length) {
  for (let i = 1; i < mark.length && at + i < length; i++) if (bytes[at + i] !== markBytes[i]) return false;
  return true;
}
