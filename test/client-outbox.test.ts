/** Messages on their way: one mid until the verdict, however many connections it takes. */
import { expect, test } from 'vitest';
import { entry, scene, settle } from './kit/fake-hub.ts';

const uuidv7 = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;

test('publish resolves with the seq when the hub says ok, and carries a UUIDv7 of the time', async () => {
  const { hub, open, clock } = scene();
  const socket = await open();
  const sent = hub.publish('r', { text: 'hi' }, { thread: 'aaaaaaaa-aaaa-7aaa-8aaa-aaaaaaaaaaaa' });
  const frame = socket.take('publish');
  expect(frame).toMatchObject({ room: 'r', body: { text: 'hi' }, thread: 'aaaaaaaa-aaaa-7aaa-8aaa-aaaaaaaaaaaa' });
  expect(frame.mid).toMatch(uuidv7);
  expect(Number.parseInt((frame.mid as string).replaceAll('-', '').slice(0, 12), 16)).toBe(clock.now());
  socket.ok(frame, { seq: 5 });
  expect(await sent).toEqual({ mid: frame.mid, room: 'r', seq: 5 });
});

test('direct resolves with the room of the two', async () => {
  const { hub, open } = scene();
  const socket = await open();
  const sent = hub.direct('bob', 'psst');
  const frame = socket.take('direct');
  expect(frame).toMatchObject({ to: 'bob', body: 'psst' });
  socket.ok(frame, { room: 'dm:alice:bob', seq: 3, duplicate: true });
  expect(await sent).toEqual({ mid: frame.mid, room: 'dm:alice:bob', seq: 3, duplicate: true });
});

test('what is unanswered when the connection goes is sent again with the same mid and in order, until the ok', async () => {
  const { hub, open, reopen } = scene();
  const early = hub.publish('r', 0);
  const socket = await open();
  const others = [1, 2, 3].map((body) => hub.publish('r', body));
  const frames = socket.takeAll('publish');
  expect(frames.map((frame) => frame.body)).toEqual([0, 1, 2, 3]);
  socket.ok(frames[0] ?? { op: '' }, { seq: 1 });
  expect(await early).toMatchObject({ seq: 1 });
  socket.drop();
  const offline = hub.publish('r', 4);
  const next = await reopen();
  const again = next.takeAll('publish');
  expect(again.map((frame) => frame.body)).toEqual([1, 2, 3, 4]);
  expect(again.slice(0, 3)).toEqual(frames.slice(1));
  for (const [i, frame] of again.entries()) next.ok(frame, { seq: i + 2, ...(i === 0 ? { duplicate: true } : {}) });
  expect((await Promise.all([...others, offline])).map((one) => one.seq)).toEqual([2, 3, 4, 5]);
  expect(hub.outbox).toEqual({ items: 0, bytes: 0 });
});

test('an error that a retry helps pauses the outbox and sends the message again; a final one rejects', async () => {
  const { hub, open, clock } = scene();
  const socket = await open();
  const first = hub.publish('r', 1);
  const frame = socket.take('publish');
  socket.refuse(frame, 'rate-limited', { retry: true, retryAfterMs: 400 });
  const second = hub.publish('r', 2);
  await clock.advance(399);
  expect(socket.takeAll('publish')).toEqual([]);
  await clock.advance(1);
  const again = socket.takeAll('publish');
  expect(again.map((one) => one.body)).toEqual([1, 2]);
  expect(again[0]).toEqual(frame);
  socket.refuse(frame, 'storage', { retry: true });
  await clock.advance(125);
  socket.ok(socket.take('publish'), { seq: 1 });
  expect(await first).toMatchObject({ seq: 1 });
  socket.refuse(again[1] ?? frame, 'forbidden');
  await expect(second).rejects.toMatchObject({ code: 'forbidden', of: 'publish', retry: false });
});

