/**
 * A TCP proxy between clients and a hub that does to connections what networks do: it delays, throttles, swallows, closes half
 * or all of them, with a goodbye (FIN), with a reset (RST) or without a word. Every link and timer ends with `stop`.
 */
import { connect, createServer, type Server, type Socket } from 'node:net';

/** Towards the hub or towards the client. */
export type Direction = 'up' | 'down';
export type Cut = 'fin' | 'rst' | 'silent';
/** What becomes of bytes on their way: forwarded, or lost without a word. */
export type Verdict = 'pass' | 'drop';

export type ProxyOptions = {
  /** Time each byte takes longer. */
  delayMs?: number;
  /** Bytes per second and direction of one link. */
  bytesPerSecond?: number;
  /** Asked for every piece of bytes that comes, before it is forwarded. */
  inspect?: (link: Link, direction: Direction, bytes: Buffer) => Verdict;
  /** Told of every connection. */
  accepted?: (link: Link) => void;
};

/** Bytes of one direction that wait here before its source is no longer read. */
const queueBytesMax = 1024 * 1024;

/** Listens on a free port of the loopback; `target` is asked for each connection, so that the hub may move. */
export async function startProxy(target: () => number, options: ProxyOptions = {}): Promise<TcpProxy> {
  const proxy = new TcpProxy(target, options);
  await proxy.listen();
  return proxy;
}

export class TcpProxy {
  /** May be changed at any time; what is under way keeps the delay that it had. */
  readonly options: ProxyOptions;
  readonly links = new Set<Link>();
  readonly #target: () => number;
  readonly #server: Server;
  /** New connections are refused while this is true. */
  refusing = false;

  constructor(target: () => number, options: ProxyOptions) {
    this.#target = target;
    this.options = { ...options };
    this.#server = createServer({ allowHalfOpen: true, noDelay: true }, (client) => this.#accept(client));
  }

  get port(): number {
    const address = this.#server.address();
    if (address === null || typeof address === 'string') throw new Error('the proxy is not listening');
    return address.port;
  }

  get url(): string {
    return `ws://127.0.0.1:${this.port}`;
  }

  listen(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#server.once('error', reject);
      this.#server.listen(0, '127.0.0.1', resolve);
    });
  }

  /** Cuts every link that is there now. */
  cut(how: Cut): void {
    for (const link of [...this.links]) link.cut(how);
  }

  async stop(): Promise<void> {
    const closed = new Promise((resolve) => this.#server.close(resolve));
    this.cut('rst');
    await closed;
  }

  #accept(client: Socket): void {
    if (this.refusing) {
      client.resetAndDestroy();
      return;
    }
    const hub = connect({ port: this.#target(), host: '127.0.0.1', allowHalfOpen: true, noDelay: true });
    const link = new Link(client, hub, this.options, () => this.links.delete(link));
    this.links.add(link);
    this.options.accepted?.(link);
  }
}

/** One connection through the proxy: a socket to each side. */
export class Link {
  /** Of the client's socket, by which a test knows whose link this is. */
  readonly clientPort: number;
  readonly #sides: Record<Direction, Side>;
  readonly #ended: () => void;

  constructor(client: Socket, hub: Socket, options: ProxyOptions, ended: () => void) {
    this.clientPort = client.remotePort ?? 0;
    this.#ended = ended;
    this.#sides = { up: new Side(client, hub, options), down: new Side(hub, client, options) };
    for (const direction of ['up', 'down'] as const) {
      const side = this.#sides[direction];
      side.from.on('data', (bytes: Buffer) => {
        if (!side.dead && options.inspect?.(this, direction, bytes) !== 'drop') side.push(bytes);
      });
      // Behind a silent network nobody answers a goodbye: the socket would stay half closed for ever.
      side.from.on('end', () => (this.#silent ? side.from.destroy() : side.push(null)));
      side.from.on('error', () => {}); // what it ends in is `close`
      side.from.on('close', (failed) => this.#closed(side, failed));
    }
  }

  /** Ends it for both sides: with a goodbye, with a reset, or so that neither hears anything of the other any more. */
  cut(how: Cut): void {
    for (const side of Object.values(this.#sides)) {
      if (how === 'rst') side.from.resetAndDestroy();
      else if (how === 'fin') side.push(null);
      else side.dead = true;
    }
  }

  /** Says goodbye in one direction only; the other goes on. */
  halfClose(direction: Direction): void {
    this.#sides[direction].push(null);
  }

  /** Loses everything of one direction from now on, and says nothing. */
  silence(direction: Direction): void {
    this.#sides[direction].dead = true;
  }

  get #silent(): boolean {
    return this.#sides.up.dead || this.#sides.down.dead;
  }

  #closed(side: Side, failed: boolean): void {
    // A silent network keeps the other side waiting until it loses patience itself.
    if (!this.#silent) {
      if (failed) side.to.resetAndDestroy();
      else side.push(null);
    }
    if (side.from.destroyed && side.to.destroyed) this.#ended();
  }
}

type Piece = { bytes: Buffer | null; due: number };

/** One direction: reads from one socket, and writes to the other what is due. `null` is the goodbye behind the bytes. */
class Side {
  readonly from: Socket;
  readonly to: Socket;
  dead = false;
  readonly #options: ProxyOptions;
  readonly #queue: Piece[] = [];
  #queued = 0;
  #timer: NodeJS.Timeout | undefined;
  /** When the line is free again, where it is throttled. */
  #free = 0;

  constructor(from: Socket, to: Socket, options: ProxyOptions) {
    this.from = from;
    this.to = to;
    this.#options = options;
    to.on('drain', () => this.#pump());
    to.on('close', () => clearTimeout(this.#timer));
  }

  push(bytes: Buffer | null): void {
    const now = performance.now();
    const { delayMs = 0, bytesPerSecond } = this.#options;
    this.#free = Math.max(now, this.#free) + (bytesPerSecond === undefined ? 0 : ((bytes?.length ?? 0) / bytesPerSecond) * 1_000);
    this.#queue.push({ bytes, due: this.#free + delayMs });
    this.#queued += bytes?.length ?? 0;
    this.#pump();
    if (this.#queued > queueBytesMax) this.from.pause();
  }

  #pump(): void {
    while (this.#timer === undefined && !this.dead && !this.to.destroyed && !this.to.writableNeedDrain) {
      const [next] = this.#queue;
      if (next === undefined) break;
      const wait = next.due - performance.now();
      if (wait > 0) {
        this.#timer = setTimeout(() => {
          this.#timer = undefined;
          this.#pump();
        }, wait);
        break;
      }
      this.#queue.shift();
      this.#queued -= next.bytes?.length ?? 0;
      if (next.bytes === null) this.to.end();
      else if (!this.to.writableEnded) this.to.write(next.bytes);
    }
    if (this.#queued <= queueBytesMax && this.from.isPaused()) this.from.resume();
  }
}
