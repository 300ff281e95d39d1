/** What becomes of entries that were handed on: readers that wait, received marks, broadcasts, stored positions. */
import { expect, test } from 'vitest';
import type { Entry, SavedPositions } from '../src/client/index.ts';
import { at, entry, follow, scene, settle } from './kit/fake-hub.ts';

test('with receipts, received marks are sent after the handlers ran, one at a time and for all at once', async () => {
  const s = scene();
  const socket = await s.open();
  const { room } = await follow(s, socket, 'r', undefined, { receipts: true });
  const finish: (() => void)[] = [];
  room.on('entry', () => new Promise<void>((resolve) => finish.push(resolve)));
  socket.say(entry('r', 1), entry('r', 2), entry('r', 3));
  await settle();
  expect(socket.takeAll('mark')).toEqual([]);
  finish[1]?.();
  await settle();
  expect(socket.takeAll('mark')).toEqual([]);
  finish[0]?.();
  await settle();
  const first = socket.take('mark');
  expect(first).toMatchObject({ room: 'r', received: 2 });
  finish[2]?.();
  await settle();
  expect(socket.takeAll('mark')).toEqual([]);
  socket.ok(first, { room: 'r', received: 2, read: 0 });
  expect(socket.take('mark')).toMatchObject({ room: 'r', received: 3 });
});

test('a mark that is refused for good is an error event, once for the connection', async () => {
  const s = scene();
  const socket = await s.open();
  await follow(s, socket, 'r', undefined, { receipts: true });
  socket.say(entry('r', 1));
  socket.refuse(socket.take('mark'), 'forbidden');
  socket.say(entry('r', 2), entry('r', 3));
  expect(socket.takeAll('mark')).toEqual([]);
  expect(s.errors).toMatchObject([{ code: 'forbidden', of: 'mark' }]);
  const next = await s.reopen();
  next.say({ op: 'resumed', room: 'r', position: at(3), recovered: true });
  expect(next.take('mark')).toMatchObject({ received: 3 });
});

test('broadcasts come without a subscription, are marked after the handlers ran, and resume at their own position', async () => {
  const s = scene();
  const seen: number[] = [];
  s.hub.on('broadcast', (one) => seen.push(one.seq));
  const socket = await s.open();
  socket.say(entry('all:', 7), entry('all:', 8));
  const mark = socket.take('mark');
  expect(mark).toMatchObject({ room: 'all:', received: 7 });
  socket.ok(mark, {});
  expect(socket.take('mark')).toMatchObject({ received: 8 });
  const next = await s.reopen();
  const resume = next.take('resume');
  expect(resume).toMatchObject({ rooms: { 'all:': 8 } });
  // The hub follows it from the user's mark by itself, which another device may have moved.
  next.say(entry('all:', 10), { op: 'resumed', room: 'all:', position: at(10), recovered: true }, entry('all:', 9), entry('all:', 10)).ok(resume, { rooms: 1 });
  expect(seen).toEqual([7, 8, 9, 10]);
  await expect(s.hub.subscribe('all:')).rejects.toMatchObject({ code: 'bad-request' });
});

test('the broadcast room goes on from anywhere where it cannot be resumed', async () => {
  const s = scene();
  const seen: number[] = [];
  s.hub.on('broadcast', (one) => seen.push(one.seq));
  (await s.open()).say(entry('all:', 1));
  const next = await s.reopen();
  next.take('resume');
  next.say({ op: 'unsubscribed', room: 'all:', reason: 'forbidden' }, entry('all:', 5), entry('all:', 6));
  expect(seen).toEqual([1, 5, 6]);
});

test('for await reads every entry and ends with the subscription', async () => {
  const s = scene();
  const socket = await s.open();
  const { room } = await follow(s, socket, 'r');
  const seen: number[] = [];
  const loop = (async () => {
    for await (const one of room) seen.push(one.seq);
  })();
  socket.say(entry('r', 1), entry('r', 2));
  await settle();
  socket.say(entry('r', 3), { op: 'unsubscribed', room: 'r', reason: 'not-found' });
  await loop;
  expect(seen).toEqual([1, 2, 3]);
});

