/** The life of a connection as the client leads it: hello, backoff, close codes, heartbeat, tokens. */
import { expect, test } from 'vitest';
import { HubError } from '../src/client/index.ts';
import { scene, settle } from './kit/fake-hub.ts';

test('hello is the first frame, with user and device, in the subprotocol that was asked for', async () => {
  const { sockets, hub, open } = scene({ device: 'phone', format: 'msgpack' });
  const socket = await open();
  expect(sockets).toHaveLength(1);
  expect(socket.protocol).toBe('hubbub.v1.msgpack');
  expect(socket.sent[0]).toEqual({ op: 'hello', id: 1, user: 'alice', device: 'phone' });
  expect(await hub.ready).toMatchObject({ user: 'alice', connection: 'c1', epoch: 'e1' });
  expect(hub.state).toEqual({ is: 'open', user: 'alice', connection: 'c1' });
});

test('delays double up to the maximum, each drawn from the upper half of its step', async () => {
  const { clock, hub, last, sockets } = scene({ backoff: { firstMs: 100, maxMs: 1_000 } });
  const delays: number[] = [];
  for (const chance of [0, 0, 0.5, 0, 0, 0.999]) {
    await settle();
    clock.chance = chance;
    last().drop();
    const { state } = hub;
    if (state.is !== 'waiting') throw new Error(state.is);
    delays.push(state.retryInMs);
    await clock.advance(state.retryInMs);
  }
  expect(delays).toEqual([50, 100, 300, 400, 500, 1_000]);
  expect(sockets).toHaveLength(7);
});

test('the backoff starts over after a connection that lasted, not after one that was welcomed and lost', async () => {
  const { clock, hub, open, reopen } = scene({ backoff: { firstMs: 100, maxMs: 1_000 } });
  const waits = () => (hub.state.is === 'waiting' ? hub.state.retryInMs : hub.state.is);
  (await open()).drop();
  expect(waits()).toBe(50);
  (await reopen()).drop();
  expect(waits()).toBe(100);
  const lasting = await reopen();
  await clock.advance(10_000);
  lasting.drop();
  expect(waits()).toBe(50);
});

test('the delay of a closing push is honoured instead of the backoff, once', async () => {
  const { hub, open, clock, last } = scene();
  const socket = await open();
  const seen: unknown[] = [];
  hub.on('closing', (event) => seen.push(event));
  socket.say({ op: 'closing', reason: 'draining', retryAfterMs: 7_777 });
  socket.drop(4000);
  expect(seen).toEqual([{ reason: 'draining', retryAfterMs: 7_777 }]);
  expect(hub.state).toEqual({ is: 'waiting', retryInMs: 7_777, reason: 'draining' });
  await clock.advance(7_777);
  last().drop();
  expect(hub.state).toMatchObject({ is: 'waiting', retryInMs: 125 });
});

test.each([1001, 1005, 1006, 1011, 1012, 4000, 4002, 4003, 4007])('close code %i leads to a new connection', async (code) => {
  const { hub, open } = scene();
  (await open()).drop(code);
  expect(hub.state.is).toBe('waiting');
});

test.each([
  [4500, 'auth-failed'],
  [4501, 'connection-limit'],
  [4502, 'evicted'],
  [4503, 'replaced'],
  [4506, 'revoked'],
  [1008, 'code 1008'],
  [1000, 'code 1000'],
])('close code %i stops the client, with its reason', async (code, reason) => {
  const { hub, open, clock, sockets } = scene();
  const socket = await open();
  const waiting = hub.command('info', { room: 'r' });
  const message = hub.publish('r', 1);
  socket.drop(code);
  expect(hub.state).toEqual({ is: 'closed', code, reason });
  await expect(waiting).rejects.toMatchObject({ code: 'closed', message: reason });
  await expect(message).rejects.toMatchObject({ code: 'closed' });
  await expect(hub.publish('r', 2)).rejects.toMatchObject({ code: 'closed' });
  await expect(hub.subscribe('r')).rejects.toMatchObject({ code: 'closed' });
  await clock.advance(1e9);
  expect(sockets).toHaveLength(1);
  expect(clock.timers).toBe(0);
});

