/** Turns of the feed, and the tail of a room: both bounded, both in order. */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { describe, expect, it } from 'vitest';
import type { Connection } from '../src/shard/actor.ts';
import { Feed } from '../src/shard/feed.ts';
import { Tail } from '../src/shard/tail.ts';
import type { EntryRecord } from '../src/thread/messages.ts';

function connection(id: number): Connection {
  return { id, user: `u${id}`, device: 'default', format: 'json', service: false, scopes: [], open: true };
}

describe('Feed', () => {
  it('a connection has one turn at a time, in the order it asked', () => {
    const feed = new Feed();
    const a = connection(1);
    const turns: string[] = [];
    for (const name of ['first', 'second', 'third']) feed.ask(a, () => turns.push(name));
    expect(turns).toEqual(['first']);
    feed.done(a);
    expect(turns).toEqual(['first', 'second']);
    feed.done(a);
    feed.done(a);
    expect(turns).toEqual(['first', 'second', 'third']);
    feed.done(a); // one too many is nothing
    feed.ask(a, () => turns.push('fourth'));
    expect(turns.at(-1)).toBe('fourth');
  });

  it('all connections together have a bounded number of turns; the next waits for one to end', () => {
    const feed = new Feed();
    const crowd = Array.from({ length: 200 }, (_, i) => connection(i));
    let started = 0;
    for (const one of crowd) feed.ask(one, () => started++);
    expect(started).toBe(64);
    expect(feed.busy).toBe(64);
    for (const one of crowd.slice(0, 10)) feed.done(one);
    expect(started).toBe(74);
  });

  it('a connection that is gone gives its turn and its wishes up', () => {
    const feed = new Feed();
    const crowd = Array.from({ length: 65 }, (_, i) => connection(i));
    const turns: number[] = [];
    for (const one of crowd) feed.ask(one, () => turns.push(one.id));
    feed.ask(crowd[0] as Connection, () => turns.push(-1));
    expect(turns).not.toContain(64);
    feed.drop(crowd[0] as Connection);
    expect(turns).toContain(64);
    expect(turns).not.toContain(-1);
  });

  it('a turn that ends at once and asks again does not grow the stack', () => {
    const feed = new Feed();
    const a = connection(1);
    let turns = 0;
    const turn = () => {
      turns++;
      if (turns < 50_000) feed.ask(a, turn);
      feed.done(a);
    };
    feed.ask(a, turn);
    expect(turns).toBe(50_000);
  });
});

describe('Tail', () => {
  const record = (seq: number, bytes = 10): EntryRecord => ({
    room: 'r',
    seq,
    kind: 'message',
    mid: null,
    from: 'a',
    ts: 0,
    thread: null,
    body: 'x'.repeat(bytes),
  });

  it('keeps the newest entries within its bounds in items and bytes', () => {
    const tail = new Tail(100, 1_000_000);
    for (let seq = 1; seq <= 1_000; seq++) tail.push(record(seq));
    expect(tail.from(900, 1e9)).toBe(null);
    expect(tail.from(901, 1e9)?.map(({ seq }) => seq)).toEqual(Array.from({ length: 100 }, (_, i) => 901 + i));
    const small = new Tail(1_000, 2_000);
    for (let seq = 1; seq <= 100; seq++) small.push(record(seq, 260));
    expect(small.bytes).toBeLessThanOrEqual(2_000);
    expect(small.from(98, 1e9)?.map(({ seq }) => seq)).toEqual([98, 99, 100]);
  });

  it('lets go at once of what is beyond its bounds', async () => {
    setFlagsFromString('--expose-gc');
    const collect = runInNewContext('gc') as () => void;
    const tail = new Tail(1_000, 2_000);
    const records = Array.from({ length: 50 }, (_, i) => {
      const one = record(i + 1, 260);
      tail.push(one);
      return new WeakRef(one);
    });
    await new Promise((resolve) => setImmediate(resolve)); // until then what is weak is kept
    collect();
    expect(records.filter((one) => one.deref() !== undefined).length).toBe(tail.from(47, 1e9)?.length);
  });

  it('a page of it stops at its bytes, with at least one entry', () => {
    const tail = new Tail(100, 1_000_000);
    for (let seq = 1; seq <= 10; seq++) tail.push(record(seq, 1_000));
    expect(tail.from(3, 1)?.map(({ seq }) => seq)).toEqual([3]);
    expect(tail.from(3, 3_800)?.map(({ seq }) => seq)).toEqual([3, 4, 5]);
    expect(tail.from(11, 1)).toEqual([]);
  });
});
