/**
 * What a stranger can try before he is anybody: pages of other origins, tokens in the URL, forged tokens, and telling by words or by
 * time who exists. Nothing gets in, nothing is fetched because a token says so, and no token is in the log at its most talkative.
 */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { SignJWT, UnsecuredJWT } from 'jose';
import type { HubProcess } from '../../src/testing/hub-process.ts';
import { RawClient } from '../kit/raw-client.ts';
import { RawSocket, upgradeRequest } from '../kit/raw-socket.ts';
import { percentile, rounded } from './percentile.ts';
import { type FaultKit, type FaultRow, violationsOf } from './row.ts';

type Size = { timings: number };
const origin = 'https://chat.example.com';
const secret = 'a secret of forty characters, no less!!!';
const second = 'another one that came with the rotation!';
const foreign = 'somebody else has forty characters too!!';
const timingMsMax = 1;

type Header = { alg?: string; kid?: string; [name: string]: unknown };
type Login = { outcome: string; tookMs: number };

export const row: FaultRow<Size> = {
  test: 24,
  title: 'C3 H2 H4 other origins, tokens in the URL and forged tokens get nowhere, and nobody learns from them who exists',
  target: '0 accepted; nothing fetched; 0 tokens in the log; timing difference ≤ 1 ms median',
  gate: { timings: 60 },
  full: { timings: 3_000 },

  async run({ timings }, kit) {
    const hub = await kit.hub({
      production: true,
      jwtSecrets: [`k1:${secret}`, `k2:${second}`],
      jwtIssuer: 'https://issuer.example',
      jwtAudience: 'hubbub',
      origins: [origin],
      opsPort: 0,
      logLevel: 'debug',
      acceptPerSecond: 0,
      connectsPerAddressMax: 0,
      connectionsPerAddressMax: 0,
    });
    const fetched = await trap(kit);
    const tokens: string[] = [];
    const sign = async (user: string, { header = {}, claims = {}, key = secret }: { header?: Header; claims?: object; key?: string } = {}): Promise<string> => {
      const whole = { sub: user, iss: 'https://issuer.example', aud: 'hubbub', iat: now(), exp: now() + 3_600, ...claims };
      const token = await new SignJWT(whole).setProtectedHeader({ alg: 'HS256', kid: 'k1', ...header }).sign(Buffer.from(key));
      tokens.push(token);
      return token;
    };
    const wrong: string[] = [];
    const known = await RawClient.connect(hub.url, { token: await sign('known') });
    kit.defer(() => known.terminate());

    const good = await sign('known');
    const handshakes = [
      ...otherOrigins.map((from) => ({ what: `a page from ${from}`, path: '/ws', from, status: '403' })),
      ...[origin, undefined].map((from) => ({ what: `a page from ${from}`, path: '/ws', from, status: '101' })),
      ...['/?token=', '/ws?access_token=', '/?a=b&jwt=', '/?%74oken=', '/ws?token&x='].map((path) => ({
        what: path,
        path: path + good,
        from: origin,
        status: '400',
      })),
    ];
    for (const { what, path, from, status } of handshakes) {
      const answer = await handshake(hub, path, from);
      if (answer !== status) wrong.push(`${what} was answered ${answer}`);
    }

    const forged: Record<string, string> = {
      'of another secret': await sign('known', { key: foreign }),
      'of the secret of another kid': await sign('known', { key: second }),
      'of an unknown kid': await sign('known', { header: { kid: 'k9' } }),
      'of a kid that is a path': await sign('known', { header: { kid: '../../etc/passwd' }, key: foreign }),
      'of a kid that is a prototype': await sign('known', { header: { kid: '__proto__' }, key: foreign }),
      'without a kid': await sign('known', { header: { kid: undefined as unknown as string } }),
      'with a jku of its own': await sign('known', { header: { jku: fetched.url, kid: 'k9' }, key: foreign }),
      'with an x5u of its own': await sign('known', { header: { x5u: fetched.url, kid: 'k9' }, key: foreign }),
      'with a jwk of its own': await sign('known', { header: { jwk: { kty: 'oct', k: Buffer.from(foreign).toString('base64url') } }, key: foreign }),
      'with an issuer to be asked': await sign('known', { claims: { iss: fetched.url }, key: foreign }),
      'with another issuer': await sign('known', { claims: { iss: fetched.url } }),
      'with another audience': await sign('known', { claims: { aud: 'somebody' } }),
      'with a critical extension': await sign('known', { header: { 'urn:x': 1 } }).then((token) =>
        withHeader(token, { alg: 'HS256', kid: 'k1', crit: ['urn:x'], 'urn:x': 1 }),
      ),
      'of another algorithm': await sign('known').then((token) => withHeader(token, { alg: 'HS512', kid: 'k1' })),
      'of the algorithm none': withHeader(good, { alg: 'none' }),
      'of the algorithm None, without a signature': `${withHeader(good, { alg: 'None' }).split('.').slice(0, 2).join('.')}.`,
      'of no signature': new UnsecuredJWT({ sub: 'known', iss: 'https://issuer.example', aud: 'hubbub' }).setExpirationTime('1h').encode(),
      'with other claims under its signature': withClaims(good, { sub: 'admin', exp: now() + 3_600 }),
      'cut off': good.slice(0, -1),
      'in four parts': `${good}.x`,
      'of the future': await sign('known', { claims: { nbf: now() + 3_600 } }),
      'without an end': await sign('known', { claims: { exp: undefined } }),
      'without a user': await sign('known', { claims: { sub: undefined } }),
      'of a user that is no name': await sign('a\u0000b'),
      'of an end that is no number': await sign('known', { claims: { exp: 'tomorrow' } }),
      'of an endless end': await sign('known', { claims: { exp: 1e300 } }),
      'that is none': 'not a token',
      'that is empty': '',
      'of 200,000 characters': 'x'.repeat(200_000),
    };
    for (const [what, token] of Object.entries(forged)) {
      const { outcome } = await login(hub, token);
      if (!/^auth-failed .*4500$|^bad-request /.test(outcome)) wrong.push(`a token ${what} came to: ${outcome}`);
    }
    const expired = await login(hub, await sign('known', { claims: { exp: now() - 60 } }));
    if (!/^token-expired .*4005$/.test(expired.outcome)) wrong.push(`an expired token came to: ${expired.outcome}`);

    // Each against the first: turn by turn, so that what the machine does meanwhile meets all alike.
    const strangers: Record<string, string> = {
      knownUser: await sign('known', { key: foreign }),
      unknownUser: await sign('nobod', { key: foreign }),
      unknownKid: await sign('known', { header: { kid: 'k9' } }),
    };
    const times = Object.fromEntries(Object.keys(strangers).map((name): [string, number[]] => [name, []]));
    const outcomes = new Set<string>();
    for (let i = 0; i < timings; i++) {
      for (const [name, token] of Object.entries(strangers)) {
        const { outcome, tookMs } = await login(hub, token);
        outcomes.add(outcome);
        times[name]?.push(tookMs);
      }
    }
    const median = (name: string): number => percentile(times[name] ?? [], 0.5);
    const differences = { user: Math.abs(median('unknownUser') - median('knownUser')), kid: Math.abs(median('unknownKid') - median('knownUser')) };
    const worst = Math.max(differences.user, differences.kid);
    await known.settled();
    const log = hub.stdout + hub.stderr;
    const told = [...tokens, secret, second].filter((one) => log.includes(one) || log.includes(one.split('.')[2] ?? one)).length;
    return {
      figures: {
        handshakes: handshakes.length,
        forgedTokens: Object.keys(forged).length,
        wrong: wrong.length,
        fetched: fetched.count(),
        tokensInLog: told,
        logins: timings * Object.keys(strangers).length,
        refusalMedianMs: rounded(median('knownUser')),
        userDifferenceMs: rounded(differences.user),
        kidDifferenceMs: rounded(differences.kid),
      },
      violations: [
        ...wrong.slice(0, 20),
        ...violationsOf({
          'nothing was fetched': fetched.count() === 0,
          'no token is in the log': told === 0 && log.length > 0,
          'a wrong signature, an unknown user and an unknown key are refused in the same words': outcomes.size === 1,
        }),
      ],
      missed: worst <= timingMsMax ? [] : [`timing differs by ${rounded(worst)} ms`],
    };
  },
};

