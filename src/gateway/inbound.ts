/**
 * What comes in from sockets: every frame is scanned and counted against its connection's limits here, then answered by the
 * gateway itself or sent on its way to a shard. A fault in it closes that connection and no other.
 */

import { maySend } from '../protocol/authorize.ts';
import { decode } from '../protocol/codec.ts';
import { CodedError, type ErrorCode } from '../protocol/codes.ts';
import { isOp } from '../protocol/commands.ts';
import type { Header } from '../protocol/header.ts';
import { ScanError } from '../protocol/header.ts';
import { PublishFrame } from '../protocol/publish-frame.ts';
import { scan } from '../protocol/scan.ts';
import { parseCommand } from '../protocol/validate.ts';
import type { Clock } from '../thread/clock.ts';
import type { Log } from '../thread/log.ts';
import type { Backlog } from './backlog.ts';
import type { Connection } from './connection.ts';
import type { Counters } from './counters.ts';
import { pongFrame } from './frame.ts';
import type { Limits } from './limits.ts';
import type { Outbox } from './outbox.ts';
import type { Pool } from './pool.ts';
import { refusal } from './refusal.ts';
import type { Routing } from './routing.ts';
import type { Session } from './session.ts';
import type { Shards } from './shards.ts';

export type InboundDeps = {
  clock: Clock;
  log: Log;
  counters: Counters;
  outbox: Outbox;
  pool: Pool;
  shards: Shards;
  routing: Routing;
  session: Session;
  backlog: Backlog;
  limits: { badFramesMax: number };
  rates: Limits;
  /** The sweep's time: coarse, and cheap to read. */
  time: { readonly now: number };
};

/** What only a broken or hostile client sends. */
const faults: ReadonlySet<ErrorCode> = new Set(['bad-frame', 'bad-request', 'bad-value', 'unknown-op', 'unauthenticated', 'too-large']);
/** What the client's library does by itself says nothing about its user. */
const automatic: ReadonlySet<string> = new Set(['ping', 'ack', 'refresh']);
/** Of a frame that could not be read: it is about no room. */
const nothing: Header = { op: '', id: undefined, room: undefined, to: undefined, as: undefined, mid: undefined };

export class Inbound {
  readonly #deps: InboundDeps;
  readonly #publish = new PublishFrame();

  constructor(deps: InboundDeps) {
    this.#deps = deps;
  }

  /** One message of a socket. */
  message(connection: Connection, bytes: Buffer, binary: boolean): void {
    const { backlog, counters } = this.#deps;
    if (connection.phase.is === 'closed') return;
    counters.framesIn++;
    counters.bytesIn += bytes.length;
    connection.framesIn++;
    try {
      if (binary !== (connection.format === 'msgpack')) {
        const kind = binary ? 'text frames, not binary ones' : 'binary frames, not text ones';
        this.#refuse(connection, undefined, undefined, new CodedError('bad-frame', `hubbub.v1.${connection.format} takes ${kind}`));
      } else if (connection.waitsFor >= 0 && backlog.wait(connection)) backlog.hold(connection, bytes);
      else {
        this.#receive(connection, bytes);
        if (connection.waitsFor >= 0) backlog.wait(connection);
      }
      if (connection.backed) this.#deps.outbox.restrain(connection);
    } catch (error) {
      this.#fault(connection, error);
    }
  }

  /** A ping of WebSocket itself. Answered whatever the rates are, for a peer without its pong hangs up; but counted as a command. */
  ping(connection: Connection, payload: Buffer): void {
    if (connection.phase.is === 'closed') return;
    const { outbox, pool, rates } = this.#deps;
    outbox.sendFrame(connection, pongFrame(payload));
    if (connection.backed) outbox.restrain(connection);
    if (rates.refuses(connection, nothing, payload.length) !== null && rates.abused(connection)) pool.close(connection, 'abuse', true);
  }

  /** A frame that had to wait for a shard, or for the welcome. */
  held(connection: Connection, bytes: Buffer): void {
    try {
      this.#receive(connection, bytes);
    } catch (error) {
      this.#fault(connection, error);
    }
  }

  #receive(connection: Connection, bytes: Buffer): void {
    if (connection.phase.is === 'closed') return;
    if (this.#deps.session.hold(connection, bytes)) return;
    let header: Header;
    try {
      header = connection.format === 'json' && this.#publish.read(bytes) ? this.#publish.header() : scan(bytes, connection.format);
    } catch (error) {
      if (!(error instanceof CodedError)) throw error;
      this.#unreadable(connection, error, bytes.length);
      return;
    }
    const excess = this.#deps.rates.refuses(connection, header, bytes.length);
    if (excess !== null) {
      this.#slowDown(connection, header.id, header.op, excess);
      return;
    }
    try {
      this.#command(connection, bytes, header);
      connection.badFrames = 0;
    } catch (error) {
      if (!(error instanceof CodedError)) throw error;
      this.#refuse(connection, header.id, header.op, error);
    }
  }

  #command(connection: Connection, bytes: Buffer, header: Header): void {
    const { session, routing, time, clock } = this.#deps;
    const { op, id } = header;
    if (connection.phase.is === 'hello') {
      if (!isOp(op) || !maySend('anonymous', op)) throw new CodedError('unauthenticated');
      session.hello(connection, bytes);
      return;
    }
    if (connection.phase.is === 'opening') throw new CodedError('busy', 'too many commands were sent ahead of the welcome');
    if (connection.phase.is === 'draining') throw new CodedError('draining');
    if (!automatic.has(op)) {
      connection.commandAt = time.now;
      if (connection.idle) this.#awake(connection);
    }
    if (id !== undefined && connection.commands.has(id)) throw new CodedError('bad-request', 'a command of this id is not answered yet', 'id');
    switch (op) {
      case 'hello':
        session.hello(connection, bytes);
        break;
      case 'refresh':
        session.refresh(connection, bytes);
        break;
      case 'ping':
        parseCommand(decode(bytes, connection.format));
        if (id !== undefined) connection.answer({ op: 'ok', id, now: clock.now() });
        break;
      default:
        routing.route(connection, bytes, header);
    }
  }

  #awake(connection: Connection): void {
    connection.idle = false;
    this.#deps.shards.tell(connection.home, { t: 'idle', connection: connection.number, idle: false });
  }

  /** Reading it was as much work as reading a command, so it is paid for like one. */
  #unreadable(connection: Connection, error: CodedError, bytes: number): void {
    const { id, op } = error instanceof ScanError ? error : { id: undefined, op: undefined };
    const excess = this.#deps.rates.refuses(connection, nothing, bytes);
    if (excess === null) this.#refuse(connection, id, op, error);
    else this.#slowDown(connection, id, op, excess);
  }

  #slowDown(connection: Connection, id: number | undefined, op: string | undefined, excess: CodedError): void {
    const { counters, pool, rates } = this.#deps;
    counters.rateLimited++;
    connection.answer(refusal(id, op, excess));
    if (rates.abused(connection)) pool.close(connection, 'abuse', true);
  }

  #fault(connection: Connection, error: unknown): void {
    this.#deps.log('error', 'a frame was not handled by a fault', { connection: connection.id, error });
    this.#deps.pool.close(connection, 'fault');
  }

  #refuse(connection: Connection, id: number | undefined, of: string | undefined, error: CodedError): void {
    const { counters, pool, limits } = this.#deps;
    connection.answer(refusal(id, of, error));
    if (!faults.has(error.code)) return;
    counters.badFrames++;
    if (++connection.badFrames > limits.badFramesMax) pool.close(connection, 'abuse', true);
  }
}
