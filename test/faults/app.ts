/**
 * An application of this project's own client, as rows use it: recorded at the wire, watched at the surface. What the client shows
 * its user must be as good as what the hub sent: each entry once, in order, none left out.
 */
import { type Hub as Client, type ConnectOptions, connect, type Room } from '../../src/client/index.ts';
import { recordedWebSocket } from '../../src/testing/recorded-socket.ts';
import type { FaultKit } from './row.ts';

/** Comes back fast: rows have many ends of connections and little time. */
const backoff = { firstMs: 50, maxMs: 1_000 };

export function join(kit: FaultKit, url: string, user: string, options: Partial<ConnectOptions> = {}): Client {
  const client = connect(url, { user, device: 'only', backoff, webSocket: recordedWebSocket(kit.recorder, user), ...options });
  kit.defer(() => client.close());
  return client;
}

/** Follows one room and keeps what is wrong with what the application was shown. */
export class Follower {
  readonly faults: string[] = [];
  readonly user: string;
  readonly room: string;
  readonly client: Client;
  head = 0;
  seen = 0;
  #waiting: { seq: number; done: () => void } | null = null;

  static async start(client: Client, user: string, room: string): Promise<Follower> {
    const { epoch } = await client.ready;
    const follower = new Follower(client, user, await client.subscribe(room, { position: { epoch, seq: 0 } }));
    return follower;
  }

  private constructor(client: Client, user: string, room: Room) {
    this.client = client;
    this.user = user;
    this.room = room.name;
    room.on('entry', ({ seq }) => {
      if (seq !== this.head + 1 && this.faults.length < 3) this.faults.push(`${user} was shown ${seq} of ${room.name} after ${this.head}`);
      this.head = seq;
      this.seen++;
      if (this.#waiting !== null && seq >= this.#waiting.seq) this.#waiting.done();
    });
    room.on('gap', (gap) => this.faults.push(`${user} was told of a gap: ${JSON.stringify(gap)}`));
  }

  /** Resolves when the application was shown `seq`. */
  reached(seq: number): Promise<void> {
    return this.head >= seq ? Promise.resolve() : new Promise((done) => (this.#waiting = { seq, done }));
  }
}

/** Waits about as long as told; the row has something to break meanwhile. */
export function passed(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
