/** The inbox as the client works it off: handlers one after the other, cumulative acks, every message surfaced once. */
import { expect, test } from 'vitest';
import type { InboxItem } from '../src/client/index.ts';
import { entry, type Frame, scene, settle } from './kit/fake-hub.ts';

const item = (n: number, more: object = {}): Frame => ({ ...entry('dm:alice:bob', n), op: 'inbox', n, ...more });
const attached = (seq: number) => ({ room: 'dm:alice:bob', position: { epoch: 'e1', seq }, recovered: true });

test('items are handled one after the other and acked after the handler ran, all that ran meanwhile with one ack', async () => {
  const { hub, open } = scene();
  const socket = await open();
  const started: number[] = [];
  const finish: (() => void)[] = [];
  hub.on('inbox', ({ n }) => {
    started.push(n);
    return new Promise<void>((resolve) => finish.push(resolve));
  });
  socket.say(item(1), item(2), item(3));
  await settle();
  expect(started).toEqual([1]);
  expect(socket.takeAll('ack')).toEqual([]);
  finish[0]?.();
  await settle();
  expect(started).toEqual([1, 2]);
  const first = socket.take('ack');
  expect(first.through).toBe(1);
  finish[1]?.();
  await settle();
  finish[2]?.();
  await settle();
  expect(socket.takeAll('ack')).toEqual([]);
  socket.ok(first, { through: 1 });
  expect(socket.take('ack').through).toBe(3);
});

test('numbers may be missing, as those of the own messages are: the ack goes through what came', async () => {
  const { hub, open } = scene();
  const socket = await open({ inbox: { head: 9, acked: 4 } });
  const seen: number[] = [];
  hub.on('inbox', ({ n }) => seen.push(n));
  socket.say(item(6), item(9));
  expect(seen).toEqual([6, 9]);
  const ack = socket.take('ack');
  expect(ack.through).toBe(6);
  socket.ok(ack, { through: 6 });
  expect(socket.take('ack').through).toBe(9);
});

test('an item whose handler failed is not acked, and comes again after a reconnect; those behind it were handled and do not', async () => {
  const { hub, open, reopen, errors } = scene();
  const socket = await open();
  const seen: number[] = [];
  let fail = true;
  hub.on('inbox', async ({ n }) => {
    seen.push(n);
    if (n === 2 && fail) throw new Error('disk full');
  });
  socket.say(item(1), item(2), item(3));
  await settle();
  expect(seen).toEqual([1, 2, 3]);
  expect(errors).toMatchObject([{ code: 'handler' }]);
  const ack = socket.take('ack');
  expect(ack.through).toBe(1);
  socket.ok(ack, { through: 1 });
  expect(socket.takeAll('ack')).toEqual([]);
  fail = false;
  const next = await reopen({ inbox: { head: 3, acked: 1 } });
  next.say(item(2), item(3));
  await settle();
  expect(seen).toEqual([1, 2, 3, 2]);
  const acks = next.takeAll('ack');
  next.ok(acks[0] ?? { op: '' }, {});
  expect([...acks, ...next.takeAll('ack')].at(-1)?.through).toBe(3);
});

test('an ack that was lost is sent again when the items come again, and never above what this connection brought', async () => {
  const { hub, open, reopen } = scene();
  const socket = await open();
  const seen: number[] = [];
  hub.on('inbox', ({ n }) => seen.push(n));
  socket.say(item(1), item(2));
  const next = await reopen({ inbox: { head: 2, acked: 0 } });
  expect(next.takeAll('ack')).toEqual([]);
  next.say(item(1), item(2));
  expect(seen).toEqual([1, 2]);
  const ack = next.take('ack');
  expect(ack.through).toBe(1);
  next.ok(ack, {});
  expect(next.take('ack').through).toBe(2);
});

test('an ack that the hub refuses for now is repeated', async () => {
  const { hub, open, clock } = scene();
  const socket = await open();
  hub.on('inbox', () => undefined);
  socket.say(item(1));
  socket.refuse(socket.take('ack'), 'busy', { retry: true });
  expect(socket.takeAll('ack')).toEqual([]);
  await clock.advance(1_000);
  socket.refuse(socket.take('ack'), 'rate-limited', { retry: true, retryAfterMs: 50 });
  await clock.advance(50);
  expect(socket.take('ack').through).toBe(1);
});