test('a refused hello stops the client and rejects ready; one that a retry helps does not', async () => {
  const first = scene();
  await settle();
  first.last().accept();
  first.last().refuse(first.last().take('hello'), 'auth-failed');
  await expect(first.hub.ready).rejects.toMatchObject({ code: 'auth-failed' });
  expect(first.hub.state).toEqual({ is: 'closed', code: 0, reason: 'auth-failed' });
  expect(first.last().terminated).toBe(true);

  const second = scene();
  await settle();
  second.last().accept();
  second.last().refuse(second.last().take('hello'), 'busy', { retry: true, retryAfterMs: 900 });
  expect(second.hub.state).toMatchObject({ is: 'waiting', retryInMs: 900 });
});

test('R9 a hub that is busy again and again is tried at growing distances, at least as far apart as it says', async () => {
  const { hub, clock, last } = scene();
  const waits: number[] = [];
  for (let i = 0; i < 5; i++) {
    await settle();
    last().accept();
    last().refuse(last().take('hello'), 'busy', { retry: true, retryAfterMs: 250 });
    if (hub.state.is !== 'waiting') throw new Error(hub.state.is);
    waits.push(hub.state.retryInMs);
    await clock.advance(hub.state.retryInMs);
  }
  expect(waits).toEqual([250, 250, 500, 1_000, 2_000]);
});

test('without a welcome in time the connection is given up and tried again', async () => {
  const { hub, clock, last, open } = scene({ connectTimeoutMs: 5_000 });
  await settle();
  last().accept();
  await clock.advance(4_999);
  expect(hub.state.is).toBe('connecting');
  await clock.advance(1);
  expect(hub.state.is).toBe('waiting');
  expect(last().terminated).toBe(true);
  await clock.advance(1_000);
  await open();
  expect(hub.state.is).toBe('open');
});

test('after a silence of one and a half heartbeats the client asks, and reconnects where nothing answers', async () => {
  const { hub, clock, open, reopen, last } = scene();
  const socket = await open();
  await clock.advance(30_000);
  socket.say({ op: 'presence', user: 'bob', status: 'online', lastSeen: null });
  await clock.advance(37_499);
  expect(socket.takeAll('ping')).toHaveLength(0);
  await clock.advance(1);
  socket.ok(socket.take('ping'), { now: 1 });
  await clock.advance(37_500);
  socket.take('ping');
  await clock.advance(9_999);
  expect(hub.state.is).toBe('open');
  await clock.advance(1);
  expect(hub.state).toMatchObject({ is: 'waiting', reason: 'the hub was silent' });
  expect(socket.terminated).toBe(true);
  await reopen();
  expect(last()).not.toBe(socket);
  expect(hub.state.is).toBe('open');
});

test('a token function is asked for every connection, and its token refreshed in band before it expires', async () => {
  let asked = 0;
  const { clock, open, reopen, errors } = scene({ token: () => `t${++asked}` });
  const socket = await open({ expiresInMs: 600_000, heartbeatMs: 1e9 });
  expect(socket.sent[0]).toEqual({ op: 'hello', id: 1, token: 't1' });
  await clock.advance(539_999);
  expect(socket.takeAll('refresh')).toHaveLength(0);
  await clock.advance(1);
  const refresh = socket.take('refresh');
  expect(refresh).toMatchObject({ token: 't2' });
  socket.ok(refresh, { expiresInMs: 100_000 });
  await clock.advance(50_000);
  expect(socket.take('refresh')).toMatchObject({ token: 't3' });
  const next = await reopen();
  expect(next.sent[0]).toMatchObject({ op: 'hello', token: 't4' });
  expect(errors).toEqual([]);
});

test('a refresh is made at once when the hub asks, and again after a refusal that a retry helps or a failing token function', async () => {
  let fail = false;
  let asked = 0;
  const token = async () => {
    asked++;
    if (fail) throw new Error('no network');
    return `t${asked}`;
  };
  const { clock, open, errors } = scene({ token });
  const socket = await open({ expiresInMs: 600_000 });
  socket.say({ op: 'token-expiring', expiresInMs: 1_000 }, { op: 'token-expiring', expiresInMs: 900 });
  await settle();
  expect(asked).toBe(2);
  socket.refuse(socket.take('refresh'), 'busy', { retry: true, retryAfterMs: 100 });
  fail = true;
  await clock.advance(100);
  expect(errors.map((error) => error.code)).toEqual(['busy', 'token']);
  fail = false;
  await clock.advance(1_000);
  socket.ok(socket.take('refresh'), { expiresInMs: null });
  expect(asked).toBe(4);
});

