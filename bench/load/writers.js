/** Publishers whose every message is answered, and who follow no room: opens them and counts the answers. */
import { occurrences } from './connection.js';
import { enter, eventually, leave } from './crowd.js';
import { Publisher } from './publisher.js';

const drainMs = 30_000;

export class Writers {
  /** What the first refusal said. */
  refused = '';
  /** @type {Publisher[]} */
  #publishers = [];
  /** @type {import('./connection.js').Connection[]} */
  #connections = [];
  #dialect;
  #answered;

  /**
   * @param {import('./dialects.js').Dialect} dialect
   * @param {(publisher: Publisher, answers: number) => void} answered may send more
   */
  constructor(dialect, answered) {
    this.#dialect = dialect;
    this.#answered = answered;
  }

  /**
   * Resolves when they may send.
   * @param {number} port
   * @param {string[]} users
   * @param {(number: number) => import('./dialects.js').Template[]} templatesOf what one of them sends in turn
   * @param {number} [inFlightMax] as many as its templates
   */
  async enter(port, users, templatesOf, inFlightMax) {
    const dialect = this.#dialect;
    const guests = users.map((user) => ({ user, rooms: [] }));
    this.#connections = await enter({ port, dialect, guests, receive: (connection, bytes, length) => this.#receive(connection, bytes, length) });
    this.#publishers = this.#connections.map((connection, number) => new Publisher(connection, dialect, templatesOf(number), inFlightMax));
  }

  get all() {
    return this.#publishers;
  }

  /** Waits for the answers that are missing, as long as makes sense; resolves to how many still are. */
  async settle() {
    await eventually(() => this.#unanswered === 0, drainMs);
    return this.#unanswered;
  }

  leave() {
    leave(this.#connections);
  }

  get #unanswered() {
    return this.#publishers.reduce((sum, { inFlight }) => sum + inFlight, 0);
  }

  /** @type {import('./connection.js').Receive} */
  #receive(connection, bytes, length) {
    const publisher = this.#publishers[connection.number];
    if (publisher === undefined) return;
    const text = bytes.toString('latin1', 0, length);
    const answers = occurrences(text, this.#dialect.answered);
    if (this.refused === '' && text.includes(this.#dialect.refused)) this.refused = text.slice(0, 300);
    publisher.inFlight -= answers;
    this.#answered(publisher, answers);
  }
}
