/** Following rooms: applied in order and once, gaps and epochs stated, brought back after every reconnect. */
import { expect, test } from 'vitest';
import type { Entry, Gap, Room, SavedPositions } from '../src/client/index.ts';
import { entry, type FakeSocket, type Scene, scene, settle } from './kit/fake-hub.ts';

const at = (seq: number, epoch = 'e1') => ({ epoch, seq });

/** Subscribes and attaches `name` at `seq`, with what the room says recorded. */
async function follow(
  { hub, clock }: Scene,
  socket: FakeSocket,
  name: string,
  reply: object = { position: at(0), recovered: true },
  options: Parameters<Scene['hub']['subscribe']>[1] = {},
): Promise<{ room: Room; seqs: number[]; gaps: Gap[]; ended: string[] }> {
  const promise = hub.subscribe(name, options);
  await settle();
  socket.ok(socket.take('subscribe'), { room: name, ...reply });
  const room = await promise;
  const seqs: number[] = [];
  const gaps: Gap[] = [];
  const ended: string[] = [];
  room.on('entry', (one) => seqs.push(one.seq));
  room.on('gap', (gap) => gaps.push(gap));
  room.on('unsubscribed', ({ reason }) => ended.push(reason));
  await clock.advance(0);
  return { room, seqs, gaps, ended };
}

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

test('after a reconnect all rooms are resumed at their positions with one command, and go on without a hole', async () => {
  const s = scene();
  const socket = await s.open();
  const a = await follow(s, socket, 'a');
  const b = await follow(s, socket, 'b', { position: at(9), recovered: true });
  socket.say(entry('a', 1), entry('a', 2));
  const next = await s.reopen();
  expect(a.room.live).toBe(false);
  const resume = next.take('resume');
  expect(resume).toMatchObject({ epoch: 'e1', rooms: { a: 2, b: 9 } });
  next.say({ op: 'resumed', id: resume.id, room: 'a', position: at(4), recovered: true }, entry('a', 3), entry('a', 4));
  next.say({ op: 'resumed', id: resume.id, room: 'b', position: at(9), recovered: true }).ok(resume, { rooms: 2 });
  next.say(entry('b', 10), entry('a', 5));
  expect(a.seqs).toEqual([1, 2, 3, 4, 5]);
  expect(b.seqs).toEqual([10]);
  expect([...a.gaps, ...b.gaps]).toEqual([]);
  expect(next.takeAll('subscribe')).toEqual([]);
});

test('more rooms than one resume may name go in several', async () => {
  const s = scene();
  const socket = await s.open({ limits: { frameBytesMax: 262_144, bodyBytesMax: 65_536, subscriptionsMax: 5_000, openCommandsMax: 5_000 } });
  const names = Array.from({ length: 1_500 }, (_, i) => `r${i}`);
  const rooms = names.map((name) => s.hub.subscribe(name));
  await settle();
  for (const command of socket.takeAll('subscribe')) socket.ok(command, { room: command.room, position: at(1), recovered: true });
  await Promise.all(rooms);
  const next = await s.reopen();
  const parts = next.takeAll('resume').map((frame) => Object.keys(frame.rooms as object));
  expect(parts.map((part) => part.length)).toEqual([1_000, 500]);
  expect(new Set(parts.flat())).toEqual(new Set(names));
});

test('a small frame limit makes resumes that fit it', async () => {
  const s = scene();
  const limits = { frameBytesMax: 1_024, bodyBytesMax: 512, subscriptionsMax: 1_000, openCommandsMax: 1_000 };
  const socket = await s.open({ limits });
  const rooms = Array.from({ length: 40 }, (_, i) => s.hub.subscribe(`ü"${i}`.repeat(10)));
  await settle();
  for (const command of socket.takeAll('subscribe')) socket.ok(command, { room: command.room, position: at(1), recovered: true });
  await Promise.all(rooms);
  const next = await s.reopen({ limits });
  const resumes = next.takeAll('resume');
  expect(resumes.length).toBeGreaterThan(1);
  for (const frame of resumes) expect(new TextEncoder().encode(JSON.stringify(frame)).length).toBeLessThanOrEqual(1_024);
});

