/**
 * Keeps one session alive: dials, waits, dials again, until it is closed or refused for good. Knows nothing of rooms or
 * messages: client.ts is told when a session opened, what it brings and that it is gone.
 *
 *   connecting → open → waiting (backoff) → connecting …          any → closed (by `close()`, or a code that says stop)
 */
import { subprotocols } from '../protocol/codec.ts';
import { closeCodes, mayReconnect } from '../protocol/codes.ts';
import type { Push, Welcome } from '../protocol/pushes.ts';
import { Backoff, type Cancel } from './clock.ts';
import { HubError } from './errors.ts';
import type { FilledConnectOptions } from './options.ts';
import { Session, type SessionEnd } from './session.ts';
import { findWebSocket } from './socket.ts';
import { TokenKeeper } from './token.ts';

export type State =
  | { is: 'connecting' }
  | { is: 'open'; user: string; connection: string }
  | { is: 'waiting'; retryInMs: number; reason: string }
  /** `code`: the WebSocket close code, 0 where hello was refused or no socket could be made. */
  | { is: 'closed'; code: number; reason: string };

export type ConnectionOwner = {
  state(state: State): void;
  opened(session: Session, welcome: Welcome): void;
  push(push: Push): void;
  /** The open session is gone. */
  lost(): void;
  /** There will be no other one. Called once, after `lost`. */
  closed(error: HubError): void;
  failed(error: HubError): void;
};

/** A connection that lasted so long was a success: the next loss starts the backoff over. */
const stableMs = 10_000;
/** Wait for the other side's goodbye. */
const goodbyeMs = 2_000;
const goodbyeCode = 1000;

export class Connection {
  readonly #url: string;
  readonly #options: FilledConnectOptions;
  readonly #owner: ConnectionOwner;
  readonly #nextId: () => number;
  readonly #backoff: Backoff;
  readonly #token: TokenKeeper;
  #state: State = { is: 'connecting' };
  #session: Session | null = null;
  #openedAt = 0;
  /** The delay the hub asked for when it announced to close. */
  #retryAfterMs: number | undefined;
  #stopTimer: Cancel | undefined;
  /** Resolves `close()`. */
  #gone: () => void = () => undefined;

  constructor(url: string, options: FilledConnectOptions, nextId: () => number, owner: ConnectionOwner) {
    this.#url = url;
    this.#options = options;
    this.#owner = owner;
    this.#nextId = nextId;
    this.#backoff = new Backoff(options.clock, options.backoff);
    this.#token = new TokenKeeper(options.token, options.clock, options.backoff, (error) => owner.failed(error));
  }

  get state(): State {
    return this.#state;
  }

