/** Who a token speaks for: signatures, claims and keys, and what a forger or a wrong configuration gets. */
import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { exportJWK, SignJWT, UnsecuredJWT } from 'jose';
import { afterAll, describe, expect, it } from 'vitest';
import { createAuthenticator, mintToken } from '../src/gateway/authenticate.ts';
import { fillOptions, type HubOptions, OptionError } from '../src/options.ts';
import { CodedError } from '../src/protocol/codes.ts';

const now = 1_790_000_000_000;
const clock = { now: () => now, tick: () => 0, random: () => 0 };
const secret = 'one-secret-of-at-least-32-bytes-long';
const other = 'another-secret-of-at-least-32-bytes';
const folder = mkdtempSync(join(tmpdir(), 'hubbub-keys-'));
const servers: Server[] = [];
const lines: string[] = [];
const log = (_level: string, message: string): void => void lines.push(message);
afterAll(() => {
  rmSync(folder, { recursive: true });
  for (const server of servers) server.close();
});

const authenticator = (options: HubOptions) => createAuthenticator(fillOptions(options), clock, log);
const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);

type Made = { alg?: string; kid?: string; key?: Uint8Array | KeyObject; claims?: Record<string, unknown>; header?: Record<string, unknown> };
function make({ alg = 'HS256', kid, key = bytes(secret), claims = {}, header = {} }: Made = {}): Promise<string> {
  return new SignJWT({ sub: 'alice', exp: now / 1_000 + 60, ...claims })
    .setProtectedHeader({ alg, ...(kid === undefined ? {} : { kid }), ...header })
    .sign(key);
}

function file(name: string, text: string): string {
  const path = join(folder, name);
  writeFileSync(path, text);
  return path;
}

/** The code of the refusal. */
async function code(attempt: Promise<unknown>): Promise<string> {
  try {
    await attempt;
    return 'accepted';
  } catch (error) {
    if (error instanceof CodedError) return error.code;
    throw error;
  }
}

