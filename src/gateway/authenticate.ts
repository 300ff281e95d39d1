/**
 * Who a token speaks for. Secrets and keys come from the options alone: nothing in a token chooses where a key is fetched
 * from or which algorithm checks it. Called by session.ts at hello and refresh, and by the CLI to mint.
 */
import { createPublicKey, type KeyObject, randomUUID } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { createLocalJWKSet, createRemoteJWKSet, errors, type JSONWebKeySet, type JWTHeaderParameters, type JWTVerifyGetKey, jwtVerify, SignJWT } from 'jose';
import { type FilledOptions, OptionError } from '../options.ts';
import { CodedError } from '../protocol/codes.ts';
import { jtiMax } from '../protocol/limits.ts';
import { isUserName } from '../protocol/names.ts';
import { isWellFormed } from '../protocol/values.ts';
import { type Clock, systemClock } from '../thread/clock.ts';
import type { Log } from '../thread/log.ts';

export type Identity = {
  user: string;
  scopes: string[];
  /** Wall clock; null: never. */
  expiresAtMs: number | null;
  /** Wall clock; 0: the token does not say; Infinity: now, without a token. */
  issuedAtMs: number;
  /** The token's own id, by which it can be revoked alone. */
  jti?: string;
};
/** Throws `CodedError`: `auth-failed`, `token-expired`, or `busy` where the keys cannot be had right now. */
export type Authenticator = (claim: { token?: string | undefined; user?: string | undefined }) => Promise<Identity>;

const secretBytesMin = 32;
const scopesMax = 64;
/** Clocks of issuers differ; for `nbf`, and for `exp` on top of which a connection has its grace anyway. */
const clockToleranceS = 5;
const secretAlgorithm = 'HS256';
const publicAlgorithms: readonly string[] = ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'ES512', 'EdDSA', 'Ed25519'];

type Keys = { secrets: ReadonlyMap<string, Uint8Array>; publicKeys: JWTVerifyGetKey | null; algorithms: string[] };

export async function createAuthenticator(options: FilledOptions, clock: Clock, log: Log): Promise<Authenticator> {
  const keys = await readKeys(options, log);
  if (keys === null && !options.dev) throw new OptionError('jwtSecrets', 'without --dev there must be a secret, a public key or a JWKS to check tokens with');
  return async ({ token, user }) => {
    if (token !== undefined) {
      if (keys === null) throw new CodedError('auth-failed', 'no secret or key is configured to check tokens with', 'token');
      const identity = await verify(token, keys, options, clock, log);
      if (user !== undefined && user !== identity.user) throw new CodedError('auth-failed', 'the token is of another user', 'user');
      return identity;
    }
    if (!options.dev) throw new CodedError(user === undefined ? 'unauthenticated' : 'auth-failed', 'hello needs a token', 'token');
    if (user === undefined) throw new CodedError('unauthenticated', 'hello needs a user or a token', 'user');
    return { user, scopes: ['broadcast'], expiresAtMs: null, issuedAtMs: Number.POSITIVE_INFINITY };
  };
}

/** A token that this hub accepts, signed with the first secret. */
export async function mintToken(options: FilledOptions, grant: { user: string; ttlMs: number; scopes: string[] }, clock: Clock = systemClock): Promise<string> {
  const user = grant.user.normalize('NFC');
  if (!isUserName(user)) throw new OptionError('user', 'is not a user name');
  const first = [...readSecrets(options.jwtSecrets)][0];
  if (first === undefined) throw new OptionError('jwtSecrets', 'a secret is needed to sign with');
  const [kid, secret] = first;
  const issued = Math.floor(clock.now() / 1_000);
  const token = new SignJWT(grant.scopes.length > 0 ? { scope: grant.scopes.join(' ') } : {})
    .setProtectedHeader({ alg: secretAlgorithm, typ: 'JWT', ...(kid === '' ? {} : { kid }) })
    .setSubject(user)
    .setJti(randomUUID())
    .setIssuedAt(issued)
    .setExpirationTime(issued + Math.max(1, Math.ceil(grant.ttlMs / 1_000)));
  if (options.jwtIssuer !== '') token.setIssuer(options.jwtIssuer);
  if (options.jwtAudience !== '') token.setAudience(options.jwtAudience);
  return token.sign(secret);
}

