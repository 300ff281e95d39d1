/** Which handshakes become connections, and that those which do not are answered and ended. */
import { IncomingMessage } from 'node:http';
import { connect, Socket } from 'node:net';
import { PassThrough } from 'node:stream';
import { afterEach, describe, expect, it } from 'vitest';
import { WebSocket } from 'ws';
import { type Stand, stand } from './gateway-harness.ts';
import { frame, RawSocket, upgradeRequest } from './kit/raw-socket.ts';

let hub: Stand;
afterEach(() => hub.close());

type Refused = { status: number; retryAfter: string | undefined };

/** The protocol that was agreed on, or the HTTP answer. */
function handshake(options: { protocols?: string[]; headers?: Record<string, string>; path?: string; host?: string } = {}): Promise<string | Refused> {
  const { protocols = ['hubbub.v1.json'], headers = {}, path = '/ws', host = '127.0.0.1' } = options;
  return new Promise((resolve) => {
    const socket = new WebSocket(`ws://${host}:${hub.port}${path}`, protocols, { headers });
    socket.on('error', () => {});
    socket.once('open', () => {
      resolve(socket.protocol);
      socket.terminate();
    });
    socket.once('unexpected-response', (_request, response) => resolve({ status: response.statusCode ?? 0, retryAfter: response.headers['retry-after'] }));
  });
}

const refusal = (status: number) => ({ status, retryAfter: undefined });
const live = { dev: false, origins: ['https://chat.example.com'], jwtSecrets: ['a-secret-of-at-least-thirty-two-bytes'] };

/** Sends bytes as they are; resolves to everything the hub answered, once it has ended the socket. */
function raw(bytes: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(hub.port, '127.0.0.1', () => socket.write(bytes));
    let answer = '';
    socket.on('data', (data) => {
      answer += data.toString();
    });
    socket.once('error', reject);
    socket.once('close', () => resolve(answer));
  });
}