test('a room with presence is resumed by subscribe, which alone can ask for it', async () => {
  const s = scene();
  const socket = await s.open();
  const audience = { count: 2, users: ['alice', 'bob'] };
  const { room } = await follow(s, socket, 'r', { position: at(3), recovered: true, audience }, { presence: true });
  expect(room.audience).toEqual(audience);
  socket.say({ op: 'audience', room: 'r', count: 2, joined: ['eve'], left: ['bob'] });
  expect(room.audience).toEqual({ count: 2, users: ['alice', 'eve'] });
  socket.say({ op: 'audience', room: 'r', count: 500 });
  expect(room.audience).toEqual({ count: 500 });
  const next = await s.reopen();
  expect(next.takeAll('resume')).toEqual([]);
  expect(next.take('subscribe')).toMatchObject({ room: 'r', position: at(3), presence: true });
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

test('another epoch resets the position, also back, and is stated as a gap', async () => {
  const s = scene();
  const socket = await s.open();
  const { seqs, gaps, room } = await follow(s, socket, 'r', { position: at(50), recovered: true });
  const next = await s.reopen({ epoch: 'e2' });
  const resume = next.take('resume');
  expect(resume).toMatchObject({ epoch: 'e1', rooms: { r: 50 } });
  const gap = { room: 'r', from: 1, to: 20, reason: 'epoch' as const };
  next.say({ op: 'resumed', room: 'r', position: at(20, 'e2'), recovered: false, gaps: [gap] }, entry('r', 21)).ok(resume, { rooms: 1 });
  expect(gaps).toEqual([gap]);
  expect(seqs).toEqual([21]);
  expect(room.position).toEqual(at(21, 'e2'));
  const third = await s.reopen({ epoch: 'e2' });
  expect(third.take('resume')).toMatchObject({ epoch: 'e2', rooms: { r: 21 } });
});

test('rooms at positions of different epochs are resumed by a command for each epoch', async () => {
  const s = scene();
  const socket = await s.open({ epoch: 'e2' });
  await follow(s, socket, 'old', { position: at(5), recovered: true });
  await follow(s, socket, 'new', { position: at(6, 'e2'), recovered: true });
  const next = await s.reopen({ epoch: 'e2' });
  expect(next.takeAll('resume').map(({ epoch, rooms }) => ({ epoch, rooms }))).toEqual([
    { epoch: 'e1', rooms: { old: 5 } },
    { epoch: 'e2', rooms: { new: 6 } },
  ]);
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

test('a subscription that the hub lost is renewed at its position', async () => {
  const s = scene();
  const socket = await s.open();
  const { ended, seqs } = await follow(s, socket, 'r');
  socket.say(entry('r', 1), { op: 'unsubscribed', room: 'r', reason: 'restarted' });
  await s.clock.advance(1_000);
  const command = socket.take('subscribe');
  expect(command).toMatchObject({ room: 'r', position: at(1) });
  socket.ok(command, { room: 'r', position: at(2), recovered: true }).say(entry('r', 2));
  expect(seqs).toEqual([1, 2]);
  expect(ended).toEqual([]);
});

test('of a resume, refused rooms end, lost ones and left out ones ask again for themselves', async () => {
  const s = scene();
  const socket = await s.open();
  const gone = await follow(s, socket, 'gone');
  const lost = await follow(s, socket, 'lost');
  const silent = await follow(s, socket, 'silent');
  const next = await s.reopen();
  const resume = next.take('resume');
  next.say({ op: 'unsubscribed', room: 'gone', reason: 'not-found' }, { op: 'unsubscribed', room: 'lost', reason: 'storage' }).ok(resume, { rooms: 3 });
  expect(gone.ended).toEqual(['not-found']);
  expect(next.take('subscribe')).toMatchObject({ room: 'silent', position: at(0) });
  await s.clock.advance(1_000);
  expect(next.take('subscribe')).toMatchObject({ room: 'lost', position: at(0) });
  expect([lost.ended, silent.ended]).toEqual([[], []]);
});

test('a resume that is refused as a whole and may be retried is tried again room by room', async () => {
  const s = scene();
  const socket = await s.open();
  await follow(s, socket, 'a');
  const next = await s.reopen();
  next.refuse(next.take('resume'), 'busy', { retry: true, retryAfterMs: 50 });
  await s.clock.advance(50);
  expect(next.take('subscribe')).toMatchObject({ room: 'a', position: at(0) });
});

test('unsubscribe stops the room here and at the hub; subscribing again is another handle', async () => {
  const s = scene();
  const socket = await s.open();
  const { room, ended, seqs } = await follow(s, socket, 'r');
  room.unsubscribe();
  expect(socket.take('unsubscribe')).toEqual({ op: 'unsubscribe', room: 'r' });
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

test('position mark is asked for until the first entry tells where that was', async () => {
  const s = scene();
  const socket = await s.open();
  const { room, seqs } = await follow(s, socket, 'r', { position: at(9), recovered: true }, { position: 'mark' });
  expect(socket.sent.find((frame) => frame.op === 'subscribe')).toMatchObject({ position: 'mark' });
  expect(room.position).toBeNull();
  const next = await s.reopen();
  const command = next.take('subscribe');
  expect(command).toMatchObject({ position: 'mark' });
  next.ok(command, { room: 'r', position: at(9), recovered: true }).say(entry('r', 8), entry('r', 9));
  expect(seqs).toEqual([8, 9]);
  expect(room.position).toEqual(at(9));
});

test('a connection lost before the first entries were handed on loses none of them', async () => {
  const s = scene();
  const socket = await s.open();
  const promise = s.hub.subscribe('r', { position: at(1) });
  await settle();
  socket
    .ok(socket.take('subscribe'), { room: 'r', position: at(2), recovered: true })
    .say(entry('r', 2))
    .drop();
  const room = await promise;
  const seen: number[] = [];
  room.on('entry', (one) => seen.push(one.seq));
  const next = await s.reopen();
  expect(next.take('resume')).toMatchObject({ rooms: { r: 1 } });
  next.say({ op: 'resumed', room: 'r', position: at(2), recovered: true }, entry('r', 2));
  await s.clock.advance(0);
  expect(seen).toEqual([2]);
});
