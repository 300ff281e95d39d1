/** Cursors of devices: what an ack moves, what it may not, and what the ledger is told. */
import { expect, test } from 'vitest';
import { itemOf, startInbox, stored } from './inbox-harness.ts';

test('ack moves the cursor of the device by one operation at a time; what comes meanwhile goes as one', () => {
  const { effects, connect, notice, ack, settle } = startInbox();
  const bob = connect(0, 0, 'phone');
  notice(itemOf(1), itemOf(2), itemOf(3), itemOf(4), itemOf(5));
  settle('sent');
  effects.take(bob);
  ack(bob, 1, 11);
  ack(bob, 2);
  ack(bob, 3, 12);
  ack(bob, 5);
  expect(effects.operations).toEqual([{ type: 'ack', user: 'bob', device: 'phone', through: 1 }]);
  settle('ack');
  expect(effects.operations).toEqual([{ type: 'ack', user: 'bob', device: 'phone', through: 5 }]);
  settle('ack');
  expect(effects.take(bob)).toEqual([
    { to: bob.id, reply: { through: 1 }, id: 11 },
    { to: bob.id, reply: { through: 3 }, id: 12 },
  ]);
  ack(bob, 4, 13);
  expect(effects.commits).toEqual([]);
  expect(effects.take(bob)).toEqual([{ to: bob.id, reply: { through: 4 }, id: 13 }]);
});

test('an ack above what was sent is refused by its field and changes nothing', () => {
  const { effects, connect, notice, ack } = startInbox();
  const bob = connect(3);
  notice(itemOf(4));
  effects.commits.length = 0;
  effects.take(bob);
  ack(bob, 5);
  expect(effects.take(bob)).toEqual([{ to: bob.id, refuse: 'bad-request', field: 'through', of: 'ack', id: undefined }]);
  expect(effects.commits).toEqual([]);
});

test('an ack that the store or the queue refused is refused with a retry, and can be repeated', () => {
  const { effects, connect, notice, ack, settle } = startInbox();
  const bob = connect();
  notice(itemOf(1));
  settle('sent');
  effects.take(bob);
  ack(bob, 1, 11);
  ack(bob, 1);
  settle('ack', true);
  expect(effects.take(bob)).toMatchObject([{ refuse: 'storage', id: 11 }]);
  effects.full = true;
  settle('ack', true);
  expect(effects.take(bob)).toMatchObject([{ refuse: 'storage', id: undefined }]);
  ack(bob, 1, 12);
  expect(effects.take(bob)).toMatchObject([{ refuse: 'busy', id: 12 }]);
  effects.full = false;
  ack(bob, 1, 13);
  settle('ack');
  expect(effects.take(bob)).toMatchObject([{ reply: { through: 1 }, id: 13 }]);
});

test('connections of the same device share its cursor: what one acked the other need not get', () => {
  const { effects, connect, notice, ack, settle, answer } = startInbox();
  const first = connect();
  const second = connect(0, 3);
  notice(itemOf(1), itemOf(2), itemOf(3));
  expect(effects.inbox(first)).toEqual([1, 2, 3]);
  settle('sent');
  ack(first, 3);
  settle('ack');
  answer(stored(1, 3));
  notice(itemOf(4));
  expect(effects.inbox(second)).toEqual([4]);
  expect(effects.reads).toEqual([]);
});

test('the ledger is told once per turn how far the inbox was pushed, and again where the store refused', () => {
  const { effects, connect, notice, settle, tick } = startInbox();
  connect();
  connect(0, 0, 'other');
  notice(itemOf(1), itemOf(2));
  notice(itemOf(3));
  notice(itemOf(4));
  expect(effects.operations).toEqual([{ type: 'sent', user: 'bob', through: 2 }]);
  settle('sent');
  expect(effects.operations).toEqual([{ type: 'sent', user: 'bob', through: 4 }]);
  settle('sent', true);
  expect(effects.commits).toEqual([]);
  tick();
  expect(effects.operations).toEqual([{ type: 'sent', user: 'bob', through: 4 }]);
});

test('I2 one of the connections of a device goes, and the others still share its cursor with the next', () => {
  const { effects, users, turn, connect, notice, ack, settle } = startInbox();
  const [first, second] = [connect(), connect()];
  notice(itemOf(1));
  turn(() => {
    effects.gone(second);
    users.close(second, true, effects);
  });
  settle('sent');
  settle('disconnect');
  const third = connect(0, 1);
  ack(first, 1);
  settle('ack');
  effects.take(third);
  ack(third, 1, 7);
  expect([effects.take(third), effects.operations]).toEqual([[{ to: third.id, reply: { through: 1 }, id: 7 }], []]);
});
