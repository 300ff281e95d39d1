/**
 * One simulated TCP connection with WebSocket frames on it: the gateway's end looks like `ws` and its `net.Socket`, the
 * client's end gets frames and the end. Both directions keep order; a full window makes the gateway's writes wait, and a cut
 * loses what is under way.
 */
import type { Scheduler, Strand } from './scheduler.ts';

export type GatewayEvents = { message(bytes: Buffer, binary: boolean): void; close(code: number): void };
export type ClientEvents = { frame(payload: Buffer): void; close(code: number): void };
type Write = { bytes: Buffer; done: (() => void) | undefined };

/** From so much unsent on, Node's socket says when it has drained. */
const drainFrom = 1_024;

export class SimSocket {
  readonly #scheduler: Scheduler;
  readonly #gateway: Strand;
  readonly #clientStrand: Strand;
  readonly #lagMs: number;
  readonly #client: ClientEvents;
  server: GatewayEvents = { message: () => {}, close: () => {} };
  /** Bytes that the kernels on both sides hold for a client that does not read. */
  windowBytes = 16_384;
  #reading = true;
  #inFlight = 0;
  #arrived: Buffer[] = [];
  #toClientAt = 0;
  #toGatewayAt = 0;

  // as `ws` and `net.Socket` have it
  readyState = 1;
  writableLength = 0;
  bytesRead = 0;
  #queue: Write[] = [];
  #corked = 0;
  #needDrain = false;
  #drained: () => void = () => {};
  #paused = false;
  #unread: (() => void)[] = [];
  #ending: number | null = null;
  #cut = false;

  constructor(scheduler: Scheduler, gateway: Strand, client: Strand, lagMs: number, events: ClientEvents) {
    this.#scheduler = scheduler;
    this.#gateway = gateway;
    this.#clientStrand = client;
    this.#lagMs = lagMs;
    this.#client = events;
  }

  // ------------------------------------------------------------ the client's end

  /** The handshake, before anything else. */
  open(accept: () => void): void {
    this.#inbound(() => {
      if (this.readyState === 1) accept();
    });
  }

  send(payload: Buffer, binary: boolean): void {
    this.#inbound(() => {
      this.bytesRead += payload.length;
      if (this.readyState === 1) this.server.message(payload, binary);
    });
  }

  /** Says goodbye. */
  leave(): void {
    this.#inbound(() => this.#gone(1000));
  }

  /** Whether the client takes what arrives. */
  set reading(reading: boolean) {
    this.#reading = reading;
    if (reading) this.#drainArrived();
  }

  /** The network is gone: both ends find out, each in its time. */
  cut(): void {
    if (this.#cut) return;
    this.#cut = true;
    this.#arrived = [];
    const scheduler = this.#scheduler;
    scheduler.after(scheduler.between(0, 300), this.#gateway, () => this.#gone(1006));
    scheduler.after(scheduler.between(0, 50), this.#clientStrand, () => this.#client.close(1006));
  }

  // ------------------------------------------------------------ the gateway's end

  write(bytes: Buffer, done?: () => void): boolean {
    this.#queue.push({ bytes, done });
    this.writableLength += bytes.length;
    if (this.#corked === 0) this.#take();
    if (this.writableLength >= drainFrom) this.#needDrain = true;
    return !this.#needDrain;
  }
  on(_event: 'drain', listener: () => void): void {
    this.#drained = listener;
  }
  cork(): void {
    this.#corked++;
  }
  uncork(): void {
    if (--this.#corked === 0) this.#take();
  }
  pause(): void {
    this.#paused = true;
  }
  resume(): void {
    this.#paused = false;
    while (!this.#paused && this.#unread.length > 0) this.#unread.shift()?.();
  }
  close(code: number): void {
    if (this.readyState !== 1) return;
    this.readyState = 2;
    this.#ending = code;
    this.#take();
  }
  terminate(): void {
    if (this.readyState === 3) return;
    this.cut();
    this.#scheduler.after(0, this.#gateway, () => this.#gone(1006));
  }

  // ------------------------------------------------------------ in between

  /** The kernel takes what its window has room for. */
  #take(): void {
    if (this.#cut || this.readyState === 3) return;
    for (let next = this.#queue[0]; next !== undefined && this.#inFlight < this.windowBytes; next = this.#queue[0]) {
      this.#queue.shift();
      const { bytes, done } = next;
      this.writableLength -= bytes.length;
      this.#inFlight += bytes.length;
      if (done !== undefined) queueMicrotask(done);
      this.#outbound(() => {
        this.#arrived.push(bytes);
        if (this.#reading) this.#drainArrived();
      });
    }
    if (this.#needDrain && this.writableLength === 0) {
      this.#needDrain = false;
      queueMicrotask(() => this.#drained());
    }
    if (this.#ending === null || this.#queue.length > 0) return;
    const code = this.#ending;
    this.#ending = null;
    this.#outbound(() => {
      if (this.#reading) this.#drainArrived();
      this.#cut = true;
      this.#client.close(code);
      this.#scheduler.after(this.#lagMs, this.#gateway, () => this.#gone(code));
    });
  }

  #drainArrived(): void {
    const arrived = this.#arrived;
    if (arrived.length === 0) return;
    this.#arrived = [];
    let taken = 0;
    for (const bytes of arrived) {
      taken += bytes.length;
      if (!this.#cut) for (const payload of framesOf(bytes)) this.#client.frame(payload);
    }
    this.#inFlight -= taken;
    if (this.writableLength > 0) this.#scheduler.after(this.#lagMs, this.#gateway, () => this.#take());
  }

  #inbound(arrive: () => void): void {
    this.#toGatewayAt = Math.max(this.#toGatewayAt, this.#scheduler.now + this.#scheduler.between(0, this.#lagMs));
    this.#scheduler.at(this.#toGatewayAt, this.#gateway, () => {
      if (this.#cut && this.readyState !== 1) return;
      if (this.#paused) this.#unread.push(arrive);
      else arrive();
    });
  }

  #outbound(arrive: () => void): void {
    this.#toClientAt = Math.max(this.#toClientAt, this.#scheduler.now + this.#scheduler.between(0, this.#lagMs));
    this.#scheduler.at(this.#toClientAt, this.#clientStrand, () => {
      if (!this.#cut) arrive();
    });
  }

  #gone(code: number): void {
    if (this.readyState === 3) return;
    this.readyState = 3;
    this.server.close(code);
  }
}

/** The payloads of whole, unmasked frames; control frames are left out. */
function* framesOf(bytes: Buffer): Generator<Buffer> {
  for (let at = 0; at < bytes.length; ) {
    const opcode = (bytes[at] as number) & 15;
    const short = (bytes[at + 1] as number) & 127;
    const head = short < 126 ? 2 : short === 126 ? 4 : 10;
    const length = short < 126 ? short : short === 126 ? bytes.readUInt16BE(at + 2) : Number(bytes.readBigUInt64BE(at + 2));
    if (opcode < 8) yield bytes.subarray(at + head, at + head + length);
    at += head + length;
  }
}
