/** Which listener answers what, the guard of development mode, health, the page, and the server under them on real sockets. */
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { Agent, get } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { FastifyInstance } from 'fastify';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { httpServer } from '../src/http/server.ts';
import { isLoopbackOrigin, notLocal } from '../src/protocol/loopback.ts';
import { pretend, production, withKey } from './kit/http-stage.ts';

const operations = ['/readyz', '/metrics', '/stats', '/api/v1/rooms/x', '/api/v1/openapi.json'];
let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'hubbub-page-'));
  await writeFile(join(folder, 'index.html'), '<!doctype html><title>Hubbub</title>');
  await writeFile(join(folder, 'main.js'), 'export {};');
  await writeFile(join(folder, '..secret'), 'canary');
  await mkdir(join(folder, 'inner'));
});
afterAll(() => rm(folder, { recursive: true }));

async function statusOf(app: FastifyInstance, url: string): Promise<number> {
  return (await app.inject({ url, headers: withKey })).statusCode;
}

describe('outside development', () => {
  it('the public listener tells that the process is alive and nothing else', async () => {
    const at = await pretend(production, folder);
    expect(at.public).not.toBe(at.ops);
    expect(await statusOf(at.public, '/healthz')).toBe(200);
    for (const url of ['/', '/index.html', ...operations]) expect([url, await statusOf(at.public, url)]).toEqual([url, 404]);
    await at.close();
  });

  it('the operations listener has the rest, but no page', async () => {
    const at = await pretend(production, folder);
    for (const url of ['/healthz', ...operations]) expect([url, await statusOf(at.ops, url)]).toEqual([url, 200]);
    for (const url of ['/', '/main.js']) expect([url, await statusOf(at.ops, url)]).toEqual([url, 404]);
    await at.close();
  });
});

describe('in development', () => {
  it('everything is on one listener', async () => {
    const at = await pretend({ dev: true }, folder);
    expect(at.public).toBe(at.ops);
    for (const url of ['/', '/main.js', '/healthz', ...operations]) expect([url, await statusOf(at.public, url)]).toEqual([url, 200]);
    await at.close();
  });

  it('the page runs no script but its own files, and no other file of the disk is served', async () => {
    const at = await pretend({ dev: true }, folder);
    const { headers, body } = await at.public.inject({ url: '/' });
    expect(body).toContain('<title>Hubbub</title>');
    expect(headers['content-security-policy']).toMatch(/^default-src 'none'; script-src 'self';/);
    expect(headers['content-security-policy']).not.toContain('unsafe');
    expect(headers['x-content-type-options']).toBe('nosniff');
    for (const url of ['/../package.json', '/%2e%2e/package.json', '/..%2fpackage.json', '/inner', '/inner/', '//etc/passwd', '/index.html%00'])
      expect([url, (await at.public.inject({ url })).statusCode]).toEqual([url, 404]);
    await at.close();
  });

  it('every answer forbids what a browser could make of it, refusals too', async () => {
    const at = await pretend({ dev: true }, folder);
    for (const [url, headers] of [
      ['/healthz'],
      ['/stats'],
      ['/metrics'],
      ['/nowhere'],
      ['/api/v1/rooms/x'],
      ['/'],
      ['/main.js'],
      ['/healthz', { host: 'evil.example' }],
    ] as const) {
      const answer = await at.public.inject({ url, ...(headers ? { headers } : {}) });
      expect([url, answer.headers['x-content-type-options'], answer.headers['referrer-policy']]).toEqual([url, 'nosniff', 'no-referrer']);
      expect([url, answer.headers['content-security-policy']]).toEqual([url, expect.stringMatching(/^default-src 'none'; .*frame-ancestors 'none'$/)]);
      expect(answer.headers['strict-transport-security']).toBeUndefined();
    }
    await at.close();
  });

  it('a page that is not built is a warning, not a failed start', async () => {
    const at = await pretend({ dev: true }, join(folder, 'nowhere'));
    expect(at.lines[0]).toMatchObject({ level: 'warn', message: 'the page is not built' });
    expect(await statusOf(at.public, '/')).toBe(404);
    await at.close();
  });

  it('what may come from elsewhere is forbidden, whatever the route', async () => {
    const at = await pretend({ dev: true }, folder);
    const status = async (url: string, headers: Record<string, string>) => (await at.public.inject({ url, headers })).statusCode;
    for (const url of ['/', '/healthz', '/nowhere', ...operations]) {
      expect(await status(url, { host: 'evil.example' })).toBe(403);
      expect(await status(url, { origin: 'https://evil.example' })).toBe(403);
      expect(await status(url, { 'x-forwarded-for': '1.2.3.4' })).toBe(403);
    }
    await at.close();
  });

  it('loopback has many names, and names that only look like it', () => {
    const from = (host: string) => notLocal({ host });
    for (const host of ['localhost', 'LOCALHOST:8080', '127.0.0.1:8080', '127.9.9.9', '[::1]:8080', '[::1]', 'app.localhost'])
      expect([host, from(host)]).toEqual([host, null]);
    for (const host of [
      'localhost.evil.example',
      '127.0.0.1.evil.example',
      'evil.example:127',
      '',
      'localhost:8080:8080',
      '[::1',
      '1270.0.0.1',
      '[::2]',
      'evil.example#localhost',
    ])
      expect([host, from(host)]).not.toEqual([host, null]);
    for (const origin of ['http://localhost:3000', 'http://127.0.0.1', 'https://[::1]:1']) expect([origin, isLoopbackOrigin(origin)]).toEqual([origin, true]);
    for (const origin of [
      'null',
      '',
      'localhost',
      'https://localhost.evil.example',
      'https://localhost@evil.example',
      'file://',
      'https://evil.example/localhost',
    ])
      expect([origin, isLoopbackOrigin(origin)]).toEqual([origin, false]);
    expect(notLocal({ host: 'localhost', forwarded: 'for=1.2.3.4' })).toContain('forwarded');
  });
});

