/**
 * MessagePorts between simulated threads: in order per direction, with delays that the seed draws, copies instead of shared
 * objects, and an end when either thread ends. The code under test takes them for real ones.
 */
import type { MessagePort } from 'node:worker_threads';
import type { Scheduler, Strand } from './scheduler.ts';

/** Delays of one message, in ms: mostly short, sometimes long. */
export type Lag = { ms: number; spikeMs: number; spikes: number };
type Listener = (message: unknown) => void;
/** Looks at what a thread sends to another; undefined: it is lost. */
export type Tamper = (from: string, to: string, message: unknown) => unknown;

export class Port {
  readonly #scheduler: Scheduler;
  readonly #lag: Lag;
  readonly strand: Strand;
  readonly #tamper: Tamper | undefined;
  #peer: Port | null = null;
  #listener: Listener | null = null;
  #early: unknown[] = [];
  #closing: (() => void) | null = null;
  #closed = false;
  #lastAt = 0;

  constructor(scheduler: Scheduler, lag: Lag, strand: Strand, tamper: Tamper | undefined) {
    this.#scheduler = scheduler;
    this.#lag = lag;
    this.strand = strand;
    this.#tamper = tamper;
  }

  /** The two ends of a link, each owned by its thread. */
  static pair(scheduler: Scheduler, lag: Lag, a: Strand, b: Strand, tamper?: Tamper): [MessagePort, MessagePort] {
    const ports = [new Port(scheduler, lag, a, tamper), new Port(scheduler, lag, b, tamper)] as const;
    ports[0].#peer = ports[1];
    ports[1].#peer = ports[0];
    return ports as unknown as [MessagePort, MessagePort];
  }

  on(_event: 'message', listener: Listener): void {
    this.#listener = listener;
    for (const message of this.#early) listener(message);
    this.#early = [];
  }

  once(_event: 'close', listener: () => void): void {
    this.#closing = listener;
  }

  postMessage(message: unknown): void {
    const peer = this.#peer;
    if (this.#closed || peer === null) return;
    const tampered = this.#tamper === undefined ? message : this.#tamper(this.strand.name, peer.strand.name, message);
    if (tampered === undefined) return;
    const copied = copyOf(tampered);
    this.#scheduler.at(this.#arrival(), peer.strand, () => peer.#receive(copied));
  }

  /** What was posted before still arrives; then both ends hear of the end. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    const peer = this.#peer;
    this.#scheduler.after(0, this.strand, () => this.#closing?.());
    if (peer !== null) this.#scheduler.at(this.#arrival(), peer.strand, () => peer.#ended());
  }

  #ended(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#closing?.();
  }

  #receive(message: unknown): void {
    if (this.#closed) return;
    if (this.#listener === null) this.#early.push(message);
    else this.#listener(message);
  }

  /** Never before what was posted earlier. */
  #arrival(): number {
    const { ms, spikeMs, spikes } = this.#lag;
    const scheduler = this.#scheduler;
    const delay = scheduler.chance(spikes) ? scheduler.between(ms, spikeMs) : scheduler.between(ms / 8, ms);
    this.#lastAt = Math.max(this.#lastAt, scheduler.now + delay);
    return this.#lastAt;
  }
}

/** As structured cloning: threads share nothing. Whole buffers are transferred. */
export function copyOf<T>(value: T): T {
  if (typeof value !== 'object' || value === null || value instanceof ArrayBuffer) return value;
  if (Array.isArray(value)) {
    const list = new Array<unknown>(value.length);
    for (let i = 0; i < value.length; i++) list[i] = copyOf(value[i]);
    return list as T;
  }
  if (value instanceof Uint8Array) return value.slice() as T;
  if (value instanceof Map) return new Map([...value].map(([key, one]) => [key, copyOf(one)])) as T;
  const copied: Record<string, unknown> = {};
  for (const key in value) copied[key] = copyOf(value[key]);
  return copied as T;
}
