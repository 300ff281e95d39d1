/**
 * The application's handle: puts together what survives connections (rooms, outbox, inbox, watches, positions) and hands each
 * what concerns it. Made by `connect`; everything else of the client is made here.
 */
import type { ErrorCode } from '../protocol/codes.ts';
import type { CommandFields, Op } from '../protocol/inputs.ts';
import { allRoom } from '../protocol/names.ts';
import type { Gap, Presence, Push, Reply, Welcome } from '../protocol/pushes.ts';
import type { CallOptions } from './bounded.ts';
import { Calls } from './calls.ts';
import { Connection, type State } from './connection.ts';
import { HubError } from './errors.ts';
import { Emitter } from './events.ts';
import { uuidv7 } from './ids.ts';
import { Inbox, type InboxItem } from './inbox.ts';
import { type ConnectOptions, type FilledConnectOptions, fillConnectOptions } from './options.ts';
import { type MessageFields, Outbox, type Sent } from './outbox.ts';
import { Positions } from './positions.ts';
import { Watches } from './presence.ts';
import type { PublishOptions, Room } from './room.ts';
import { Rooms, type SubscribeOptions } from './rooms.ts';
import type { Session } from './session.ts';
import { contentOf, type Entry, nameOf } from './wire.ts';

export type HubEvents = {
  state: State;
  /** A direct message, invitation, mention or notice: acked after the listeners ran, sent again if one of them failed. */
  inbox: InboxItem;
  /** Items of the inbox this user will not get. */
  'inbox-gap': { from: number; to: number; reason: 'dropped' | 'expired' };
  /** The hub cannot send item `n` of the inbox at present, nor what is behind it; it goes on by itself. */
  'inbox-stopped': { n: number; reason: ErrorCode };
  broadcast: Entry;
  /** A watched user's status changed. */
  presence: Presence;
  /** Entries of any followed room that this client will not get. */
  gap: Gap;
  /** What nobody waits for: failed listeners (where nobody listens here, they surface uncaught), refused ephemera, trouble with token or connection. */
  error: HubError;
  /** The hub is about to close this connection; the client comes back by itself. */
  closing: { reason: string; retryAfterMs: number };
};

/** Ops with a state that the client keeps; they have methods of their own. */
export type ManagedOp = 'hello' | 'refresh' | 'subscribe' | 'unsubscribe' | 'resume' | 'ack' | 'watch' | 'unwatch';

/** Connects and stays connected until `close()` or a refusal for good. Add listeners before the first `await`. */
export function connect(url: string | URL, options: ConnectOptions): Hub {
  return new Hub(url, options);
}

export class Hub {
  /** The first welcome. Rejects where the client was closed or refused before it. */
  readonly ready: Promise<Welcome>;
  readonly #options: FilledConnectOptions;
  readonly #events: Emitter<HubEvents>;
  readonly #connection: Connection;
  readonly #calls: Calls;
  readonly #outbox: Outbox;
  readonly #rooms: Rooms;
  readonly #inbox: Inbox;
  readonly #watches: Watches;
  readonly #positions: Positions;
  #session: Session | null = null;

