/**
 * One WebSocket of the load client on a bare TCP socket: opens by its dialect's steps, then hands every read to `receive`
 * uncut. All connections read into one buffer, so receiving allocates nothing; `receive` must not keep the bytes.
 */
import { connect } from 'node:net';
import { Carry } from './stamp.js';

/** Larger than what a socket brings at once, so that the client needs few reads to keep up. */
const shared = Buffer.allocUnsafeSlow(256 * 1024);

/**
 * @typedef {import('./dialects.js').Step} Step
 * @typedef {(connection: Connection, bytes: Buffer, length: number) => void} Receive
 */

export class Connection {
  number;
  carry = new Carry();
  /** Deliveries so far. */
  received = 0;
  /** Why it ended, unless by `close`. */
  ended = '';
  #socket;
  /** @type {Step[]} */
  #steps = [];
  #heard = '';
  #receive;
  #closing = false;
  /** @type {{ resolve: (heard: string) => void, reject: (error: Error) => void } | null} */
  #waiting = null;

  /**
   * @param {number} number
   * @param {number} port
   * @param {Receive} receive
   */
  constructor(number, port, receive) {
    this.number = number;
    this.#receive = receive;
    this.#socket = connect({ port, host: '127.0.0.1', noDelay: true, onread: { buffer: shared, callback: (length, bytes) => this.#read(length, bytes) } });
    this.#socket.on('error', (error) => this.#end(error.message));
    this.#socket.on('close', () => this.#end('closed by the server'));
  }

  /**
   * Resolves to what was heard since the last step, when its answer came.
   * @param {Step[]} steps
   * @returns {Promise<string>}
   */
  run(steps) {
    if (this.ended !== '') return Promise.reject(new Error(this.ended));
    this.#steps = steps;
    return new Promise((resolve, reject) => {
      this.#waiting = { resolve, reject };
      this.#next();
    });
  }

  /** @param {Buffer} bytes whole frames, unchanged until they were received */
  write(bytes) {
    this.#socket.write(bytes);
  }

  /** Without a closing handshake and without a port left in TIME_WAIT. */
  close() {
    this.#closing = true;
    this.#socket.resetAndDestroy();
  }

  #next() {
    const [step] = this.#steps;
    if (step === undefined) {
      this.#waiting?.resolve(this.#heard);
      return;
    }
    this.#heard = '';
    this.#socket.write(step.bytes);
  }

  /**
   * @param {number} length
   * @param {Uint8Array} read
   */
  #read(length, read) {
    const bytes = /** @type {Buffer} */ (read);
    const [step] = this.#steps;
    if (step) {
      this.#heard += bytes.toString('latin1', 0, length);
      if (occurrences(this.#heard, step.expect) >= step.times) {
        this.#steps.shift();
        this.#next();
      } else if (isRefusal(this.#heard)) this.#end(`refused: ${this.#heard.slice(-300)}`);
    }
    this.#receive(this, bytes, length);
    return true;
  }

  /** @param {string} why */
  #end(why) {
    if (this.#closing || this.ended !== '') return;
    this.ended = why;
    this.#waiting?.reject(new Error(why));
  }
}

/**
 * @param {string} text
 * @param {string} part
 */
export function occurrences(text, part) {
  let count = 0;
  for (let at = text.indexOf(part); at >= 0; at = text.indexOf(part, at + part.length)) count++;
  return count;
}

/** @param {string} heard */
function isRefusal(heard) {
  return /^HTTP\/1\.1 (?!101)|"op":"error"|\xa2op\xa5error|44\{/.test(heard);
}
