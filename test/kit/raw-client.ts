/**
 * The protocol by hand, over `ws` and without our client library, so that tests prove what PROTOCOL.md says and not what
 * the library makes of it. Waits for events, never for time: a test that waits in vain ends by its own time-out.
 */
import { Packr, Unpackr } from 'msgpackr';
import { WebSocket } from 'ws';
import type { Op } from '../../src/protocol/commands.ts';
import type { Entry, ErrorReply, Push, Reply } from '../../src/protocol/pushes.ts';
import type { Recorder } from '../../src/testing/recorder.ts';
import type { Format } from '../../src/thread/messages.ts';
import { checkFrame } from './wire-schemas.ts';

export type Frame = Record<string, unknown>;
export type Closed = { code: number; reason: string };
export type ClientOptions = {
  format?: Format;
  user?: string;
  device?: string;
  token?: string;
  headers?: Record<string, string>;
  path?: string;
  /** Keeps what happens in a history that the checker reads. */
  recorder?: Recorder;
  /** Opens the socket only. */
  hello?: false;
  /** The shards behind the gateway are a test's, and so are the fields of what they send. */
  pretended?: true;
};
/** A reply as it came: the fields of `ok`, or of `error`. Tests read fields of both, so both sets are there. */
export type Answer<O extends Op = Op> = { op: 'ok' | 'welcome' | 'error'; id: number } & Reply<O> & Omit<ErrorReply, 'op' | 'id'>;

/** What comes without being the answer to a command with an id; a command without one can still fail. */
export type Pushed = Push | ErrorReply;

type Waiter = { seek(): boolean; fail(error: Error): void };

const open = new Set<RawClient>();
const packr = new Packr({ useRecords: false });
const unpackr = new Unpackr({ useRecords: false, int64AsType: 'number' });

export function closeAllClients(): void {
  for (const client of open) client.terminate();
  open.clear();
}

export class RawClient {
  readonly socket: WebSocket;
  readonly format: Format;
  readonly user: string;
  readonly name: string;
  /** Every frame that answered no command of ours, in order. */
  readonly pushes: Pushed[] = [];
  readonly closed: Promise<Closed>;
  welcome: Answer<'hello'> | null = null;
  /** Called with every push, after it was recorded. */
  onPush: (push: Pushed) => void = () => {};
  readonly #recorder: Recorder | undefined;
  readonly #pretended: boolean;
  readonly #entries = new Map<string, Entry[]>();
  #untaken: Pushed[] = [];
  #waiters: Waiter[] = [];
  #answers = new Map<number, { op: string; resolve(answer: Answer): void; reject(error: Error): void }>();
  #lastId = 0;
  #ended: Closed | null = null;

  /** Resolves when the hub said welcome (with `hello: false`: when the socket is open). */
  static async connect(url: string, options: ClientOptions = {}): Promise<RawClient> {
    const client = new RawClient(url, options);
    await new Promise<void>((resolve, reject) => {
      client.socket.once('open', resolve);
      client.socket.once('unexpected-response', (_request, response) => reject(new Error(`HTTP ${response.statusCode}`)));
      client.socket.once('error', reject);
    });
    if (options.hello === false) return client;
    const { user, device, token } = options;
    client.welcome = await client.ok('hello', token === undefined ? { user, device } : { token, device });
    options.recorder?.welcomed(client.name, client.welcome.epoch);
    return client;
  }

