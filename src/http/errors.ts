/**
 * How refusals look in HTTP: one table from error code to status, one body, and the translation of what fastify refuses by
 * itself. A fault is logged and told as `internal` without its text.
 */
import type { FastifyError, FastifyInstance, FastifyReply } from 'fastify';
import { CodedError, type ErrorCode, errorCodes } from '../protocol/codes.ts';
import type { Log } from '../thread/log.ts';

export const statusOf = {
  'bad-frame': 400,
  'bad-request': 400,
  'bad-value': 400,
  'unknown-op': 400,
  'too-large': 413,
  unauthenticated: 401,
  'auth-failed': 401,
  'token-expired': 401,
  forbidden: 403,
  'not-found': 404,
  exists: 409,
  conflict: 409,
  'room-full': 409,
  'inbox-full': 409,
  limit: 429,
  'rate-limited': 429,
  busy: 503,
  restarted: 503,
  draining: 503,
  storage: 503,
  // Not 503, which clients repeat: without a mid that could send it twice.
  unknown: 500,
  quarantined: 500,
  internal: 500,
} as const satisfies Record<ErrorCode, number>;

export type ErrorBody = {
  error: { code: ErrorCode; message: string; field?: string; retry: boolean; retryAfterMs?: number; limit?: number; remaining?: number; resetMs?: number };
};

const retryAfterMs = 1_000;
/** What a refusal may tell beside its text. */
const numbers = ['retryAfterMs', 'limit', 'remaining', 'resetMs'] as const;

/** Sends the `error` answer of a command. */
export function refuse(reply: FastifyReply, answer: Record<string, unknown>): ErrorBody {
  const code = isErrorCode(answer.code) ? answer.code : 'internal';
  const { message, field } = answer;
  return send(reply, statusOf[code], {
    code,
    message: typeof message === 'string' ? message : errorCodes[code].text,
    ...(typeof field === 'string' ? { field } : {}),
    retry: errorCodes[code].retry,
    ...Object.fromEntries(numbers.flatMap((name) => (typeof answer[name] === 'number' ? [[name, answer[name]]] : []))),
  });
}

export function handleErrors(app: FastifyInstance, log: Log): void {
  app.setErrorHandler((error: FastifyError | CodedError, request, reply) => {
    if (error instanceof CodedError) return refuse(reply, { code: error.code, message: error.message, field: error.field });
    if (error.validation) {
      const [issue] = error.validation;
      const unknown = issue?.params?.keys;
      const field = Array.isArray(unknown) ? String(unknown[0]) : issue?.instancePath.split('/')[1] || error.validationContext;
      return refuse(reply, { code: 'bad-request', message: `${field}: ${issue?.message ?? 'invalid'}`, field });
    }
    if (error.code === 'FST_ERR_CTP_BODY_TOO_LARGE') return refuse(reply, { code: 'too-large', message: error.message });
    const status = error.statusCode ?? 500;
    if (status >= 500) {
      log('error', 'a request failed', { method: request.method, route: request.routeOptions.url, error });
      return refuse(reply, { code: 'internal' });
    }
    const code = error instanceof SyntaxError || error.code?.startsWith('FST_ERR_CTP_') ? 'bad-frame' : 'bad-request';
    return send(reply, status, { code, message: error.message, retry: false });
  });
  app.setNotFoundHandler((request, reply) => refuse(reply, { code: 'not-found', message: `no such resource: ${request.method} ${pathOf(request.url)}` }));
}

/** A path that cannot be decoded reaches no handler. */
export function refusePath(reply: FastifyReply): void {
  void reply.send(refuse(reply, { code: 'bad-request', message: 'the path is not valid: a % without two hexadecimal digits, or not UTF-8' }));
}

function send(reply: FastifyReply, status: number, error: ErrorBody['error']): ErrorBody {
  reply.code(status);
  if (error.retry) reply.header('retry-after', Math.max(1, Math.ceil((error.retryAfterMs ?? retryAfterMs) / 1_000)));
  if (status === 401) reply.header('www-authenticate', 'Bearer');
  return { error };
}

function isErrorCode(code: unknown): code is ErrorCode {
  return typeof code === 'string' && Object.hasOwn(errorCodes, code);
}

/** Without the query, which is nobody's to repeat. */
function pathOf(url: string): string {
  return url.split('?')[0] ?? '';
}
