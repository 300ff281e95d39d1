/** Rooms brought back after every loss of the connection: positions, epochs, what the hub would not resume. */
import { expect, test } from 'vitest';
import { at, entry, follow, scene, settle } from './kit/fake-hub.ts';

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

test('a subscription that the hub lost is renewed at its position', async () => {
  const s = scene();
  const socket = await s.open();
  const { room, ended, seqs } = await follow(s, socket, 'r');
  socket.say(entry('r', 1), { op: 'unsubscribed', room: 'r', reason: 'restarted' });
  expect(room.live).toBe(false);
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

test('F4 a connection lost before a gap of another epoch was handed on asks by the old epoch again', async () => {
  const s = scene();
  const socket = await s.open();
  const promise = s.hub.subscribe('r', { position: at(7) });
  await settle();
  const gaps = [{ room: 'r', from: 1, to: 9, reason: 'epoch' }];
  socket.ok(socket.take('subscribe'), { room: 'r', position: at(9, 'e2'), recovered: false, gaps }).drop();
  const seen: unknown[] = [];
  (await promise).on('gap', (gap) => seen.push(gap));
  const next = await s.reopen({ epoch: 'e2' });
  expect(next.take('resume')).toMatchObject({ epoch: 'e1', rooms: { r: 7 } });
  next.say({ op: 'resumed', room: 'r', position: at(9, 'e2'), recovered: false, gaps });
  expect(seen).toEqual(gaps);
  expect((await promise).position).toEqual(at(9, 'e2'));
});

test('a room that was to be asked for again later is asked for once by the next connection', async () => {
  const s = scene();
  await follow(s, await s.open(), 'r');
  const busy = await s.reopen();
  busy.refuse(busy.take('resume'), 'busy', { retry: true, retryAfterMs: 5_000 });
  const next = await s.reopen();
  next.take('resume');
  next.say({ op: 'resumed', room: 'r', position: at(0), recovered: true });
  await s.clock.advance(5_000);
  expect(next.untaken).toEqual([]);
});
