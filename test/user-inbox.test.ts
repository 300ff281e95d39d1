/** Delivery of an inbox: live, fed from the store in pages, with what was lost in its place. */
import { describe, expect, test } from 'vitest';
import { CodedError } from '../src/protocol/codes.ts';
import { entryOf, itemOf, itemsMax, lossOf, startInbox, stored } from './inbox-harness.ts';

test('items are pushed as they come to a connection that has everything before them', () => {
  const { effects, connect, notice } = startInbox();
  const bob = connect(4);
  notice(itemOf(5), itemOf(6));
  expect(effects.take(bob)).toEqual([
    { to: bob.id, push: { n: 5, stored: entryOf(5) } },
    { to: bob.id, push: { n: 6, stored: entryOf(6) } },
  ]);
  expect(effects.reads).toEqual([]);
});

test('what waits is read from after the cursor of the device and fed in pages, each after the one before has drained', () => {
  const { effects, connect, answer } = startInbox();
  const bob = connect(2, 7);
  expect(effects.told).toMatchObject([{ t: 'welcome', inbox: { acked: 2, head: 7 } }]);
  expect(answer(stored(3, 5, 7))).toEqual({ read: 'inbox', user: 'bob', device: '', after: 2, limit: itemsMax, bytesMax: 262_144 });
  expect(effects.inbox(bob)).toEqual([3, 4, 5]);
  expect(effects.reads).toEqual([]);
  effects.drained();
  expect(answer(stored(6, 7))).toMatchObject({ after: 5, limit: itemsMax - 3 });
  expect(effects.inbox(bob)).toEqual([6, 7]);
  effects.drained();
  expect(effects.reads).toEqual([]);
});

test('an item that comes while the inbox is fed is not pushed ahead of the others', () => {
  const { effects, connect, notice, answer } = startInbox();
  const bob = connect(0, 2);
  notice(itemOf(3));
  expect(effects.inbox(bob)).toEqual([]);
  answer(stored(1, 2));
  notice(itemOf(4));
  expect(effects.inbox(bob)).toEqual([1, 2]);
  effects.drained();
  answer(stored(3, 4));
  notice(itemOf(5));
  expect(effects.inbox(bob)).toEqual([3, 4, 5]);
});

test('a missed announcement is noticed by the next one and read from the store', () => {
  const { effects, connect, notice, answer } = startInbox();
  const bob = connect(1);
  notice(itemOf(4));
  expect(effects.inbox(bob)).toEqual([]);
  answer(stored(2, 4));
  expect(effects.inbox(bob)).toEqual([2, 3, 4]);
});

test('an item in the head that a second connection was told still comes to the first', () => {
  const { effects, connect, notice, answer } = startInbox();
  const first = connect(4);
  const second = connect(4, 5, 'other');
  notice(itemOf(5));
  expect(effects.inbox(first)).toEqual([5]);
  answer(stored(5, 5));
  expect(effects.inbox(second)).toEqual([5]);
});

test("the sender's own device is spared its copy, his other devices get it", () => {
  const { effects, connect, notice } = startInbox();
  const phone = connect(0, 0, 'phone');
  const laptop = connect(0, 0, 'laptop');
  notice(itemOf(1, 'phone'), itemOf(2));
  expect(effects.inbox(phone)).toEqual([2]);
  expect(effects.inbox(laptop)).toEqual([1, 2]);
});

test('one own item after another closes no window: only what was pushed counts as unacked', () => {
  const { effects, connect, notice } = startInbox();
  const phone = connect(0, 0, 'phone');
  for (let n = 1; n <= 3 * itemsMax; n++) notice(itemOf(n, 'phone'));
  notice(itemOf(3 * itemsMax + 1));
  expect(effects.inbox(phone)).toEqual([3 * itemsMax + 1]);
});

test('what was dropped or expired is told as a range, live and in its place among the items read', () => {
  const { effects, connect, notice, answer, settle } = startInbox();
  const bob = connect(3);
  notice(lossOf(1, 2), lossOf(4, 6), itemOf(7));
  expect(effects.inbox(bob)).toEqual([[4, 6], 7]);
  settle('sent');
  const late = connect(0, 9, 'late');
  answer({ items: [3, 7, 9].map((n) => ({ n, entry: entryOf(n) })), losses: [lossOf(1, 2), lossOf(4, 6), lossOf(8, 8)], head: 9 });
  expect(effects.inbox(late)).toEqual([[1, 2], 3, [4, 6], 7, [8, 8], 9]);
});

