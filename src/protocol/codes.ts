/**
 * The two tables of the protocol: error codes and close codes. PROTOCOL.md repeats them and a test compares the two.
 * Programs read `code`; people read `message`. Browser-safe: imports nothing.
 */

/** Every `code` an `error` answer can carry. `retry`: whether sending the same command again, later, can succeed. */
export const errorCodes = {
  'bad-frame': { retry: false, text: 'the frame is not a map in the negotiated encoding' },
  'bad-request': { retry: false, text: 'a field is missing, unknown or of the wrong type; `field` names it' },
  'bad-value': { retry: false, text: 'the value is not a JSON value the protocol can carry' },
  'unknown-op': { retry: false, text: 'no such op' },
  'too-large': { retry: false, text: 'the body or the frame is larger than the limit' },
  unauthenticated: { retry: false, text: 'say hello first' },
  'auth-failed': { retry: false, text: 'the token is not valid here' },
  'token-expired': { retry: false, text: 'the token has expired; get a fresh one' },
  forbidden: { retry: false, text: 'you may not do this here' },
  'not-found': { retry: false, text: 'no such room, message or user, or not yours to know' },
  exists: { retry: false, text: 'a room of this name exists' },
  conflict: { retry: false, text: 'this mid was used in this room by another sender' },
  'room-full': { retry: false, text: 'the room has as many members as it may' },
  'inbox-full': { retry: false, text: 'the inbox of the recipient is full and its policy is to reject' },
  limit: { retry: false, text: 'a limit of this connection is reached' },
  'rate-limited': { retry: true, text: 'too much within the time; wait `retryAfterMs`' },
  busy: { retry: true, text: 'the hub is at its capacity; wait a moment' },
  restarted: { retry: true, text: 'the part of the hub that worked on this was restarted; repeat with the same mid' },
  draining: { retry: true, text: 'the hub is stopping; reconnect' },
  storage: { retry: true, text: 'the store refused the write; nothing was stored' },
  unknown: { retry: false, text: 'the outcome is not known and the message had no mid to repeat it by' },
  quarantined: { retry: false, text: 'the room or the command crashed the hub repeatedly and is set aside' },
  internal: { retry: false, text: 'a fault of the hub; it is in its log' },
} as const;

export type ErrorCode = keyof typeof errorCodes;

/** How long to wait before a repetition where a part of the hub is behind or away; rates state their own time. */
export function retryAfterMsOf(code: ErrorCode): number | undefined {
  return code === 'busy' || code === 'restarted' ? 250 : undefined;
}

/** Close codes. 4000–4499: reconnect (and resume). 4500–4999: stop, a human or a new token is needed. */
export const closeCodes = {
  draining: { code: 4000, text: 'the hub is stopping; reconnect after the delay of the `closing` push' },
  'hello-timeout': { code: 4001, text: 'no hello in time' },
  silent: { code: 4002, text: 'no answer to heartbeats' },
  'too-slow': { code: 4003, text: 'the socket took nothing for too long; reconnect and resume' },
  overloaded: { code: 4004, text: 'the hub is at its capacity; reconnect later' },
  'token-expired': { code: 4005, text: 'the token expired and was not refreshed in time; reconnect with a fresh one' },
  idle: { code: 4006, text: 'no command for longer than the idle limit' },
  fault: { code: 4007, text: 'a fault of the hub; reconnect' },
  'auth-failed': { code: 4500, text: 'the token is not valid here' },
  'connection-limit': { code: 4501, text: 'the user has as many connections as he may' },
  evicted: { code: 4502, text: 'closed in favour of a newer connection of the same user' },
  replaced: { code: 4503, text: 'another connection said hello as the same user and device' },
  disconnected: { code: 4504, text: 'disconnected by the operator or the application' },
  abuse: { code: 4505, text: 'too many bad frames, or commands sent on and on beyond the rate' },
  revoked: { code: 4506, text: 'the rights of this user were withdrawn' },
} as const;

export type CloseReason = keyof typeof closeCodes;

/** Whether a client should connect again after this close code; RFC 6455 section 7.4.1 names those below 4000. */
export function mayReconnect(code: number): boolean {
  if (code >= 4000) return code < 4500;
  // 1002, 1003, 1007, 1008 and 1009 name a fault of the client that the next connection would repeat; 1000 is goodbye.
  return code === 1001 || code === 1005 || code === 1006 || (code >= 1011 && code <= 1015);
}

/** An expected refusal: thrown by validation and authorization, answered as an `error`, never logged as a fault. */
export class CodedError extends Error {
  readonly code: ErrorCode;
  readonly field: string | undefined;
  constructor(code: ErrorCode, message?: string, field?: string) {
    // Refusals come in floods, and what a stack trace costs would make refusing dearer than doing.
    const { stackTraceLimit } = Error;
    Error.stackTraceLimit = 0;
    super(message ?? errorCodes[code].text);
    Error.stackTraceLimit = stackTraceLimit;
    this.name = 'CodedError';
    this.code = code;
    this.field = field;
  }
}
