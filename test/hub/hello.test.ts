/** The first frames of a connection, in development mode: who is let in, what he is told, and who is sent away. */

import { describe, expect, it } from 'vitest';
import { WebSocket } from 'ws';
import { wireLimitDefaults } from '../../src/protocol/limits.ts';
import { startHub } from '../kit/hub.ts';
import { RawClient } from '../kit/raw-client.ts';
import { RawSocket, upgradeRequest } from '../kit/raw-socket.ts';

const hub = await startHub({ helloTimeoutMs: 300 });

async function handshake(headers: Record<string, string | undefined>, path = '/'): Promise<string> {
  const socket = await RawSocket.open(hub.port);
  socket.write(upgradeRequest(hub.port, headers, path));
  await socket.until(() => socket.head.includes('\r\n\r\n'));
  return socket.head;
}

describe('hello', () => {
  it('H3 is answered by a welcome that says who one is and what holds', async () => {
    const client = await RawClient.connect(hub.url, { user: 'alice', device: 'phone' });
    expect(client.welcome).toMatchObject({
      op: 'welcome',
      id: 1,
      user: 'alice',
      device: 'phone',
      connection: expect.any(String),
      epoch: expect.any(String),
      expiresInMs: null,
      heartbeatMs: 25_000,
      limits: wireLimitDefaults,
      inbox: { head: 0, acked: 0 },
    });
  });

  it('H3 gives every connection its own id', async () => {
    const clients = await Promise.all([1, 2, 3].map((n) => RawClient.connect(hub.url, { user: `many-${n % 2}` })));
    expect(new Set(clients.map((client) => client.welcome?.connection)).size).toBe(3);
  });

  it('H1 comes first: a command before it is refused', async () => {
    const client = await RawClient.connect(hub.url, { hello: false });
    expect(await client.command('ping')).toMatchObject({ op: 'error', code: 'unauthenticated', of: 'ping', retry: false });
  });

  it('H1 comes once: a second is refused and the first stays in force', async () => {
    const client = await RawClient.connect(hub.url, { user: 'once' });
    expect(await client.command('hello', { user: 'other' })).toMatchObject({ op: 'error', of: 'hello' });
    expect((await client.ok('who', { users: ['once'] })).users).toMatchObject([{ user: 'once', status: 'online' }]);
  });

  it('H3 lets commands follow without waiting; they are carried out after it, in order', async () => {
    const client = await RawClient.connect(hub.url, { hello: false });
    const answers = [
      client.command('hello', { user: 'hasty' }),
      client.command('subscribe', { room: 'hasty' }),
      client.command('publish', { room: 'hasty', body: 1 }),
    ];
    expect((await Promise.all(answers)).map(({ op }) => op)).toEqual(['welcome', 'ok', 'ok']);
    expect(await client.next('entry')).toMatchObject({ room: 'hasty', seq: 1, from: 'hasty', body: 1 });
  });

  it('H1 must come in time', async () => {
    const client = await RawClient.connect(hub.url, { hello: false });
    expect((await client.closed).code).toBe(4001);
  });

  it('H2 must name a user', async () => {
    const client = await RawClient.connect(hub.url, { hello: false });
    expect(await client.command('hello')).toMatchObject({ op: 'error' });
  });

  it.each(['', ' alice', 'a\u0000b', 'x'.repeat(129), 'a\u202eb'])('N1 refuses the user name %j', async (user) => {
    const client = await RawClient.connect(hub.url, { hello: false });
    expect(await client.command('hello', { user })).toMatchObject({ op: 'error', code: 'bad-request', field: 'user' });
  });

  it('N1 N2 takes any printable name and brings it to one form', async () => {
    const client = await RawClient.connect(hub.url, { user: 'Zoe\u0308 🦊' });
    expect(client.welcome?.user).toBe('Zo\u00eb 🦊');
  });
});

describe('commands', () => {
  it('R2 without an id get no answer unless they fail', async () => {
    const client = await RawClient.connect(hub.url, { user: 'mute' });
    client.send({ op: 'subscribe', room: 'mute' });
    client.send({ op: 'publish', room: 'mute', body: 'x' });
    client.send({ op: 'publish', room: 7 });
    await client.next('entry');
    await client.settled();
    expect(client.pushes.map(({ op }) => op).sort()).toEqual(['entry', 'error']);
    expect(client.pushes.find(({ op }) => op === 'error')).toMatchObject({ code: 'bad-request', field: 'room', of: 'publish' });
    expect(client.pushes.every((push) => !('id' in push))).toBe(true);
  });

  it('C5 ping is answered with the time of the hub', async () => {
    const client = await RawClient.connect(hub.url, { user: 'pinger' });
    expect(await client.ok('ping')).toEqual({ op: 'ok', id: 2, now: expect.any(Number) });
  });
});

describe('the handshake', () => {
  it('C2 gives json to a client that names no subprotocol', async () => {
    const socket = new WebSocket(hub.url);
    const answer = await new Promise<string>((resolve, reject) => {
      socket.once('open', () => socket.send('{"op":"hello","id":1,"user":"plain"}'));
      socket.once('message', (data, binary) => resolve(`${binary} ${String(data)}`));
      socket.once('error', reject);
    });
    socket.terminate();
    expect(answer).toContain('false {"op":"welcome"');
  });

  it('C2 chooses a subprotocol it knows among those it does not', async () => {
    const head = await handshake({ 'Sec-WebSocket-Protocol': 'chat, hubbub.v1.msgpack' });
    expect(head).toMatch(/^HTTP\/1\.1 101/);
    expect(head).toMatch(/^Sec-WebSocket-Protocol: hubbub\.v1\.msgpack\r$/im);
  });

  it.each([
    ['only unknown subprotocols', { 'Sec-WebSocket-Protocol': 'hubbub.v2.json' }, '400'],
    ['a malformed list of them', { 'Sec-WebSocket-Protocol': 'a,,b' }, '400'],
    ['no key', { 'Sec-WebSocket-Key': undefined }, '400'],
    ['a bad key', { 'Sec-WebSocket-Key': 'short' }, '400'],
    ['another version', { 'Sec-WebSocket-Version': '12' }, '4(?:00|26)'],
    ['a foreign Host in development mode', { Host: 'hub.example.com' }, '403'],
    ['a foreign Origin', { Origin: 'https://evil.example' }, '403'],
    ['an Origin that only begins like ours', { Origin: 'http://127.0.0.1.evil.example' }, '403'],
    ['the Origin null', { Origin: 'null' }, '403'],
    ['a proxy in front of development mode', { 'X-Forwarded-For': '10.0.0.1' }, '403'],
  ])('C2 C3 refuses %s', async (_what, headers, status) => {
    expect(await handshake(headers)).toMatch(new RegExp(`^HTTP/1\\.1 ${status}`));
  });

  it('H2 refuses a token in the URL', async () => {
    expect(await handshake({}, '/?token=abc')).toMatch(/^HTTP\/1\.1 4\d\d/);
  });

  it('C3 lets a page of this machine in', async () => {
    expect(await handshake({ Origin: `http://127.0.0.1:${hub.port}` })).toMatch(/^HTTP\/1\.1 101/);
  });
});