describe('secrets', () => {
  it('a token with a good signature speaks for its subject, with its scopes, until it ends', async () => {
    const authenticate = await authenticator({ jwtSecrets: [secret] });
    const token = await make({ claims: { iat: now / 1_000, scope: 'broadcast  rooms:write' } });
    expect(await authenticate({ token })).toEqual({ user: 'alice', scopes: ['broadcast', 'rooms:write'], expiresAtMs: now + 60_000, issuedAtMs: now });
  });

  it('H2 a token without an end is refused, unless the operator wants such', async () => {
    const endless = await make({ claims: { exp: undefined } });
    const strict = await authenticator({ jwtSecrets: [secret] });
    await expect(strict({ token: endless })).rejects.toMatchObject({ code: 'auth-failed', message: 'the exp claim is missing' });
    const lenient = await authenticator({ jwtSecrets: [secret], endlessTokens: true });
    expect(await lenient({ token: endless })).toEqual({ user: 'alice', scopes: [], expiresAtMs: null, issuedAtMs: 0 });
    for (const authenticate of [strict, lenient])
      for (const exp of [1e300, 1e15]) expect(await code(authenticate({ token: await make({ claims: { exp } }) })), String(exp)).toBe('auth-failed');
  });

  it('H4 a forger learns nothing: shape, algorithm, kid and signature are refused in the same words', async () => {
    const authenticate = await authenticator({ jwtSecrets: [`a:${secret}`, `b:${other}`] });
    const forged = [
      await make({ kid: 'nobody' }),
      await make({ kid: 'a', key: bytes(other) }),
      await make({ kid: 'a', claims: { sub: 'nobody' }, key: bytes(other) }),
      await make({ kid: 'a', header: { jku: 'http://127.0.0.1:1/', x5u: 'http://127.0.0.1:1/' }, key: bytes(other) }),
      await make({ alg: 'HS512', kid: 'a', key: bytes(secret.repeat(2)) }),
      await make({ alg: 'RS256', kid: 'a', key: generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey }),
      await make({ kid: 'a', key: bytes(other), claims: { exp: now / 1_000 - 60 } }),
      await make({ kid: 'a', key: bytes(other), claims: { nbf: now / 1_000 + 60, iss: 'http://127.0.0.1:1/' } }),
      new UnsecuredJWT({ sub: 'alice', exp: now / 1_000 + 60 }).encode(),
      'no.token.atall',
      '',
    ];
    const answers = await Promise.all(forged.map((token) => authenticate({ token }).catch((error: unknown) => JSON.stringify([error, String(error)]))));
    expect(new Set(answers).size).toBe(1);
    expect(answers[0]).toContain('auth-failed');
  });

  it('the kid chooses the secret; without it only a lone secret is tried', async () => {
    const authenticate = await authenticator({ jwtSecrets: [`a:${secret}`, `b:${other}`] });
    expect(await code(authenticate({ token: await make({ kid: 'b', key: bytes(other) }) }))).toBe('accepted');
    expect(await code(authenticate({ token: await make({ kid: 'a', key: bytes(other) }) }))).toBe('auth-failed');
    expect(await code(authenticate({ token: await make({ kid: 'c' }) }))).toBe('auth-failed');
    expect(await code(authenticate({ token: await make() }))).toBe('auth-failed');
    const lone = await authenticator({ jwtSecrets: [`a:${secret}`] });
    expect(await code(lone({ token: await make() }))).toBe('accepted');
  });

  it('H4 forgeries are auth-failed, ended tokens token-expired', async () => {
    const authenticate = await authenticator({ jwtSecrets: [secret] });
    const token = await make();
    const refused = [
      await make({ key: bytes(other) }),
      await make({ alg: 'HS512', key: bytes(secret.repeat(2)) }),
      new UnsecuredJWT({ sub: 'alice' }).encode(),
      `${token.slice(0, -3)}AAA`,
      'no.token.atall',
      '',
      await make({ claims: { nbf: now / 1_000 + 60 } }),
      await make({ claims: { sub: undefined } }),
      await make({ claims: { sub: 'a\u0000b' } }),
      await make({ claims: { sub: 'x'.repeat(129) } }),
      await make({ claims: { scope: ['broadcast'] } }),
    ];
    for (const forged of refused) expect(await code(authenticate({ token: forged })), forged).toBe('auth-failed');
    expect(await code(authenticate({ token: await make({ claims: { exp: now / 1_000 - 60 } }) }))).toBe('token-expired');
  });

  it('H9 an id by which a token can be revoked is a text of 1 to 256 characters; a token with any other is not valid', async () => {
    const authenticate = await authenticator({ jwtSecrets: [secret] });
    for (const jti of ['1', 'ж'.repeat(256)]) expect((await authenticate({ token: await make({ claims: { jti } }) })).jti).toBe(jti);
    const refused = ['', 'x'.repeat(257), 7, null, ['x'], 'half \ud800'] as string[];
    for (const jti of refused) expect(await code(authenticate({ token: await make({ claims: { jti } }) })), JSON.stringify(jti)).toBe('auth-failed');
  });

  it('issuer and audience hold where they are set', async () => {
    const authenticate = await authenticator({ jwtSecrets: [secret], jwtIssuer: 'https://id.example.com', jwtAudience: 'hubbub' });
    expect(await code(authenticate({ token: await make({ claims: { iss: 'https://id.example.com', aud: ['x', 'hubbub'] } }) }))).toBe('accepted');
    expect(await code(authenticate({ token: await make({ claims: { iss: 'https://id.example.com' } }) }))).toBe('auth-failed');
    expect(await code(authenticate({ token: await make({ claims: { iss: 'https://evil.example.com', aud: 'hubbub' } }) }))).toBe('auth-failed');
  });

  it('a subject is compared in normal form C', async () => {
    const authenticate = await authenticator({ jwtSecrets: [secret] });
    expect((await authenticate({ token: await make({ claims: { sub: 'Zoe\u0308' } }) })).user).toBe('Zo\u00eb');
  });
});

