/**
 * What the gateway knows of those who send commands: a `Connection` (one socket) or a service of the backend API, and what
 * each has under way. State only; what happens to it is in the files that are named at the fields.
 */
import type { Socket } from 'node:net';
import type { CodedError } from '../protocol/codes.ts';
import type { Bucket } from '../thread/bucket.ts';
import { FewMap } from '../thread/few.ts';
import type { ConnectionId, Format, RoomKey } from '../thread/messages.ts';
import { addressOf } from './addresses.ts';
import type { Allowance } from './limits.ts';
import type { Peer } from './peer.ts';
import type { Tail } from './tail.ts';

/** Fields of a map that is sent; those without a value are left out. */
export type Fields = Record<string, unknown>;

/** `hello`: nothing but one hello is taken. `opening`: it is being answered. `draining`: answers only. `closed`: the socket may linger. */
export type Phase =
  | { is: 'hello'; deadline: number }
  | { is: 'opening'; deadline: number; id: number | undefined; known: boolean; held: Buffer[]; heldBytes: number }
  | { is: 'open' }
  | { is: 'draining' }
  | { is: 'closed' };
export type PhaseName = Phase['is'];

/** A command that waits for its answer. The plain ones, by far the most, are shared objects: one per op and shard. */
export type OpenCommand =
  /** `repeatable`: sending it again cannot do it twice. */
  | { is: 'plain'; op: string; shard: number; repeatable: boolean }
  | { is: 'subscribe'; op: 'subscribe'; shard: number; room: string }
  | {
      is: 'scatter';
      op: 'who' | 'watch' | 'unwatch' | 'resume' | 'revoke' | 'disable';
      waiting: Set<number>;
      names: Map<number, string[]>;
      lists: Record<string, unknown[]>;
    }
  | { is: 'here'; op: string };

/** A room that a connection follows; its key is the room's name. */
export type Subscription = {
  readonly room: string;
  readonly shard: number;
  presence: boolean;
  /** While it is live, the id (0: none) of a command that asks anew: the shard ends this subscription and begins another. */
  anew: number | null;
  state: /** By the command `id` (0: it had none), and not attached yet: only the client knows the position. */
    | { is: 'asked'; id: number }
    /** Fed by pages; `lastSeq` is the last seq that was written, or stated as a gap. */
    | { is: 'behind'; lastSeq: number }
    /** In the slot, at `index` of the list of the connection's format; by the shard's `attachment`. */
    | { is: 'live'; slot: Slot; index: number; attachment: number };
};

/** The live subscribers of one active room, by format: what a delivery that names the room goes to. */
export type Slot = {
  readonly roomKey: RoomKey;
  readonly room: string;
  readonly shard: number;
  lastSeq: number;
  readonly lists: readonly [json: Connection[], msgpack: Connection[]];
};

const none: readonly string[] = [];
/** The states of most connections are shared objects. */
export const open: Phase = { is: 'open' };
export const closed: Phase = { is: 'closed' };
const unpaused = { held: false, outbox: false, backlog: false } as const;

export abstract class Sender {
  readonly number: ConnectionId;
  readonly format: Format;
  readonly service: boolean;
  user = '';
  device = '';
  scopes: readonly string[] = none;
  home = 0;
  /** A shard that has enough under way and has just been sent something more (-1: none). */
  waitsFor = -1;
  /** By shard: whether it knows of this sender. */
  readonly opened: boolean[];
  readonly commands = new FewMap<number, OpenCommand>();

  constructor(number: ConnectionId, format: Format, service: boolean, shards: number) {
    this.number = number;
    this.format = format;
    this.service = service;
    this.opened = new Array<boolean>(shards).fill(false);
  }

  abstract answer(fields: Fields): void;
}

export type ConnectionInit = {
  number: ConnectionId;
  id: string;
  format: Format;
  shards: number;
  ws: Peer<Connection>;
  socket: Socket;
  /** '': its socket's own. */
  address: string;
  bearer: string | null;
  openedAt: number;
  /** The sweep's time. */
  now: number;
  helloTimeoutMs: number;
  /** From which age of the last sign of life a ping is sent. */
  pingAfterMs: number;
};