  private constructor(url: string, options: ClientOptions) {
    this.format = options.format ?? 'json';
    this.user = options.user ?? '';
    this.#recorder = options.recorder;
    this.#pretended = options.pretended ?? false;
    this.name = options.recorder?.client(this.user) ?? this.user;
    this.socket = new WebSocket(`${url}${options.path ?? ''}`, `hubbub.v1.${this.format}`, { headers: options.headers, perMessageDeflate: false });
    this.socket.on('error', () => {}); // what it ends in is `close`
    this.socket.on('message', (data: Buffer, binary) => this.#receive(data, binary));
    this.closed = new Promise((resolve) => {
      this.socket.once('close', (code, reason) => {
        this.#ended = { code, reason: reason.toString() };
        open.delete(this);
        this.#recorder?.closed(this.name, code);
        const error = new Error(`${this.user}: the connection closed with ${code} ${reason.toString()}`);
        for (const { reject } of this.#answers.values()) reject(error);
        this.#answers.clear();
        for (const waiter of this.#waiters.splice(0)) if (!waiter.seek()) waiter.fail(error);
        resolve(this.#ended);
      });
    });
    open.add(this);
  }

  /** Sends one command and resolves to its answer, `error` too. Rejects when the connection closes before. */
  command<O extends Op>(op: O, fields: Frame = {}): Promise<Answer<O>> {
    const id = ++this.#lastId;
    return this.#ask<O>({ op, id, ...fields }, id);
  }

  /** The same where only `ok` will do. */
  async ok<O extends Op>(op: O, fields: Frame = {}): Promise<Answer<O>> {
    const answer = await this.command(op, fields);
    if (answer.op === 'error') throw new Error(`${this.user}: ${op} ${JSON.stringify(fields)} was refused: ${answer.code}: ${answer.message}`);
    return answer;
  }

  /** The code of a refusal; the command being carried out is a failure. */
  async refused(op: Op, fields: Frame = {}): Promise<string> {
    const answer = await this.command(op, fields);
    if (answer.op !== 'error') throw new Error(`${this.user}: ${op} ${JSON.stringify(fields)} was not refused: ${JSON.stringify(answer)}`);
    return answer.code;
  }

  /** Any map at all, valid or not, without waiting. */
  send(frame: unknown): void {
    this.sendRaw(this.format === 'json' ? JSON.stringify(frame) : packr.pack(frame));
  }

  sendRaw(data: string | Uint8Array): void {
    this.socket.send(data);
  }

  /** Sends any map with an `id` and resolves to its answer. */
  ask(frame: Frame): Promise<Answer> {
    const id = ++this.#lastId;
    return this.#ask({ id, ...frame }, id);
  }

  /** Takes the first push that matches and was not taken before, now or when it comes. */
  next<K extends Pushed['op']>(op: K, matches: (push: Extract<Pushed, { op: K }>) => boolean = () => true): Promise<Extract<Pushed, { op: K }>> {
    type Wanted = Extract<Pushed, { op: K }>;
    return this.#wait(() => {
      const at = this.#untaken.findIndex((push) => push.op === op && matches(push as Wanted));
      return at < 0 ? undefined : (this.#untaken.splice(at, 1)[0] as Wanted);
    });
  }

  get ended(): Closed | null {
    return this.#ended;
  }

  /** Resolves when `condition` holds; asked after every push. */
  async until(condition: () => boolean): Promise<void> {
    await this.#wait(() => (condition() ? true : undefined));
  }

  /** Entries of a room that came as pushes, in order. */
  entries(room: string): readonly Entry[] {
    return this.#entries.get(room) ?? [];
  }

  /** Everything the hub sent before it answers this has arrived. */
  async settled(): Promise<void> {
    await this.ok('ping');
  }

  /** Stops taking bytes from the socket. */
  pause(): void {
    this.socket.pause();
  }

  resume(): void {
    this.socket.resume();
  }

  async close(): Promise<Closed> {
    this.socket.close(1000);
    return await this.closed;
  }

  /** Ends without a goodbye. */
  terminate(): void {
    this.socket.terminate();
  }

  #ask<O extends Op>(given: Frame, id: number): Promise<Answer<O>> {
    // A field that is undefined is one that is missing, as JSON has it.
    const frame = Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined));
    if (this.#ended) return Promise.reject(new Error(`${this.user}: closed with ${this.#ended.code}`));
    this.#recorder?.sent(this.name, frame);
    const answer = new Promise<Answer>((resolve, reject) => this.#answers.set(id, { op: String(frame.op), resolve, reject }));
    this.send(frame);
    return answer as Promise<Answer<O>>;
  }

  #receive(data: Buffer, binary: boolean): void {
    if (binary !== (this.format === 'msgpack')) throw new Error(`a ${binary ? 'binary' : 'text'} frame in ${this.format}`);
    const frame = (binary ? unpackr.unpack(data) : JSON.parse(data.toString('utf8'))) as Frame;
    const answered = typeof frame.id === 'number' && ['ok', 'error', 'welcome'].includes(String(frame.op)) ? this.#answers.get(frame.id) : undefined;
    // Runs inside every test: a field that nobody meant to send is found where it is sent.
    if (!this.#pretended) checkFrame(frame, answered?.op ?? null);
    this.#recorder?.received(this.name, frame);
    if (answered) {
      this.#answers.delete(frame.id as number);
      answered.resolve(frame as unknown as Answer);
      return;
    }
    const push = frame as unknown as Pushed;
    this.pushes.push(push);
    this.#untaken.push(push);
    if (push.op === 'entry') {
      const entries = this.#entries.get(push.room);
      if (entries) entries.push(push);
      else this.#entries.set(push.room, [push]);
    }
    this.onPush(push);
    for (let i = 0; i < this.#waiters.length; ) {
      if (this.#waiters[i]?.seek()) this.#waiters.splice(i, 1);
      else i++;
    }
  }

  #wait<T>(seek: () => T | undefined): Promise<T> {
    return new Promise((resolve, reject) => {
      const waiter: Waiter = {
        seek() {
          const found = seek();
          if (found !== undefined) resolve(found);
          return found !== undefined;
        },
        fail: reject,
      };
      if (waiter.seek()) return;
      if (this.#ended) reject(new Error(`${this.user}: closed with ${this.#ended.code} ${this.#ended.reason}`));
      else this.#waiters.push(waiter);
    });
  }
}
