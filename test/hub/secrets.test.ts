/**
 * What is secret stays so: canaries in every place where a secret or somebody's words can stand, at the most talkative log level,
 * over success, refusal and a crash; none of them is in the log, the statistics, the metrics, `hubbub config`, or an error.
 */
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { SignJWT } from 'jose';
import { describe, expect, it } from 'vitest';
import { brittle } from '../kit/brittle.ts';
import { type Hub, runCommand, startHub, temporaryFolder } from '../kit/hub.ts';
import { RawClient } from '../kit/raw-client.ts';
import { frame, RawSocket, upgradeRequest } from '../kit/raw-socket.ts';

const mark = 'canary';
const secret = `${mark}-signing-0123456789abcdef0123456789`;
const fileSecret = `${mark}-from-file-0123456789abcdef01234567`;
const apiKey = `${mark}-api-key-0123456789abcdef0123456789`;
const folder = temporaryFolder();
const orders = join(folder, 'orders');
mkdirSync(orders);
const config = join(folder, 'hub.json');
writeFileSync(config, JSON.stringify({ jwtSecrets: [`k1:${secret}`, `k2:${fileSecret}`] }), { mode: 0o600 });
const environment = { HUBBUB_CONFIG: config, HUBBUB_API_KEYS: `shop:${apiKey}` };

const seen: string[] = [];

function sign(claims: Record<string, unknown>, key = secret): Promise<string> {
  return new SignJWT({ sub: 'alice', exp: Math.floor(Date.now() / 1_000) + 600, ...claims })
    .setProtectedHeader({ alg: 'HS256', kid: 'k1' })
    .sign(new TextEncoder().encode(key));
}

/** The error that a command without an answer to wait for gets, or the close that it leads to. */
async function provoke(hub: Hub, token: string, send: (client: RawClient) => void): Promise<void> {
  const client = await RawClient.connect(hub.url, { token });
  send(client);
  const error = client.next('error').then((push) => JSON.stringify(push));
  seen.push(await Promise.race([error, client.closed.then(({ code, reason }) => `${code} ${reason}`)]));
  client.terminate();
  await error.catch(() => {});
}

async function ask(url: string, init: RequestInit = {}): Promise<number> {
  const response = await fetch(url, init);
  seen.push(JSON.stringify([...response.headers]), await response.text());
  return response.status;
}