  async dial(): Promise<void> {
    const { clock, connectTimeoutMs, user, device, format } = this.#options;
    if (this.#state.is === 'closed') return;
    this.#become({ is: 'connecting' });
    let expired = false;
    this.#stopTimer = clock.after(connectTimeoutMs, () => {
      expired = true;
      const error = new HubError('connect', `no welcome within ${connectTimeoutMs} ms`, { retry: true });
      if (this.#session !== null) this.#session.drop(error);
      else this.#wait(error);
    });
    let made: Session | null = null;
    try {
      const token = await this.#token.get();
      const WebSocketClass = await findWebSocket(this.#options.webSocket);
      if (expired || this.state.is === 'closed') return;
      const [protocol = ''] = Object.entries(subprotocols).find(([, value]) => value === format) ?? [];
      made = new Session(
        new WebSocketClass(this.#url, [protocol]),
        { token, user, device },
        { clock, format, nextId: this.#nextId },
        {
          welcome: (welcome) => this.#opened(welcome),
          push: (push) => this.#push(push),
          stray: (error) => this.#owner.failed(error),
          end: (end) => this.#ended(end),
        },
      );
      this.#session = made;
    } catch (cause) {
      if (expired || this.state.is === 'closed') return;
      if (cause instanceof HubError) return this.#wait(cause);
      this.#finish(0, new HubError('connect', cause instanceof Error ? cause.message : 'no WebSocket could be made', { cause }));
    }
  }

  /** Says goodbye. Resolves when the socket is gone, or did not answer in time. */
  close(): Promise<void> {
    if (this.#state.is === 'closed') return Promise.resolve();
    const session = this.#session;
    this.#session = null;
    this.#finish(goodbyeCode, new HubError('closed', 'closed by the application'), session?.open);
    if (session === null) return Promise.resolve();
    return new Promise((resolve) => {
      const stopTimer = this.#options.clock.after(goodbyeMs, () => session.drop(null));
      this.#gone = () => {
        stopTimer();
        resolve();
      };
      session.close();
    });
  }

  #opened(welcome: Welcome): void {
    const session = this.#session;
    if (session === null) return;
    this.#stopTimer?.();
    this.#openedAt = this.#options.clock.tick();
    this.#retryAfterMs = undefined;
    this.#token.opened(session, welcome.expiresInMs);
    this.#become({ is: 'open', user: welcome.user, connection: welcome.connection });
    // A listener of the state may have closed it.
    if (this.#session === session) this.#owner.opened(session, welcome);
  }

  #push(push: Push): void {
    if (this.#session === null) return;
    if (push.op === 'closing') this.#retryAfterMs = push.retryAfterMs;
    if (push.op === 'token-expiring') this.#token.expiring();
    else this.#owner.push(push);
  }

  #ended(end: SessionEnd): void {
    if (this.#state.is === 'closed') {
      this.#gone();
      return;
    }
    const wasOpen = this.#state.is === 'open';
    this.#session = null;
    this.#stopTimer?.();
    if (wasOpen && this.#options.clock.tick() - this.#openedAt >= stableMs) this.#backoff.reset();
    const { retry, code, error } = this.#judge(end);
    if (retry) {
      if (wasOpen) this.#lost();
      this.#wait(error);
    } else this.#finish(code, error, wasOpen);
  }

  /** Whether another connection can do better, and why this one ended. */
  #judge(end: SessionEnd): { retry: boolean; code: number; error: HubError } {
    switch (end.is) {
      case 'dropped':
        return { retry: true, code: 0, error: end.error ?? new HubError('disconnected', 'the hub was silent', { retry: true }) };
      case 'refused': {
        const retry = end.error.retry || (end.error.code === 'token-expired' && !this.#token.fixed);
        return { retry, code: 0, error: end.error };
      }
      case 'closed': {
        const name = Object.entries(closeCodes).find(([, row]) => row.code === end.code)?.[0];
        const retry = mayReconnect(end.code) && !(name === 'token-expired' && this.#token.fixed);
        return { retry, code: end.code, error: new HubError('closed', name ?? (end.reason || `code ${end.code}`), { retry }) };
      }
    }
  }

  #wait(error: HubError): void {
    this.#stopTimer?.();
    // A hub that is busy says the same to everybody each time: a crowd that came back just then, all at once, would keep it so.
    const retryInMs = this.#retryAfterMs ?? Math.max(error.retryAfterMs ?? 0, this.#backoff.next());
    this.#retryAfterMs = undefined;
    this.#stopTimer = this.#options.clock.after(retryInMs, () => void this.dial());
    this.#become({ is: 'waiting', retryInMs, reason: error.message });
    if (error.code !== 'closed' && error.code !== 'disconnected') this.#owner.failed(error);
  }

  #finish(code: number, error: HubError, wasOpen = false): void {
    this.#stopTimer?.();
    if (wasOpen) this.#lost();
    this.#become({ is: 'closed', code, reason: error.message });
    this.#owner.closed(error);
  }

  #lost(): void {
    this.#token.lost();
    this.#owner.lost();
  }

  #become(state: State): void {
    this.#state = state;
    this.#owner.state(state);
  }
}
