/** The `error` answer as a map: one shape for everything the gateway refuses. */
import { type CloseReason, CodedError, type ErrorCode, errorCodes, retryAfterMsOf } from '../protocol/codes.ts';
import type { Fields } from './connection.ts';
import { RateError } from './limits.ts';

export function refusal(id: number | undefined, of: string | undefined, error: CodedError): Fields {
  const { code, message, field } = error;
  const { retry } = errorCodes[code];
  const fields = { op: 'error', id, of, code, message, field, retry, retryAfterMs: retryAfterMsOf(code) };
  return error instanceof RateError ? { ...fields, ...error.rate } : fields;
}

export function refusalOf(id: number | undefined, of: string | undefined, code: ErrorCode, message?: string): Fields {
  return refusal(id, of, new CodedError(code, message));
}

/** What a hello is answered before the connection is closed for `reason`. */
export function codeFor(reason: CloseReason): ErrorCode {
  switch (reason) {
    case 'revoked':
      return 'auth-failed';
    case 'auth-failed':
    case 'token-expired':
    case 'draining':
      return reason;
    case 'connection-limit':
      return 'limit';
    case 'overloaded':
      return 'busy';
    case 'fault':
      return 'storage';
    case 'hello-timeout':
    case 'silent':
    case 'too-slow':
    case 'idle':
    case 'evicted':
    case 'replaced':
    case 'disconnected':
    case 'abuse':
      return 'forbidden';
  }
}
