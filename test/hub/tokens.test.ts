/** Who is who outside of development mode: signed tokens in hello or in a header, their end, and their renewal. Forged ones are fault row 24's. */
import { execFileSync } from 'node:child_process';
import { SignJWT } from 'jose';
import { describe, expect, it } from 'vitest';
import { startHub } from '../kit/hub.ts';
import { hubEntry } from '../kit/paths.ts';
import { RawClient } from '../kit/raw-client.ts';

const secret = 'a secret of forty characters, no less!!!';
const second = 'another one that came with the rotation!';
const origin = 'https://chat.example.com';
const hub = await startHub({ production: true, jwtSecrets: [`k1:${secret}`, `k2:${second}`], origins: [origin], opsPort: 0 });

type Claims = { user?: string; seconds?: number; kid?: string; key?: string; scope?: string };
const issued: string[] = [];

async function token({ user = 'alice', seconds = 3_600, kid = 'k1', key = secret, scope }: Claims = {}): Promise<string> {
  const jwt = new SignJWT(scope === undefined ? {} : { scope }).setProtectedHeader({ alg: 'HS256', kid }).setSubject(user).setIssuedAt();
  const signed = await jwt.setExpirationTime(Math.floor(Date.now() / 1_000) + seconds).sign(new TextEncoder().encode(key));
  issued.push(signed);
  return signed;
}

/** How hello with these fields ends: the code of the error and the code of the close. */
async function refusal(fields: Record<string, unknown>, headers?: Record<string, string>): Promise<[string, number]> {
  const client = await RawClient.connect(hub.url, { hello: false, headers });
  const code = await client.refused('hello', fields);
  return [code, (await client.closed).code];
}

describe('a token', () => {
  it('H2 H3 names the user and says how long it holds', async () => {
    const client = await RawClient.connect(hub.url, { token: await token() });
    expect(client.welcome).toMatchObject({ user: 'alice' });
    expect(client.welcome?.expiresInMs).toBeGreaterThan(3_500_000);
    expect(client.welcome?.expiresInMs).toBeLessThanOrEqual(3_600_000);
  });

  it('may be signed with any of the secrets, by its kid', async () => {
    const client = await RawClient.connect(hub.url, { token: await token({ kid: 'k2', key: second }) });
    expect(client.welcome?.user).toBe('alice');
  });

  it('H2 may come in a header from what is no browser', async () => {
    const client = await RawClient.connect(hub.url, { hello: false, headers: { Authorization: `Bearer ${await token({ user: 'bot' })}` } });
    expect(await client.ok('hello')).toMatchObject({ op: 'welcome', user: 'bot' });
  });

  it('H4 is refused when it has expired, and a fresh one may be tried', async () => {
    expect(await refusal({ token: await token({ seconds: -60 }) })).toEqual(['token-expired', 4005]);
  });

  it('H2 is needed: a user by word alone is for development mode', async () => {
    expect((await refusal({ user: 'alice' }))[1]).toBe(4500);
  });

  it('H2 without an end is refused', async () => {
    const endless = await new SignJWT({ sub: 'alice' }).setProtectedHeader({ alg: 'HS256', kid: 'k1' }).sign(new TextEncoder().encode(secret));
    expect(await refusal({ token: endless })).toEqual(['auth-failed', 4500]);
  });

  it('made by the command line is a token like any other', async () => {
    const made = execFileSync(process.execPath, [hubEntry, 'token', '--user', 'carol', '--ttl', '10m', '--jwt-secrets', `k1:${secret}`], {
      encoding: 'utf8',
    }).trim();
    const client = await RawClient.connect(hub.url, { token: made });
    expect(client.welcome?.user).toBe('carol');
  });
});

describe('renewal', () => {
  it('H5 happens in band, after the hub has said that the token is about to expire', async () => {
    const client = await RawClient.connect(hub.url, { token: await token({ seconds: 2 }) });
    expect(await client.next('token-expiring')).toMatchObject({ expiresInMs: expect.any(Number) });
    const renewed = await client.ok('refresh', { token: await token() });
    expect(renewed.expiresInMs).toBeGreaterThan(3_500_000);
  });

  it('H5 is owed: without it the connection ends after the grace, to come back with a fresh token', async () => {
    const strict = await startHub({ production: true, jwtSecrets: [`k1:${secret}`], origins: [origin], opsPort: 0, refreshGraceMs: 100 });
    const client = await RawClient.connect(strict.url, { token: await token({ seconds: 2 }) });
    expect((await client.closed).code).toBe(4005);
  });

  it('H5 cannot change the user', async () => {
    const client = await RawClient.connect(hub.url, { token: await token() });
    expect(await client.command('refresh', { token: await token({ user: 'bob' }) })).toMatchObject({ op: 'error', code: 'auth-failed' });
  });

  it('H5 cannot be done with an expired or forged token', async () => {
    const client = await RawClient.connect(hub.url, { token: await token() });
    expect(await client.refused('refresh', { token: await token({ seconds: -60 }) })).toBe('token-expired');
    expect(await client.refused('refresh', { token: await token({ key: 'somebody else has forty characters too!!' }) })).toBe('auth-failed');
  });
});

describe('rights', () => {
  it('B1 to broadcast come with the scope', async () => {
    const member = await RawClient.connect(hub.url, { token: await token({ user: 'member' }) });
    const speaker = await RawClient.connect(hub.url, { token: await token({ user: 'speaker', scope: 'broadcast' }) });
    expect(await member.refused('publish', { room: 'all:', body: 'me' })).toBe('forbidden');
    await speaker.ok('publish', { room: 'all:', body: 'hear' });
    expect(await member.next('entry')).toMatchObject({ room: 'all:', from: 'speaker', body: 'hear' });
  });

  it('R6 to act for others come with an API key only', async () => {
    const client = await RawClient.connect(hub.url, { token: await token() });
    await client.ok('create', { room: 'mine' });
    expect(await client.refused('publish', { room: 'mine', body: 1, as: 'bob' })).toBe('forbidden');
  });

  it('M8 to make rooms in passing are for development mode', async () => {
    const client = await RawClient.connect(hub.url, { token: await token() });
    expect(await client.refused('publish', { room: 'nowhere', body: 1 })).toBe('not-found');
    expect(await client.refused('subscribe', { room: 'nowhere' })).toBe('not-found');
  });
});
