/** The inbox of one simulated client: what it was given under which number, and its cumulative acks. Sent again is the same again. */
import type { Fields, SimClient } from './client.ts';

export class Reading {
  /** By n, of this life of the data. */
  readonly items = new Map<number, string>();
  /** Numbers that the hub said were lost. */
  readonly lost_ = new Set<number>();
  epoch = '';
  /** Where this device's reading of this life of the data began. */
  begin: number | null = null;
  /** The highest n of this connection. */
  last = 0;
  #acked = 0;
  #acking = false;
  readonly #client: SimClient;

  constructor(client: SimClient) {
    this.#client = client;
  }

  opened(epoch: string, acked: number): void {
    if (epoch !== this.epoch) {
      // What was written after a backup is gone, and its numbers mean other items.
      this.items.clear();
      this.lost_.clear();
      this.begin = acked;
      this.epoch = epoch;
    }
    this.begin ??= acked;
    this.last = acked;
    this.#acked = acked;
  }

  lost(): void {
    this.#acking = false;
  }

  item(fields: Fields): void {
    const n = fields.n as number;
    const what = `${String(fields.room)} ${String(fields.seq)} ${String(fields.mid)}`;
    const known = this.items.get(n);
    if (known !== undefined && known !== what) this.#client.deps.fault(`${this.#client.name}: item ${n} was ${known} and is ${what}`);
    this.items.set(n, what);
    this.last = Math.max(this.last, n);
  }

  gap(from: number, to: number): void {
    for (let n = from; n <= to; n++) this.lost_.add(n);
    this.last = Math.max(this.last, to);
  }

  /** Everything it has so far. */
  ack(): void {
    const through = this.last;
    if (this.#acking || through <= this.#acked || this.#client.state !== 'open') return;
    this.#acking = true;
    this.#client.request('ack', { through }, ({ ok }) => {
      this.#acking = false;
      if (ok) this.#acked = Math.max(this.#acked, through);
    });
  }
}
