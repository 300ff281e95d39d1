/** What a program does wrong with the client is said in words, where it can be caught, and never swallowed. */
import { expect, test } from 'vitest';
import { type ConnectOptions, connect } from '../src/client/index.ts';
import { entry, FakeClock, FakeSocket, follow, scene, settle } from './kit/fake-hub.ts';

/** As a program without types would. */
const untyped = (value: unknown): never => value as never;

test('connect without options, or with one that does not exist, says so', () => {
  expect(() => connect('ws://hub.example', untyped(undefined))).toThrow('connect: give either user');
  expect(() => connect('ws://hub.example', { user: 'a', devise: 'phone' } as ConnectOptions)).toThrow('connect: there is no option devise');
});

test('a message to no room, or with bytes that would become an empty map, is refused by its promise', async () => {
  const { hub, open } = scene();
  const socket = await open();
  await expect(hub.publish(untyped(undefined), 1)).rejects.toMatchObject({ code: 'bad-request', field: 'room', message: 'room must be a string' });
  await expect(hub.subscribe(untyped(5))).rejects.toMatchObject({ code: 'bad-request', field: 'room' });
  for (const bytes of [new ArrayBuffer(2), new Float32Array(2), new DataView(new ArrayBuffer(2))])
    await expect(hub.direct('bob', bytes)).rejects.toMatchObject({ code: 'bad-value', field: 'body' });
  expect(socket.untaken).toEqual([]);
  expect(hub.outbox.items).toBe(0);
});

test('a listener that is none is refused when it is added, not when something comes', async () => {
  const s = scene();
  const { room } = await follow(s, await s.open(), 'r');
  expect(() => s.hub.on('inbox', untyped(undefined))).toThrow('the listener of inbox must be a function');
  expect(() => room.on('entry', untyped('log'))).toThrow('the listener of entry must be a function');
});

test('the fault of a listener surfaces uncaught where nobody listens to errors', async () => {
  const clock = new FakeClock();
  const sockets: FakeSocket[] = [];
  class Socket extends FakeSocket {
    constructor(url: string, protocols: string[]) {
      super(url, protocols);
      sockets.push(this);
    }
  }
  const hub = connect('ws://hub.example/', { user: 'alice', format: 'json', webSocket: Socket, clock });
  hub.on('inbox', () => {
    throw new Error('my own fault');
  });
  await settle();
  const [socket] = sockets;
  socket
    ?.accept()
    .welcome()
    .say({ ...entry('dm:alice:bob', 1), op: 'inbox', n: 1 });
  await expect(clock.advance(0)).rejects.toThrow('my own fault');
  const heard: string[] = [];
  hub.on('error', ({ code, message, cause }) => heard.push(`${code}: ${message}: ${String(cause)}`));
  socket?.say({ ...entry('dm:alice:bob', 2), op: 'inbox', n: 2 });
  await clock.advance(0);
  expect(heard).toEqual(['handler: a listener failed: Error: my own fault']);
});

test.each([
  [{ message: 'connect ECONNREFUSED 127.0.0.1:1' }, 'connect ECONNREFUSED 127.0.0.1:1'],
  // Several addresses were tried: Node says it in a list.
  [{ message: '', error: { code: 'ECONNREFUSED' } }, 'ECONNREFUSED'],
  // A browser tells pages nothing.
  [{}, 'code 1006'],
])('where no connection comes about the state says why, as far as it is told: %o', async (event, reason) => {
  const { hub, last, errors } = scene();
  await settle();
  last().onerror?.(event as never);
  last().drop();
  expect(hub.state).toMatchObject({ is: 'waiting', reason });
  expect(errors).toEqual([]);
});

test('a room that was asked for twice and given to nobody is not followed any more', async () => {
  const { hub, open, clock } = scene();
  const socket = await open();
  const both = [hub.subscribe('r', { timeoutMs: 100 }), hub.subscribe('r', { timeoutMs: 200 })];
  const failed = Promise.all(both.map((one) => expect(one).rejects.toMatchObject({ code: 'timeout' })));
  await settle();
  socket.take('subscribe');
  await clock.advance(100);
  expect(socket.takeAll('unsubscribe')).toEqual([]);
  await clock.advance(100);
  await failed;
  expect(socket.takeAll('unsubscribe')).toMatchObject([{ room: 'r' }]);
});
