/**
 * The one thing that decides when anything happens in a simulated cluster: a queue of events in virtual time, drawn from one
 * seed. It stands in for the event loop (timers and `setImmediate` included) of every simulated thread, so that code under
 * test runs as it is; it never waits for real time. What happens is folded into a hash, so that two runs can be compared.
 */
import { type Random, randomFrom } from '../kit/random.ts';

/** A simulated thread: when it dies, what it had still to do is never done; while it is paused, it waits. */
export class Strand {
  readonly name: string;
  /** Turns of the microtask queue that an event of it needs at most. */
  readonly hops: number;
  dead = false;
  paused = false;
  /** What would have happened while it was paused. */
  held: Event[] = [];

  constructor(name: string, hops: number) {
    this.name = name;
    this.hops = hops;
  }
}

type Event = { at: number; order: number; strand: Strand; run(): void; cancelled: boolean };

/** What `setImmediate` costs in virtual ms. */
const immediateMs = 0.01;

export class Scheduler {
  readonly random: Random;
  /** Virtual ms. */
  now = 0;
  events = 0;
  readonly #heap: Event[] = [];
  #order = 0;
  #hash = 0x811c9dc5;
  readonly #world = new Strand('world', 0);
  #strand = this.#world;

  constructor(seed: number) {
    this.random = randomFrom(seed);
  }

  get hash(): string {
    return (this.#hash >>> 0).toString(16).padStart(8, '0');
  }

  /** Between two bounds, in ms. */
  between(from: number, to: number): number {
    return from + this.random.next() * (to - from);
  }

  chance(probability: number): boolean {
    return this.random.next() < probability;
  }

  after(ms: number, strand: Strand, run: () => void): Event {
    return this.at(this.now + ms, strand, run);
  }

  /** Of two for the same instant, the one asked for first goes first: what keeps an order must name the instant, for a sum of differences is rounded. */
  at(at: number, strand: Strand, run: () => void): Event {
    const event: Event = { at, order: ++this.#order, strand, run, cancelled: false };
    this.#push(event);
    return event;
  }

  /** Folds what happened into the hash. */
  note(what: string): void {
    let hash = this.#hash ^ Math.round(this.now * 1_000);
    for (let i = 0; i < what.length; i++) hash = Math.imul(hash ^ what.charCodeAt(i), 0x01000193);
    this.#hash = hash;
  }

  /** Runs something as a thread would: timers it sets are that thread's. */
  as<T>(strand: Strand, run: () => T): T {
    const before = this.#strand;
    this.#strand = strand;
    try {
      return run();
    } finally {
      this.#strand = before;
    }
  }

  /** Runs everything due until `until`, with the timers of this process replaced by virtual ones. */
  async run(until: number): Promise<void> {
    const restore = this.#replaceTimers();
    try {
      for (let event = this.#heap[0]; event !== undefined && event.at <= until; event = this.#heap[0]) {
        this.#pop();
        const { strand } = event;
        if (strand.dead || event.cancelled) continue;
        if (strand.paused) {
          strand.held.push(event);
          continue;
        }
        this.now = event.at;
        this.events++;
        this.#strand = strand;
        event.run();
        for (let hop = 0; hop < strand.hops; hop++) await null;
      }
      this.now = until;
    } finally {
      restore();
    }
  }

  /** Nothing of the thread happens for so long, as when its processor is taken away. */
  pause(strand: Strand, ms: number): void {
    if (strand.paused) return;
    strand.paused = true;
    this.after(ms, this.#world, () => this.wake(strand));
  }

  wake(strand: Strand): void {
    if (!strand.paused) return;
    strand.paused = false;
    for (const event of strand.held) {
      event.at = this.now;
      this.#push(event);
    }
    strand.held = [];
  }

  #replaceTimers(): () => void {
    const { setImmediate, setTimeout, setInterval, clearInterval, clearTimeout } = globalThis;
    const cancel = (event?: unknown): void => {
      if (event !== undefined) (event as Event).cancelled = true;
    };
    Object.assign(globalThis, {
      setImmediate: (run: () => void) => this.after(immediateMs, this.#strand, run),
      setTimeout: (run: () => void, ms: number) => this.after(ms, this.#strand, run),
      setInterval: (run: () => void, ms: number) => this.every(ms, run),
      clearInterval: cancel,
      clearTimeout: cancel,
    });
    return () => void Object.assign(globalThis, { setImmediate, setTimeout, setInterval, clearInterval, clearTimeout });
  }

  /** Of the thread that runs now; the handle can be cleared as an interval's. */
  every(ms: number, run: () => void): Event {
    const event = this.after(ms, this.#strand, () => {
      run();
      if (event.cancelled) return;
      event.at = this.now + ms;
      event.order = ++this.#order;
      this.#push(event);
    });
    return event;
  }

  #push(event: Event): void {
    const heap = this.#heap;
    let at = heap.push(event) - 1;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!before(event, heap[parent] as Event)) break;
      heap[at] = heap[parent] as Event;
      at = parent;
    }
    heap[at] = event;
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop() as Event;
    if (heap.length === 0) return;
    let at = 0;
    for (;;) {
      let child = at * 2 + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && before(heap[child + 1] as Event, heap[child] as Event)) child++;
      if (!before(heap[child] as Event, last)) break;
      heap[at] = heap[child] as Event;
      at = child;
    }
    heap[at] = last;
  }
}

function before(a: Event, b: Event): boolean {
  return a.at < b.at || (a.at === b.at && a.order < b.order);
}
