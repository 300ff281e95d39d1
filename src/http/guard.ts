/**
 * Who may talk to HTTP: the API keys of the backend API, and in development mode the proof that a request comes from this
 * machine and not through a proxy or a foreign page. And how often: each key has its rate.
 */
import { createHash, timingSafeEqual } from 'node:crypto';
import type { IncomingHttpHeaders } from 'node:http';
import type { FastifyInstance, FastifyReply } from 'fastify';
import { type FilledOptions, isLoopbackHost, OptionError } from '../options.ts';
import { mayCall } from '../protocol/authorize.ts';
import { CodedError } from '../protocol/codes.ts';
import { Bucket, Keyed, type Rate } from '../thread/bucket.ts';
import type { Clock } from '../thread/clock.ts';
import type { Principal } from './deps.ts';
import { type ErrorBody, refuse } from './errors.ts';

const keyBytesMin = 32;
/** What an API key may do besides acting for others. */
const keyScopes = ['broadcast'] as const;
const forwardedHeaders = ['forwarded', 'x-forwarded-for', 'x-forwarded-host', 'x-real-ip'] as const;

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
export type KeyRate = (principal: Principal, reply: FastifyReply) => ErrorBody | null;

/** Keys that are remembered; more than anybody has. */
const keysKept = 10_000;

export function createKeyRate(options: Pick<FilledOptions, 'rateLimit' | 'keyRateLimit' | 'keyRateBurst'>, clock: Clock): KeyRate {
  const rate: Rate = { perSecond: options.keyRateLimit, burst: options.keyRateBurst };
  if (options.rateLimit === 0 || rate.perSecond === 0) return () => null;
  const buckets = new Keyed(() => new Bucket(rate, clock.tick()), keysKept);
  return ({ user }, reply) => {
    const bucket = buckets.of(user);
    const taken = bucket.take(rate, clock.tick());
    const { limit, remaining, resetMs, retryAfterMs } = bucket.state(rate);
    reply.headers({ 'ratelimit-limit': limit, 'ratelimit-remaining': remaining, 'ratelimit-reset': Math.ceil(resetMs / 1_000) });
    if (taken) return null;
    return refuse(reply, { code: 'rate-limited', message: `this key may send ${limit} requests a second`, limit, remaining, resetMs, retryAfterMs });
  };
}

/** Lets the authorization table decide who may call a route; one without a row cannot be added. */
export function guardRoutes(app: FastifyInstance, checkKey: KeyCheck, keyRate: KeyRate): void {
  app.addHook('onRoute', ({ method, url }) => {
    for (const one of [method].flat()) if (mayCall('service', rowOf(one, url)) === null) throw new Error(`no row in the authorization table for ${one} ${url}`);
  });
  // Before the body is read: whoever has no key makes the hub parse nothing.
  app.addHook('onRequest', (request, reply, done) => {
    const row = rowOf(request.method, request.routeOptions.url ?? '');
    if (mayCall('anonymous', row) !== true) request.principal = checkKey(request.headers.authorization);
    if (mayCall('service', row) !== true) return done(new CodedError('forbidden'));
    const refusal = request.principal === undefined ? null : keyRate(request.principal, reply);
    if (refusal === null) done();
    else reply.send(refusal);
  });
}

/** Refuses what did not come straight from this machine. */
export function guardDevelopment(app: FastifyInstance): void {
  app.addHook('onRequest', (request, _reply, done) => {
    const problem = notLocal(request.headers);
    done(problem === null ? undefined : new CodedError('forbidden', problem));
  });
}

export function notLocal(headers: IncomingHttpHeaders): string | null {
  const forwarded = forwardedHeaders.find((name) => headers[name] !== undefined);
  if (forwarded !== undefined) return `development mode is not for use behind a proxy (${forwarded})`;
  // A foreign name that resolves to 127.0.0.1 would make this hub a foreign page's own origin.
  const host = /^(\[[^\]]*\]|[^:]*)(?::\d+)?$/.exec(headers.host ?? '')?.[1];
  if (host === undefined || !isLoopbackHost(host)) return 'development mode answers to loopback hosts only';
  if (headers.origin !== undefined && !isLoopbackOrigin(headers.origin)) return 'development mode answers to loopback origins only';
  return null;
}

/** HEAD is GET without the body. */
function rowOf(method: string, url: string): string {
  return `${method === 'HEAD' ? 'GET' : method} ${url}`;
}

function isLoopbackOrigin(origin: string): boolean {
  return URL.canParse(origin) && isLoopbackHost(new URL(origin).hostname);
}

function digestOf(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}
