/** The batched, credited link between threads, over real MessagePorts, and the arena its bytes travel in. */
import { MessageChannel } from 'node:worker_threads';
import { afterEach, describe, expect, it } from 'vitest';
import { Arena } from '../src/thread/arena.ts';
import { Link, type LinkLimits } from '../src/thread/link.ts';

type Message = { n: number };
type Got = { list: (number | Message)[]; arena: Buffer };

const open: Link<Message, Message>[] = [];
afterEach(() => {
  for (const link of open.splice(0)) link.close();
});

function pair(limits?: LinkLimits): { a: Link<Message, Message>; b: Link<Message, Message>; got: Got[]; next(): Promise<void> } {
  const { port1, port2 } = new MessageChannel();
  const got: Got[] = [];
  let wake: () => void = () => {};
  const a = new Link<Message, Message>(port1, { batch: () => {} }, limits);
  const b = new Link<Message, Message>(port2, {
    batch: (list, arena) => {
      got.push({ list, arena });
      wake();
    },
  });
  open.push(a, b);
  return { a, b, got, next: () => new Promise((resolve) => (wake = resolve)) };
}

describe('Link', () => {
  it('what is pushed in one turn travels as one batch, in order, frames with their bytes', async () => {
    const { a, got, next } = pair();
    const arrived = next();
    a.push({ n: 1 });
    a.frame(7, Buffer.from('hello'));
    a.push({ n: 2 });
    a.frame(8, Buffer.from('you'));
    await arrived;
    expect(got).toHaveLength(1);
    const { list, arena } = got[0] as Got;
    expect(list).toEqual([{ n: 1 }, 7, 0, 5, { n: 2 }, 8, 5, 3]);
    expect(arena.subarray(0, 8).toString()).toBe('helloyou');
  });

  it('bytes arrive as they were written, however many a batch has', async () => {
    const { a, got, next } = pair();
    for (const size of [1, 100, 2_048, 2_049, 10_000, 500_000, 7]) {
      const arrived = next();
      a.frame(3, Buffer.alloc(size, size % 251));
      a.frame(4, Buffer.from('end'));
      await arrived;
      const { list, arena } = got.at(-1) as Got;
      expect(list).toEqual([3, 0, size, 4, size, 3]);
      expect(arena.subarray(0, size).equals(Buffer.alloc(size, size % 251))).toBe(true);
      expect(arena.subarray(size, size + 3).toString()).toBe('end');
    }
  });

  it('without credit nothing travels: it collects, and goes as one batch with the credit', async () => {
    const { a, b, got, next } = pair({ creditBatches: 1, itemsMax: 100, bytesMax: 1_000_000 });
    b.hold();
    const first = next();
    a.push({ n: 1 });
    await first;
    for (let n = 2; n <= 10; n++) {
      a.push({ n });
      a.flush();
    }
    expect(a.items).toBe(9);
    const second = next();
    b.release();
    await second;
    expect(got.map(({ list }) => list.length)).toEqual([1, 9]);
    expect(a.items).toBe(0);
  });

  it('says that it is full at its bounds in items and in bytes', () => {
    const { a, b } = pair({ creditBatches: 1, itemsMax: 3, bytesMax: 100 });
    b.hold();
    for (let n = 0; n < 3; n++) a.push({ n });
    expect(a.full).toBe(true);
    const other = pair({ creditBatches: 1, itemsMax: 1_000, bytesMax: 100 });
    other.a.frame(1, Buffer.alloc(99));
    expect(other.a.full).toBe(false);
    other.a.frame(1, Buffer.alloc(1));
    expect(other.a.full).toBe(true);
  });

  it('an end whose own batch is full keeps the credit of its peer', async () => {
    const { port1, port2 } = new MessageChannel();
    let replies = 0;
    const a = new Link<Message, Message>(port1, { batch: (list) => (replies += list.length) }, { creditBatches: 1, itemsMax: 1_000, bytesMax: 1_000_000 });
    // b answers everything with three, may have one batch under way, and is full at three.
    const b: Link<Message, Message> = new Link(
      port2,
      {
        batch: (list) => {
          for (let i = 0; i < list.length * 3; i++) b.push({ n: i });
        },
      },
      { creditBatches: 1, itemsMax: 3, bytesMax: 1_000_000 },
    );
    open.push(a, b);
    a.hold(); // a never gives b its credit back: b gets one batch out and no more
    for (let n = 0; n < 5; n++) {
      a.push({ n });
      a.flush();
      await new Promise((resolve) => setImmediate(resolve));
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect(replies).toBeLessThanOrEqual(6);
    expect(a.items).toBeGreaterThan(0);
  });

  it('credit travels with the next batch, and by itself only when the peer waits for it', async () => {
    const { port1, port2 } = new MessageChannel();
    let alone = 0;
    port1.on('message', (message) => {
      if (typeof message === 'number') alone++;
    });
    const got: number[] = [];
    let wake: () => void = () => {};
    const a = new Link<Message, Message>(port1, { batch: () => {} });
    const b = new Link<Message, Message>(port2, {
      batch: (list) => {
        got.push(list.length);
        wake();
      },
    });
    open.push(a, b);
    const send = async (n: number) => {
      const arrived = new Promise<void>((resolve) => (wake = resolve));
      a.push({ n });
      a.flush();
      await arrived;
    };
    await send(1); // one credit is left: nobody waits
    await send(2); // the last one
    await new Promise((resolve) => port1.once('message', resolve));
    expect(alone).toBe(1);
    for (let n = 3; n <= 20; n++) await send(n);
    expect(got).toHaveLength(20);
  });

  it('tells that its peer is gone', async () => {
    const { port1, port2 } = new MessageChannel();
    const gone = new Promise<void>((resolve) => {
      open.push(new Link<Message, Message>(port1, { batch: () => {}, closed: resolve }));
    });
    port2.close();
    await gone;
  });
});

describe('Arena', () => {
  it('gives each batch bytes of its own, however much was written', () => {
    const arena = new Arena();
    expect(arena.take()).toBe(null);
    const big = Buffer.alloc(100_000, 'x');
    expect(arena.put(Buffer.from('ab'))).toBe(0);
    expect(arena.put(big)).toBe(2);
    const taken = arena.take();
    expect(taken).toBeInstanceOf(ArrayBuffer); // to be handed over
    const first = Buffer.from(taken as ArrayBuffer);
    expect(first.subarray(0, 2).toString()).toBe('ab');
    expect(first.subarray(2, 100_002).equals(big)).toBe(true);
    arena.put(Buffer.from('zz'));
    expect(first.subarray(0, 2).toString()).toBe('ab');
    const few = arena.take() as ArrayBuffer; // of what was sized for many
    expect(Buffer.from(few).subarray(0, 2).toString()).toBe('zz');
  });

  it('gives few bytes away as an exact copy and goes on in the same memory', () => {
    const arena = new Arena();
    const { buffer } = arena;
    arena.put(Buffer.from('one'));
    const one = arena.take() as Uint8Array;
    expect(one).toBeInstanceOf(Uint8Array);
    expect(one.buffer.byteLength).toBe(3); // nothing else crosses with it
    expect(arena.put(Buffer.from('another'))).toBe(0);
    expect(arena.buffer).toBe(buffer);
    expect(Buffer.from(one).toString()).toBe('one');
    expect(arena.taken).toBe(1);
  });

  it('keeps no large memory for few bytes', () => {
    const arena = new Arena();
    arena.put(Buffer.alloc(100_000));
    for (let i = 0; i < 100; i++) {
      arena.take();
      arena.put(Buffer.from('few'));
    }
    expect(arena.buffer.length).toBeLessThanOrEqual(4_096);
  });

  it('credit that comes with a batch sends what had none', async () => {
    const { port1, port2 } = new MessageChannel();
    const arrived: number[] = [];
    let wake: () => void = () => {};
    const limits = { creditBatches: 1, itemsMax: 100, bytesMax: 1_000_000 };
    const a = new Link<Message, Message>(port1, { batch: () => {} }, limits);
    const b: Link<Message, Message> = new Link<Message, Message>(port2, {
      batch: (list) => {
        for (const message of list) arrived.push((message as Message).n);
        // An answer at once, which takes the credit with it.
        b.push({ n: 0 });
        b.flush();
        wake();
      },
    });
    open.push(a, b);
    a.push({ n: 1 });
    a.flush();
    a.push({ n: 2 });
    await new Promise<void>((resolve) => {
      wake = () => arrived.length === 2 && resolve();
    });
    expect(arrived).toEqual([1, 2]);
  });

  it('two ends that are both full do not wait for each other', async () => {
    const { port1, port2 } = new MessageChannel();
    const limits = { creditBatches: 1, itemsMax: 3, bytesMax: 1_000_000 };
    const arrived = { gateway: 0, shard: 0 };
    let wake: () => void = () => {};
    const gateway = new Link<Message, Message>(port1, { batch: (list) => count('gateway', list) }, { ...limits, keepsCredit: false });
    const shard = new Link<Message, Message>(port2, { batch: (list) => count('shard', list) }, limits);
    open.push(gateway, shard);
    const count = (end: 'gateway' | 'shard', list: readonly unknown[]): void => {
      arrived[end] += list.length;
      wake();
    };
    for (const link of [gateway, shard]) {
      link.push({ n: 1 });
      link.flush(); // the only credit
      for (let n = 2; n <= 4; n++) link.push({ n });
      expect(link.full).toBe(true);
    }
    await new Promise<void>((resolve) => {
      wake = () => arrived.gateway + arrived.shard === 8 && resolve();
    });
    expect(arrived).toEqual({ gateway: 4, shard: 4 });
  });
});
