/** The part of the store's contract about the delivery ledger: what became of each item, and when, until it is forgotten. */
import { expect, it } from 'vitest';
import { type Bench, connect, day, direct, mid, type OpenBench, startTs } from './store-contract.ts';

export function ledgerContract(open: OpenBench): void {
  const ack = (user: string, through: number, device = 'phone') => ({ type: 'ack', user, device, through }) as const;
  const states = async (bench: Bench, user: string | null = null, room = 'dm:a:b', id = mid(1)) =>
    (await bench.read({ read: 'delivery', room, mid: id, user })).deliveries;

  it('the ledger follows a message: queued, sent, received, read, each with its time', async () => {
    const bench = await open();
    await bench.commit(connect('b', 1), direct('a', 'b', { mid: mid(1) }));
    const queued = { user: 'b', n: 1, queuedAt: startTs };
    expect(await bench.read({ read: 'delivery', room: 'dm:a:b', mid: mid(1), user: null })).toEqual({
      sender: 'a',
      deliveries: [{ ...queued, state: 'queued' }],
    });
    bench.ts += 1;
    await bench.commit({ type: 'sent', user: 'b', through: 1 });
    expect(await states(bench)).toEqual([{ ...queued, state: 'sent', sentAt: startTs + 1 }]);
    bench.ts += 1;
    await bench.commit(ack('b', 1));
    expect(await states(bench)).toEqual([{ ...queued, state: 'received', sentAt: startTs + 1, receivedAt: startTs + 2 }]);
    bench.ts += 1;
    await bench.commit({ type: 'mark', room: 'dm:a:b', user: 'b', received: 1, read: 1 });
    const read = { ...queued, state: 'read', sentAt: startTs + 1, receivedAt: startTs + 2, readAt: startTs + 3 };
    expect(await states(bench, 'b')).toEqual([read]);
    expect(await states(bench, 'a')).toEqual([]);
    expect(await bench.read({ read: 'delivery', room: 'dm:a:b', mid: mid(2), user: null })).toEqual({ sender: null, deliveries: [] });
  });

  it('the ledger forgets what ended long ago', async () => {
    const bench = await open({ ledgerAgeMs: day });
    await bench.commit(connect('b', 1), direct('a', 'b', { mid: mid(1) }), direct('a', 'b', { mid: mid(2) }), ack('b', 1));
    bench.ts += day;
    await bench.maintain();
    expect(await states(bench)).toHaveLength(1);
    bench.ts += 1;
    await bench.maintain();
    expect(await states(bench)).toEqual([]);
    expect(await states(bench, null, 'dm:a:b', mid(2))).toMatchObject([{ state: 'queued' }]);
  });

  it('every item has the times of the ranges it was in, and what was passed over has none', async () => {
    const bench = await open({ inboxItemsMax: 6 });
    await bench.commit(connect('b', 1), connect('b', 2, { device: 'tablet' }), ...[1, 2, 3, 4, 5, 6].map((i) => direct('a', 'b', { mid: mid(i) })));
    const at = async (...operations: Parameters<Bench['commit']>) => {
      bench.ts += 1;
      await bench.commit(...operations);
    };
    await at({ type: 'sent', user: 'b', through: 2 });
    await at(ack('b', 1));
    await at({ type: 'sent', user: 'b', through: 4 });
    await at(direct('a', 'b')); // no room: 1 is dropped, which the phone has
    await at(ack('b', 5), ack('b', 2, 'tablet')); // 5 was never said to be sent
    await at(ack('b', 6, 'tablet'));
    await at({ type: 'sent', user: 'b', through: 7 });
    const times = [];
    for (let i = 1; i <= 6; i++) {
      const [one] = await states(bench, 'b', 'dm:a:b', mid(i));
      times.push([one?.state, ...[one?.sentAt, one?.receivedAt, one?.endedAt].map((ts) => (ts === undefined ? null : ts - startTs))]);
    }
    expect(times).toEqual([
      ['received', 1, 2, 4],
      ['received', 1, 5, null],
      ['received', 3, 5, null],
      ['received', 3, 5, null],
      ['received', null, 5, null],
      ['received', 7, 6, null],
    ]);
  });

  it('the ledger forgets from the oldest item on: what ended early waits for those before it', async () => {
    const bench = await open({ inboxAgeMs: 2 * day, ledgerAgeMs: day });
    bench.ts += day;
    await bench.commit(connect('b', 1), direct('a', 'b', { mid: mid(1) }));
    await bench.reopen(); // with a clock that went back, so that what came later is older
    bench.ts = startTs;
    await bench.commit(direct('a', 'b', { mid: mid(2) }));
    bench.ts += 2 * day + 1;
    await bench.maintain();
    await bench.commit(connect('b', 1), ack('b', 0));
    bench.ts += day - 1;
    await bench.commit(ack('b', 1));
    bench.ts += 2;
    await bench.maintain();
    const left = async () => [(await states(bench)).length, (await states(bench, null, 'dm:a:b', mid(2))).length];
    expect(await left()).toEqual([1, 1]);
    bench.ts += day;
    await bench.maintain();
    expect(await left()).toEqual([0, 0]);
  });
}