test('lost ranges above a page wait for their page, and are told where nothing else is left', () => {
  const { effects, connect, answer } = startInbox();
  const bob = connect(0, 9);
  answer({ items: [{ n: 1, entry: entryOf(1) }], losses: [lossOf(3, 4)], head: 9 });
  effects.drained();
  expect(answer({ items: [{ n: 2, entry: entryOf(2) }], losses: [lossOf(3, 4)], head: 9 })).toMatchObject({ after: 1 });
  effects.drained();
  answer({ items: [], losses: [lossOf(3, 9)], head: 9 });
  expect(effects.inbox(bob)).toEqual([1, 2, [3, 9]]);
  effects.drained();
  expect(effects.reads).toEqual([]);
});

test('numbers that are neither stored nor lost end the feeding, and the next item is live', () => {
  const { effects, connect, notice, answer } = startInbox();
  const bob = connect(0, 5);
  answer({ items: [], losses: [], head: 5 });
  notice(itemOf(6));
  expect(effects.reads).toEqual([]);
  expect(effects.inbox(bob)).toEqual([6]);
});

test('a client that never acks is fed no further than inboxItemsMax, and goes on when it acks', () => {
  const { effects, connect, notice, answer, ack, settle } = startInbox();
  const bob = connect(0, 8);
  answer(stored(1, 8));
  effects.drained();
  for (let n = 9; n <= 30; n++) notice(itemOf(n));
  expect(effects.inbox(bob)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
  expect(effects.reads).toEqual([]);
  settle('sent');
  settle('sent');
  ack(bob, 4);
  settle('ack');
  expect(answer(stored(11, 14, 30))).toMatchObject({ after: 10, limit: 4 });
  effects.drained();
  expect(effects.reads).toEqual([]);
  expect(effects.inbox(bob)).toEqual([11, 12, 13, 14]);
});

test('live items of more than a page take a turn, which waits for the socket', () => {
  const { effects, connect, notice, answer, ack, settle } = startInbox();
  const bob = connect();
  const large = `"${'x'.repeat(100_000)}"`;
  for (let n = 1; n <= 4; n++) notice(itemOf(n, null, large));
  expect(effects.inbox(bob)).toEqual([1, 2, 3]);
  answer(stored(4, 4));
  for (let n = 5; n <= 8; n++) notice(itemOf(n, null, large));
  expect(effects.inbox(bob)).toEqual([4, 5, 6, 7]);
  expect(effects.reads).toEqual([]); // item 4 has not drained
  settle('sent');
  ack(bob, 7);
  effects.drained();
  expect(answer(stored(8, 8))).toMatchObject({ after: 7 });
  expect(effects.inbox(bob)).toEqual([8]);
});

test('after a restart of the shard the inbox goes on after the cursor, and an ack of what was sent before counts', () => {
  const { effects, connect, ack, settle, answer, users, turn } = startInbox();
  const early = effects.connection('bob');
  turn(() => users.hello(early, { again: true, named: false, issuedAt: 0 }, effects));
  ack(early, 6, 11); // overtakes the admission
  turn(() => effects.settle('connect', { code: 'connected', victims: [], acked: 2, head: 7, allMark: 0, revokedAt: 0 }));
  settle('ack');
  expect(effects.take(early)).toEqual([{ to: early.id, reply: { through: 6 }, id: 11 }]);
  expect(answer(stored(3, 7))).toMatchObject({ after: 2 });
  expect(effects.inbox(early)).toEqual([7]);
  turn(() => effects.settle('presence'));
  settle('sent');
  const fresh = connect(2, 7, 'fresh');
  ack(fresh, 6);
  expect(effects.take(fresh)).toMatchObject([{ refuse: 'bad-request' }]);
});

test('after a change of writer every connection asks the store, since the last announcement may be lost', () => {
  const { effects, connect, answer, users, turn } = startInbox();
  const bob = connect(3);
  turn(() => users.recheck(effects));
  expect(answer(stored(4, 4))).toMatchObject({ after: 3 });
  expect(effects.inbox(bob)).toEqual([4]);
  effects.drained();
  turn(() => users.recheck(effects));
  answer({ items: [], losses: [], head: 4 });
  expect(effects.reads).toEqual([]);
});

test('a read that failed is repeated at the tick, not at once', () => {
  const { effects, connect, answer, turn, tick } = startInbox();
  const bob = connect(0, 1);
  turn(() => effects.fail('inbox', new CodedError('busy')));
  expect(effects.reads).toEqual([]);
  tick();
  answer({ items: [], losses: [], head: 0 }); // a reader behind the writer
  expect(effects.reads).toEqual([]);
  tick();
  answer(stored(1, 1));
  expect(effects.inbox(bob)).toEqual([1]);
});

test('a connection that closes while it is fed gets nothing more, gives its turn back and leaves no actor', () => {
  const { effects, connect, answer, users, turn, settle, tick } = startInbox();
  const bob = connect(0, 3);
  tick();
  turn(() => {
    effects.gone(bob);
    users.close(bob, true, effects);
  });
  answer(stored(1, 3));
  expect(effects.sent).toEqual([]);
  expect(effects.operations.map((operation) => (Array.isArray(operation) ? 'append' : operation.type))).toEqual(['disconnect', 'presence']);
  settle('disconnect');
  expect(users.size).toBe(1); // the store may refuse what is on its way
  turn(() => effects.settle('presence'));
  tick();
  expect(users.size).toBe(0);
});

describe('I9 an item that is set aside', () => {
  const stoppedAt = (n: number) => ({ push: { op: 'inbox-stopped', n, reason: 'quarantined' } });
  const started = (barred: number) => {
    const inbox = startInbox();
    inbox.effects.bars = ({ mid }) => mid === `mid ${barred}`;
    return inbox;
  };

  test('stops a page before it, is told once, and comes when that ends', () => {
    const { effects, users, connect, notice, answer, tick } = started(3);
    const bob = connect(0, 5);
    answer(stored(1, 5));
    expect(effects.take(bob).slice(2)).toMatchObject([stoppedAt(3)]);
    effects.drained();
    notice(itemOf(6));
    tick();
    expect([effects.sent, effects.reads]).toEqual([[], []]);
    expect(users.find('bob')?.due).toBe(true);
    effects.bars = () => false;
    tick();
    expect(answer(stored(3, 6))).toMatchObject({ after: 2 });
    expect(effects.inbox(bob)).toEqual([3, 4, 5, 6]);
    effects.drained();
    expect([effects.reads, users.find('bob')?.due]).toEqual([[], false]);
  });

  test('stops live items before it, those of other rooms too', () => {
    const { effects, connect, notice, answer, tick } = started(2);
    const bob = connect();
    notice(itemOf(1), itemOf(2), itemOf(3));
    expect(effects.take(bob).slice(1)).toMatchObject([stoppedAt(2)]);
    effects.bars = () => false;
    tick();
    answer(stored(2, 3));
    expect(effects.inbox(bob)).toEqual([2, 3]);
  });

  test('holds up nobody who said it himself', () => {
    const { effects, connect, notice } = started(1);
    const phone = connect(0, 0, 'phone');
    notice(itemOf(1, 'phone'), itemOf(2));
    expect(effects.inbox(phone)).toEqual([2]);
  });

  test('may be acked unseen, and nothing behind it may', () => {
    const { effects, connect, notice, answer, ack, settle } = started(1);
    const bob = connect();
    notice(itemOf(1), itemOf(2));
    effects.take(bob);
    ack(bob, 2, 7);
    expect(effects.take(bob)).toMatchObject([{ refuse: 'bad-request', field: 'through' }]);
    ack(bob, 1, 8);
    settle('ack');
    expect(answer(stored(2, 2))).toMatchObject({ after: 1 });
    expect(effects.inbox(bob)).toEqual([2]);
  });

  test('is told as lost where it is lost meanwhile', () => {
    const { effects, connect, notice, answer } = started(1);
    const bob = connect();
    notice(itemOf(1), itemOf(2), lossOf(1, 1));
    answer(stored(2, 2));
    expect(effects.inbox(bob)).toEqual([[1, 1], 2]);
  });

  test('may be the reading of the inbox', () => {
    const { effects, connect, turn, tick, answer } = startInbox();
    effects.bars = ({ op, user }) => op === 'read-inbox' && user === 'bob';
    const bob = connect(4, 5);
    turn(() => effects.fail('inbox', new CodedError('quarantined')));
    tick();
    expect(effects.take(bob)).toMatchObject([stoppedAt(5)]);
    expect(effects.reads).toEqual([]);
    effects.bars = () => false;
    tick();
    answer(stored(5, 5));
    expect(effects.inbox(bob)).toEqual([5]);
  });
});
