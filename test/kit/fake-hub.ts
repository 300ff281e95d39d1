/**
 * A clock that stands still until it is told to go, and a WebSocket whose other end is the test: it accepts, reads what the
 * client sent and says what a hub would say, step by step.
 */
import type { ClientClock } from '../../src/client/clock.ts';
import { type ConnectOptions, connect, type Gap, type Hub, type Room, type WebSocketLike } from '../../src/client/index.ts';
import { decode, encode, type Format, subprotocols } from '../../src/protocol/codec.ts';
import { wireLimitDefaults } from '../../src/protocol/limits.ts';

export type Frame = Record<string, unknown> & { op: string; id?: number };
type Timer = { at: number; order: number; run: () => void };

/** Lets every promise that can go on go on. */
export function settle(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

export class FakeClock implements ClientClock {
  /** What `random` answers. */
  chance = 0;
  #ms = 0;
  #order = 0;
  #seed = 1;
  readonly #timers = new Set<Timer>();

  now(): number {
    return 1_790_000_000_000 + this.#ms;
  }
  tick(): number {
    return this.#ms;
  }
  random(): number {
    return this.chance;
  }
  bytes(count: number): Uint8Array {
    return Uint8Array.from({ length: count }, () => {
      this.#seed = (this.#seed * 1_103_515_245 + 12_345) % 2 ** 31;
      return (this.#seed >> 16) & 255;
    });
  }
  after(ms: number, run: () => void): () => void {
    const timer = { at: this.#ms + ms, order: this.#order++, run };
    this.#timers.add(timer);
    return () => this.#timers.delete(timer);
  }

  get timers(): number {
    return this.#timers.size;
  }

  /** Runs what falls due in the next `ms`, in its order, with promises settled between. */
  async advance(ms: number): Promise<void> {
    const until = this.#ms + ms;
    await settle();
    for (;;) {
      const [next] = [...this.#timers].filter((timer) => timer.at <= until).sort((a, b) => a.at - b.at || a.order - b.order);
      if (next === undefined) break;
      this.#timers.delete(next);
      this.#ms = Math.max(this.#ms, next.at);
      next.run();
      await settle();
    }
    this.#ms = until;
  }
}

/** One connection, seen from both ends: the client uses the WebSocket half, the test the rest. */
export class FakeSocket implements WebSocketLike {
  binaryType = 'blob';
  bufferedAmount = 0;
  onopen: ((event: never) => void) | null = null;
  onmessage: ((event: never) => void) | null = null;
  onclose: ((event: never) => void) | null = null;
  onerror: ((event: never) => void) | null = null;
  readonly url: string;
  readonly protocol: string;
  /** Everything the client sent, and what of it no test has taken yet. */
  readonly sent: Frame[] = [];
  readonly untaken: Frame[] = [];
  /** The code of the client's goodbye. */
  closedWith: number | undefined;
  terminated = false;
  state: 'connecting' | 'open' | 'closed' = 'connecting';

  constructor(url: string, protocols: string[]) {
    this.url = url;
    this.protocol = protocols[0] ?? '';
  }

  get format(): Format {
    return subprotocols[this.protocol] ?? 'json';
  }

  send(data: string | Uint8Array): void {
    if (this.state !== 'open') throw new Error(`send on a socket that is ${this.state}`);
    if ((typeof data === 'string') !== (this.format === 'json')) throw new Error('text frames for json, binary ones for msgpack');
    const frame = decode(data, this.format) as Frame;
    this.sent.push(frame);
    this.untaken.push(frame);
  }
  close(code?: number): void {
    this.closedWith = code;
  }
  terminate(): void {
    this.terminated = true;
    this.state = 'closed';
  }

  accept(): this {
    this.state = 'open';
    this.onopen?.({} as never);
    return this;
  }

  say(...frames: Frame[]): this {
    for (const frame of frames) {
      const data = encode(frame, this.format);
      this.onmessage?.({ data: this.format === 'json' ? new TextDecoder().decode(data) : data.slice().buffer } as never);
    }
    return this;
  }

  /** The next frame of this op, however many others came before it. */
  take(op: string): Frame {
    const at = this.untaken.findIndex((frame) => frame.op === op);
    if (at < 0) throw new Error(`the client sent no ${op}, only ${this.untaken.map((frame) => frame.op).join(', ') || 'nothing'}`);
    return this.untaken.splice(at, 1)[0] as Frame;
  }
  takeAll(op: string): Frame[] {
    const taken = this.untaken.filter((frame) => frame.op === op);
    for (const frame of taken) this.untaken.splice(this.untaken.indexOf(frame), 1);
    return taken;
  }

  ok(to: Frame, fields: object = {}): this {
    return this.say({ op: 'ok', id: to.id, ...fields } as Frame);
  }
  refuse(to: Frame, code: string, more: object = {}): this {
    return this.say({ op: 'error', id: to.id, of: to.op, code, message: code, retry: false, ...more } as Frame);
  }
  welcome(more: object = {}): this {
    const { id } = this.take('hello');
    return this.say({ op: 'welcome', id, ...welcomeFields, ...more } as Frame);
  }

  /** The connection goes; without a code as if the network had swallowed it. */
  drop(code = 1006, reason = ''): void {
    this.state = 'closed';
    this.onclose?.({ code, reason } as never);
  }
}

export const welcomeFields = {
  user: 'alice',
  connection: 'c1',
  device: 'default',
  epoch: 'e1',
  expiresInMs: null,
  limits: wireLimitDefaults,
  heartbeatMs: 25_000,
  inbox: { head: 0, acked: 0 },
};

export type Scene = {
  clock: FakeClock;
  hub: Hub;
  sockets: FakeSocket[];
  /** The latest connection. */
  last(): FakeSocket;
  /** Lets the client dial, accepts and welcomes. */
  open(more?: object): Promise<FakeSocket>;
  /** The connection is lost; steps over the backoff and welcomes the next one. */
  reopen(more?: object): Promise<FakeSocket>;
  errors: { code: string; message: string }[];
  states: string[];
};

/** A client with a fake clock and fake sockets; json unless stated, which fails readably. */
export function scene(options: Partial<ConnectOptions> = {}): Scene {
  const clock = new FakeClock();
  const sockets: FakeSocket[] = [];
  class Socket extends FakeSocket {
    constructor(url: string, protocols: string[]) {
      super(url, protocols);
      sockets.push(this);
    }
  }
  const hub = connect('ws://hub.example/', { ...(options.token === undefined ? { user: 'alice' } : {}), format: 'json', webSocket: Socket, clock, ...options });
  const errors: Scene['errors'] = [];
  const states: string[] = [];
  hub.on('error', (error) => errors.push(error));
  hub.on('state', (state) => states.push(state.is));
  const last = () => {
    const socket = sockets.at(-1);
    if (socket === undefined) throw new Error('the client made no socket');
    return socket;
  };
  const open = async (more?: object) => {
    await settle();
    const socket = last().accept().welcome(more);
    await settle();
    return socket;
  };
  const reopen = async (more?: object) => {
    const before = sockets.length;
    if (last().state !== 'closed') last().drop();
    await clock.advance(hub.state.is === 'waiting' ? hub.state.retryInMs : 0);
    if (sockets.length !== before + 1) throw new Error(`${sockets.length - before} new connections instead of one`);
    return open(more);
  };
  return { clock, hub, sockets, last, open, reopen, errors, states };
}

export function entry(room: string, seq: number, more: object = {}): Frame {
  return { op: 'entry', room, seq, kind: 'message', mid: null, from: 'bob', ts: 1, body: `${room} ${seq}`, ...more };
}

export const at = (seq: number, epoch = 'e1') => ({ epoch, seq });

/** Subscribes and attaches `name` at `seq`, with what the room says recorded. */
export async function follow(
  { hub, clock }: Scene,
  socket: FakeSocket,
  name: string,
  reply: object = { position: at(0), recovered: true },
  options: Parameters<Scene['hub']['subscribe']>[1] = {},
): Promise<{ room: Room; seqs: number[]; gaps: Gap[]; ended: string[] }> {
  const promise = hub.subscribe(name, options);
  await settle();
  socket.ok(socket.take('subscribe'), { room: name, ...reply });
  const room = await promise;
  const seqs: number[] = [];
  const gaps: Gap[] = [];
  const ended: string[] = [];
  room.on('entry', (one) => seqs.push(one.seq));
  room.on('gap', (gap) => gaps.push(gap));
  room.on('unsubscribed', ({ reason }) => ended.push(reason));
  await clock.advance(0);
  return { room, seqs, gaps, ended };
}