describe('public keys', () => {
  const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const ec = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const ed = generateKeyPairSync('ed25519');
  const pem = (key: KeyObject): string => key.export({ type: 'spki', format: 'pem' }).toString();

  it('a PEM public key checks tokens of its own kind', async () => {
    const cases: [string, { publicKey: KeyObject; privateKey: KeyObject }, string][] = [
      ['rsa', rsa, 'RS256'],
      ['ec', ec, 'ES256'],
      ['ed', ed, 'EdDSA'],
    ];
    for (const [name, { publicKey, privateKey }, alg] of cases) {
      const authenticate = await authenticator({ jwtPublicKey: file(`${name}.pem`, pem(publicKey)) });
      expect(await code(authenticate({ token: await make({ alg, key: privateKey }) })), name).toBe('accepted');
      const stranger = name === 'rsa' ? ec : rsa;
      expect(await code(authenticate({ token: await make({ alg: name === 'rsa' ? 'ES256' : 'RS256', key: stranger.privateKey }) })), name).toBe('auth-failed');
    }
  });

  it('a public key is never taken for a secret', async () => {
    const text = pem(rsa.publicKey);
    const authenticate = await authenticator({ jwtPublicKey: file('confused.pem', text), jwtSecrets: [secret] });
    expect(await code(authenticate({ token: await make({ alg: 'HS256', key: bytes(text) }) }))).toBe('auth-failed');
    expect(await code(authenticate({ token: await make() }))).toBe('accepted');
  });

  it('a JWKS file is searched by kid, and nothing is fetched from what a token names', async () => {
    let fetched = 0;
    const server = createServer((_request, response) => {
      fetched++;
      response.end('{}');
    });
    servers.push(server);
    await new Promise<void>((resolve) => {
      server.listen(0, '127.0.0.1', resolve);
    });
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
    const set = {
      keys: [
        { ...(await exportJWK(ec.publicKey)), kid: 'e', alg: 'ES256' },
        { ...(await exportJWK(rsa.publicKey)), kid: 'r', alg: 'RS256' },
      ],
    };
    const authenticate = await authenticator({ jwtPublicKey: file('set.json', JSON.stringify(set)) });
    expect(await code(authenticate({ token: await make({ alg: 'RS256', kid: 'r', key: rsa.privateKey }) }))).toBe('accepted');
    expect(await code(authenticate({ token: await make({ alg: 'ES256', kid: 'x', key: ec.privateKey }) }))).toBe('auth-failed');
    const stranger = generateKeyPairSync('rsa', { modulusLength: 2048 });
    const named = await make({ alg: 'RS256', kid: 'r', key: stranger.privateKey, header: { jku: url, x5u: url }, claims: { iss: url } });
    expect(await code(authenticate({ token: named }))).toBe('auth-failed');
    expect(fetched).toBe(0);
  });

  it('a JWKS URL is asked; where it cannot answer, the client may try again', async () => {
    const set = { keys: [{ ...(await exportJWK(ec.publicKey)), kid: 'e', alg: 'ES256' }] };
    let up = false;
    const server = createServer((_request, response) => {
      response.writeHead(up ? 200 : 500, { 'Content-Type': 'application/json' }).end(JSON.stringify(set));
    });
    servers.push(server);
    await new Promise<void>((resolve) => {
      server.listen(0, '127.0.0.1', resolve);
    });
    const authenticate = await authenticator({ jwksUrl: `http://127.0.0.1:${(server.address() as AddressInfo).port}/keys` });
    const token = await make({ alg: 'ES256', kid: 'e', key: ec.privateKey });
    expect(await code(authenticate({ token }))).toBe('busy');
    expect(lines).toContain('the keys to check a token with cannot be had');
    up = true;
    expect(await code(authenticate({ token }))).toBe('accepted');
    server.close();
    server.closeAllConnections();
    const unreachable = await authenticator({ jwksUrl: 'http://127.0.0.1:1/keys' });
    expect(await code(unreachable({ token }))).toBe('busy');
  });
});