test('4005 (token expired) reconnects with a token function and stops with a fixed token', async () => {
  const fresh = scene({ token: () => 't' });
  (await fresh.open()).drop(4005);
  expect(fresh.hub.state.is).toBe('waiting');
  const fixed = scene({ token: 't' });
  (await fixed.open({ expiresInMs: 10_000 })).drop(4005);
  expect(fixed.hub.state).toEqual({ is: 'closed', code: 4005, reason: 'token-expired' });
});

test('a token function that fails at connecting is an error event and a later attempt', async () => {
  let asked = 0;
  const token = () => {
    if (++asked === 1) throw new Error('offline');
    return 'fine';
  };
  const { hub, errors, clock, open } = scene({ token });
  await settle();
  expect(hub.state.is).toBe('waiting');
  expect(errors).toMatchObject([{ code: 'token' }]);
  await clock.advance(1_000);
  expect((await open()).sent[0]).toMatchObject({ token: 'fine' });
});

test('close says goodbye with 1000, resolves when the socket is gone, and leaves no timer', async () => {
  const { hub, open, clock, states } = scene();
  const socket = await open();
  const closing = hub.close();
  expect(hub.state).toEqual({ is: 'closed', code: 1000, reason: 'closed by the application' });
  await settle();
  expect(socket.closedWith).toBe(1000);
  socket.drop(1000);
  await closing;
  await hub.close();
  expect(clock.timers).toBe(0);
  expect(states).toEqual(['connecting', 'open', 'closed']);
});

test('close does not wait for ever: a socket that does not answer is dropped', async () => {
  const { hub, open, clock } = scene();
  const socket = await open();
  const closing = hub.close();
  await clock.advance(2_000);
  await closing;
  expect(socket.terminated).toBe(true);
  expect(clock.timers).toBe(0);
});

test('close while connecting or waiting ends it, and rejects ready', async () => {
  const { hub, last, clock, sockets } = scene();
  await settle();
  last().drop();
  expect(hub.state.is).toBe('waiting');
  await hub.close();
  await expect(hub.ready).rejects.toBeInstanceOf(HubError);
  await clock.advance(1e6);
  expect(sockets).toHaveLength(1);
});

test('a frame that cannot be read ends the connection with an error event', async () => {
  const { hub, open, errors } = scene();
  const socket = await open();
  socket.onmessage?.({ data: '{"op":' } as never);
  expect(hub.state.is).toBe('waiting');
  expect(errors).toMatchObject([{ code: 'bad-frame' }]);
});

test('nothing that comes before the welcome is taken for a push', async () => {
  const { hub, last } = scene();
  const seen: unknown[] = [];
  hub.on('presence', (presence) => seen.push(presence));
  await settle();
  const push = { op: 'presence', user: 'bob', status: 'online', lastSeen: null };
  last().accept().say(push);
  expect(seen).toEqual([]);
  last().welcome().say(push);
  expect(seen).toHaveLength(1);
});

test('pushes of a newer hub are passed over, errors without an id are error events', async () => {
  const { hub, open, errors } = scene();
  const socket = await open();
  socket.say({ op: 'confetti', amount: 7 }, { op: 'error', of: 'publish', code: 'forbidden', message: 'no', retry: false });
  expect(hub.state.is).toBe('open');
  expect(errors).toMatchObject([{ code: 'forbidden', of: 'publish' }]);
});

test('options that contradict each other or are out of range throw and name themselves', () => {
  expect(() => scene({ user: 'alice', token: 't' })).toThrow(/user .* or token/);
  expect(() => scene({ user: undefined })).toThrow(/user .* or token/);
  expect(() => scene({ outbox: { itemsMax: -1 } })).toThrow(/outbox\.itemsMax/);
  expect(() => scene({ format: 'xml' as never })).toThrow(/format/);
});
