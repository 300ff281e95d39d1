/** The part of the store's contract about inboxes: numbers, cursors, limits, losses, the ledger. */
import { expect, it } from 'vitest';
import type { Outcome } from '../src/thread/messages.ts';
import { type Bench, changing, connect, day, direct, message, mid, type OpenBench, shortDirect, startTs } from './store-contract.ts';

export function inboxContract(open: OpenBench): void {
  const ack = (user: string, through: number, device = 'phone') => ({ type: 'ack', user, device, through }) as const;
  const waitingOf = async (bench: Bench, user: string, after = 0) => (await bench.inbox(user, after)).items.map(({ n }) => n);
  const cursorOf = (outcome: Outcome) => (typeof outcome === 'object' && outcome.code === 'connected' ? { acked: outcome.acked, head: outcome.head } : outcome);
  const states = async (bench: Bench, user: string | null = null, room = 'dm:a:b', id = mid(1)) =>
    (await bench.read({ read: 'delivery', room, mid: id, user })).deliveries;

  it('a direct message gets the next number of its recipient, in the same commit', async () => {
    const bench = await open();
    expect(await bench.commit(direct('a', 'b', { mid: mid(1), body: '"1"' }), direct('c', 'b', { body: '"2"' }))).toEqual([
      { code: 'ok', seq: 1 },
      { code: 'ok', seq: 1 },
    ]);
    const entry = { room: 'dm:a:b', seq: 1, kind: 'message', mid: mid(1), from: 'a', ts: startTs, thread: null, body: '"1"' };
    expect(bench.notices).toMatchObject([
      { t: 'inbox', user: 'b', n: 1, entry, origin: null },
      { t: 'inbox', user: 'b', n: 2, entry: { room: 'dm:b:c', seq: 1 } },
    ]);
    expect(await bench.inbox('b')).toMatchObject({
      items: [
        { n: 1, entry },
        { n: 2, entry: { from: 'c' } },
      ],
      losses: [],
      head: 2,
    });
    expect(await bench.inbox('nobody')).toEqual({ items: [], losses: [], head: 0 });
  });

  it('a direct message in its short form does the same', async () => {
    const bench = await open();
    await bench.commit(connect('a', 1), connect('a', 2, { device: 'tablet' }));
    expect(await bench.commit(shortDirect('a', 'b'), shortDirect('a', 'b'), shortDirect('b', 'a'), shortDirect('a', 'a'))).toEqual([1, 2, 3, 1]);
    const told = (name: string) =>
      bench.notices.flatMap((notice) => (notice.t === 'inbox' && notice.user === name ? [[notice.n, notice.origin, notice.entry.seq]] : []));
    expect(told('b')).toEqual([
      [1, null, 1],
      [2, null, 2],
    ]);
    expect(told('a')).toEqual([
      [1, 'phone', 1],
      [2, 'phone', 2],
      [3, null, 3],
      [4, 'phone', 1],
    ]);
  });

  it('a duplicate puts nothing into an inbox', async () => {
    const bench = await open();
    await bench.commit(direct('a', 'b', { mid: mid(1) }), direct('a', 'b', { mid: mid(1) }));
    expect(await bench.one(shortDirect('a', 'b', { mid: mid(1) }))).toEqual({ code: 'duplicate', seq: 1 });
    expect(await bench.one(shortDirect('b', 'a', { mid: mid(1) }))).toEqual({ code: 'conflict' });
    expect((await bench.inbox('b')).head).toBe(1);
  });

  it('the sender gets a copy for his other devices only, and the sending one passes over it', async () => {
    const bench = await open();
    await bench.commit(connect('a', 1), direct('a', 'b'));
    expect((await bench.inbox('a')).head).toBe(0);
    await bench.commit(connect('a', 2, { device: 'tablet' }), direct('a', 'b'));
    expect(bench.notices.filter(({ user }) => user === 'a')).toMatchObject([{ t: 'inbox', n: 1, origin: 'phone', entry: { room: 'dm:a:b', seq: 2 } }]);
    expect(cursorOf(await bench.one(connect('a', 3)))).toEqual({ acked: 1, head: 1 });
    expect(cursorOf(await bench.one(connect('a', 4, { device: 'tablet' })))).toEqual({ acked: 0, head: 1 });
    await bench.commit(ack('a', 1, 'tablet'));
    expect(await waitingOf(bench, 'a')).toEqual([]);
  });

  it('D2 a device is not read what it sent itself, whatever it has acked', async () => {
    const bench = await open();
    await bench.commit(connect('a', 1), connect('a', 2, { device: 'tablet' }), direct('b', 'a'), direct('a', 'b'), direct('b', 'a'), direct('a', 'b'));
    const read = async (device: string | null, limit?: number) => (await bench.inbox('a', 0, limit, device)).items.map(({ n }) => n);
    expect([await read('phone'), await read('phone', 1), await read('tablet'), await read(null)]).toEqual([[1, 3], [1], [1, 2, 3, 4], [1, 2, 3, 4]]);
    expect((await bench.inbox('a', 3, 10, 'phone')).head).toBe(4);
  });

  it('an ack carries over the own messages that follow it', async () => {
    const bench = await open();
    await bench.commit(connect('a', 1), connect('a', 2, { device: 'tablet' }), direct('b', 'a'), direct('a', 'b'), direct('a', 'b'), direct('b', 'a'));
    await bench.commit(ack('a', 1));
    expect(cursorOf(await bench.one(connect('a', 3)))).toEqual({ acked: 3, head: 4 });
  });

  it('an item waits until every known device has acked it', async () => {
    const bench = await open();
    await bench.commit(connect('b', 1), connect('b', 2, { device: 'tablet' }), direct('a', 'b'), direct('a', 'b'), direct('a', 'b'));
    await bench.commit(ack('b', 2));
    expect(await waitingOf(bench, 'b')).toEqual([1, 2, 3]);
    await bench.commit(ack('b', 1, 'tablet'));
    expect(await waitingOf(bench, 'b')).toEqual([2, 3]);
    await bench.commit(ack('b', 3), ack('b', 3, 'tablet'));
    expect(await bench.inbox('b')).toEqual({ items: [], losses: [], head: 3 });
  });

  it('acks are cumulative, never go back, stop at the head, and of an unknown device move nothing', async () => {
    const bench = await open();
    await bench.commit(connect('b', 1), direct('a', 'b'), direct('a', 'b'));
    const outcomes = await bench.commit(ack('b', 2), ack('b', 1), ack('b', 99), ack('b', 2, 'toaster'), ack('stranger', 5));
    expect(outcomes).toEqual(outcomes.map(() => ({ code: 'done' })));
    await bench.commit(direct('a', 'b'));
    expect(cursorOf(await bench.one(connect('b', 2)))).toEqual({ acked: 2, head: 3 });
    expect(await waitingOf(bench, 'b')).toEqual([3]);
  });

  it('a new device begins at the oldest item that waits', async () => {
    const bench = await open();
    await bench.commit(direct('a', 'b'), direct('a', 'b'));
    expect(cursorOf(await bench.one(connect('b', 1)))).toEqual({ acked: 0, head: 2 });
    await bench.commit(ack('b', 1));
    expect(cursorOf(await bench.one(connect('b', 2, { device: 'tablet' })))).toEqual({ acked: 1, head: 2 });
    await bench.commit(ack('b', 2), ack('b', 2, 'tablet'));
    expect(cursorOf(await bench.one(connect('b', 3, { device: 'watch' })))).toEqual({ acked: 2, head: 2 });
  });

  it('too many devices: the one unseen for longest is forgotten, and holds nothing up any more', async () => {
    const bench = await open();
    for (const [i, device] of ['one', 'two', 'three'].entries()) {
      bench.ts += 10;
      await bench.commit(connect('b', i, { device }), { type: 'disconnect', user: 'b', connection: i });
    }
    await bench.commit(direct('a', 'b'), ack('b', 1, 'two'), ack('b', 1, 'three'));
    expect(await waitingOf(bench, 'b')).toEqual([1]);
    await bench.commit(connect('b', 9, { device: 'four' }));
    expect(await waitingOf(bench, 'b')).toEqual([1]); // the new device has it still to get
    await bench.commit(ack('b', 1, 'four'));
    expect(await waitingOf(bench, 'b')).toEqual([]);
  });

  it('a device unseen for too long is forgotten, unless it is connected', async () => {
    const bench = await open({ inboxAgeMs: 100 * day });
    await bench.commit(connect('b', 1), connect('b', 2, { device: 'tablet' }), { type: 'disconnect', user: 'b', connection: 2 }, direct('a', 'b'));
    bench.ts += 10 * day;
    await bench.commit(ack('b', 1));
    expect(await waitingOf(bench, 'b')).toEqual([1]);
    bench.ts += 20 * day + 1;
    await bench.commit(direct('a', 'b'));
    await bench.maintain();
    expect(await waitingOf(bench, 'b')).toEqual([2]);
    expect(cursorOf(await bench.one(connect('b', 3)))).toEqual({ acked: 1, head: 2 });
  });

  it('a full inbox drops its oldest items and says which', async () => {
    const bench = await open({ inboxItemsMax: 3 });
    await bench.commit(...[1, 2, 3, 4, 5].map((i) => direct('a', 'b', { mid: mid(i) })));
    expect(bench.notices.map((notice) => (notice.t === 'inbox' ? notice.n : [notice.reason, notice.from, notice.to]))).toEqual([
      1,
      2,
      3,
      ['dropped', 1, 1],
      4,
      ['dropped', 2, 2],
      5,
    ]);
    expect(await waitingOf(bench, 'b')).toEqual([3, 4, 5]);
    expect((await bench.inbox('b')).losses).toEqual([{ from: 1, to: 2, reason: 'dropped' }]);
    expect((await bench.inbox('b', 1)).losses).toEqual([{ from: 2, to: 2, reason: 'dropped' }]);
    expect(await states(bench)).toMatchObject([{ user: 'b', state: 'dropped', n: 1, endedAt: startTs, reason: 'inbox full' }]);
  });

  it('bytes count as items do, and one item always fits', async () => {
    const bench = await open({ inboxItemsMax: 100, inboxBytesMax: 100 });
    const body = (length: number) => JSON.stringify('x'.repeat(length - 2));
    await bench.commit(direct('a', 'b', { body: body(40) }), direct('a', 'b', { body: body(60) }));
    expect(await waitingOf(bench, 'b')).toEqual([1, 2]);
    await bench.commit(direct('a', 'b', { body: body(41) }));
    expect(await waitingOf(bench, 'b')).toEqual([3]);
    await bench.commit(direct('a', 'b', { body: body(500) }));
    expect(await waitingOf(bench, 'b')).toEqual([4]);
    expect((await bench.inbox('b')).losses).toEqual([{ from: 1, to: 3, reason: 'dropped' }]);
  });

  it("with the policy reject a full inbox refuses the message whole, but never for the sender's own copy", async () => {
    const bench = await open({ inboxItemsMax: 2, inboxOverflow: 'reject' });
    await bench.commit(connect('a', 1), connect('a', 2, { device: 'tablet' }));
    expect(await bench.commit(direct('a', 'b'), direct('a', 'b'), direct('a', 'b'))).toEqual([
      { code: 'ok', seq: 1 },
      { code: 'ok', seq: 2 },
      { code: 'inbox-full' },
    ]);
    expect(await bench.room('dm:a:b')).toMatchObject({ headSeq: 2 });
    expect(await bench.one(direct('a', 'c'))).toEqual({ code: 'ok', seq: 1 });
    expect(await waitingOf(bench, 'a')).toEqual([2, 3]);
    await bench.commit(connect('b', 3), ack('b', 1));
    expect(await bench.one(direct('a', 'b'))).toEqual({ code: 'ok', seq: 3 });
  });

  it('items that are too old expire, and the user is told', async () => {
    const bench = await open({ inboxAgeMs: day });
    await bench.commit(direct('a', 'b', { mid: mid(1) }), direct('a', 'b'));
    bench.ts += day / 2;
    await bench.commit(direct('a', 'b'));
    bench.ts += day / 2 + 1;
    expect(await bench.maintain()).toEqual([{ t: 'inbox-loss', user: 'b', from: 1, to: 2, reason: 'expired' }]);
    expect(await bench.maintain()).toEqual([]);
    expect(await bench.inbox('b')).toMatchObject({ items: [{ n: 3 }], losses: [{ from: 1, to: 2, reason: 'expired' }], head: 3 });
    expect(await states(bench)).toMatchObject([{ state: 'expired', reason: 'too old', endedAt: bench.ts }]);
  });

  it("losses are told to a user's first device, and until every device has passed them", async () => {
    const bench = await open({ inboxItemsMax: 2 });
    await bench.commit(direct('a', 'b'), direct('a', 'b'), direct('a', 'b'), direct('a', 'b'));
    expect(cursorOf(await bench.one(connect('b', 1)))).toEqual({ acked: 0, head: 4 });
    await bench.commit(ack('b', 2));
    expect((await bench.inbox('b', 2)).losses).toEqual([]);
    expect(cursorOf(await bench.one(connect('b', 2, { device: 'tablet' })))).toEqual({ acked: 2, head: 4 });
  });

  it('a page of the inbox has only the losses before its last item', async () => {
    const bench = await open({ inboxItemsMax: 100, inboxAgeMs: day });
    await bench.commit(direct('a', 'b'));
    bench.ts += day + 1;
    await bench.maintain();
    await bench.commit(direct('a', 'b'), direct('a', 'b'), direct('a', 'b'));
    expect(await bench.inbox('b', 0, 2)).toMatchObject({ items: [{ n: 2 }, { n: 3 }], losses: [{ from: 1, to: 1 }], head: 4 });
    expect(await bench.inbox('b', 3, 2)).toMatchObject({ items: [{ n: 4 }], losses: [] });
  });

  it('losses above the last item of a page wait for the next page', async () => {
    const bench = await open({ inboxItemsMax: 100, inboxAgeMs: 2 * day });
    bench.ts += day;
    await bench.commit(direct('a', 'b'));
    await bench.reopen(); // with a clock that went back, so that what came later is older
    bench.ts = startTs;
    await bench.commit(direct('a', 'b'));
    bench.ts += 2 * day + 1;
    await bench.maintain();
    await bench.commit(direct('a', 'b'));
    expect(await bench.inbox('b', 0, 1)).toMatchObject({ items: [{ n: 1 }], losses: [] });
    expect(await bench.inbox('b', 1, 1)).toMatchObject({ items: [{ n: 3 }], losses: [{ from: 2, to: 2, reason: 'expired' }] });
    expect((await bench.inbox('b', 0, 2)).losses).toEqual([{ from: 2, to: 2, reason: 'expired' }]);
  });

  it('of a loss that was acked in part, the rest is still told', async () => {
    const bench = await open({ inboxItemsMax: 1 });
    await bench.commit(connect('b', 1), ...Array.from({ length: 5 }, () => direct('a', 'b')), ack('b', 2));
    expect((await bench.inbox('b')).losses).toEqual([{ from: 3, to: 4, reason: 'dropped' }]);
    expect(cursorOf(await bench.one(connect('b', 2, { device: 'tablet' })))).toEqual({ acked: 2, head: 5 });
  });

  it('what waits in an inbox outlives the deletion of its room', async () => {
    const bench = await open();
    await bench.commit(changing('r', 0, { type: 'create', settings: {}, owner: 'a' }));
    await bench.commit(
      changing('r', 0, { type: 'join', user: 'b', role: 'member', membersMax: 9 }, { inbox: ['b'], body: '{"added":true}' }),
      message('r', 'a'),
      changing('r', 0, { type: 'delete' }),
    );
    await bench.maintain();
    expect(await bench.inbox('b')).toMatchObject({ items: [{ n: 1, entry: { room: 'r', seq: 2, body: '{"added":true}' } }], head: 1 });
    await bench.commit(connect('b', 1), ack('b', 1));
    await bench.maintain();
    expect((await bench.inbox('b')).items).toEqual([]);
  });
}
