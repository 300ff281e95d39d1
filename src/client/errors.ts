/**
 * The one error class of the client: the hub's refusals by their code, and the few things that go wrong on this side.
 * Programs read `code`; `retry` says whether sending the same command again, later, can succeed.
 */
import type { ErrorCode } from '../protocol/codes.ts';
import type { ErrorReply } from '../protocol/pushes.ts';

/**
 * `timeout`: no answer in time, the outcome is unknown. `disconnected`: the connection went before the answer, the outcome is
 * unknown. `closed`: the client is closed. `outbox-full` and `limit`: too much is waiting here. `handler`: a listener threw
 * (see `cause`). `token`: the token function failed. `hole`: the hub left out an entry; the client reconnects to get it.
 */
export type LocalCode = 'timeout' | 'disconnected' | 'closed' | 'outbox-full' | 'handler' | 'token' | 'connect' | 'hole' | 'positions';

export class HubError extends Error {
  readonly code: ErrorCode | LocalCode;
  readonly retry: boolean;
  readonly field: string | undefined;
  readonly retryAfterMs: number | undefined;
  /** The op that was refused. */
  readonly of: string | undefined;

  constructor(
    code: ErrorCode | LocalCode,
    message: string,
    more: { retry?: boolean; field?: string | undefined; retryAfterMs?: number | undefined; of?: string | undefined; cause?: unknown } = {},
  ) {
    super(message, 'cause' in more ? { cause: more.cause } : undefined);
    this.name = 'HubError';
    this.code = code;
    this.retry = more.retry ?? false;
    this.field = more.field;
    this.retryAfterMs = more.retryAfterMs;
    this.of = more.of;
  }
}

export function refusal(reply: ErrorReply): HubError {
  return new HubError(reply.code, reply.message, reply);
}

export function disconnected(): HubError {
  return new HubError('disconnected', 'the connection was lost before the answer', { retry: true });
}
