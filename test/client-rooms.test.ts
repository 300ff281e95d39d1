/** Following rooms: applied in order and once, gaps stated, refusals and ends told. */
import { expect, test } from 'vitest';
import type { Gap } from '../src/client/index.ts';
import { wireLimitDefaults } from '../src/protocol/limits.ts';
import { at, entry, follow, scene, settle } from './kit/fake-hub.ts';

test('entries that come in one turn with the ok reach a listener added right after the await', async () => {
  const { hub, open, clock } = scene();
  const socket = await open();
  const promise = hub.subscribe('r', { position: at(1) });
  await settle();
  const command = socket.take('subscribe');
  expect(command).toMatchObject({ room: 'r', position: at(1) });
  socket.ok(command, { room: 'r', position: at(3), recovered: true }).say(entry('r', 2), entry('r', 3));
  const room = await promise;
  const seen: number[] = [];
  room.on('entry', (one) => seen.push(one.seq));
  await clock.advance(0);
  expect(seen).toEqual([2, 3]);
  expect(room.position).toEqual(at(3));
});

test('duplicates are dropped: what is at or below the position is not handed on again', async () => {
  const s = scene();
  const socket = await s.open();
  const { seqs } = await follow(s, socket, 'r', { position: at(5), recovered: true });
  socket.say(entry('r', 5), entry('r', 6), entry('r', 6), entry('r', 4), entry('r', 7));
  expect(seqs).toEqual([6, 7]);
});

test('asking for presence of a room that is followed without attaches it again at its position', async () => {
  const s = scene();
  const socket = await s.open();
  const { room, seqs } = await follow(s, socket, 'r');
  socket.say(entry('r', 1));
  const again = s.hub.subscribe('r', { presence: true });
  await settle();
  const command = socket.take('subscribe');
  expect(command).toMatchObject({ room: 'r', position: at(1), presence: true });
  socket.say(entry('r', 2)); // live from the old attachment, and replayed by the new one
  socket.ok(command, { room: 'r', position: at(2), recovered: true, audience: { count: 1, users: ['alice'] } }).say(entry('r', 2), entry('r', 3));
  expect(await again).toBe(room);
  expect(seqs).toEqual([1, 2, 3]);
});

test('P3 presence that is asked for behind a subscribe without it is told by its own answer', async () => {
  const s = scene();
  const socket = await s.open();
  const both = [s.hub.subscribe('r'), s.hub.subscribe('r', { presence: true })];
  await settle();
  const reply = { room: 'r', position: at(0), recovered: true };
  const [plain, presence] = socket.takeAll('subscribe');
  if (plain === undefined || presence === undefined) throw new Error('two were expected');
  socket.ok(plain, reply).ok(presence, { ...reply, audience: { count: 1, users: ['alice'] } });
  const [room] = await Promise.all(both);
  await s.clock.advance(0);
  expect(room?.audience).toEqual({ count: 1, users: ['alice'] });
});

test('a gap is stated to the room and the hub, and the position goes on after it', async () => {
  const s = scene();
  const socket = await s.open();
  const all: Gap[] = [];
  s.hub.on('gap', (gap) => all.push(gap));
  const { seqs, gaps, room } = await follow(s, socket, 'r', { position: at(2), recovered: true });
  const next = await s.reopen();
  const gap = { room: 'r', from: 3, to: 6, reason: 'trimmed' as const };
  next.say({ op: 'resumed', room: 'r', position: at(8), recovered: false, gaps: [gap] }, entry('r', 7), entry('r', 8)).ok(next.take('resume'), { rooms: 1 });
  expect(gaps).toEqual([gap]);
  expect(all).toEqual([gap]);
  expect(seqs).toEqual([7, 8]);
  const later = { room: 'r', from: 9, to: 9, reason: 'forbidden' as const };
  next.say({ op: 'gap', room: 'r', gaps: [later] }, entry('r', 10));
  expect(gaps).toEqual([gap, later]);
  expect(room.position).toEqual(at(10));
});

test('an entry that was left out without a gap is never skipped: the client reconnects and resumes before it', async () => {
  const s = scene();
  const socket = await s.open();
  const { seqs } = await follow(s, socket, 'r');
  socket.say(entry('r', 1), entry('r', 3), entry('r', 4));
  expect(seqs).toEqual([1]);
  expect(s.errors).toMatchObject([{ code: 'hole' }]);
  const next = await s.reopen();
  expect(next.take('resume')).toMatchObject({ rooms: { r: 1 } });
});

test('behind is told, and nothing is lost: the entries follow', async () => {
  const s = scene();
  const socket = await s.open();
  const { room, seqs } = await follow(s, socket, 'r');
  const heads: number[] = [];
  room.on('behind', ({ head }) => heads.push(head));
  socket.say(entry('r', 1), { op: 'behind', room: 'r', head: 3 }, entry('r', 2), entry('r', 3), entry('r', 4));
  expect(heads).toEqual([3]);
  expect(seqs).toEqual([1, 2, 3, 4]);
});

test('a room that is refused rejects its subscribe, and is forgotten', async () => {
  const s = scene();
  const socket = await s.open();
  const refused = s.hub.subscribe('secret');
  await settle();
  socket.refuse(socket.take('subscribe'), 'forbidden');
  await expect(refused).rejects.toMatchObject({ code: 'forbidden', of: 'subscribe' });
  const next = await s.reopen();
  expect(next.untaken).toEqual([]);
});

