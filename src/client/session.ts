/**
 * One socket from dialling to its end: hello, commands and their answers, heartbeat. The client (client.ts) makes one per
 * connection and learns from `end`, once, what came of it. Answers are handed on synchronously, before the next frame:
 * entries may follow an `ok` in the same turn of the event loop, and must find their room attached. Never reconnects.
 */
import type { Format } from '../protocol/codec.ts';
import type { CommandFields, Op } from '../protocol/inputs.ts';
import { type WireLimits, wireLimitDefaults } from '../protocol/limits.ts';
import type { ErrorReply, Push, Replies, Reply, Welcome } from '../protocol/pushes.ts';
import type { Cancel, ClientClock } from './clock.ts';
import { disconnected, HubError, refusal } from './errors.ts';
import { Pace } from './pace.ts';
import type { WebSocketLike } from './socket.ts';
import { type Packed, pack, unpack } from './wire.ts';

export type Answer<R> = { ok: true; reply: R } | { ok: false; error: HubError };
export type Done<R> = (answer: Answer<R>) => void;

/** How a session ended. `closed`: by the other side, or nobody knows (1006). `refused`: hello was. `dropped`: given up by this side. */
export type SessionEnd = { is: 'closed'; code: number; reason: string } | { is: 'refused'; error: HubError } | { is: 'dropped'; error: HubError | null };

export type SessionHandlers = {
  welcome(welcome: Welcome): void;
  push(push: Push): void;
  /** An error that answers no command of ours with an id. */
  stray(error: HubError): void;
  end(end: SessionEnd): void;
};

type Pending = { packed: Packed; done: Done<never> };
type Incoming = ({ op: 'ok'; id?: number } & Replies[Op]) | ({ op: 'welcome' } & Welcome) | ErrorReply | Push;

/** Unsent bytes above which what needs no answer is not sent any more. */
const tellBytesMax = 256 * 1024;
/** Longest wait for the answer to a heartbeat. */
const pongMsMax = 10_000;

export class Session {
  limits: WireLimits = wireLimitDefaults;
  readonly #socket: WebSocketLike;
  readonly #clock: ClientClock;
  readonly #format: Format;
  readonly #handlers: SessionHandlers;
  readonly #nextId: () => number;
  readonly #pending = new Map<number, Pending>();
  readonly #pace: Pace;
  /** Commands beyond the hub's `openCommandsMax`, or faster than its rates, in order. */
  #queue: { id: number; pending: Pending }[] = [];
  #state: 'hello' | 'open' | 'ended' = 'hello';
  #lastInbound = 0;
  #stopTimer: Cancel | undefined;

  constructor(
    socket: WebSocketLike,
    hello: CommandFields<'hello'>,
    environment: { clock: ClientClock; format: Format; nextId: () => number },
    handlers: SessionHandlers,
  ) {
    this.#socket = socket;
    this.#clock = environment.clock;
    this.#format = environment.format;
    this.#nextId = environment.nextId;
    this.#handlers = handlers;
    this.#pace = new Pace(environment.clock, () => this.#flush());
    socket.binaryType = 'arraybuffer';
    socket.onopen = () => this.#hello(hello);
    socket.onmessage = (event: { data: unknown }) => this.#receive(event.data);
    // Where no connection came about, `close` says 1006 and nothing more; outside of browsers the error says why.
    let trouble = '';
    socket.onclose = (event: { code: number; reason: string }) => this.#end({ is: 'closed', code: event.code, reason: event.reason || trouble });
    socket.onerror = (event: { message?: unknown; error?: { code?: unknown } | null }) => {
      trouble = String(event.message || event.error?.code || '');
    };
  }

  get open(): boolean {
    return this.#state === 'open';
  }