describe('admission', () => {
  it('C2 the client’s first known subprotocol is taken', async () => {
    hub = await stand();
    expect(await handshake({ protocols: ['hubbub.v1.msgpack', 'hubbub.v1.json'] })).toBe('hubbub.v1.msgpack');
    expect(await handshake({ protocols: ['mqtt', 'hubbub.v1.json', 'hubbub.v1.msgpack'] })).toBe('hubbub.v1.json');
  });

  it('C2 a client that names no subprotocol speaks json', async () => {
    hub = await stand();
    expect(await handshake({ protocols: [] })).toBe('');
    const socket = new WebSocket(hub.url);
    socket.once('open', () => socket.send('{"op":"hello","id":1,"user":"alice"}'));
    const [data] = await new Promise<[Buffer]>((resolve) => {
      socket.once('message', (message: Buffer) => resolve([message]));
    });
    expect(JSON.parse(data.toString())).toMatchObject({ op: 'welcome', id: 1, user: 'alice' });
    socket.terminate();
  });

  it('C2 only unknown subprotocols offered is 400', async () => {
    hub = await stand();
    expect(await handshake({ protocols: ['mqtt', 'hubbub.v2.json'] })).toEqual(refusal(400));
    expect(hub.gateway.stats().rejected.protocol).toBe(1);
  });

  it('C1 / and /ws are the paths; anything else is 404', async () => {
    hub = await stand();
    expect(await handshake({ path: '/' })).toBe('hubbub.v1.json');
    expect(await handshake({ path: '/chat' })).toEqual(refusal(404));
  });

  it('C1 a handshake of another version, of an older HTTP or without a Host is refused, whatever Node and ws make of it', async () => {
    hub = await stand({ options: live });
    const whole = upgradeRequest(hub.port);
    for (const version of ['8', '013', '0x0d', '13.0', '+13', '13, 8']) {
      const answer = await raw(whole.replace('Version: 13', `Version: ${version}`));
      expect(answer).toMatch(/^HTTP\/1\.1 426 [\s\S]*\r\nSec-WebSocket-Version: 13\r\n/);
    }
    for (const bad of [whole.replace('HTTP/1.1', 'HTTP/1.0'), whole.replace(/Host: .*\r\n/, '')]) expect(await raw(bad)).toMatch(/^HTTP\/1\.1 400 /);
    expect(hub.gateway.stats().rejected.handshake).toBe(8);
  });

  it('H2 a token in the URL is 400, whatever it is', async () => {
    hub = await stand();
    for (const name of ['token', 'access_token', 'jwt']) expect(await handshake({ path: `/ws?x=1&${name}=abc` })).toEqual(refusal(400));
    expect(await handshake({ path: '/ws?room=token' })).toBe('hubbub.v1.json');
  });

  it('C3 origins are matched exactly, and a client without one is no browser', async () => {
    hub = await stand({ options: live });
    expect(await handshake({ headers: { Origin: 'https://chat.example.com' } })).toBe('hubbub.v1.json');
    expect(await handshake()).toBe('hubbub.v1.json');
    const others = ['https://chat.example.com.evil.org', 'http://chat.example.com', 'https://chat.example.com:8443', 'null', 'https://CHAT.example.com', ''];
    for (const origin of others) expect(await handshake({ headers: { Origin: origin } }), origin).toEqual(refusal(403));
    expect(hub.gateway.stats().rejected.origin).toBe(others.length);
  });

  it('C3 development mode takes loopback origins and hosts only, and no proxy', async () => {
    hub = await stand();
    expect(await handshake({ headers: { Origin: 'http://localhost:5173' } })).toBe('hubbub.v1.json');
    expect(await handshake({ headers: { Origin: 'https://evil.org' } })).toEqual(refusal(403));
    expect(await handshake({ headers: { Origin: 'http://localhost.evil.org' } })).toEqual(refusal(403));
    expect(await handshake({ headers: { Host: 'evil.org' } })).toEqual(refusal(403));
    expect(await handshake({ headers: { Host: `localhost:${hub.port}` } })).toBe('hubbub.v1.json');
    expect(await handshake({ headers: { Host: '[::1]:80' } })).toBe('hubbub.v1.json');
    for (const header of ['X-Forwarded-For', 'X-Forwarded-Host', 'X-Real-IP', 'Forwarded'])
      expect([header, await handshake({ headers: { [header]: 'for=10.0.0.1' } })]).toEqual([header, refusal(403)]);
  });

  it('outside development mode a proxy may stand in front', async () => {
    hub = await stand({ options: live });
    expect(await handshake({ headers: { Host: 'chat.example.com', 'X-Forwarded-For': '10.0.0.1' } })).toBe('hubbub.v1.json');
  });

  it('C4 a full hub answers 503 with Retry-After, and takes the next one when there is room', async () => {
    hub = await stand({ options: { connectionsMax: 2 } });
    const first = await hub.connect();
    await hub.connect();
    const refused = (await handshake()) as Refused;
    expect(refused.status).toBe(503);
    expect(Number(refused.retryAfter)).toBeGreaterThanOrEqual(1);
    await first.close();
    await hub.shard.next('close');
    expect(await handshake()).toBe('hubbub.v1.json');
    expect(hub.gateway.stats()).toMatchObject({ connectionsPeak: 2 });
    expect(hub.gateway.stats().rejected.full).toBe(1);
  });

  it('C4 more handshakes than acceptPerSecond are 503 with Retry-After', async () => {
    let tick = 0;
    hub = await stand({ options: { acceptPerSecond: 3 }, clock: { now: () => 0, tick: () => tick, random: () => 0.5 } });
    for (let i = 0; i < 3; i++) expect(await handshake()).toBe('hubbub.v1.json');
    expect(await handshake()).toEqual({ status: 503, retryAfter: '3' });
    tick = 400;
    expect(await handshake()).toBe('hubbub.v1.json');
    expect(hub.gateway.stats().rejected.rate).toBe(1);
  });

  it('C4 too many connections of one address are 429, and no header of a stranger makes another address', async () => {
    hub = await stand({ options: { ...live, host: '0.0.0.0', connectionsPerAddressMax: 2 } });
    const first = await hub.connect({ hello: false });
    await hub.connect({ hello: false });
    expect(await handshake()).toEqual({ status: 429, retryAfter: '1' });
    expect(await handshake({ headers: { 'X-Forwarded-For': '198.51.100.1' } })).toEqual({ status: 429, retryAfter: '1' });
    await first.close();
    expect(await handshake()).toBe('hubbub.v1.json');
    expect(hub.gateway.stats().rejected['address-full']).toBe(2);
  });

  it('C4 a proxy on this machine that nobody named is no client: its address has no limit', async () => {
    hub = await stand({ options: { ...live, connectionsPerAddressMax: 2 } });
    for (let i = 0; i < 3; i++) await hub.connect({ hello: false });
  });

  it('C4 behind a trusted proxy each client has its own address, and cannot write itself another', async () => {
    hub = await stand({ options: { ...live, trustedProxies: ['127.0.0.0/8'], connectsPerAddressMax: 2, connectsWindowMs: 86_400_000 } });
    const through = (list: string) => handshake({ headers: { 'X-Forwarded-For': list } });
    expect(await through('198.51.100.1')).toBe('hubbub.v1.json');
    expect(await through('1.1.1.1, 198.51.100.1')).toBe('hubbub.v1.json');
    const { status, retryAfter } = (await through('2.2.2.2, 198.51.100.1')) as Refused;
    expect(status).toBe(429);
    // Until the window ends, which began a moment ago.
    expect(Number(retryAfter)).toBeGreaterThan(86_000);
    expect(Number(retryAfter)).toBeLessThanOrEqual(86_400);
    expect(await through('198.51.100.2')).toBe('hubbub.v1.json');
    expect(hub.gateway.stats().rejected['address-rate']).toBe(1);
  });

  it('C4 a handshake whose socket dies while its address is counted costs nothing', async () => {
    hub = await stand({
      options: { ...live, host: '0.0.0.0', acceptPerSecond: 1, connectsPerAddressMax: 100 },
      clock: { now: () => 0, tick: () => 0, random: () => 0 },
    });
    const request = Object.assign(new IncomingMessage(new Socket()), { method: 'GET', url: '/ws', httpVersion: '1.1' });
    Object.assign(request.headers, { host: 'chat.example.com', 'sec-websocket-version': '13', 'sec-websocket-key': 'AAAAAAAAAAAAAAAAAAAAAA==' });
    request.headers.upgrade = 'websocket';
    const socket = new PassThrough();
    hub.gateway.upgrade(request, socket, Buffer.alloc(0));
    socket.destroy(new Error('reset by the peer'));
    await new Promise((resolve) => socket.once('close', resolve));
    expect(hub.gateway.stats()).toMatchObject({ accepted: 0, connections: 0 });
    // The one of this second is still to be had.
    expect(await handshake()).toBe('hubbub.v1.json');
    expect(await handshake()).toMatchObject({ status: 503 });
  });

  it('a handshake that is none is answered, and its socket ended', async () => {
    hub = await stand();
    const answer = await raw(
      `GET /ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: short\r\n\r\n`,
    );
    expect(answer).toMatch(/^HTTP\/1\.1 400 /);
    const old = await raw(upgradeRequest(hub.port, { 'Sec-WebSocket-Version': '7' }));
    expect(old).toMatch(/^HTTP\/1\.1 426 Upgrade Required\r\nSec-WebSocket-Version: 13\r\n/);
    expect(hub.gateway.stats().rejected.handshake).toBe(2);
    expect(hub.gateway.stats().connections).toBe(0);
  });

  it('bytes that are no HTTP are answered 400, and their socket ended', async () => {
    hub = await stand();
    expect(await raw('\x16\x03\x01 no http\r\n\r\n')).toMatch(/^HTTP\/1\.1 400 /);
  });

  it('a frame above frameBytesMax closes with 1009, and endless fragments with 1008', async () => {
    hub = await stand({ options: { frameBytesMax: 2_048, bodyBytesMax: 1_024 } });
    const client = await hub.connect();
    client.sendRaw('x'.repeat(2_049));
    expect((await client.closed).code).toBe(1009);
    const socket = await RawSocket.upgrade(hub.port);
    socket.write(frame('a', { opcode: 1, fin: false }));
    for (let i = 0; i < 100; i++) socket.write(frame('a', { opcode: 0, fin: false }));
    expect(await socket.closed).toBe(1008);
  });
});