test('messages that the hub asks to repeat, however often, keep nobody from being sent', async () => {
  const { hub, open, clock } = scene();
  const socket = await open();
  const sent = hub.publish('r', 1);
  for (let times = 0; times < 300; times++) {
    socket.refuse(socket.take('publish'), 'busy', { retry: true, retryAfterMs: 1 });
    await clock.advance(1);
  }
  socket.ok(socket.take('publish'), { seq: 1 });
  expect(await sent).toMatchObject({ seq: 1 });
});

test('a full outbox refuses, by items and by bytes, and has room again after an answer', async () => {
  const { hub, open } = scene({ outbox: { itemsMax: 3, bytesMax: 1_000 } });
  const kept = [1, 2, 3].map((body) => hub.publish('r', body));
  await expect(hub.publish('r', 4)).rejects.toMatchObject({ code: 'outbox-full' });
  expect(hub.outbox.items).toBe(3);
  const socket = await open();
  for (const [i, frame] of socket.takeAll('publish').entries()) socket.ok(frame, { seq: i + 1 });
  await Promise.all(kept);
  await expect(hub.publish('r', 'x'.repeat(950))).rejects.toMatchObject({ code: 'outbox-full' });
  const fits = hub.publish('r', 'x'.repeat(800));
  socket.ok(socket.take('publish'), { seq: 4 });
  expect(await fits).toMatchObject({ seq: 4 });
});

test('a message larger than a frame may be is refused here: the hub would close the connection over it, again and again', async () => {
  const { hub, open } = scene();
  const early = hub.publish('r', 'x'.repeat(300_000));
  const expected = expect(early).rejects.toMatchObject({ code: 'too-large' });
  const socket = await open();
  await expected;
  await expect(hub.publish('r', 'x'.repeat(300_000))).rejects.toMatchObject({ code: 'too-large' });
  expect(socket.takeAll('publish')).toEqual([]);
  expect(hub.outbox.items).toBe(0);
});

test('at most 256 messages are unanswered at once; the others follow as answers come', async () => {
  const { hub, open } = scene();
  const socket = await open();
  const all = Array.from({ length: 300 }, (_, i) => hub.publish('r', i));
  const first = socket.takeAll('publish');
  expect(first).toHaveLength(256);
  for (const [i, frame] of first.entries()) socket.ok(frame, { seq: i + 1 });
  const rest = socket.takeAll('publish');
  expect(rest).toHaveLength(44);
  for (const [i, frame] of rest.entries()) socket.ok(frame, { seq: i + 257 });
  expect((await Promise.all(all)).map((one) => one.seq)).toEqual(Array.from({ length: 300 }, (_, i) => i + 1));
});

test('a signal or a time limit takes a message out; it is not sent again', async () => {
  const { hub, open, reopen, clock } = scene();
  const socket = await open();
  const controller = new AbortController();
  const failures = Promise.allSettled([hub.publish('r', 1, { signal: controller.signal }), hub.publish('r', 2, { timeoutMs: 300 })]);
  const kept = hub.publish('r', 3);
  const frames = socket.takeAll('publish');
  controller.abort(new Error('enough'));
  await clock.advance(300);
  expect(await failures).toMatchObject([{ reason: { message: 'enough' } }, { reason: { code: 'timeout' } }]);
  socket.ok(frames[0] ?? { op: '' }, { seq: 1 }); // too late to matter
  const next = await reopen();
  const again = next.takeAll('publish');
  expect(again.map((frame) => frame.body)).toEqual([3]);
  next.ok(again[0] ?? { op: '' }, { seq: 3 });
  expect(await kept).toMatchObject({ seq: 3 });
  await expect(hub.publish('r', 4, { signal: controller.signal })).rejects.toThrow('enough');
});

test('after a closing push nothing new is sent; what waits goes with the next connection', async () => {
  const { hub, open, reopen } = scene();
  const socket = await open();
  const before = hub.publish('r', 1);
  socket.say({ op: 'closing', reason: 'draining', retryAfterMs: 10 });
  const after = hub.publish('r', 2);
  const frames = socket.takeAll('publish');
  expect(frames).toMatchObject([{ body: 1 }]);
  socket.ok(frames[0] ?? { op: '' }, { seq: 1 });
  expect(await before).toMatchObject({ seq: 1 });
  expect(socket.takeAll('publish')).toEqual([]);
  socket.drop(4000);
  const next = await reopen();
  next.ok(next.take('publish'), { seq: 2 });
  expect(await after).toMatchObject({ seq: 2 });
});

