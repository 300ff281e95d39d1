/** The `error` answer as a map: one shape for everything the gateway refuses. */
import { type CloseReason, CodedError, type ErrorCode, errorCodes } from '../protocol/codes.ts';
import type { Fields } from './connection.ts';

/** How long a client should wait when a part of the hub is busy or away. */
export const busyRetryMs = 250;

export function refusal(id: number | undefined, of: string | undefined, error: CodedError, retryAfterMs?: number): Fields {
  const { code, message, field } = error;
  const { retry } = errorCodes[code];
  const wait = retryAfterMs ?? (code === 'busy' || code === 'restarted' ? busyRetryMs : undefined);
  return { op: 'error', id, of, code, message, field, retry, retryAfterMs: wait };
}

export function refusalOf(id: number | undefined, of: string | undefined, code: ErrorCode, message?: string): Fields {
  return refusal(id, of, new CodedError(code, message));
}

/** What a hello is answered before the connection is closed for `reason`. */
export function codeFor(reason: CloseReason): ErrorCode {
  switch (reason) {
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
    case 'revoked':
      return 'forbidden';
  }
}
