/** What the client has let go of does nothing any more: signals, repetitions, tokens that come late, a connection that was closed as it opened. */
import { getEventListeners } from 'node:events';
import { expect, test } from 'vitest';
import { wireLimitDefaults } from '../src/protocol/limits.ts';
import { at, entry, type Frame, follow, scene, settle } from './kit/fake-hub.ts';

test('a signal that outlives its commands holds nothing of them', async () => {
  const { hub, open } = scene();
  const socket = await open();
  const { signal } = new AbortController();
  const ping = hub.command('ping', {}, { signal });
  const sent = hub.publish('r', 1, { signal });
  await settle();
  expect(getEventListeners(signal, 'abort')).toHaveLength(2);
  socket.ok(socket.take('ping'), { now: 1 }).refuse(socket.take('publish'), 'forbidden');
  await ping;
  await expect(sent).rejects.toMatchObject({ code: 'forbidden' });
  expect(getEventListeners(signal, 'abort')).toEqual([]);
});

test('a command that was given up is not repeated, whatever the hub says of it', async () => {
  const { hub, open, clock } = scene();
  const socket = await open();
  const failed = expect(hub.command('info', { room: 'r' }, { timeoutMs: 100 })).rejects.toMatchObject({ code: 'timeout' });
  await settle();
  const info = socket.take('info');
  await clock.advance(100);
  await failed;
  socket.refuse(info, 'busy', { retry: true, retryAfterMs: 50 });
  await clock.advance(1_000);
  expect(socket.untaken).toEqual([]);
});

test('a token that comes after its attempt was given up, or after the end, opens no connection', async () => {
  const tokens: ((token: string) => void)[] = [];
  const s = scene({ token: () => new Promise<string>((resolve) => tokens.push(resolve)), connectTimeoutMs: 1_000 });
  await s.clock.advance(1_000);
  expect(s.hub.state.is).toBe('waiting');
  await s.clock.advance(30_000);
  expect(tokens.length).toBeGreaterThan(1);
  tokens[0]?.('late');
  await settle();
  expect(s.sockets).toEqual([]);
  const asked = tokens.length;
  while (tokens.length === asked) await s.clock.advance(100);
  await s.hub.close();
  tokens.at(-1)?.('later');
  await settle();
  expect([s.sockets, s.clock.timers]).toEqual([[], 0]);
});

test('a client that is closed by a listener as it opens says nothing but goodbye', async () => {
  const s = scene();
  const sent = expect(s.hub.publish('r', 1)).rejects.toMatchObject({ code: 'closed' });
  let closed: Promise<void> | undefined;
  const heard: unknown[] = [];
  s.hub.on('inbox', (item) => heard.push(item));
  s.hub.on('state', ({ is }) => {
    if (is === 'open') closed = s.hub.close();
  });
  const socket = await s.open();
  await sent;
  expect(s.hub.ephemeral('r', 'typing')).toBe(false);
  expect([socket.untaken, socket.closedWith]).toEqual([[], 1000]);
  socket.say({ ...entry('dm:alice:bob', 1), op: 'inbox', n: 1 });
  expect(heard).toEqual([]);
  socket.drop(1000);
  await closed;
  expect(s.clock.timers).toBe(0);
});

test('a message that was given up while it waited for others to be answered is not sent', async () => {
  const { hub, open } = scene();
  const socket = await open({ limits: { ...wireLimitDefaults, openCommandsMax: 1 } });
  const ping = hub.command('ping', {});
  const controller = new AbortController();
  const failed = expect(hub.publish('r', 1, { signal: controller.signal })).rejects.toMatchObject({ message: 'no more' });
  await settle();
  controller.abort(new Error('no more'));
  await failed;
  socket.ok(socket.take('ping'), { now: 1 });
  await ping;
  expect(socket.untaken).toEqual([]);
});

test('I2 items that a room gives back come before those behind them, and one that is sent again before that comes once', async () => {
  const s = scene();
  const item = (n: number, room: string): Frame => ({ ...entry(room, n), op: 'inbox', n });
  const seen: number[] = [];
  const finish: (() => void)[] = [];
  s.hub.on('inbox', ({ n }) => {
    seen.push(n);
    return new Promise<void>((resolve) => finish.push(resolve));
  });
  const socket = await s.open();
  const { room } = await follow(s, socket, 'dm:alice:bob');
  socket.say(item(1, 'dm:alice:bob'));
  const next = await s.reopen();
  next.say(item(1, 'dm:alice:bob'), item(2, 'dm:alice:eve'), item(3, 'dm:alice:eve'));
  expect(seen).toEqual([2]);
  room.unsubscribe();
  for (let n = 0; n < 3; n++) {
    finish[n]?.();
    await settle();
  }
  expect(seen).toEqual([2, 1, 3]);
});

test('G8 what was handled while there was no connection is marked as received on the next', async () => {
  const s = scene();
  const socket = await s.open();
  const { room } = await follow(s, socket, 'r', undefined, { receipts: true });
  let finish: () => void = () => undefined;
  room.on('entry', () => new Promise<void>((resolve) => (finish = resolve)));
  socket.say(entry('r', 1)).drop();
  finish();
  await settle();
  const next = await s.reopen();
  next.say({ op: 'resumed', room: 'r', position: at(1), recovered: true });
  expect(next.take('mark')).toMatchObject({ room: 'r', received: 1 });
});

test('F4 a handler of another life of the data says nothing of the entry that has its number now', async () => {
  const s = scene();
  const socket = await s.open();
  const { room } = await follow(s, socket, 'r', undefined, { receipts: true });
  const finish: (() => void)[] = [];
  room.on('entry', () => new Promise<void>((resolve) => finish.push(resolve)));
  socket.say(entry('r', 1), entry('r', 2), entry('r', 3));
  finish[1]?.();
  await settle();
  const next = await s.reopen({ epoch: 'e2' });
  const gaps = [{ room: 'r', from: 1, to: 1, reason: 'epoch' }];
  next.say({ op: 'resumed', room: 'r', position: at(1, 'e2'), recovered: false, gaps }, entry('r', 2), entry('r', 3), entry('r', 4));
  finish[2]?.(); // of the first life, as the second was
  finish[5]?.();
  await settle();
  expect(next.takeAll('mark')).toEqual([]);
  finish[3]?.();
  await settle();
  expect(next.takeAll('mark')).toMatchObject([{ received: 2 }]);
});

test('I3 an item is acked only where none of its listeners failed, neither at once nor later', async () => {
  const s = scene();
  const socket = await s.open();
  for (const failing of [1, 2]) {
    const stop = [
      s.hub.on('inbox', ({ n }) => {
        if (n === failing) throw new Error('at once');
      }),
      s.hub.on('inbox', async () => undefined),
    ];
    socket.say({ ...entry('dm:alice:bob', failing), op: 'inbox', n: failing });
    await settle();
    for (const each of stop) each();
  }
  expect(socket.takeAll('ack')).toEqual([]);
});
