/**
 * Who may talk to HTTP: the API keys of the backend API, and in development mode the proof that a request comes from this
 * machine and not through a proxy or a foreign page. And how often: each key has its rate.
 */
import { createHash, timingSafeEqual } from 'node:crypto';
import type { FastifyInstance, FastifyReply } from 'fastify';
import { type FilledOptions, OptionError } from '../options.ts';
import { mayCall } from '../protocol/authorize.ts';
import { CodedError } from '../protocol/codes.ts';
import { isLoopbackOrigin, notLocal } from '../protocol/loopback.ts';
import { Quota } from '../thread/quota.ts';
import type { Principal } from './deps.ts';
import { type ErrorBody, refuse } from './errors.ts';

const keyBytesMin = 32;
/** What an API key may do besides acting for others. */
const keyScopes = ['broadcast'] as const;

/** The owner of an `Authorization` header; throws `CodedError` where there is none. */
export type KeyCheck = (authorization: string | undefined) => Principal;

export function createKeyCheck(options: Pick<FilledOptions, 'dev' | 'apiKeys'>): KeyCheck {
  const keys = options.apiKeys.map((entry) => {
    const colon = entry.indexOf(':');
    const key = entry.slice(colon + 1);
    if (colon < 1) throw new OptionError('apiKeys', 'each must be name:key');
    if (Buffer.byteLength(key) < keyBytesMin) throw new OptionError('apiKeys', `the key of ${entry.slice(0, colon)} has less than ${keyBytesMin} bytes`);
    return { name: entry.slice(0, colon), digest: digestOf(key) };
  });
  // Development listens on loopback only and checks every request for it.
  if (options.dev && keys.length === 0) return () => ({ user: 'development', scopes: [...keyScopes] });
  return (authorization) => {
    const presented = /^Bearer (.+)$/i.exec(authorization ?? '')?.[1];
    if (presented === undefined) throw new CodedError('unauthenticated', 'the backend API needs Authorization: Bearer <API key>');
    const digest = digestOf(presented);
    let owner: string | null = null;
    // Every key is compared, and digests in constant time, so that the answer's time tells nothing of a key.
    for (const key of keys) if (timingSafeEqual(key.digest, digest)) owner = key.name;
    if (owner === null) throw new CodedError('auth-failed', 'this is not an API key of this hub');
    return { user: owner, scopes: [...keyScopes] };
  };
}

/** Counts one request of a key and says in the headers how its limit stands; the refusal to send, if it was one too many. */
export type KeyRate = (principal: Principal, reply: FastifyReply) => Promise<ErrorBody | null>;

export function createKeyRate(options: Pick<FilledOptions, 'rateLimit' | 'keyRateLimit' | 'keyRateBurst' | 'apiKeys'>): KeyRate {
  const { keyRateLimit, keyRateBurst, apiKeys } = options;
  if (options.rateLimit === 0 || keyRateLimit === 0) return async () => null;
  // What may come at once is what a window holds, and the window is as long as the rate takes for it; but not below a second.
  const inWindow = Math.max(keyRateBurst, keyRateLimit);
  const windowMs = (inWindow * 1_000) / keyRateLimit;
  const quota = new Quota(inWindow, windowMs, Math.max(1, apiKeys.length));
  return async ({ user }, reply) => {
    const { limit, remaining, resetMs, retryAfterMs } = await quota.take(user);
    reply.headers({ 'ratelimit-limit': limit, 'ratelimit-remaining': remaining, 'ratelimit-reset': Math.ceil(resetMs / 1_000) });
    if (retryAfterMs === 0) return null;
    const message = `this key may send ${limit} requests within ${Math.ceil(windowMs)} ms`;
    return refuse(reply, { code: 'rate-limited', message, limit, remaining, resetMs, retryAfterMs });
  };
}

/** Lets the authorization table decide who may call a route; one without a row cannot be added. */
export function guardRoutes(app: FastifyInstance, checkKey: KeyCheck, keyRate: KeyRate): void {
  app.addHook('onRoute', ({ method, url }) => {
    for (const one of [method].flat()) if (mayCall('service', rowOf(one, url)) === null) throw new Error(`no row in the authorization table for ${one} ${url}`);
  });
  // Before the body is read: whoever has no key makes the hub parse nothing.
  app.addHook('onRequest', async (request, reply) => {
    const row = rowOf(request.method, request.routeOptions.url ?? '');
    if (mayCall('anonymous', row) !== true) request.principal = checkKey(request.headers.authorization);
    if (mayCall('service', row) !== true) throw new CodedError('forbidden');
    const refusal = request.principal === undefined ? null : await keyRate(request.principal, reply);
    return refusal === null ? undefined : reply.send(refusal);
  });
}

/** Refuses what did not come straight from this machine. */
export function guardDevelopment(app: FastifyInstance): void {
  app.addHook('onRequest', (request, _reply, done) => {
    const { headers } = request;
    // No page may do more than this machine's own: a key is not asked for here.
    const foreign = headers.origin !== undefined && !isLoopbackOrigin(headers.origin);
    const problem = notLocal(headers) ?? (foreign ? 'development mode answers to loopback origins only' : null);
    done(problem === null ? undefined : new CodedError('forbidden', problem));
  });
}

/** HEAD is GET without the body. */
function rowOf(method: string, url: string): string {
  return `${method === 'HEAD' ? 'GET' : method} ${url}`;
}

function digestOf(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}