  constructor(url: string | URL, given: ConnectOptions) {
    const options = fillConnectOptions(given);
    const { clock, format, backoff, timeoutMs } = options;
    let lastId = 0;
    // Never used twice, so that a message keeps its bytes on every connection it is tried on.
    const nextId = () => ++lastId;
    const failed = (cause: unknown, from?: string) => this.#failed(cause, from);
    const command = this.#command.bind(this);
    this.#options = options;
    this.#events = new Emitter<HubEvents>(failed, (name) => name === 'inbox' && this.#inbox.pump());
    this.#positions = new Positions(options.positions, clock, (cause) => failed(new HubError('positions', 'the position store failed', { cause })));
    this.#calls = new Calls(clock, backoff, timeoutMs);
    this.#outbox = new Outbox(clock, format, options.outbox, backoff, nextId);
    this.#watches = new Watches({ command, changed: (presence) => this.#events.emit('presence', presence) });
    this.#inbox = new Inbox(clock, {
      failed,
      listening: () => this.#events.has('inbox'),
      handle: (item) => this.#events.run('inbox', item),
      covers: (room, seq) => this.#rooms.covers(room, seq),
    });
    this.#rooms = new Rooms(
      {
        clock,
        backoff,
        timeoutMs,
        positions: this.#positions,
        failed,
        gap: (gap) => this.#events.emit('gap', gap),
        broadcast: (entry) => this.#events.run('broadcast', entry),
        settled: (stream) => this.#inbox.settled(stream.name),
      },
      { command, publish: this.publish.bind(this), ephemeral: this.ephemeral.bind(this) },
    );
    let welcomed: (welcome: Welcome) => void = () => undefined;
    let refused: (error: HubError) => void = () => undefined;
    this.ready = new Promise((resolve, reject) => {
      welcomed = resolve;
      refused = reject;
    });
    this.ready.catch(() => undefined); // who does not wait for it learns by the state
    this.#connection = new Connection(new URL(url).href, options, nextId, {
      state: (state) => this.#events.emit('state', state),
      opened: (session, welcome) => {
        this.#opened(session, welcome);
        welcomed(welcome);
      },
      push: (push) => this.#push(push),
      lost: () => this.#lost(),
      closed: (error) => {
        this.#closed(error);
        refused(error);
      },
      failed,
    });
    void this.#positions.loaded.then(() => {
      this.#rooms.followBroadcasts();
      return this.#connection.dial();
    });
  }

  get state(): State {
    return this.#connection.state;
  }

  /** Messages that wait for the hub's answer. */
  get outbox(): { readonly items: number; readonly bytes: number } {
    return { items: this.#outbox.items, bytes: this.#outbox.bytes };
  }

  /** Adds a listener; the function it returns removes it. */
  on<K extends keyof HubEvents>(name: K, listener: (event: HubEvents[K]) => unknown): () => void {
    return this.#events.on(name, listener);
  }

  /** Follows a room until `unsubscribe()`, across reconnects. Resolves when the hub has attached it. */
  async subscribe(room: string, options: SubscribeOptions = {}): Promise<Room> {
    await this.#positions.loaded;
    this.#assertOpen();
    return this.#rooms.subscribe(nameOf(room), options);
  }

  /** Sends a message to a room, followed or not. Resolves when it is stored; survives reconnects until then. */
  publish(room: string, body: unknown, options: PublishOptions = {}): Promise<Sent> {
    const { mid = uuidv7(this.#options.clock), thread, ...call } = options;
    return this.#send('publish', () => ({ room: nameOf(room), mid, ...contentOf(body, this.#options.format), thread }), call);
  }

  /** Sends a message to a user: delivered now, or when he comes back. */
  direct(to: string, body: unknown, options: PublishOptions = {}): Promise<Sent> {
    const { mid = uuidv7(this.#options.clock), thread, ...call } = options;
    return this.#send('direct', () => ({ to, mid, ...contentOf(body, this.#options.format), thread }), call);
  }

  /** Sends a message to everybody; needs the `broadcast` scope. */
  broadcast(body: unknown, options: PublishOptions = {}): Promise<Sent> {
    return this.publish(allRoom, body, options);
  }

  /** Typing, cursors: not stored, not repeated, no answer. False: not sent. `echo` false: not to this connection. */
  ephemeral(room: string, body: unknown, options: { echo?: boolean } = {}): boolean {
    const content = contentOf(body, this.#options.format);
    return this.#session?.tell('publish', { room, ephemeral: true, echo: options.echo, ...content }) ?? false;
  }

  /** Any command that the client does not carry out by itself. Waits for a connection; `timeoutMs` bounds it. */
  command<O extends Exclude<Op, ManagedOp>>(op: O, fields: CommandFields<O>, options: CallOptions = {}): Promise<Reply<O>> {
    return this.#command(op, fields, options);
  }

  async who(users: string[], options: CallOptions = {}): Promise<Presence[]> {
    return (await this.#command('who', { users }, options)).users;
  }

  /** Who they are now; changes come as `presence`, also after a reconnect. */
  watch(users: string[], options: CallOptions = {}): Promise<Presence[]> {
    return this.#watches.watch(users, options);
  }

  unwatch(users: string[], options: CallOptions = {}): Promise<void> {
    return this.#watches.unwatch(users, options);
  }

  /** Shows this connection as away, or as back. Kept across reconnects. */
  setStatus(status: 'online' | 'away', options: CallOptions = {}): Promise<void> {
    return this.#watches.status(status, options);
  }

  /** A message id, for who wants to show a message before it is sent. */
  newMid(): string {
    return uuidv7(this.#options.clock);
  }

  /** Ends everything: what waits is rejected with `closed`. Wait for your publishes first. */
  async close(): Promise<void> {
    this.#inbox.goodbye();
    await this.#connection.close();
    await this.#positions.save();
  }

  #send(op: 'publish' | 'direct', fields: () => MessageFields, options: CallOptions): Promise<Sent> {
    try {
      this.#assertOpen();
      return this.#outbox.add(op, fields(), options);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  async #command<O extends Op>(op: O, fields: CommandFields<O>, options: CallOptions): Promise<Reply<O>> {
    this.#assertOpen();
    return this.#calls.run(op, fields, options);
  }

  #assertOpen(): void {
    const { state } = this;
    if (state.is === 'closed') throw new HubError('closed', state.reason);
  }

  #opened(session: Session, welcome: Welcome): void {
    this.#session = session;
    this.#inbox.opened(session, welcome.inbox.acked);
    this.#rooms.opened(session, welcome);
    // Before the calls: it takes back what it was still saying again.
    this.#watches.opened((error) => this.#failed(error));
    this.#calls.opened(session);
    this.#outbox.opened(session);
  }

  #push(push: Push): void {
    if (this.#rooms.push(push)) return;
    switch (push.op) {
      case 'inbox':
        this.#inbox.push(push);
        break;
      case 'presence': {
        const { op: _, ...presence } = push;
        this.#watches.pushed(presence);
        break;
      }
      case 'inbox-gap':
      case 'inbox-stopped':
      case 'closing': {
        // The answers of what is on its way still come; more would only be refused.
        if (push.op === 'closing') this.#outbox.lost();
        const { op, ...event } = push;
        this.#events.emit(op, event as never);
        break;
      }
      default: // a push of a newer hub
    }
  }

  #lost(): void {
    this.#session = null;
    this.#outbox.lost();
    this.#calls.lost();
    this.#inbox.lost();
    this.#rooms.lost();
  }

  #closed(error: HubError): void {
    const closed = new HubError('closed', error.message, { cause: error });
    this.#rooms.close(closed);
    this.#calls.close(closed);
    this.#outbox.close(closed);
  }

  #failed(cause: unknown, from?: string): void {
    if (from === 'error' || (!(cause instanceof HubError) && !this.#events.has('error'))) {
      // Whom else to tell? It surfaces like any exception of a listener that nobody caught.
      this.#options.clock.after(0, () => {
        throw cause;
      });
      return;
    }
    const error = cause instanceof HubError ? cause : new HubError('handler', 'a listener failed', { cause });
    this.#events.emit('error', error);
  }
}