test('an item that is being handled while the connection changes is not handled twice', async () => {
  const { hub, open, reopen } = scene();
  const socket = await open();
  let runs = 0;
  let finish: () => void = () => undefined;
  hub.on('inbox', () => {
    runs++;
    return new Promise<void>((resolve) => {
      finish = resolve;
    });
  });
  socket.say(item(1));
  const next = await reopen();
  next.say(item(1));
  await settle();
  expect(runs).toBe(1);
  finish();
  await settle();
  expect(next.take('ack').through).toBe(1);
});

test('items wait for a listener, unacked', async () => {
  const { hub, open } = scene();
  const socket = await open();
  socket.say(item(1), item(2));
  await settle();
  expect(socket.takeAll('ack')).toEqual([]);
  const seen: InboxItem[] = [];
  hub.on('inbox', (one) => seen.push(one));
  expect(seen.map(({ n }) => n)).toEqual([1, 2]);
  expect(seen[0]).toEqual({ n: 1, room: 'dm:alice:bob', seq: 1, kind: 'message', mid: null, from: 'bob', ts: 1, body: 'dm:alice:bob 1' });
  expect(socket.take('ack').through).toBe(1);
});

test('more items than may wait are left with the hub, and asked for again once there is room', async () => {
  const { hub, open, reopen } = scene();
  const socket = await open();
  for (let n = 1; n <= 2_005; n++) socket.say(item(n));
  const seen: number[] = [];
  hub.on('inbox', ({ n }) => seen.push(n));
  expect(seen).toHaveLength(2_000);
  expect(hub.state.is).toBe('waiting');
  const next = await reopen({ inbox: { head: 2_005, acked: 0 } });
  for (let n = 1; n <= 2_005; n++) next.say(item(n));
  expect(seen).toEqual(Array.from({ length: 2_005 }, (_, i) => i + 1));
});

test('an item of a followed room is handed on by the room alone, and acked once the room has', async () => {
  const { hub, open, clock } = scene();
  const socket = await open();
  const direct: number[] = [];
  hub.on('inbox', ({ seq }) => direct.push(seq));
  const promise = hub.subscribe('dm:alice:bob');
  await settle();
  const command = socket.take('subscribe');
  socket.say(item(1, { seq: 4 }), item(2, { seq: 5 })); // written before and after the head at which the room will be attached
  expect(direct).toEqual([]);
  socket.ok(command, attached(4));
  const room = await promise;
  const live: number[] = [];
  let finish: () => void = () => undefined;
  room.on('entry', ({ seq }) => {
    live.push(seq);
    return new Promise<void>((resolve) => {
      finish = resolve;
    });
  });
  await clock.advance(0);
  expect(direct).toEqual([4]);
  const first = socket.take('ack');
  expect(first.through).toBe(1);
  socket.ok(first, {});
  socket.say(entry('dm:alice:bob', 5));
  await settle();
  expect(socket.takeAll('ack')).toEqual([]);
  finish();
  await settle();
  expect(live).toEqual([5]);
  expect(direct).toEqual([4]);
  expect(socket.take('ack').through).toBe(2);
});

test('an item of a room that was faster than the inbox is acked without being handed on again', async () => {
  const { hub, open, clock } = scene();
  const socket = await open();
  const direct: number[] = [];
  hub.on('inbox', ({ seq }) => direct.push(seq));
  const promise = hub.subscribe('dm:alice:bob');
  await settle();
  socket.ok(socket.take('subscribe'), attached(0));
  await promise;
  await clock.advance(0);
  socket.say(entry('dm:alice:bob', 1), item(1), item(2, { room: 'dm:alice:eve', seq: 1 }));
  expect(direct).toEqual([1]);
  const ack = socket.take('ack');
  socket.ok(ack, {});
  expect([ack, ...socket.takeAll('ack')].at(-1)?.through).toBe(2);
});

