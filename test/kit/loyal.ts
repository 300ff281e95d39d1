/**
 * A user who does not give up: he keeps what he sent until it is acknowledged and where he stood in each room, and after
 * each loss of his connection goes on from there with the same mids. What a good client does, in its fewest lines.
 */
import { v7 } from 'uuid';
import { type ClientOptions, RawClient } from './raw-client.ts';

export class Loyal {
  readonly user: string;
  readonly rooms: readonly string[];
  /** Of each room, what he saw: seq → mid. */
  readonly seen = new Map<string, Map<number, string | null>>();
  /** Sent and not acknowledged: mid → room. */
  readonly unacked = new Map<string, string>();
  acked = 0;
  client: RawClient | null = null;
  readonly #options: ClientOptions;
  /** Of the life of the data that his positions are from. */
  #epoch: string | null = null;
  #onAck: () => void = () => {};

  constructor(user: string, rooms: readonly string[], options: ClientOptions) {
    this.user = user;
    this.rooms = rooms;
    this.#options = { ...options, user };
    for (const room of rooms) this.seen.set(room, new Map());
  }

  /** Connects, takes up every room where he stood, and sends again what was not acknowledged. */
  async connect(url: string): Promise<void> {
    const client = await RawClient.connect(url, this.#options);
    this.client = client;
    const welcomed = client.welcome?.epoch ?? '';
    const epoch = this.#epoch ?? welcomed;
    this.#epoch = welcomed;
    client.onPush = (push) => {
      if (push.op === 'entry') this.seen.get(push.room)?.set(push.seq, push.mid);
    };
    await client.ok('resume', { epoch, rooms: Object.fromEntries(this.rooms.map((room) => [room, this.head(room)])) });
    for (const [mid, room] of this.unacked) void this.#send(room, mid);
  }

  head(room: string): number {
    return Math.max(0, ...(this.seen.get(room)?.keys() ?? []));
  }

  publish(room: string): Promise<void> {
    const mid = v7();
    this.unacked.set(mid, room);
    return this.#send(room, mid);
  }

  /** Keeps `inFlight` messages on their way until `messages` are acknowledged in all, or his connection ends. */
  async chat(messages: number, inFlight: number, pick: () => string): Promise<void> {
    const lane = async (): Promise<void> => {
      while (this.acked < messages && this.client !== null) await this.publish(pick());
    };
    await Promise.all(Array.from({ length: inFlight }, lane));
  }

  /** Calls back on every acknowledgement. */
  onAck(listener: () => void): void {
    this.#onAck = listener;
  }

  /** Until everything he sent is acknowledged. */
  async delivered(): Promise<void> {
    await Promise.all([...this.unacked].map(([mid, room]) => this.#send(room, mid)));
  }

  async #send(room: string, mid: string): Promise<void> {
    const client = this.client;
    if (client === null) return;
    try {
      const answer = await client.command('publish', { room, mid, body: `${this.user} says ${mid}` });
      if (answer.op === 'error') {
        if (!answer.retry) throw new Error(`${this.user}: ${answer.code}: ${answer.message}`);
        return;
      }
      if (this.unacked.delete(mid)) this.acked++;
      this.#onAck();
    } catch (error) {
      // The connection ended: the message stays unacknowledged and goes with the next one.
      if (client.ended === null) throw error;
      if (this.client === client) this.client = null;
    }
  }
}
