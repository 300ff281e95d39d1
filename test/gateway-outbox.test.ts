/** What is written behind a blocked write: in order, nothing lost, and in memory about as large as it is. */
import type { Socket } from 'node:net';
import { Writable } from 'node:stream';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Connection } from '../src/gateway/connection.ts';
import { Counters } from '../src/gateway/counters.ts';
import { pongFrame } from '../src/gateway/frame.ts';
import { Outbox } from '../src/gateway/outbox.ts';
import type { Peer } from '../src/gateway/peer.ts';

const limits = { outboxBytesMax: 2 ** 20, outboxLowBytes: 2 ** 16, outboxTotalBytesMax: 2 ** 29 };

/** A socket whose peer takes one write when the test says so. */
class SlowSocket extends Writable {
  readonly taken: Buffer[] = [];
  #done: (() => void) | null = null;
  #pieces = 0;

  constructor() {
    super({ highWaterMark: 16 * 1024 });
  }

  override _write(bytes: Buffer, _encoding: string, done: () => void): void {
    this.#take([bytes], done);
  }
  override _writev(chunks: { chunk: Buffer }[], done: () => void): void {
    this.#take(
      chunks.map(({ chunk }) => chunk),
      done,
    );
  }
  /** Whether there was something to take. */
  take(): boolean {
    const done = this.#done;
    this.#done = null;
    done?.();
    return done !== null;
  }
  /** Pieces that are not taken: each is an object or several. */
  get waiting(): number {
    return (this as unknown as { writableBuffer: unknown[] }).writableBuffer.length + this.#pieces;
  }
  #take(bytes: Buffer[], done: () => void): void {
    this.#pieces = bytes.length;
    // What was given is copied only when it is taken: whoever reuses it too early is found out.
    this.#done = () => {
      this.#pieces = 0;
      this.taken.push(...bytes.map((one) => Buffer.from(one)));
      done();
    };
  }
}

function setUp() {
  const outbox = new Outbox(limits, new Counters(), () => {});
  const socket = new SlowSocket();
  const ws = { readyState: 1, pause: () => {}, resume: () => {}, terminate: () => socket.destroy() };
  const init = { number: 1, id: 'c1', format: 'json', shards: 1, address: '', bearer: null, openedAt: 0, now: 0, helloTimeoutMs: 1, pingAfterMs: 1 } as const;
  const connection = new Connection({ ...init, ws: ws as unknown as Peer<Connection>, socket: socket as unknown as Socket }, () => {});
  const takeAll = async (): Promise<void> => {
    do await Promise.resolve();
    while (socket.take());
    outbox.progress(connection); // as the sweep does, where no end of a write was listened for
  };
  return { outbox, socket, ws, connection, takeAll };
}

describe('the outbox of a connection that reads nothing', () => {
  it('C8 keeps a hundred thousand pongs in a few large writes, and sends them all in order', async () => {
    const { outbox, socket, connection, takeAll } = setUp();
    const readsOf = 1_000;
    const pongs = Array.from({ length: 100_000 }, (_, i) => pongFrame(Buffer.from(`${i}`)));
    for (const [i, pong] of pongs.entries()) {
      outbox.sendFrame(connection, pong);
      if (i % readsOf === 0) await Promise.resolve();
    }
    await Promise.resolve();
    const bytes = pongs.reduce((sum, { length }) => sum + length, 0);
    expect(outbox.unsent(connection)).toBe(bytes);
    expect(socket.waiting).toBeLessThan(200);
    expect(outbox.total).toBeLessThan(bytes * 1.1);
    await takeAll();
    expect(Buffer.concat(socket.taken).equals(Buffer.concat(pongs))).toBe(true);
    expect([outbox.total, outbox.backed.size, outbox.unsent(connection)]).toEqual([0, 0, 0]);
  });

  it('F7 keeps small deliveries that come one by one in a few large writes too', async () => {
    const { outbox, socket, connection } = setUp();
    for (let i = 0; i < 10_000; i++) {
      outbox.begin(Buffer.alloc(60, i));
      outbox.put(connection, 0, 60);
      outbox.end();
    }
    expect(outbox.unsent(connection)).toBe(600_000);
    expect(socket.waiting).toBeLessThan(100);
    expect(outbox.total).toBeLessThan(600_000 * 1.1);
  });

  it('F7 writes everything in order and gives all memory back, whatever comes and whenever it reads', async () => {
    const frame = fc.oneof(fc.nat(200), fc.constantFrom(2_048, 2_049, 8_192, 30_000)).map((size) => ({ is: 'frame', size }) as const);
    const flush = fc.array(fc.oneof(fc.nat(300), fc.constant(9_000)), { minLength: 1, maxLength: 4 }).map((sizes) => ({ is: 'flush', sizes }) as const);
    const step = fc.oneof(
      { weight: 6, arbitrary: frame },
      { weight: 2, arbitrary: flush },
      { weight: 3, arbitrary: fc.constant({ is: 'take' } as const) },
      { weight: 3, arbitrary: fc.constant({ is: 'turn' } as const) },
    );
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 80 }), async (steps) => {
        const { outbox, socket, connection, takeAll } = setUp();
        const expected: Buffer[] = [];
        let next = 0;
        const bytes = (size: number): Buffer => {
          const made = Buffer.alloc(size, ++next);
          expected.push(made);
          return made;
        };
        for (const one of steps) {
          if (one.is === 'frame') outbox.sendFrame(connection, Buffer.from(bytes(one.size)));
          else if (one.is === 'flush') {
            // Ranges with others between them, as in a flush for many.
            const arena = Buffer.concat(one.sizes.flatMap((size) => [bytes(size), Buffer.alloc(size % 7)]));
            outbox.begin(arena);
            let at = 0;
            for (const size of one.sizes) {
              if (size > 0) outbox.put(connection, at, size);
              at += size + (size % 7);
            }
            outbox.end();
          } else if (one.is === 'take') socket.take();
          else await Promise.resolve();
        }
        await takeAll();
        expect(Buffer.concat(socket.taken).equals(Buffer.concat(expected))).toBe(true);
        expect([outbox.total, outbox.backed.size, outbox.unsent(connection)]).toEqual([0, 0, 0]);
      }),
      { numRuns: 300 },
    );
  });

  it('what waits is written before a close frame, and given back where the socket is gone', async () => {
    const { outbox, socket, ws, connection } = setUp();
    const pongs = Array.from({ length: 300 }, (_, i) => pongFrame(Buffer.from(`${i}`)));
    for (const pong of pongs) outbox.sendFrame(connection, pong);
    await Promise.resolve();
    outbox.last(connection);
    ws.readyState = 2;
    expect(socket.writableLength).toBe(Buffer.concat(pongs).length);
    outbox.sendFrame(connection, pongFrame(Buffer.from('too late')));
    expect(socket.writableLength).toBe(Buffer.concat(pongs).length);

    const gone = setUp();
    for (const pong of pongs) gone.outbox.sendFrame(gone.connection, pong);
    await Promise.resolve();
    const closed = new Promise((resolve) => gone.socket.once('close', resolve));
    gone.ws.readyState = 3;
    gone.ws.terminate();
    gone.socket.take(); // as a socket that is destroyed ends the write under way
    await closed;
    gone.outbox.forget(gone.connection);
    expect([gone.outbox.total, gone.outbox.backed.size]).toEqual([0, 0]);
  });
});