test('a subscribe that may be retried is, after the delay the hub names', async () => {
  const s = scene();
  const socket = await s.open();
  const promise = s.hub.subscribe('r');
  await settle();
  socket.refuse(socket.take('subscribe'), 'rate-limited', { retry: true, retryAfterMs: 700 });
  await s.clock.advance(699);
  expect(socket.takeAll('subscribe')).toEqual([]);
  await s.clock.advance(1);
  socket.ok(socket.take('subscribe'), { room: 'r', position: at(0), recovered: true });
  expect((await promise).live).toBe(true);
});

test('a subscribe before the connection, and one across its loss, are carried out with the next welcome', async () => {
  const s = scene();
  const early = s.hub.subscribe('r');
  const socket = await s.open();
  socket.take('subscribe');
  const next = await s.reopen();
  next.ok(next.take('subscribe'), { room: 'r', position: at(0), recovered: true });
  expect((await early).name).toBe('r');
});

test('a subscribe ends by its time limit or its signal, and takes the subscription back', async () => {
  const s = scene();
  const socket = await s.open();
  const slow = s.hub.subscribe('slow', { timeoutMs: 500 });
  const controller = new AbortController();
  const aborted = s.hub.subscribe('aborted', { signal: controller.signal });
  const failures = Promise.allSettled([slow, aborted]);
  await settle();
  const late = socket.takeAll('subscribe');
  controller.abort(new Error('changed my mind'));
  await s.clock.advance(500);
  expect(await failures).toMatchObject([{ reason: { code: 'timeout' } }, { reason: { message: 'changed my mind' } }]);
  expect(socket.takeAll('unsubscribe').map((frame) => frame.room)).toEqual(['aborted', 'slow']);
  for (const command of late) socket.ok(command, { room: command.room, position: at(0), recovered: true });
  const next = await s.reopen();
  expect(next.untaken).toEqual([]);
});

test('a subscribe that two wait for is taken back when neither waits any more', async () => {
  const s = scene();
  const socket = await s.open();
  const both = Promise.allSettled([s.hub.subscribe('r', { timeoutMs: 500 }), s.hub.subscribe('r', { timeoutMs: 600 })]);
  await settle();
  const late = socket.take('subscribe');
  await s.clock.advance(500);
  expect(socket.untaken).toEqual([]);
  await s.clock.advance(100);
  expect(await both).toMatchObject([{ reason: { code: 'timeout' } }, { reason: { code: 'timeout' } }]);
  expect(socket.take('unsubscribe')).toMatchObject({ room: 'r' });
  socket.ok(late, { room: 'r', position: at(0), recovered: true });
  expect((await s.reopen()).untaken).toEqual([]);
});

test('F8 what is unsubscribed ends at the hub: behind a subscribe that still waits to be sent, and again where it is refused', async () => {
  const s = scene();
  const socket = await s.open({ limits: { ...wireLimitDefaults, openCommandsMax: 1 } });
  const open = s.hub.command('ping', {});
  const ended = expect(s.hub.subscribe('r', { timeoutMs: 500 })).rejects.toMatchObject({ code: 'timeout' });
  await s.clock.advance(500);
  await ended;
  expect(socket.takeAll('unsubscribe')).toEqual([]);
  socket.ok(socket.take('ping'), { now: 1 });
  await open;
  socket.ok(socket.take('subscribe'), { room: 'r', position: at(0), recovered: true });
  socket.refuse(socket.take('unsubscribe'), 'busy', { retry: true, retryAfterMs: 50 });
  await s.clock.advance(50);
  const again = socket.take('unsubscribe');
  expect(again).toMatchObject({ room: 'r' });
  socket.refuse(again, 'busy', { retry: true, retryAfterMs: 50 });
  const { room } = await follow(s, socket, 'r');
  await s.clock.advance(50); // it is followed again, so nothing is to end
  expect([room.live, socket.untaken]).toEqual([true, []]);
  room.unsubscribe();
  socket.refuse(socket.take('unsubscribe'), 'busy', { retry: true, retryAfterMs: 50 });
  void s.hub.close();
  socket.drop(1000);
  expect(s.clock.timers).toBe(0);
});

test('a subscription that the hub ends for good is told and not renewed', async () => {
  const s = scene();
  const socket = await s.open();
  const { room, ended, seqs } = await follow(s, socket, 'r');
  socket.say(entry('r', 1), { op: 'unsubscribed', room: 'r', reason: 'forbidden' }, entry('r', 2));
  expect(ended).toEqual(['forbidden']);
  expect(seqs).toEqual([1]);
  expect(room.live).toBe(false);
  const next = await s.reopen();
  expect(next.untaken).toEqual([]);
});

test('unsubscribe stops the room here and at the hub; subscribing again is another handle', async () => {
  const s = scene();
  const socket = await s.open();
  const { room, ended, seqs } = await follow(s, socket, 'r');
  room.unsubscribe();
  expect(socket.take('unsubscribe')).toMatchObject({ op: 'unsubscribe', room: 'r' });
  socket.say(entry('r', 1));
  expect([ended, seqs]).toEqual([['unsubscribed'], []]);
  const other = await follow(s, socket, 'r', { position: at(1), recovered: true });
  expect(other.room).not.toBe(room);
  room.unsubscribe();
  expect(other.room.live).toBe(true);
});

test('a listener that throws or rejects breaks neither the stream nor the other listeners; it is an error event', async () => {
  const s = scene();
  const socket = await s.open();
  const { room, seqs } = await follow(s, socket, 'r');
  room.on('entry', ({ seq }) => {
    if (seq === 1) throw new Error('sync');
  });
  room.on('entry', async ({ seq }) => {
    if (seq === 2) throw new Error('async');
  });
  socket.say(entry('r', 1), entry('r', 2), entry('r', 3));
  await settle();
  expect(seqs).toEqual([1, 2, 3]);
  expect(s.errors.map((error) => error.code)).toEqual(['handler', 'handler']);
});
