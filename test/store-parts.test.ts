/** The order of commit is cut into parts, and the entries of a room are found through them: nobody sees where one ends. */
import { describe, expect, it } from 'vitest';
import { check } from '../src/persistence/sqlite-check.ts';
import { SqliteReader } from '../src/persistence/sqlite-reader.ts';
import { nearBorder, openedStore } from './sqlite-setup.ts';
import { changing, connect, direct, message, mid, startTs } from './store-contract.ts';

const page = { read: 'entries', room: 'r', from: 1, to: 100, limit: 100, bytesMax: 1_000_000, kind: null, descending: false } as const;

/** Rooms r, all: and dm:a:b with twelve entries each, over four parts: some end with one of r, and the next begins with one of all:. */
async function overParts() {
  const opened = await openedStore({ broadcastEntriesMax: 5 });
  const { store, options, clock, outsider } = opened;
  const db = outsider();
  let mids = 0;
  const some = () => [message('r', 'x'), message('all:', 'x', { auto: 3 }), direct('a', 'b', { mid: mid(1_000 + mids++) })];
  await store.commit([connect('b', 1)], startTs);
  for (let part = 0; part < 4; part++) {
    await store.commit([...some(), ...some()], startTs);
    nearBorder(db, 4);
    await store.commit(some(), startTs);
  }
  const reader = new SqliteReader(options.data);
  return { ...opened, reader, db, checked: () => check(options.data, clock).problems };
}

describe('parts of the log', () => {
  it('a page has what lies between its ends, once and in order, whichever parts it begins and ends in', async () => {
    const { reader, checked } = await overParts();
    expect(checked()).toEqual([]);
    const seqs = async (rest: object) => (await reader.read({ ...page, ...rest })).entries.map(({ seq }) => seq);
    for (let from = 1; from <= 13; from++) {
      for (let to = from - 1; to <= 13; to++) {
        const wanted = Array.from({ length: Math.max(0, Math.min(to, 12) - from + 1) }, (_, i) => from + i);
        expect(await seqs({ from, to })).toEqual(wanted);
        expect(await seqs({ from, to, descending: true })).toEqual(wanted.toReversed());
      }
    }
    expect(await seqs({ from: 3, limit: 4 })).toEqual([3, 4, 5, 6]);
    expect(await seqs({ limit: 4, descending: true })).toEqual([12, 11, 10, 9]);
    await reader.close();
  });

  it('positions, repeated mids and counts of unread entries reach over them', async () => {
    const { store, reader } = await overParts();
    for (let seq = 1; seq <= 12; seq++) expect(await reader.read({ read: 'position', room: 'r', epoch: store.epoch, seq })).toEqual({ reason: null, head: 12 });
    const { outcomes } = await store.commit(
      [
        message('r', 'x', { mid: mid(7) }),
        changing('r', 0, { type: 'join', user: 'y', role: 'member', membersMax: 10 }),
        message('r', 'x'),
        message('r', 'x', { mid: mid(7) }),
      ],
      startTs,
    );
    expect(outcomes).toEqual([13, { code: 'ok', seq: 14 }, 15, { code: 'duplicate', seq: 13 }]);
    const { rooms } = await reader.read({ read: 'rooms', user: 'y', scope: 'mine', filter: '', after: '', limit: 10 });
    expect(rooms).toMatchObject([{ room: 'r', unread: 1 }]);
    await reader.close();
  });

  it('a read mark over several parts is that of every item in them', async () => {
    const { store, reader } = await overParts();
    await store.commit([{ type: 'mark', room: 'dm:a:b', user: 'b', received: 11, read: 11 }], startTs + 1);
    const { entries } = await reader.read({ ...page, room: 'dm:a:b' });
    const deliveries = entries.map(({ mid: id }) => reader.read({ read: 'delivery', room: 'dm:a:b', mid: id ?? '', user: 'b' }));
    const readAt = (await Promise.all(deliveries)).map((found) => found.deliveries[0]?.readAt);
    expect(readAt).toEqual([...Array.from({ length: 11 }, () => startTs + 1), undefined]);
    await reader.close();
  });

  it('upkeep removes entries of several parts, and the parts that are empty then', async () => {
    const { store, reader, db, checked } = await overParts();
    while ((await store.maintain(startTs + 1)).more);
    const { entries } = await reader.read({ ...page, room: 'all:' });
    expect(entries.map(({ seq }) => seq)).toEqual([8, 9, 10, 11, 12]);
    expect(checked()).toEqual([]);
    const parts = db.prepare("select part from parts where room = (select id from rooms where name = 'all:') order by first").pluck();
    expect(parts.all()).toEqual([2, 3]);
    const { outcomes } = await store.commit([changing('r', 0, { type: 'delete' })], startTs);
    expect(outcomes).toEqual([{ code: 'ok', seq: 13 }]);
    while ((await store.maintain(startTs + 2)).more);
    expect(await reader.read({ ...page })).toMatchObject({ entries: [{ seq: 13, kind: 'deleted' }] });
    expect(checked()).toEqual([]);
    await reader.close();
  });

  it('an operation that is taken back leaves no part behind', async () => {
    const { store, reader, db, checked } = await overParts();
    nearBorder(db, 2);
    // The second of the same mid stops the one statement that stores eight, in the middle of which a part begins.
    const eight = Array.from({ length: 8 }, (_, i) => message('r', 'x', { mid: mid(i === 7 ? 100 : 100 + i) }));
    const { outcomes } = await store.commit(eight, startTs);
    expect(outcomes).toEqual([13, 14, 15, 16, 17, 18, 19, { code: 'duplicate', seq: 13 }]);
    expect((await reader.read({ ...page, from: 12 })).entries.map(({ seq }) => seq)).toEqual([12, 13, 14, 15, 16, 17, 18, 19]);
    expect(checked()).toEqual([]);
    await reader.close();
  });

  it('one that begins within eight messages that are stored together has each room from its first entry there on', async () => {
    const { store, options, clock, outsider } = await openedStore();
    const db = outsider();
    const rooms = ['r', 's', 'r', 't', 's', 'r', 't', 'r'];
    const seqs = new Map<string, number>();
    const reader = new SqliteReader(options.data);
    await store.commit(['r', 's', 't'].map((room) => message(room, 'x')).concat(['r', 's', 't'].map((room) => message(room, 'x'))), startTs);
    for (const room of ['r', 's', 't']) seqs.set(room, 2);
    for (let left = 0; left <= 8; left++) {
      nearBorder(db, left);
      const wanted = rooms.map((room) => {
        const seq = (seqs.get(room) ?? 0) + 1;
        seqs.set(room, seq);
        return seq;
      });
      const { outcomes } = await store.commit(
        rooms.map((room) => message(room, 'x')),
        startTs,
      );
      expect(outcomes).toEqual(wanted);
      expect(check(options.data, clock).problems).toEqual([]);
      for (const [room, head] of seqs) {
        const { entries } = await reader.read({ ...page, room });
        expect(entries.map(({ seq }) => seq)).toEqual(Array.from({ length: head }, (_, i) => i + 1));
      }
    }
    await reader.close();
  });
});