  /** Sends a command; `done` gets its one answer, or `disconnected`. The result forgets it: a late answer is ignored. */
  request<O extends Op>(op: O, fields: CommandFields<O>, done: Done<Reply<O>>): Cancel {
    const id = this.#nextId();
    return this.post(id, pack({ op, id, ...fields }, this.#format), done as Done<never>);
  }

  /** The same for a frame packed before. */
  post(id: number, packed: Packed, done: Done<never>): Cancel {
    const pending = { packed, done };
    if (this.#state === 'ended') done({ ok: false, error: disconnected() });
    else if (packed.bytes > this.limits.frameBytesMax)
      // The hub would close the connection over it, and over its repetition the next one.
      done({ ok: false, error: new HubError('too-large', `the frame has ${packed.bytes} bytes, the hub takes ${this.limits.frameBytesMax}`) });
    else if (this.#full) this.#queue.push({ id, pending });
    else this.#transmit(id, pending);
    return () => {
      this.#queue = this.#queue.filter((queued) => queued.id !== id);
      // Answered or not, the hub counts it as open until it answers, so it keeps its place.
      const open = this.#pending.get(id);
      if (open !== undefined) open.done = () => undefined;
    };
  }

  /** Sends a command that gets no answer unless it fails. False: not open, too large, too fast, or the socket is backed up. */
  tell<O extends Op>(op: O, fields: CommandFields<O>): boolean {
    const packed = pack({ op, ...fields }, this.#format);
    if (op === 'publish' && this.#pace.window === 0) return false;
    if (this.#state !== 'open' || packed.bytes > this.limits.frameBytesMax || this.#socket.bufferedAmount > tellBytesMax) return false;
    this.#socket.send(packed.data);
    return true;
  }

  /** Gives the connection up without ceremony. */
  drop(error: HubError | null): void {
    if (this.#state === 'ended') return;
    this.#release();
    this.#end({ is: 'dropped', error });
  }

  /** Says goodbye; `end` follows when the other side has answered. */
  close(): void {
    if (this.#state !== 'ended') this.#socket.close(1000);
  }

  #hello(hello: CommandFields<'hello'>): void {
    this.request('hello', hello, (answer) => {
      if (answer.ok || this.#state === 'ended') return;
      this.#release();
      this.#end({ is: 'refused', error: answer.error });
    });
  }

  #receive(data: unknown): void {
    if (this.#state === 'ended') return;
    this.#lastInbound = this.#clock.tick();
    let frame: Incoming;
    try {
      frame = unpack(data, this.#format) as Incoming;
    } catch (cause) {
      this.drop(new HubError('bad-frame', 'a frame of the hub could not be read', { retry: true, cause }));
      return;
    }
    switch (frame.op) {
      case 'ok':
        this.#answer(frame.id, { ok: true, reply: withoutEnvelope(frame) as never });
        break;
      case 'welcome':
        this.#welcome(frame);
        break;
      case 'error':
        if (frame.code === 'rate-limited') this.#pace.refused(frame.retryAfterMs ?? 0, this.#pending.size);
        if (frame.id === undefined) this.#handlers.stray(refusal(frame));
        else this.#answer(frame.id, { ok: false, error: refusal(frame) });
        break;
      default:
        if (this.#state === 'open') this.#handlers.push(frame);
    }
  }

  #welcome(welcome: Welcome & { id?: number }): void {
    if (this.#state !== 'hello') return;
    this.#state = 'open';
    this.limits = welcome.limits;
    if (welcome.id !== undefined) this.#pending.delete(welcome.id);
    this.#listen(welcome.heartbeatMs);
    this.#handlers.welcome(withoutEnvelope(welcome));
  }

  #answer(id: number | undefined, answer: Answer<never>): void {
    const pending = id === undefined ? undefined : this.#pending.get(id);
    if (id === undefined || pending === undefined) return;
    this.#pending.delete(id);
    if (answer.ok) this.#pace.answered();
    pending.done(answer);
    this.#flush();
  }

  get #full(): boolean {
    return this.#pending.size >= Math.min(this.limits.openCommandsMax, this.#pace.window);
  }

  #flush(): void {
    while (this.#queue.length > 0 && !this.#full && this.#state !== 'ended') {
      const next = this.#queue.shift();
      if (next !== undefined) this.#transmit(next.id, next.pending);
    }
  }

  #transmit(id: number, pending: Pending): void {
    this.#pending.set(id, pending);
    this.#socket.send(pending.packed.data);
  }

  /** Browsers do not show WebSocket pings: after a silence of one and a half heartbeats the client asks by itself. */
  #listen(heartbeatMs: number): void {
    const quietMs = heartbeatMs * 1.5;
    const silentMs = this.#clock.tick() - this.#lastInbound;
    if (silentMs < quietMs) {
      this.#stopTimer = this.#clock.after(quietMs - silentMs, () => this.#listen(heartbeatMs));
      return;
    }
    const asked = this.#clock.tick();
    // Past all that waits: even its refusal is a sign of life.
    const id = this.#nextId();
    this.#transmit(id, { packed: pack({ op: 'ping', id }, this.#format), done: () => undefined });
    this.#stopTimer = this.#clock.after(Math.min(heartbeatMs, pongMsMax), () => {
      if (this.#lastInbound >= asked) this.#listen(heartbeatMs);
      else this.drop(null);
    });
  }

  /** Lets go of a socket that did not close by itself. Its events are of no interest any more; `onerror` stays, `ws` throws without. */
  #release(): void {
    this.#socket.onopen = null;
    this.#socket.onmessage = null;
    this.#socket.onclose = null;
    if (this.#socket.terminate !== undefined) this.#socket.terminate();
    else this.#socket.close();
  }

  #end(end: SessionEnd): void {
    if (this.#state === 'ended') return;
    this.#state = 'ended';
    this.#stopTimer?.();
    this.#pace.stop();
    const open = [...this.#pending.values(), ...this.#queue.map((queued) => queued.pending)];
    this.#pending.clear();
    this.#queue = [];
    // The owner first, so that what the failures cause finds the connection gone.
    this.#handlers.end(end);
    for (const { done } of open) done({ ok: false, error: disconnected() });
  }
}

function withoutEnvelope<T extends { id?: number }>(frame: T): T {
  const { op: _, id: __, ...fields } = frame as T & { op?: string };
  return fields as T;
}
