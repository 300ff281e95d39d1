/** The part of the store's contract about logs: order, refusals, idempotency, reading, positions, trimming. */
import { expect, it } from 'vitest';
import { changing, message, mid, type OpenBench, startTs } from './store-contract.ts';

export function logContract(open: OpenBench): void {
  it('seqs of a room begin at 1 and have no gaps, whatever else is in the batch', async () => {
    const bench = await open();
    expect(await bench.commit(message('a', 'x'), message('b', 'x'), message('a', 'y'), message('a', null))).toEqual([1, 1, 2, 3]);
    expect(await bench.commit(message('a', 'x'))).toEqual([4]);
    const { entries } = await bench.entries('a');
    expect(entries.map(({ seq, from }) => [seq, from])).toEqual([
      [1, 'x'],
      [2, 'y'],
      [3, null],
      [4, 'x'],
    ]);
  });

  it('an entry comes back as it was given', async () => {
    const bench = await open();
    const bytes = Uint8Array.of(0, 255, 7);
    await bench.commit(
      message('r', 'Zoë', { mid: mid(1), thread: mid(9), body: '{"t":"\\u0000 é"}' }),
      message('r', 'x', { body: bytes }),
      message('r', 'x', { body: null }),
    );
    const { entries } = await bench.entries('r');
    expect(entries[0]).toEqual({ room: 'r', seq: 1, kind: 'message', mid: mid(1), from: 'Zoë', ts: startTs, thread: mid(9), body: '{"t":"\\u0000 é"}' });
    expect(Uint8Array.from(entries[1]?.body as Uint8Array)).toEqual(bytes);
    expect(entries[2]?.body).toBeNull();
  });

  it('time never runs backwards from one batch to the next', async () => {
    const bench = await open();
    await bench.commit(message('r', 'x'));
    bench.ts = startTs - 5_000;
    await bench.commit(message('r', 'x'));
    bench.ts = startTs + 5;
    await bench.commit(message('r', 'x'));
    expect((await bench.entries('r')).entries.map(({ ts }) => ts - startTs)).toEqual([0, 0, 5]);
  });

  it('the same mid from the same sender is answered with the first seq, and stored once', async () => {
    const bench = await open();
    const again = { code: 'duplicate', seq: 1 };
    expect(await bench.commit(message('r', 'x', { mid: mid(1) }), message('r', 'x', { mid: mid(1), body: '"other"' }), message('r', 'x'))).toEqual([
      1,
      again,
      2,
    ]);
    expect(await bench.one(message('r', 'x', { mid: mid(1) }))).toEqual(again);
    const { entries } = await bench.entries('r');
    expect(entries.map(({ body }) => body)).toEqual(['"hi"', '"hi"']);
  });

  it('a mid that is repeated among many messages leaves no gap, and takes nothing of the others with it', async () => {
    const bench = await open();
    const many = (from: number, count: number) =>
      Array.from({ length: count }, (_, i) => message(`r${i % 3}`, 'x', { mid: mid(from + i), thread: mid(i), body: `${from + i}` }));
    await bench.commit(...many(1, 24));
    const repeated = many(101, 24);
    repeated.splice(11, 1, message('r2', 'x', { mid: mid(3), body: '"again"' }));
    repeated.splice(20, 1, message('r2', 'y', { mid: mid(6), body: '"foreign"' }));
    const outcomes = await bench.commit(...repeated);
    expect(outcomes.filter((outcome) => typeof outcome !== 'number')).toEqual([{ code: 'duplicate', seq: 1 }, { code: 'conflict' }]);
    for (const [room, bodies] of [
      ['r0', [1, 4, 7, 10, 13, 16, 19, 22, 101, 104, 107, 110, 113, 116, 119, 122]],
      ['r2', [3, 6, 9, 12, 15, 18, 21, 24, 103, 106, 109, 115, 118, 124]],
    ] as const) {
      const { entries } = await bench.entries(room);
      expect(entries.map(({ seq, body }) => [seq, body])).toEqual(bodies.map((body, i) => [i + 1, `${body}`]));
      expect(entries.map(({ mid: of, thread }) => [of, thread])).toEqual(bodies.map((body) => [mid(body), mid((body - 1) % 100)]));
    }
  });

  it('the same mid from another sender is a conflict; in another room it is free', async () => {
    const bench = await open();
    await bench.commit(message('r', 'x', { mid: mid(1) }));
    expect(await bench.commit(message('r', 'y', { mid: mid(1) }), message('r', null, { mid: mid(1) }), message('s', 'y', { mid: mid(1) }))).toEqual([
      { code: 'conflict' },
      { code: 'conflict' },
      1,
    ]);
  });

  it('a repeated change is a duplicate, even where it could not be made a second time', async () => {
    const bench = await open();
    const create = changing('r', 0, { type: 'create', settings: {}, owner: 'x' }, { mid: mid(1) });
    const rename = changing('r', 0, { type: 'settings', settings: { title: 'T' } }, { mid: mid(2) });
    expect(await bench.commit(create, rename)).toEqual([
      { code: 'ok', seq: 1 },
      { code: 'ok', seq: 2 },
    ]);
    expect(await bench.commit(create, rename)).toEqual([
      { code: 'duplicate', seq: 1 },
      { code: 'duplicate', seq: 2 },
    ]);
  });

  it('an append authorized under an older state of the room is stale', async () => {
    const bench = await open();
    await bench.commit(changing('r', 0, { type: 'create', settings: {}, owner: 'x' }), changing('r', 0, { type: 'settings', settings: { title: 'T' } }));
    expect(await bench.commit(message('r', 'x', { authSeq: 0 }), message('r', 'x', { authSeq: 2 }), message('r', 'x', { authSeq: 3 }))).toEqual([
      { code: 'stale' },
      3,
      { code: 'stale' },
    ]);
  });

  it('a room that does not exist is not found, or comes into being where the append says so', async () => {
    const bench = await open();
    expect(await bench.one(message('r', 'x', { auto: 0 }))).toEqual({ code: 'not-found' });
    expect(await bench.room('r')).toMatchObject({ exists: false, headSeq: 0 });
    expect(await bench.one(message('r', 'x', { auto: 1 }))).toBe(1);
    expect(await bench.room('r')).toEqual({
      exists: true,
      visibility: 'public',
      settings: {},
      createdAt: startTs,
      headSeq: 1,
      firstSeq: 1,
      authSeq: 0,
      members: [],
    });
  });

  it('a bad append fails alone', async () => {
    const bench = await open();
    const bad = message('r', 'x', { body: { not: 'a body' } as unknown as string });
    const [first, storage, last] = await bench.commit(message('r', 'x'), bad, message('r', 'x'));
    expect([first, last]).toEqual([1, 2]);
    expect(storage).toMatchObject({ code: 'storage', message: expect.any(String) });
    expect(await bench.one(message('r', 'x'))).toBe(3);
    expect((await bench.entries('r')).entries).toHaveLength(3);
  });

  it('entries are read by range, kind and direction, a page at a time', async () => {
    const bench = await open();
    await bench.commit(changing('r', 0, { type: 'create', settings: {}, owner: 'x' }));
    await bench.say('r', 'x', 'two', 'three', 'four', 'five');
    const seqs = async (rest: Parameters<typeof bench.entries>[1]) => {
      const { entries, more } = await bench.entries('r', rest);
      return [...entries.map(({ seq }) => seq), more];
    };
    expect(await seqs({})).toEqual([1, 2, 3, 4, 5, false]);
    expect(await seqs({ from: 2, to: 4 })).toEqual([2, 3, 4, false]);
    expect(await seqs({ from: 2, limit: 2 })).toEqual([2, 3, true]);
    expect(await seqs({ to: 4, limit: 2, descending: true })).toEqual([4, 3, true]);
    expect(await seqs({ kind: 'message', limit: 4 })).toEqual([2, 3, 4, 5, false]);
    expect(await seqs({ kind: 'message', limit: 2, descending: true, to: 3 })).toEqual([3, 2, false]);
    expect(await seqs({ from: 6 })).toEqual([false]);
    expect((await bench.entries('nowhere')).entries).toEqual([]);
  });

  it('a page stops before its bytes are too many, and has at least one entry', async () => {
    const bench = await open();
    await bench.say('r', 'x', 'a'.repeat(98), 'b'.repeat(98), 'c'.repeat(98));
    const page = async (bytesMax: number) => (await bench.entries('r', { bytesMax })).entries.length;
    expect([await page(1), await page(199), await page(200), await page(300)]).toEqual([1, 1, 2, 3]);
  });

  it('a position of this or an earlier epoch resumes, at the head and below it', async () => {
    const bench = await open();
    await bench.say('r', 'x', 'one', 'two');
    const old = bench.epoch;
    await bench.reopen();
    await bench.say('r', 'x', 'three');
    const reason = async (epoch: string, seq: number, room = 'r') => (await bench.read({ read: 'position', room, epoch, seq })).reason;
    expect(bench.epoch).not.toBe(old);
    for (const seq of [0, 1, 2]) expect(await reason(old, seq)).toBeNull();
    for (const seq of [0, 1, 2, 3]) expect(await reason(bench.epoch, seq)).toBeNull();
    expect(await reason(old, 0, 'nowhere')).toBeNull();
    expect(await bench.read({ read: 'position', room: 'r', epoch: old, seq: 2 })).toEqual({ reason: null, head: 3 });
  });

  it('a position above the head, of an unknown epoch, or on an entry of a later epoch does not', async () => {
    const bench = await open();
    await bench.say('r', 'x', 'one');
    const old = bench.epoch;
    await bench.reopen();
    await bench.say('r', 'x', 'two');
    const reason = async (epoch: string, seq: number, room = 'r') => (await bench.read({ read: 'position', room, epoch, seq })).reason;
    expect([await reason(bench.epoch, 3), await reason('no epoch', 1), await reason(old, 2), await reason(old, 1, 'nowhere')]).toEqual([
      'epoch',
      'epoch',
      'epoch',
      'epoch',
    ]);
  });

  it('the broadcast room keeps its newest entries; older positions are trimmed', async () => {
    const bench = await open({ broadcastEntriesMax: 3 });
    for (let i = 0; i < 5; i++) await bench.commit(message('all:', 'x', { auto: 3, mid: mid(i) }));
    await bench.maintain();
    expect(await bench.room('all:')).toMatchObject({ headSeq: 5, firstSeq: 3, members: [] });
    expect((await bench.entries('all:')).entries.map(({ seq }) => seq)).toEqual([3, 4, 5]);
    const reason = async (seq: number) => (await bench.read({ read: 'position', room: 'all:', epoch: bench.epoch, seq })).reason;
    expect([await reason(1), await reason(2), await reason(3)]).toEqual(['trimmed', null, null]);
    // A mid counts as long as its entry does.
    expect(
      await bench.commit(
        message('all:', 'y', { auto: 3, mid: mid(0) }),
        message('all:', 'y', { auto: 3, mid: mid(1) }),
        message('all:', 'x', { auto: 3, mid: mid(2) }),
      ),
    ).toEqual([6, 7, { code: 'duplicate', seq: 3 }]);
  });

  it('what was committed is there after a restart', async () => {
    const bench = await open();
    await bench.commit(message('r', 'x', { mid: mid(1) }));
    const before = await bench.entries('r');
    await bench.reopen();
    expect(await bench.entries('r')).toEqual(before);
    expect(await bench.commit(message('r', 'x', { mid: mid(1) }), message('r', 'x'))).toEqual([{ code: 'duplicate', seq: 1 }, 2]);
  });
}