describe('a secret', () => {
  it('and what people write is nowhere but where it belongs, whatever goes wrong', async () => {
    const hub = await startHub({
      production: true,
      opsPort: 0,
      origins: ['https://chat.example.com'],
      logLevel: 'debug',
      autoCreate: 'on',
      env: { ...environment, ...brittle(orders).env },
    });
    const token = await sign({});
    const tokens = [
      token,
      await sign({ exp: 1 }),
      await sign({ exp: undefined }),
      await sign({ nbf: 9_999_999_999 }),
      await sign({ sub: `${mark}\u0000` }),
      await sign({}, `${mark}-of-somebody-else-0123456789abcdef`),
      `${mark}.${mark}.${mark}`,
    ];
    for (const [i, one] of tokens.entries()) {
      for (const headers of [undefined, { Authorization: `Bearer ${one}` }]) {
        const client = await RawClient.connect(hub.url, { hello: false, ...(headers ? { headers } : {}) });
        const answer = await client.command('hello', headers ? {} : { token: one });
        expect(answer.op).toBe(i === 0 ? 'welcome' : 'error');
        seen.push(JSON.stringify(answer));
        client.terminate();
      }
      const socket = await RawSocket.open(hub.port);
      socket.write(upgradeRequest(hub.port, {}, `/?token=${one.replaceAll('\u0000', '')}`));
      await socket.until(() => socket.head.includes('\r\n\r\n'));
      seen.push(socket.head);
    }

    const alice = await RawClient.connect(hub.url, { token });
    await alice.ok('subscribe', { room: 'lobby' });
    await alice.ok('publish', { room: 'lobby', body: `${mark} stored` });
    seen.push(JSON.stringify(await alice.command('refresh', { token: await sign({ sub: 'bob' }) })));
    await provoke(hub, token, (client) => client.sendRaw(`{"op":"publish","room":"lobby","body":"${mark}`));
    await provoke(hub, token, (client) => client.sendRaw(`{"op":"publish","room":"lobby","body":{"__proto__":"${mark}"}}`));
    await provoke(hub, token, (client) => client.sendRaw(Buffer.from(mark)));
    await provoke(hub, token, (client) => client.send({ op: 'publish', room: 'lobby', body: `${mark} ${'x'.repeat(70_000)}` }));
    await provoke(hub, token, (client) => client.send({ op: 'refresh', token: { [mark]: mark } }));
    await provoke(hub, token, (client) => client.send({ op: 'publish', room: 'lobby', body: mark, mid: 7 }));
    const raw = await RawSocket.upgrade(hub.port);
    raw.write(frame(mark, { reserved: 4 }));
    await raw.closed;

    const api = `${hub.http}/api/v1/rooms/lobby/messages`;
    const json = { 'content-type': 'application/json' };
    const post = (body: string, key: string): Promise<number> => ask(api, { method: 'POST', headers: { ...json, authorization: `Bearer ${key}` }, body });
    expect(await post(JSON.stringify({ body: mark }), `${apiKey}x`)).toBe(401);
    expect(await ask(api, { headers: { authorization: `Basic ${mark}` } })).toBe(401);
    expect(await post(`{"body": ${mark}`, apiKey)).toBe(400);
    expect(await post(JSON.stringify({ body: mark, mid: 7 }), apiKey)).toBe(400);
    expect(await post(JSON.stringify({ body: mark }), apiKey)).toBe(200);
    expect(await ask(`${hub.http}/nowhere?key=${mark}`)).toBe(404);

    for (const role of ['shard', 'persistence'] as const) {
      const order = join(orders, role);
      writeFileSync(order, 'throw');
      while (existsSync(order)) seen.push(JSON.stringify(await alice.command('publish', { room: 'lobby', body: `${mark} in the crash` })));
      await expect.poll(() => ask(`${hub.http}/readyz`), { timeout: 20_000 }).toBe(200);
    }
    expect(hub.stdout.match(/a fault on order/g)?.length).toBeGreaterThanOrEqual(2);

    for (const path of ['stats', 'metrics']) expect(await ask(`${hub.http}/${path}`)).toBe(200);
    seen.push(JSON.stringify(await (await fetch(`${hub.http}/api/v1/users/alice/connections`, { headers: { authorization: `Bearer ${apiKey}` } })).json()));
    await hub.stop();
    expect(hub.stdout.split('\n').length).toBeGreaterThan(5);
    for (const text of [...seen, hub.stdout, hub.stderr]) expect(text).not.toContain(mark);
    for (const one of tokens) for (const text of [...seen, hub.stdout, hub.stderr]) expect(text).not.toContain(one.split('.')[2]);
    process.stdout.write(`no canary in ${seen.length} answers and ${hub.stdout.length} bytes of log\n`);
  });

  it('is not in what the command line says of the settings, good or bad', async () => {
    const broken = join(folder, 'broken.json');
    writeFileSync(broken, `{"jwtSecrets": [${mark}]}`);
    const file = join(folder, 'secrets');
    writeFileSync(file, `k1:${secret}\nk1:${fileSecret}`, { mode: 0o600 });
    const runs = [
      ['config', '--config', config, '--api-keys', `shop:${apiKey}`],
      ['config', '--config', broken],
      ['serve', '--origins', 'https://a', '--jwt-secrets', `@${file}`, '--data', folder],
      ['serve', '--origins', 'https://a', '--config', config, '--api-keys', `shop:${secret}`, '--data', folder],
      ['serve', '--origins', 'https://a', '--config', config, '--api-keys', apiKey, '--data', folder],
      ['serve', '--origins', 'https://a', '--jwks-url', `https://me:${mark}@example.com`, '--data', folder],
      ['serve', '--origins', 'https://a', '--jwt-public-key', broken, '--data', folder],
    ];
    const outcomes = await Promise.all(runs.map((words) => runCommand(...words)));
    for (const [i, { code, lines }] of outcomes.entries()) {
      expect([runs[i], code]).toEqual([runs[i], i === 0 ? 0 : 2]);
      expect(lines.length).toBeGreaterThan(0);
      expect(lines.join('\n')).not.toContain(mark);
    }
  });
});
