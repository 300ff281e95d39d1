/**
 * One device of a user in a simulated cluster: follows the protocol as the client library does (resume after every loss, the
 * same mid until the answer, cumulative acks) and keeps a book of what it saw. The plan tells it what to ask for; a recorder
 * gets every frame, and what the hub should never have said is a fault.
 */
import { decode, encode } from '../../src/protocol/codec.ts';
import { closeCodes, type ErrorCode, errorCodes, mayReconnect } from '../../src/protocol/codes.ts';
import type { Gap } from '../../src/protocol/pushes.ts';
import type { Recorder } from '../../src/testing/recorder.ts';
import type { Format } from '../../src/thread/messages.ts';
import { Following } from './following.ts';
import { Reading } from './reading.ts';
import type { Scheduler, Strand } from './scheduler.ts';
import { SimSocket } from './socket.ts';

export type Fields = Record<string, unknown>;
/** A message on its way, sent again with its mid until it is answered for good. */
export type Pending = { op: 'publish' | 'direct'; fields: Fields; mid: string; sent: boolean };
export type Answer = { ok: boolean; fields: Fields; code: ErrorCode | null };
export type ClientDeps = {
  scheduler: Scheduler;
  strand: Strand;
  recorder: Recorder;
  lagMs: number;
  /** When a token that it gets now was issued. */
  token(): number;
  /** Hands the socket to the node, which may be away. */
  dial(client: SimClient): { accept(socket: SimSocket, format: Format): void; strand: Strand } | null;
  fault(what: string): void;
};

const retryMs = 150;
/** What a client that keeps the protocol is never told. */
const neverTold: readonly ErrorCode[] = ['bad-frame', 'bad-request', 'bad-value', 'unknown-op', 'unauthenticated', 'internal', 'too-large'];

export class SimClient {
  readonly user: string;
  readonly device: string;
  readonly format: Format;
  readonly deps: ClientDeps;
  readonly following: Following;
  readonly reading: Reading;
  readonly pending = new Map<string, Pending>();
  /** What it asked about and was told of others. */
  readonly watched = new Map<string, string>();
  /** Sent by anybody of the user and answered: what may be sent again. */
  readonly said: Pending[] = [];
  socket: SimSocket | null = null;
  /** Name of the connection in the history. */
  name = '';
  state: 'away' | 'opening' | 'open' | 'stopped' = 'away';
  away = false;
  /** When the token was issued, that it says hello with. */
  token: number;
  slow = false;
  #ids = 0;
  readonly #open = new Map<number, (answer: Answer) => void>();
  /** Of whom something was pushed since the last `watch`. */
  readonly #newer = new Set<string>();

  constructor(user: string, device: string, format: Format, deps: ClientDeps) {
    this.user = user;
    this.device = device;
    this.format = format;
    this.deps = deps;
    this.token = deps.token();
    this.following = new Following(this);
    this.reading = new Reading(this);
  }

  connect(): void {
    if (this.state !== 'away') return;
    const { scheduler, strand, recorder, lagMs } = this.deps;
    const node = this.deps.dial(this);
    if (node === null) return this.later(() => this.connect());
    this.state = 'opening';
    const name = recorder.client(this.user);
    this.name = name;
    const socket: SimSocket = new SimSocket(scheduler, node.strand, strand, lagMs, {
      frame: (payload) => this.socket === socket && this.#received(payload),
      close: (code) => this.socket === socket && this.closed(code),
    });
    this.socket = socket;
    if (this.slow) this.#slowDown(socket);
    socket.open(() => node.accept(socket, this.format));
    this.request('hello', { user: this.user, token: String(this.token), ...(this.device === '' ? {} : { device: this.device }) }, ({ ok }) => {
      if (ok) this.#welcomed();
    });
  }

  cut(): void {
    this.socket?.cut();
  }

  leave(): void {
    const { socket } = this;
    if (socket === null) return;
    socket.leave();
    this.closed(1000);
  }

  setSlow(slow: boolean): void {
    this.slow = slow;
    if (this.socket === null) return;
    if (slow) this.#slowDown(this.socket);
    else this.socket.reading = true;
  }

  request(op: string, fields: Fields, done: (answer: Answer) => void): void {
    if (this.socket === null) return;
    const id = ++this.#ids;
    this.#open.set(id, done);
    const frame = { op, id, ...fields };
    this.deps.recorder.sent(this.name, frame);
    this.socket.send(Buffer.from(encode(frame, this.format)), this.format === 'msgpack');
  }

  /** Until it is stored or refused for good. */
  say(pending: Pending): void {
    this.pending.set(pending.mid, pending);
    if (this.state === 'open') this.#say(pending);
  }