export class Connection extends Sender {
  readonly id: string;
  readonly ws: Peer<Connection>;
  /** The socket that `upgrade` handed over: ready frames are written to it beside `ws` (DESIGN 11.8). */
  readonly socket: Socket;
  readonly #address: string;
  /** Wall clock, for people. */
  readonly openedAt: number;
  /** Token of the Authorization header, until hello. */
  bearer: string | null;
  phase: Phase;
  readonly rooms = new FewMap<string, Subscription>();
  readonly watches = new FewMap<string, number>();
  /** Monotonic; null: the token does not expire. */
  expiresAt: number | null = null;
  /** Of its token, ms of the wall clock; 0: it does not say, Infinity: there was none. And until when its user's tokens were revoked at its welcome. */
  issuedAt = 0;
  revokedAt = 0;
  /** The id of that token, where it has one. */
  jti: string | undefined = undefined;
  warned = false;
  /** How long before its end the client is told. */
  noticeMs = 0;
  refreshing = false;
  /** Takes what the home shard says to the fresh token; null: it is not asked. */
  renewing: ((refused: CodedError | null) => void) | null = null;
  /** The client's last word on its own status, which a restarted shard must hear again. */
  saidAway = false;

  // outbox.ts: the range of the current flush's arena that is still to be written (from < 0: none), and what is unsent
  from = -1;
  to = 0;
  touched = false;
  /** Writes since the socket was corked; 0: it is not. */
  corked = 0;
  backed = false;
  /** Whether the outbox hears of its socket's draining. */
  drains = false;
  /** What waits behind unfinished writes. */
  tail: Tail | null = null;
  /** Releases of what the first blocked write holds in memory. */
  blocked: (() => void) | null = null;
  /** Shards that wait for `drained`. Null: none does. */
  paced: number[] | null = null;
  /** Why nothing is read from the socket. */
  paused: Readonly<Record<'held' | 'outbox' | 'backlog', boolean>> = unpaused;

  // backlog.ts: the shard that must catch up before more is taken (-1: none), and the frames that came meanwhile
  waits: Buffer[] | null = null;

  // limits.ts: there once something was asked for; `shared` is the user's, over all his connections
  own: Allowance | null = null;
  shared: Allowance | null = null;
  refusals: Bucket | null = null;

  // inbound.ts
  badFrames = 0;
  framesIn = 0;

  // sweep.ts: all by the sweep's own time
  commandAt: number;
  aliveAt: number;
  pingedAt: number | null = null;
  readonly pingAfterMs: number;
  bytesRead = 0;
  idle = false;
  /** What was queued when the sweep last looked, and when that last moved; null: not looked at since it backed up. */
  queue = 0;
  unsent = 0;
  movedAt: number | null = null;

  constructor(init: ConnectionInit, send: (to: Connection, fields: Fields) => void) {
    super(init.number, init.format, false, init.shards);
    this.id = init.id;
    this.ws = init.ws;
    this.socket = init.socket;
    this.#address = init.address;
    this.bearer = init.bearer;
    this.openedAt = init.openedAt;
    this.phase = { is: 'hello', deadline: init.now + init.helloTimeoutMs };
    this.pingAfterMs = init.pingAfterMs;
    this.commandAt = init.now;
    this.aliveAt = init.now;
    this.#send = send;
  }

  readonly #send: (to: Connection, fields: Fields) => void;

  get address(): string {
    return this.#address || addressOf(this.socket);
  }

  pause(why: keyof Connection['paused']): void {
    this.paused = { ...this.paused, [why]: true };
    this.ws.pause();
  }

  /** Reads on, unless something else speaks against it. */
  unpause(why: keyof Connection['paused']): void {
    const paused = { ...this.paused, [why]: false };
    const still = paused.held || paused.outbox || paused.backlog;
    this.paused = still ? paused : unpaused;
    if (!still) this.ws.resume();
  }

  answer(fields: Fields): void {
    this.#send(this, fields);
  }
}
