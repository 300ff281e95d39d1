/** The hub with a certificate of its own: who gets in, what is refused, how the certificate is exchanged. Without openssl these tests are skipped. */
import { copyFileSync, readFileSync } from 'node:fs';
import { get, type RequestOptions } from 'node:https';
import { connect as connectTcp } from 'node:net';
import { join } from 'node:path';
import { connect as connectTls, type SecureVersion } from 'node:tls';
import { describe, expect, it } from 'vitest';
import { WebSocket } from 'ws';
import { hasOpenssl, makeCertificate } from '../kit/certificate.ts';
import { type Hub, runCommand, startHub, temporaryFolder } from '../kit/hub.ts';

type Page = { status: number | undefined; headers: Record<string, unknown>; body: string };

function page(port: number, options: RequestOptions): Promise<Page> {
  return new Promise((resolve, reject) => {
    const request = get({ host: 'localhost', port, path: '/healthz', agent: false, ...options }, (response) => {
      let body = '';
      response.setEncoding('utf8').on('data', (text: string) => {
        body += text;
      });
      response.once('end', () => resolve({ status: response.statusCode, headers: response.headers, body }));
    });
    request.once('error', reject);
  });
}

/** The name in the certificate that the hub shows to a new connection, or the error of the handshake. */
function shown(port: number, version?: SecureVersion): Promise<string> {
  return new Promise((resolve) => {
    const range = version ? { minVersion: version, maxVersion: version, ciphers: 'DEFAULT@SECLEVEL=0' } : {};
    const socket = connectTls({ port, host: '127.0.0.1', rejectUnauthorized: false, ...range });
    socket.once('secureConnect', () => {
      resolve(String(socket.getPeerCertificate().subject.CN));
      socket.destroy();
    });
    socket.once('error', (error) => resolve(`refused ${error.message}`));
  });
}

/** Resolves when the other side ends a connection on which `bytes` were sent. */
function ended(port: number, bytes: Uint8Array | string): Promise<void> {
  return new Promise((resolve) => {
    const socket = connectTcp(port, '127.0.0.1', () => socket.write(bytes));
    socket.on('error', () => {}).once('close', () => resolve());
    socket.resume();
  });
}

async function logged(hub: Hub, words: string): Promise<void> {
  await expect.poll(() => hub.stdout, { timeout: 10_000 }).toContain(words);
}

describe.skipIf(!hasOpenssl)('a hub with a certificate', async () => {
  const folder = temporaryFolder();
  const [first, second] = hasOpenssl ? [makeCertificate(folder, 'first'), makeCertificate(folder, 'second')] : [];
  if (!first || !second) return;
  const [tlsCert, tlsKey] = [join(folder, 'live.crt'), join(folder, 'live.key')];
  copyFileSync(first.cert, tlsCert);
  copyFileSync(first.key, tlsKey);
  const origins = ['https://localhost'];
  const hub = await startHub({
    production: true,
    origins,
    jwtSecrets: [`k1:${'s'.repeat(40)}`],
    opsPort: 0,
    tlsCert,
    tlsKey,
    handshakeMs: 500,
    logLevel: 'debug',
  });
  const inTheClear = async (port: number): Promise<number> => (await fetch(`http://127.0.0.1:${port}/healthz`)).status;

  it('speaks wss and https, and tells browsers to stay with them', async () => {
    const { status, headers } = await page(hub.port, { ca: first.pem });
    expect(status).toBe(200);
    expect(headers['strict-transport-security']).toBe('max-age=31536000');
    const socket = new WebSocket(`wss://localhost:${hub.port}`, 'hubbub.v1.json', { ca: first.pem });
    const answer = await new Promise<string>((resolve, reject) => {
      socket.once('open', () => socket.send('{"op":"hello","id":1,"token":"none"}'));
      socket.once('message', (data) => resolve(String(data)));
      socket.once('error', reject);
    });
    socket.terminate();
    expect(answer).toContain('"code":"auth-failed"');
  });

  it('speaks nothing else on the public listener, and plain HTTP to the operator on loopback', async () => {
    await expect(inTheClear(hub.port)).rejects.toThrow();
    expect(await inTheClear(hub.opsPort)).toBe(200);
    await ended(hub.port, 'GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n');
  });

  it('speaks TLS 1.2 and 1.3, and nothing older', async () => {
    for (const version of ['TLSv1.2', 'TLSv1.3'] as const) expect(await shown(hub.port, version)).toBe('first');
    for (const version of ['TLSv1', 'TLSv1.1'] as const) expect(await shown(hub.port, version)).toMatch(/^refused/);
  });

  it('closes half a handshake and silence at their deadline, counts them, and lets others in meanwhile', async () => {
    const hello = Buffer.from('16030100c8010000c40303', 'hex');
    const hanging = Array.from({ length: 20 }, (_, i) => ended(hub.port, i % 2 ? hello : ''));
    expect(await shown(hub.port)).toBe('first');
    await Promise.all(hanging);
    const stats = (await (await fetch(`${hub.http}/stats`)).json()) as { http: { tlsFailed: number } };
    expect(stats.http.tlsFailed).toBeGreaterThanOrEqual(20);
  });

  it('takes a certificate again at SIGHUP, and keeps the old one where the new one is no good', async () => {
    const before = new WebSocket(`wss://localhost:${hub.port}`, 'hubbub.v1.json', { ca: first.pem });
    await new Promise((resolve) => before.once('open', resolve));
    copyFileSync(second.cert, tlsCert);
    process.kill(hub.pid, 'SIGHUP');
    await logged(hub, 'the certificate stays as it was');
    expect(hub.stdout).toContain('is not the private key of the certificate');
    expect(await shown(hub.port)).toBe('first');
    copyFileSync(second.key, tlsKey);
    process.kill(hub.pid, 'SIGHUP');
    await logged(hub, 'the certificate was read again');
    expect(await shown(hub.port)).toBe('second');
    expect(before.readyState).toBe(WebSocket.OPEN);
    before.terminate();
    const secrets = readFileSync(first.key, 'utf8').split('\n')[1] ?? '?';
    expect(hub.stdout + hub.stderr).not.toContain(secrets);
  });

  it('does not start with the key of another, and says so in a sentence', async () => {
    const { code, lines } = await runCommand('serve', '--dev', '--port', '0', '--data', temporaryFolder(), '--tls-cert', first.cert, '--tls-key', second.key);
    expect([code, lines]).toEqual([
      2,
      [expect.stringMatching(/^hubbub: option tlsKey: .* is not the private key of the certificate in .* \(from flag --tls-key\)$/)],
    ]);
  });
});