test('a body is what it was when it was published, and must be a JSON value', async () => {
  const { hub, open } = scene({ format: 'msgpack' });
  const body = { text: 'before' };
  const sent = hub.publish('r', body);
  body.text = 'after';
  const socket = await open();
  const frame = socket.take('publish');
  expect(frame.body).toEqual({ text: 'before' });
  socket.ok(frame, { seq: 1 });
  await sent;
  const circle: Record<string, unknown> = {};
  circle.self = circle;
  await expect(hub.publish('r', circle)).rejects.toMatchObject({ code: 'bad-value' });
  expect(hub.outbox.items).toBe(0);
});

test.each(['json', 'msgpack'] as const)('a Uint8Array is a binary body in %s, and arrives as bytes', async (format) => {
  const { hub, open, clock } = scene({ format });
  const socket = await open();
  const bytes = Uint8Array.from({ length: 300 }, (_, i) => i % 256);
  void hub.publish('r', bytes).catch(() => undefined);
  const frame = socket.take('publish');
  const expected = format === 'json' ? { body64: Buffer.from(bytes).toString('base64') } : { bin: bytes };
  expect(frame).toMatchObject(expected);
  const promise = hub.subscribe('r');
  await settle();
  socket.ok(socket.take('subscribe'), { room: 'r', position: { epoch: 'e1', seq: 0 }, recovered: true });
  const room = await promise;
  const seen: unknown[] = [];
  room.on('entry', (one) => seen.push(one.bin));
  room.on('ephemeral', (one) => seen.push(one.bin));
  await clock.advance(0);
  socket.say({ ...entry('r', 1), ...expected, body: undefined }, { op: 'ephemeral', room: 'r', from: 'bob', ts: 1, ...expected });
  expect(seen).toEqual([bytes, bytes]);
});

test('ephemera are sent at once or not at all: without an id, and not where the socket is backed up or gone', async () => {
  const { hub, open } = scene();
  expect(hub.ephemeral('r', { typing: true })).toBe(false);
  const socket = await open();
  expect(hub.ephemeral('r', { typing: true }, { echo: false })).toBe(true);
  expect(socket.take('publish')).toEqual({ op: 'publish', room: 'r', ephemeral: true, echo: false, body: { typing: true } });
  socket.bufferedAmount = 1_000_000;
  expect(hub.ephemeral('r', { typing: true })).toBe(false);
  socket.drop();
  expect(hub.ephemeral('r', { typing: true })).toBe(false);
});

test('R8 a refusal for the rate slows everything down: no crowd is sent into the next refusal, and answers bring the speed back', async () => {
  const { hub, open, clock } = scene();
  const socket = await open();
  const all = Array.from({ length: 600 }, (_, i) => hub.publish('r', i));
  let refusals = 0;
  let seq = 0;
  // A hub that takes 100 at once and 100 a second, and says each time that there is room for one in 10 ms.
  let tokens = 100;
  for (let ms = 0; seq < 600 && ms < 60_000; ms += 10) {
    for (const frame of socket.takeAll('publish')) {
      if (tokens >= 1) {
        tokens--;
        socket.ok(frame, { seq: ++seq });
      } else {
        refusals++;
        socket.refuse(frame, 'rate-limited', { retry: true, retryAfterMs: 10, limit: 100, remaining: 0, resetMs: 1_000 });
      }
    }
    await clock.advance(10);
    tokens = Math.min(100, tokens + 1);
  }
  expect((await Promise.all(all)).map((one) => one.seq).sort((a, b) => a - b)).toEqual(Array.from({ length: 600 }, (_, i) => i + 1));
  expect(refusals).toBeLessThan(600); // of one burst of 256, and of less and less
});
