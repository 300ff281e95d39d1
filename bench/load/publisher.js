/**
 * One sender: its frames lie ready in a ring, one per message in flight, and are stamped in place. A slot is used again only
 * after a message sent no earlier came back, so its bytes are certainly sent by then.
 */
import { writeSender, writeTime } from './stamp.js';

export class Publisher {
  /** Sent and not yet delivered to the sender itself (or answered, where nothing is delivered to it). */
  inFlight = 0;
  sent = 0;
  #connection;
  #dialect;
  #ring;
  #slots;
  #inFlightMax;
  #length;
  #timeAt;
  #idAt;

  /**
   * @param {import('./connection.js').Connection} connection
   * @param {import('./dialects.js').Dialect} dialect
   * @param {import('./dialects.js').Template[]} templates sent one after the other, of one length
   * @param {number} [inFlightMax] as many as there are templates, or fewer
   */
  constructor(connection, dialect, templates, inFlightMax = templates.length) {
    const { bytes, timeAt, idAt } = /** @type {import('./dialects.js').Template} */ (templates[0]);
    for (const template of templates) {
      if (template.bytes.length !== bytes.length) throw new Error('the frames of one publisher must have one length');
      writeSender(template.bytes, timeAt, connection.number);
    }
    this.#connection = connection;
    this.#dialect = dialect;
    this.#ring = Buffer.concat(templates.map((template) => template.bytes));
    this.#slots = templates.length;
    this.#inFlightMax = inFlightMax;
    this.#length = bytes.length;
    this.#timeAt = timeAt;
    this.#idAt = idAt;
  }

  get free() {
    return this.#inFlightMax - this.inFlight;
  }

  /**
   * @param {number} count at most `free`
   * @param {number} time
   */
  send(count, time) {
    while (count > 0) {
      const slot = this.sent % this.#slots;
      const run = Math.min(count, this.#slots - slot);
      const start = slot * this.#length;
      for (let i = 0; i < run; i++) {
        const at = start + i * this.#length;
        writeTime(this.#ring, at + this.#timeAt, time);
        if (this.#idAt >= 0) this.#dialect.writeId(this.#ring, at + this.#idAt, this.sent + i);
      }
      this.#connection.write(this.#ring.subarray(start, start + run * this.#length));
      this.sent += run;
      this.inFlight += run;
      count -= run;
    }
  }
}