describe('development mode', () => {
  it('H2 takes users at their word, and tokens where there is a secret', async () => {
    const word = await authenticator({ dev: true });
    expect(await word({ user: 'alice' })).toEqual({ user: 'alice', scopes: ['broadcast'], expiresAtMs: null, issuedAtMs: Number.POSITIVE_INFINITY });
    expect(await code(word({}))).toBe('unauthenticated');
    expect(await code(word({ token: await make() }))).toBe('auth-failed');
    const both = await authenticator({ dev: true, jwtSecrets: [secret] });
    expect((await both({ token: await make() })).user).toBe('alice');
    expect(await code(both({ token: await make({ key: bytes(other) }) }))).toBe('auth-failed');
  });

  it('H2 outside of it a user is nobody without a token, and a token is nobody else’s', async () => {
    const authenticate = await authenticator({ jwtSecrets: [secret] });
    expect(await code(authenticate({ user: 'alice' }))).toBe('auth-failed');
    expect(await code(authenticate({}))).toBe('unauthenticated');
    expect(await code(authenticate({ token: await make(), user: 'bob' }))).toBe('auth-failed');
  });
});

describe('configuration', () => {
  it('what cannot work is refused at the start, by the option’s name', async () => {
    const cases: [HubOptions, string][] = [
      [{}, 'jwtSecrets'],
      [{ jwtSecrets: ['short'] }, 'jwtSecrets'],
      [{ jwtSecrets: [secret, other] }, 'jwtSecrets'],
      [{ jwtSecrets: [`a:${secret}`, `a:${other}`] }, 'jwtSecrets'],
      [{ jwtPublicKey: join(folder, 'missing.pem') }, 'jwtPublicKey'],
      [{ jwtPublicKey: file('empty.json', '{"keys":[]}') }, 'jwtPublicKey'],
      [{ jwtPublicKey: file('text.pem', 'hello') }, 'jwtPublicKey'],
      [{ jwtPublicKey: file('private.pem', generateKeyPairSync('ed25519').privateKey.export({ type: 'pkcs8', format: 'pem' }).toString()) }, 'jwtPublicKey'],
      [{ jwksUrl: 'nonsense' }, 'jwksUrl'],
      [{ jwksUrl: 'file:///etc/keys' }, 'jwksUrl'],
      [{ jwksUrl: `https://me:${secret}@example.com/keys` }, 'jwksUrl'],
      [{ jwtPublicKey: file('broken.json', `{"keys": ${secret}`) }, 'jwtPublicKey'],
    ];
    for (const [options, option] of cases) {
      const refused = await authenticator(options).catch((error: unknown) => error);
      expect(refused, JSON.stringify(options)).toBeInstanceOf(OptionError);
      expect((refused as OptionError).option).toBe(option);
      expect(String(refused)).not.toContain(secret);
    }
  });

  it('a minted token is accepted by the hub of the same options, for its time', async () => {
    const options = fillOptions({ jwtSecrets: [`k1:${secret}`, `k2:${other}`], jwtIssuer: 'me', jwtAudience: 'hubbub' });
    const authenticate = await createAuthenticator(options, clock, log);
    const token = await mintToken(options, { user: 'alice', ttlMs: 3_600_000, scopes: ['broadcast'] }, clock);
    const jti = expect.stringMatching(/^[0-9a-f-]{36}$/);
    const minted = await authenticate({ token });
    expect(minted).toEqual({ user: 'alice', scopes: ['broadcast'], expiresAtMs: now + 3_600_000, issuedAtMs: now, jti });
    const another = await authenticate({ token: await mintToken(options, { user: 'alice', ttlMs: 3_600_000, scopes: ['broadcast'] }, clock) });
    expect(another.jti).not.toBe(minted.jti);
    const later = { ...clock, now: () => now + 3_700_000 };
    expect(await code((await createAuthenticator(options, later, log))({ token }))).toBe('token-expired');
    await expect(mintToken(fillOptions({ dev: true }), { user: 'alice', ttlMs: 1_000, scopes: [] }, clock)).rejects.toThrow('jwtSecrets');
  });
});