const otherOrigins = [
  ...['', 'null', 'https://example.com', 'https://evil.example', 'http://chat.example.com', '*'],
  ...[`${origin}:8443`, `${origin}.evil.example`, `${origin}/`, origin.toUpperCase(), `${origin}, ${origin}`, `${origin} `.repeat(2).trim()],
  ...[`https://evil.example/?${origin}`, `https://evil.example#${origin}`, origin.replace('//', '//me@'), origin.replace('chat', 'achat'), `${origin}%00`],
];

function now(): number {
  return Math.floor(Date.now() / 1_000);
}

/** Whatever a token names as the place of its key; nobody may ask there. */
async function trap(kit: FaultKit): Promise<{ url: string; count(): number }> {
  let count = 0;
  const server = createServer((_request, response) => {
    count++;
    response.end('{}');
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  kit.defer(() => server.close());
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/keys`, count: () => count };
}

async function handshake(hub: HubProcess, path: string, from: string | undefined): Promise<string> {
  const socket = await RawSocket.open(hub.port);
  socket.write(upgradeRequest(hub.port, { Origin: from }, path));
  await socket.until(() => socket.head.includes('\r\n\r\n'));
  socket.destroy();
  return socket.head.slice(9, 12);
}

/** How a hello with this token ends: code, words and close code; and how long the answer took. */
async function login(hub: HubProcess, token: string): Promise<Login> {
  const client = await RawClient.connect(hub.url, { hello: false });
  const began = performance.now();
  const answer = await client.command('hello', { token });
  const tookMs = performance.now() - began;
  if (answer.op !== 'error') {
    client.terminate();
    return { outcome: answer.op, tookMs };
  }
  const words = `${answer.code} ${answer.message} ${answer.field}`;
  // A field of the wrong form is not yet a wrong token: the connection lives on.
  if (answer.code === 'bad-request') client.terminate();
  return { outcome: `${words} ${(await client.closed).code}`, tookMs };
}

function withHeader(token: string, header: object): string {
  const [, claims, signature] = token.split('.');
  return [encoded(header), claims, signature].join('.');
}

function withClaims(token: string, claims: object): string {
  const [header, , signature] = token.split('.');
  return [header, encoded(claims), signature].join('.');
}

function encoded(part: object): string {
  return Buffer.from(JSON.stringify(part)).toString('base64url');
}
