/** Upkeep of the SQLite store: in small steps, however much there is, and nothing is left behind. */
import { describe, expect, it } from 'vitest';
import { check } from '../src/persistence/sqlite-check.ts';
import { openedStore } from './sqlite-setup.ts';
import { changing, connect, direct, message, mid, startTs } from './store-contract.ts';

describe('upkeep', () => {
  it('upkeep takes its time in steps: it stops at its limit and says that there is more', async () => {
    const { store, clock } = await openedStore({ inboxItemsMax: 2_000, inboxBytesMax: 1_000_000, inboxAgeMs: 1 });
    await store.commit(
      Array.from({ length: 1_200 }, () => direct('a', 'b')),
      startTs,
    );
    clock.perLook = 15; // a step that takes longer than it should
    let calls = 0;
    const told: number[] = [];
    for (let more = true; more; calls++) {
      const result = await store.maintain(startTs + 2);
      for (const { from, to } of result.notices) told.push(to - from + 1);
      more = result.more && calls < 100;
    }
    expect(told.reduce((sum, count) => sum + count, 0)).toBe(1_200);
    expect(calls).toBeGreaterThan(3);
    expect(calls).toBeLessThan(100);
  });

  it('what still waits in an inbox keeps its body, and loses it afterwards though it stays as the entry before the deletion', async () => {
    const { store, options, clock, outsider } = await openedStore();
    await store.commit(
      [
        changing('r', 0, { type: 'create', settings: {}, owner: 'a' }),
        changing('r', 0, { type: 'join', user: 'b', role: 'member', membersMax: 9 }, { inbox: ['b'], mid: mid(1) }),
        changing('r', 0, { type: 'delete' }),
        connect('b', 1),
      ],
      startTs,
    );
    const db = outsider();
    const upkeep = async () => {
      while ((await store.maintain(startTs)).more);
      return [db.prepare('select coalesce(body, mid) is null from entries order by seq').pluck().all(), db.prepare('select purge from rooms').pluck().get()];
    };
    expect(await upkeep()).toEqual([[0, 0], 1]);
    await store.commit([{ type: 'ack', user: 'b', device: 'phone', through: 1 }], startTs);
    expect(await upkeep()).toEqual([[1, 0], 0]);
    expect(check(options.data, clock).problems).toEqual([]);
  });

  it('a large log that was deleted goes in chunks', async () => {
    const { store, clock, outsider } = await openedStore();
    await store.commit(
      Array.from({ length: 1_700 }, () => message('r', 'x')),
      startTs,
    );
    await store.commit(
      [
        {
          type: 'append',
          room: 'r',
          authSeq: 0,
          autoCreate: null,
          mid: null,
          kind: 'deleted',
          from: 'x',
          thread: null,
          body: '{}',
          change: { type: 'delete' },
          inbox: null,
          origin: null,
        },
      ],
      startTs,
    );
    const db = outsider();
    const left = () => db.prepare('select count(*) from entries').pluck().get() as number;
    const counts = [left()];
    clock.perLook = 1_000; // a step for each call
    for (let more = true; more; ) {
      more = (await store.maintain(startTs)).more;
      counts.push(left());
    }
    expect(counts[0]).toBe(1_701);
    expect(counts.at(-1)).toBe(2); // the deletion, and the blank entry before it
    expect(Math.max(...counts.slice(1).map((count, i) => (counts[i] as number) - count))).toBeLessThanOrEqual(500);
    expect(db.prepare('select body from entries where seq = 1700').pluck().get()).toBeNull();
  });
});