test('what a room was to hand on and did not comes by the inbox', async () => {
  const { hub, open, clock } = scene();
  const socket = await open();
  const direct: number[] = [];
  hub.on('inbox', ({ seq }) => direct.push(seq));
  const promise = hub.subscribe('dm:alice:bob');
  await settle();
  socket.ok(socket.take('subscribe'), attached(0));
  const room = await promise;
  await clock.advance(0);
  socket.say(item(1), item(2));
  socket.say({ op: 'gap', room: 'dm:alice:bob', gaps: [{ room: 'dm:alice:bob', from: 1, to: 1, reason: 'trimmed' }] });
  expect(direct).toEqual([1]);
  room.unsubscribe();
  expect(direct).toEqual([1, 2]);
});

test('numbers and seqs that a restored backup gives to other messages hide none of them', async () => {
  const { hub, open, reopen, clock } = scene();
  const socket = await open();
  const direct: unknown[] = [];
  let finish: () => void = () => undefined;
  hub.on('inbox', ({ body }) => {
    direct.push(body);
    if (body === 'long') return new Promise<void>((resolve) => (finish = resolve));
  });
  const promise = hub.subscribe('dm:alice:bob');
  await settle();
  socket.ok(socket.take('subscribe'), attached(0));
  await promise;
  await clock.advance(0);
  const eve = { room: 'dm:alice:eve', mid: 'm1' };
  socket.say(entry('dm:alice:bob', 1), entry('dm:alice:bob', 2), item(1, { ...eve, body: 'short' }), item(2, { ...eve, seq: 2, body: 'long' }));
  await settle();
  expect(direct).toEqual(['short', 'long']);

  // None of it was acked; the hub comes back from a backup of before all of it.
  const next = await reopen({ epoch: 'e2', inbox: { head: 3, acked: 0 } });
  next.say(
    item(1, { ...eve, mid: 'm2', body: 'other' }),
    item(2, { ...eve, seq: 2, mid: 'm3', body: 'others' }),
    item(3, { seq: 2, body: 'to a followed room' }),
  );
  await settle();
  finish();
  await settle();
  expect(direct).toEqual(['short', 'long', 'other', 'others']);
  const gap = { room: 'dm:alice:bob', from: 1, to: 2, reason: 'epoch' };
  next.say({ op: 'resumed', room: 'dm:alice:bob', position: { epoch: 'e2', seq: 2 }, recovered: false, gaps: [gap] });
  await settle();
  expect(direct.at(-1)).toBe('to a followed room');
  const acks = next.takeAll('ack');
  next.ok(acks[0] ?? { op: '' }, {});
  expect([...acks, ...next.takeAll('ack')].at(-1)?.through).toBe(3);
});

test('items that the hub repeats on the same connection are handled once and hold no ack back', async () => {
  const { hub, open } = scene();
  const socket = await open();
  const seen: number[] = [];
  hub.on('inbox', ({ n }) => seen.push(n));
  socket.say(item(1), item(2));
  socket.ok(socket.take('ack'), {});
  socket.ok(socket.take('ack'), {});
  socket.say(item(1), item(2), item(3));
  expect(seen).toEqual([1, 2, 3]);
  expect(socket.take('ack').through).toBe(3);
});

test('what the inbox lost is told', async () => {
  const { hub, open } = scene();
  const socket = await open();
  const gaps: unknown[] = [];
  hub.on('inbox-gap', (gap) => gaps.push(gap));
  socket.say({ op: 'inbox-gap', from: 3, to: 8, reason: 'expired' });
  expect(gaps).toEqual([{ from: 3, to: 8, reason: 'expired' }]);
});

test('I9 that the inbox stopped is told', async () => {
  const { hub, open } = scene();
  const socket = await open();
  const stops: unknown[] = [];
  hub.on('inbox-stopped', (stop) => stops.push(stop));
  socket.say({ op: 'inbox-stopped', n: 3, reason: 'quarantined' });
  expect(stops).toEqual([{ n: 3, reason: 'quarantined' }]);
});

test('close says how far the inbox got, even where an ack is on its way', async () => {
  const { hub, open } = scene();
  const socket = await open();
  hub.on('inbox', () => undefined);
  socket.say(item(1), item(2));
  expect(socket.take('ack').through).toBe(1);
  void hub.close();
  await settle();
  expect(socket.take('ack')).toEqual({ op: 'ack', through: 2 });
});