async function verify(token: string, keys: Keys, options: FilledOptions, clock: Clock, log: Log): Promise<Identity> {
  try {
    const { payload } = await jwtVerify(token, keyGetter(keys), {
      algorithms: keys.algorithms,
      currentDate: new Date(clock.now()),
      clockTolerance: clockToleranceS,
      // A token without an end opens the hub to whoever ever got hold of it.
      requiredClaims: options.endlessTokens ? ['sub'] : ['sub', 'exp'],
      ...(options.jwtIssuer === '' ? {} : { issuer: options.jwtIssuer }),
      ...(options.jwtAudience === '' ? {} : { audience: options.jwtAudience }),
    });
    const user = typeof payload.sub === 'string' ? payload.sub.normalize('NFC') : '';
    if (!isUserName(user)) throw new CodedError('auth-failed', 'the sub claim is not a user name', 'token');
    const { exp, iat = 0 } = payload;
    const expiresAtMs = exp === undefined ? null : exp * 1_000;
    if (expiresAtMs !== null && expiresAtMs > Number.MAX_SAFE_INTEGER) throw new CodedError('auth-failed', 'the exp claim is no time', 'token');
    return { user, scopes: scopesOf(payload.scope), expiresAtMs, issuedAtMs: iat * 1_000, ...idOf(payload.jti) };
  } catch (error) {
    throw refusalFor(error, log);
  }
}

function scopesOf(claim: unknown): string[] {
  if (claim === undefined) return [];
  if (typeof claim !== 'string') throw new CodedError('auth-failed', 'the scope claim must be a string', 'token');
  const scopes = claim.split(' ').filter((scope) => scope !== '');
  if (scopes.length > scopesMax) throw new CodedError('auth-failed', `more than ${scopesMax} scopes`, 'token');
  return scopes;
}

/** One that could not be named in a revocation is not taken. */
function idOf(claim: unknown): { jti?: string } {
  if (claim === undefined) return {};
  if (typeof claim !== 'string' || claim === '' || claim.length > jtiMax || !isWellFormed(claim))
    throw new CodedError('auth-failed', `the jti claim must be a string of 1 to ${jtiMax} characters`, 'token');
  return { jti: claim };
}

function refusalFor(error: unknown, log: Log): CodedError {
  if (error instanceof CodedError) return error;
  if (error instanceof errors.JWTExpired) return new CodedError('token-expired', undefined, 'token');
  // Claims are judged after the signature, so only who holds a signed token learns of them.
  if (error instanceof errors.JWTClaimValidationFailed)
    return new CodedError('auth-failed', `the ${error.claim} claim ${error.reason === 'missing' ? 'is missing' : 'does not hold'}`, 'token');
  // What a forger must not learn: whether the shape, the name of the key or the signature was wrong.
  if (error instanceof errors.JOSEError && !(error instanceof errors.JWKSTimeout) && error.code !== 'ERR_JOSE_GENERIC')
    return new CodedError('auth-failed', undefined, 'token');
  log('warn', 'the keys to check a token with cannot be had', { error: String(error) });
  return new CodedError('busy', 'tokens cannot be checked right now');
}

/** By algorithm first: a public key is never tried as a secret. */
function keyGetter(keys: Keys): JWTVerifyGetKey {
  return (header, jws) => {
    if (header.alg === secretAlgorithm) return secretFor(header, keys.secrets);
    if (keys.publicKeys === null) throw new CodedError('auth-failed', undefined, 'token');
    return keys.publicKeys(header, jws);
  };
}

function secretFor({ kid }: JWTHeaderParameters, secrets: ReadonlyMap<string, Uint8Array>): Uint8Array {
  // A token without kid is checked with the only secret there is; with several it must name one.
  const secret =
    kid !== undefined && secrets.has(kid)
      ? secrets.get(kid)
      : (secrets.get('') ?? (kid === undefined && secrets.size === 1 ? [...secrets.values()][0] : undefined));
  if (secret === undefined) throw new CodedError('auth-failed', undefined, 'token');
  return secret;
}