test('a for await that is a thousand entries behind makes its room wait, and loses nothing', async () => {
  const s = scene();
  const socket = await s.open();
  const { room, seqs } = await follow(s, socket, 'r');
  const reader = room[Symbol.asyncIterator]();
  for (let seq = 1; seq <= 1_200; seq++) socket.say(entry('r', seq));
  expect(socket.take('unsubscribe')).toMatchObject({ room: 'r' });
  expect(seqs.at(-1)).toBe(1_000);
  const read: Entry[] = [];
  for (let i = 0; i < 500; i++) read.push((await reader.next()).value as Entry);
  const command = socket.take('subscribe');
  expect(command).toMatchObject({ room: 'r', position: at(1_000) });
  socket.ok(command, { room: 'r', position: at(1_200), recovered: true });
  for (let seq = 1_001; seq <= 1_200; seq++) socket.say(entry('r', seq));
  for (let i = 0; i < 700; i++) read.push((await reader.next()).value as Entry);
  expect(read.map((one) => one.seq)).toEqual(Array.from({ length: 1_200 }, (_, i) => i + 1));
  await reader.return?.();
  expect(await reader.next()).toEqual({ done: true, value: undefined });
});

test('a for await that kept up before makes its room wait all the same, and nothing follows the room before it has room', async () => {
  const s = scene();
  const socket = await s.open();
  const { room } = await follow(s, socket, 'r');
  const reader = room[Symbol.asyncIterator]();
  for (let seq = 1; seq <= 3; seq++) {
    socket.say(entry('r', seq));
    expect((await reader.next()).value).toMatchObject({ seq });
  }
  for (let seq = 4; seq <= 1_003; seq++) socket.say(entry('r', seq));
  socket.take('unsubscribe');
  socket.say({ op: 'unsubscribed', room: 'r', reason: 'restarted' });
  await s.clock.advance(5_000);
  expect(socket.untaken).toEqual([]);
});

test('a room whose reader is full is not resumed before it has room', async () => {
  const s = scene();
  const socket = await s.open();
  const { room } = await follow(s, socket, 'r');
  const reader = room[Symbol.asyncIterator]();
  for (let seq = 1; seq <= 1_000; seq++) socket.say(entry('r', seq));
  const next = await s.reopen();
  expect(next.untaken).toEqual([]);
  await reader.return?.();
  expect(next.take('subscribe')).toMatchObject({ position: at(1_000) });
});

test('stored positions resume after a reload, and are saved together', async () => {
  const saved: SavedPositions[] = [];
  const positions = { load: async () => ({ r: at(41) }), save: (all: SavedPositions) => void saved.push(all) };
  const s = scene({ positions });
  const early = s.hub.subscribe('r');
  const socket = await s.open();
  expect(socket.take('resume')).toMatchObject({ epoch: 'e1', rooms: { r: 41 } });
  socket.say({ op: 'resumed', room: 'r', position: at(43), recovered: true }, entry('r', 42), entry('r', 43));
  await early;
  await s.clock.advance(249);
  expect(saved).toEqual([]);
  await s.clock.advance(1);
  expect(saved).toEqual([{ r: at(43) }]);
  socket.say(entry('r', 44));
  void s.hub.close();
  socket.drop(1000);
  await settle();
  expect(saved.at(-1)).toEqual({ r: at(44) });
});

test('a stored position is not ahead of the handlers: what they, or a for await, had in hand comes again', async () => {
  const saved: SavedPositions[] = [];
  const s = scene({ positions: { load: () => null, save: (all) => void saved.push(all) } });
  const socket = await s.open();
  const { room } = await follow(s, socket, 'r');
  const { room: looped } = await follow(s, socket, 'l');
  const done: (() => void)[] = [];
  room.on('entry', () => new Promise<void>((resolve) => done.push(resolve)));
  const loop = looped[Symbol.asyncIterator]();
  for (const name of ['r', 'l']) socket.say(entry(name, 1), entry(name, 2), entry(name, 3));
  done[0]?.();
  done[2]?.();
  for (const seq of [1, 2]) expect((await loop.next()).value).toMatchObject({ seq });
  await s.clock.advance(250);
  expect(saved).toEqual([{ r: at(1), l: at(1) }]);
  expect([room.position, looped.position]).toEqual([at(3), at(3)]);
  done[1]?.();
  await loop.return?.(); // nobody is to have the others
  await s.clock.advance(250);
  expect(saved.at(-1)).toEqual({ r: at(3), l: at(3) });
  socket.say(entry('r', 4));
  room.unsubscribe();
  await follow(s, socket, 'r', { position: at(9), recovered: true }, { position: at(9) });
  done[3]?.(); // of a subscription that another one has followed
  socket.say(entry('l', 4));
  await s.clock.advance(250);
  expect(saved.at(-1)?.r).not.toEqual(at(4));
});

test('a position store that fails is an error event, and the client goes on without it', async () => {
  const s = scene({
    positions: {
      load: () => {
        throw new Error('no storage');
      },
      save: () => Promise.reject(new Error('quota')),
    },
  });
  const socket = await s.open();
  await follow(s, socket, 'r');
  socket.say(entry('r', 1));
  await s.clock.advance(250);
  expect(s.errors.map((error) => error.code)).toEqual(['positions', 'positions']);
});