describe('health', () => {
  it('/readyz gives the reasons with 503, /healthz stays', async () => {
    const at = await pretend();
    at.hub.readiness = { ready: false, reasons: ['shard 0 is not running'], warnings: [] };
    const response = await at.ops.inject({ url: '/readyz' });
    expect([response.statusCode, response.json()]).toEqual([503, { ready: false, reasons: ['shard 0 is not running'], warnings: [] }]);
    expect(await statusOf(at.ops, '/healthz')).toBe(200);
    at.hub.readiness = { ready: true, reasons: [], warnings: ['the disk is nearly full'] };
    expect(await statusOf(at.ops, '/readyz')).toBe(200);
    await at.close();
  });

  it('/stats are the numbers as they are', async () => {
    const at = await pretend();
    at.hub.numbers = { gateway: { connections: 3, states: { open: 3 } }, shard0: { rooms: 1 } };
    expect((await at.ops.inject({ url: '/stats' })).json()).toEqual(at.hub.numbers);
    await at.close();
  });
});

describe('on a socket', () => {
  async function listening() {
    const at = await pretend(production);
    await at.public.listen({ host: '127.0.0.1', port: 0 });
    await at.ops.listen({ host: '127.0.0.1', port: 0 });
    return { ...at, port: (at.public.server.address() as AddressInfo).port, opsPort: (at.ops.server.address() as AddressInfo).port };
  }
  /** All that comes back until the server closes. */
  function exchange(port: number, text: string): Promise<string> {
    return new Promise((resolve, reject) => {
      let answer = '';
      const socket = connect(port, '127.0.0.1', () => socket.write(text));
      socket.setEncoding('utf8').on('data', (part) => {
        answer += part;
      });
      socket.on('close', () => resolve(answer)).on('error', reject);
    });
  }

  it('what is not HTTP gets an answer, and the socket is closed', async () => {
    const at = await listening();
    expect(await exchange(at.port, 'hello\r\n\r\n')).toMatch(/^HTTP\/1\.1 400 Bad Request\r\nConnection: close\r\n[\s\S]*"code":"bad-frame"/);
    expect(await exchange(at.port, `GET / HTTP/1.1\r\nhost: x\r\nx: ${'y'.repeat(20_000)}\r\n\r\n`)).toMatch(/^HTTP\/1\.1 431 /);
    await at.close();
  });

  it('its limits are ours and not Node’s', async () => {
    const at = await pretend(production);
    for (const { server } of [at.public, at.ops])
      expect(server).toMatchObject({ headersTimeout: 5_000, requestTimeout: 5_000, timeout: 30_000, maxHeadersCount: 100 });
    expect(at.public.server.keepAliveTimeout).toBe(5_000);
    expect(at.ops.server.keepAliveTimeout).toBe(65_000);
    await at.close();
  });

  it('C7 who asks and takes nothing of the answers is not kept', async () => {
    const settings = { keepAliveMs: 5_000, handshakeMs: 5_000, socketsMax: 0, pair: null, counts: { tlsFailed: 0, dropped: 0, pipelined: 0 } };
    const server = httpServer((_request, response) => response.end(Buffer.alloc(64 * 1024 * 1024)), { ...settings, stalledMs: 20 });
    const closed = new Promise((resolve) => server.on('connection', (socket) => socket.on('close', resolve)));
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const socket = connect((server.address() as AddressInfo).port, '127.0.0.1').on('error', () => {});
    socket.pause().write('GET / HTTP/1.1\r\nhost: x\r\n\r\n');
    await closed;
    socket.destroy();
    server.close();
  });

  it('C7 who sends on and on without waiting for answers is cut, and who waits for a hundred is not', async () => {
    const at = await listening();
    const request = 'GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n';
    const last = 'GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n';
    const answers = await exchange(at.port, request.repeat(99) + last);
    expect(answers.match(/HTTP\/1\.1 200 OK/g)).toHaveLength(100);
    expect(at.stats().pipelined).toBe(0);
    const asked = connect(at.port, '127.0.0.1').on('error', () => {});
    asked.resume().write(request.repeat(20_000));
    await new Promise((resolve) => asked.on('close', resolve));
    expect(at.stats().pipelined).toBe(1);
    expect(await statusOf(at.public, '/healthz')).toBe(200);
    await at.close();
  });

  it('an upgrade is whose listener is on the public server', async () => {
    const at = await listening();
    at.public.server.on('upgrade', (_request, socket) => socket.end('HTTP/1.1 101 Mine\r\n\r\n'));
    const upgrade = 'GET / HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n';
    expect(await exchange(at.port, upgrade)).toBe('HTTP/1.1 101 Mine\r\n\r\n');
    await at.close();
  });

  it('closing does not wait for a connection that is kept alive', async () => {
    const at = await listening();
    const agent = new Agent({ keepAlive: true });
    await new Promise<void>((resolve, reject) => {
      get({ host: '127.0.0.1', port: at.opsPort, path: '/healthz', agent }, (response) => response.resume().on('end', resolve)).on('error', reject);
    });
    await at.close();
    agent.destroy();
    await expect(exchange(at.opsPort, '')).rejects.toThrow('ECONNREFUSED');
  });

  it('closing cuts a request that the hub never answers', async () => {
    const at = await listening();
    const asked = new Promise<void>((resolve) => {
      at.hub.answer = () => {
        resolve();
        return new Promise(() => {});
      };
    });
    const answer = exchange(at.opsPort, `GET /api/v1/rooms/x HTTP/1.1\r\nhost: x\r\nauthorization: ${withKey.authorization}\r\n\r\n`);
    await asked;
    await at.close();
    expect(await answer).toBe('');
  });

  it('an instance that never listened closes too', async () => {
    const at = await pretend();
    await expect(at.close()).resolves.toHaveLength(2);
  });
});