async function readKeys(options: FilledOptions, log: Log): Promise<Keys | null> {
  const secrets = readSecrets(options.jwtSecrets);
  if (options.jwtPublicKey !== '' && options.jwksUrl !== '') throw new OptionError('jwksUrl', 'cannot be combined with jwtPublicKey');
  const file = options.jwtPublicKey === '' ? null : await readPublicKey(options.jwtPublicKey);
  const remote = options.jwksUrl === '' ? null : readUrl(options.jwksUrl, log);
  const publicKeys = file?.keys ?? remote;
  if (secrets.size === 0 && publicKeys === null) return null;
  const algorithms = [...(secrets.size > 0 ? [secretAlgorithm] : []), ...(publicKeys === null ? [] : (file?.algorithms ?? publicAlgorithms))];
  return { secrets, publicKeys, algorithms };
}

function readSecrets(entries: readonly string[]): Map<string, Uint8Array> {
  const secrets = new Map<string, Uint8Array>();
  for (const entry of entries) {
    const [, kid = '', text = entry] = /^([\w.-]{1,64}):(.+)$/s.exec(entry) ?? [];
    const secret = new TextEncoder().encode(text);
    if (secret.length < secretBytesMin) throw new OptionError('jwtSecrets', `a secret must have at least ${secretBytesMin} bytes`);
    if (secrets.has(kid)) throw new OptionError('jwtSecrets', kid === '' ? 'several secrets need a kid each (kid:secret)' : `the kid ${kid} is there twice`);
    secrets.set(kid, secret);
  }
  return secrets;
}

async function readPublicKey(path: string): Promise<{ keys: JWTVerifyGetKey; algorithms: readonly string[] }> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    throw new OptionError('jwtPublicKey', `cannot read ${path}: ${error instanceof Error ? error.message : String(error)}`);
  }
  try {
    if (!text.trimStart().startsWith('{')) {
      if (text.includes('PRIVATE KEY')) throw new Error('it is a private key; the hub needs the public one');
      const key = createPublicKey(text);
      return { keys: () => key, algorithms: algorithmsOf(key) };
    }
    const set = JSON.parse(text) as JSONWebKeySet;
    if (!Array.isArray(set.keys) || set.keys.length === 0) throw new Error('no keys in it');
    return { keys: createLocalJWKSet(set), algorithms: publicAlgorithms };
  } catch (error) {
    // A parser's words quote the file, which may be the wrong one and hold secrets.
    const problem = error instanceof SyntaxError ? 'it is no JSON' : error instanceof Error ? error.message : String(error);
    throw new OptionError('jwtPublicKey', `${path} is neither a PEM public key nor a JWKS: ${problem}`);
  }
}

function algorithmsOf(key: KeyObject): readonly string[] {
  switch (key.asymmetricKeyType) {
    case 'rsa':
      return publicAlgorithms.filter((name) => /^[RP]S/.test(name));
    case 'ec': {
      const name = { prime256v1: 'ES256', secp384r1: 'ES384', secp521r1: 'ES512' }[key.asymmetricKeyDetails?.namedCurve ?? ''];
      if (name !== undefined) return [name];
      throw new Error(`unsupported curve ${key.asymmetricKeyDetails?.namedCurve}`);
    }
    case 'ed25519':
      return ['EdDSA', 'Ed25519'];
    default:
      throw new Error(`unsupported kind of key ${key.asymmetricKeyType}`);
  }
}

function readUrl(text: string, log: Log): JWTVerifyGetKey {
  if (!URL.canParse(text)) throw new OptionError('jwksUrl', 'is not a URL');
  const url = new URL(text);
  if (url.protocol !== 'https:' && url.protocol !== 'http:') throw new OptionError('jwksUrl', 'must be an https: URL');
  if (url.username !== '' || url.password !== '') throw new OptionError('jwksUrl', 'must not hold a user or a password');
  if (url.protocol === 'http:') log('warn', 'jwksUrl is not https: whoever is on the way there can issue tokens');
  return createRemoteJWKSet(url);
}