  /** Without being waited for: a repetition of what was answered. */
  repeat(pending: Pending, body: string): void {
    if (this.state === 'open') this.request(pending.op, { ...pending.fields, mid: pending.mid, body }, () => {});
  }

  watch(users: readonly string[]): void {
    if (users.length === 0) return;
    // What is pushed while the answer is put together, of parts of several shards, is newer than it.
    this.#newer.clear();
    this.request('watch', { users }, ({ ok, fields }) => {
      if (ok) this.#told(fields.users as { user: string; status: string }[]);
      else if (this.state === 'open') this.later(() => this.state === 'open' && this.watch(users));
    });
  }

  /** What it says of itself counts once it is answered. */
  show(status: 'online' | 'away'): void {
    const { name } = this;
    this.request('status', { status }, ({ ok, code }) => {
      if (ok) this.away = status === 'away';
      else if (code !== null && errorCodes[code].retry) this.later(() => this.name === name && this.state === 'open' && this.show(status));
    });
  }

  /** Soon, if it is still the same connection's affair. */
  later(run: () => void): void {
    this.deps.scheduler.after(this.deps.scheduler.between(retryMs / 4, retryMs), this.deps.strand, run);
  }

  closed(code: number): void {
    const { recorder, scheduler } = this.deps;
    scheduler.note(`${this.name} closed ${code}`);
    recorder.closed(this.name, code);
    this.socket = null;
    this.#open.clear();
    this.following.lost();
    this.reading.lost();
    this.state = mayReconnect(code) || code === 1000 ? 'away' : 'stopped';
    if (this.state === 'away' && code !== 1000) this.later(() => this.connect());
    if (code === closeCodes.revoked.code) this.later(() => this.#admittedAgain());
  }

  #admittedAgain(): void {
    if (this.state !== 'stopped') return;
    this.token = this.deps.token();
    this.state = 'away';
    this.connect();
  }

  #slowDown(socket: SimSocket): void {
    socket.windowBytes = 600;
    socket.reading = false;
  }

  #say(pending: Pending): void {
    pending.sent = true;
    this.request(pending.op, { ...pending.fields, mid: pending.mid }, ({ ok, code }) => {
      if (ok || code === null || !errorCodes[code].retry) {
        this.pending.delete(pending.mid);
        if (ok) this.said.push(pending);
      } else this.later(() => this.state === 'open' && this.pending.has(pending.mid) && this.#say(pending));
    });
  }

  #welcomed(): void {
    this.state = 'open';
    this.away = false;
    this.following.opened();
    for (const pending of this.pending.values()) this.#say(pending);
    if (this.watched.size > 0) this.watch([...this.watched.keys()]);
  }

  #told(users: readonly { user: string; status: string }[]): void {
    for (const { user, status } of users) if (!this.#newer.has(user)) this.watched.set(user, status);
  }

  #received(payload: Buffer): void {
    const { recorder, scheduler } = this.deps;
    const fields = decode(payload, this.format);
    scheduler.note(this.format === 'json' ? payload.toString('latin1') : JSON.stringify(fields));
    recorder.received(this.name, fields);
    const { op, id } = fields;
    if (op === 'welcome') {
      recorder.welcomed(this.name, String(fields.epoch));
      this.following.epoch = String(fields.epoch);
      this.reading.opened(String(fields.epoch), (fields.inbox as { acked: number }).acked);
    }
    if (op === 'ok' || op === 'welcome' || op === 'error') return this.#answered(typeof id === 'number' ? id : 0, fields);
    this.#pushed(fields);
  }

  #answered(id: number, fields: Fields): void {
    const code = fields.op === 'error' ? (fields.code as ErrorCode) : null;
    if (code !== null && neverTold.includes(code)) this.deps.fault(`${this.name} was told ${JSON.stringify(fields)}`);
    const done = this.#open.get(id);
    this.#open.delete(id);
    done?.({ ok: code === null, fields, code });
  }

  #pushed(fields: Fields): void {
    const room = String(fields.room ?? '');
    switch (fields.op) {
      case 'entry':
        return this.following.entry(room, fields.seq as number, (fields.mid ?? null) as string | null);
      case 'gap':
        return this.following.gaps(room, fields.gaps as Gap[]);
      case 'resumed':
        return this.following.resumed(room, fields);
      case 'unsubscribed':
        return this.following.dropped(room, fields.reason as ErrorCode);
      case 'inbox':
        return this.reading.item(fields);
      case 'inbox-gap':
        return this.reading.gap(fields.from as number, fields.to as number);
      case 'presence':
        this.#newer.add(String(fields.user));
        this.watched.set(String(fields.user), String(fields.status));
        return;
    }
  }
}
