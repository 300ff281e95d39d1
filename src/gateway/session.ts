/**
 * Hello and what follows from it: authentication, the home shard's welcome or refusal, the commands that were sent ahead,
 * and the refreshing of tokens. Nothing of a connection reaches a shard before its token was checked.
 */
import { decode } from '../protocol/codec.ts';
import { type CloseReason, CodedError, type ErrorCode, errorCodes } from '../protocol/codes.ts';
import type { Command } from '../protocol/commands.ts';
import type { WireLimits } from '../protocol/limits.ts';
import { allRoom } from '../protocol/names.ts';
import type { Welcome } from '../protocol/pushes.ts';
import { parseCommand } from '../protocol/validate.ts';
import { Alike } from '../thread/alike.ts';
import type { Clock } from '../thread/clock.ts';
import type { Log } from '../thread/log.ts';
import type { ToGateway } from '../thread/messages.ts';
import { placeOf } from '../thread/placement.ts';
import type { Authenticator, Identity } from './authenticate.ts';
import { type Connection, open } from './connection.ts';
import type { Pool } from './pool.ts';
import { codeFor, refusal, refusalOf } from './refusal.ts';
import type { Shards } from './shards.ts';
import { following } from './subscriptions.ts';

/** Commands sent ahead of the welcome; beyond either, reading pauses (DESIGN 11.19). */
const heldMax = 64;
const heldBytesMax = 64 * 1024;
/** Where ws reads by itself (a message in fragments came), a pause does not hold for the chunk at hand: what is beyond this is refused. */
const heldAnywayMax = 1_024;
/** How long before the end of its token a client is told, or a quarter of the token's time if that is less. */
const noticeMs = 60_000;

export type SessionDeps = {
  authenticate: Authenticator;
  clock: Clock;
  log: Log;
  pool: Pool;
  shards: Shards;
  limits: WireLimits;
  heartbeatMs: number;
  /** Takes a frame that was held, in order, once the connection is open. */
  receive(connection: Connection, bytes: Buffer): void;
};

export class Session {
  readonly #deps: SessionDeps;
  readonly #scopes = new Alike();
  /** Of the last welcome; positions that the gateway states for a connection are of it. */
  epoch = '';

  constructor(deps: SessionDeps) {
    this.#deps = deps;
  }

  /** The frame of a hello, the first command of a connection. Throws what it is refused with; then another may follow. */
  hello(connection: Connection, bytes: Buffer): void {
    const { phase, format, bearer } = connection;
    if (phase.is !== 'hello') throw new CodedError('bad-request', 'hello was said already', 'op');
    const command = parseCommand(decode(bytes, format)) as Command<'hello'>;
    connection.phase = { is: 'opening', deadline: phase.deadline, id: command.id, known: false, held: [], heldBytes: 0 };
    connection.bearer = null;
    const token = command.token ?? bearer ?? undefined;
    void this.#authenticate(connection, { token, user: command.user }, (identity) => this.#known(connection, command, identity)).catch((error: unknown) =>
      this.#refused(connection, command.id, 'hello', error),
    );
  }

  /** Keeps a command that came before the welcome. False: there is none to wait for, or too much waits already. */
  hold(connection: Connection, bytes: Buffer): boolean {
    const { phase } = connection;
    if (phase.is !== 'opening' || phase.held.length >= heldAnywayMax) return false;
    phase.held.push(Buffer.from(bytes));
    phase.heldBytes += bytes.length;
    if (!connection.paused.held && (phase.held.length >= heldMax || phase.heldBytes >= heldBytesMax)) connection.pause('held');
    return true;
  }

  /** Says (again) hello to the home shard, for connections that wait for its welcome; nothing while it has no thread. */
  introduce(connection: Connection, told?: true): void {
    const { shards } = this.#deps;
    if (shards.get(connection.home).link === null) return;
    shards.open(connection, connection.home);
    const again = connection.phase.is !== 'opening';
    const { number, issuedAt, jti } = connection;
    shards.tell(connection.home, { t: 'hello', connection: number, again, issuedAt, ...(jti !== undefined && { jti }), ...(told && { told }) });
  }

  welcome(connection: Connection, message: ToGateway & { t: 'welcome' }): void {
    const { phase } = connection;
    if (phase.is !== 'opening') return;
    const { clock, shards, limits, heartbeatMs } = this.#deps;
    this.epoch = message.epoch;
    const { user, id, device } = connection;
    const welcome: Welcome = {
      user,
      connection: id,
      device,
      epoch: message.epoch,
      expiresInMs: connection.expiresAt === null ? null : Math.max(0, Math.round(connection.expiresAt - clock.tick())),
      limits,
      heartbeatMs,
      inbox: message.inbox,
    };
    connection.phase = open;
    connection.revokedAt = message.revokedAt;
    connection.answer({ op: 'welcome', id: phase.id, ...welcome });
    const shard = placeOf(allRoom, shards.all.length);
    following(connection, allRoom, shard, message.allMark);
    this.follow(connection, allRoom);
    this.#release(connection, phase.held);
  }

  /** Tells the room's shard to go on where the gateway's last write ended; nothing while it has no thread. */
  follow(connection: Connection, room: string): void {
    const { shards } = this.#deps;
    const subscription = connection.rooms.get(room);
    if (subscription?.state.is !== 'behind' || shards.get(subscription.shard).link === null) return;
    shards.open(connection, subscription.shard);
    const position = { epoch: this.epoch, seq: subscription.state.lastSeq };
    shards.tell(subscription.shard, { t: 'follow', connection: connection.number, room, position, presence: subscription.presence });
  }

  refuse(connection: Connection, close: CloseReason): void {
    const { phase } = connection;
    if (phase.is === 'opening') connection.answer(refusalOf(phase.id, 'hello', codeFor(close)));
    this.#deps.pool.close(connection, close, true);
  }

  refresh(connection: Connection, bytes: Buffer): void {
    const { shards } = this.#deps;
    const command = parseCommand(decode(bytes, connection.format)) as Command<'refresh'>;
    if (connection.refreshing) throw new CodedError('busy', 'a refresh is under way');
    connection.refreshing = true;
    if (command.id !== undefined) connection.commands.set(command.id, { is: 'here', op: 'refresh' });
    const done = (fields: Record<string, unknown> | null): void => {
      connection.refreshing = false;
      if (command.id !== undefined) connection.commands.delete(command.id);
      if (fields !== null && (fields.op === 'error' || command.id !== undefined)) connection.answer(fields);
    };
    void this.#authenticate(connection, { token: command.token, user: undefined }, (identity) => {
      if (identity.user !== connection.user) throw new CodedError('auth-failed', 'the token is of another user', 'token');
      // A later revocation closes the connection, so what it knew at its welcome is enough.
      if (connection.revokedAt > 0 && identity.issuedAtMs <= connection.revokedAt) throw new CodedError('auth-failed', 'the token was revoked', 'token');
      this.#renew(connection, identity, (refused) => {
        if (refused !== null) return done(refusal(command.id, 'refresh', refused));
        this.#expire(connection, identity);
        shards.rescope(connection);
        done({ op: 'ok', id: command.id, expiresInMs: identity.expiresAtMs === null ? null : Math.max(0, identity.expiresAtMs - this.#deps.clock.now()) });
      });
    }).catch((error: unknown) => done(refusal(command.id, 'refresh', this.#coded(error))));
  }

  /** What the home shard says to the fresh token of a connection. */
  renewed(connection: Connection, code: ErrorCode | null): void {
    const { renewing } = connection;
    connection.renewing = null;
    if (connection.phase.is === 'closed') return;
    renewing?.(code === null ? null : new CodedError(code, code === 'auth-failed' ? 'the token was revoked' : undefined, 'token'));
  }

  /** Whether a token was revoked by its id, only the store knows; one without, or the one that is in use, is judged already. */
  #renew(connection: Connection, { issuedAtMs: issuedAt, jti }: Identity, then: (refused: CodedError | null) => void): void {
    const { shards } = this.#deps;
    const { home, number, jti: present } = connection;
    if (jti === present) return then(null);
    if (!shards.ready(home)) throw new CodedError('busy', 'tokens cannot be checked right now');
    connection.renewing = then;
    shards.tell(home, { t: 'hello', connection: number, again: true, issuedAt, ...(jti !== undefined && { jti }), renews: true });
  }

  async #authenticate(
    connection: Connection,
    claim: { token: string | undefined; user: string | undefined },
    then: (identity: Identity) => void,
  ): Promise<void> {
    const identity = await this.#deps.authenticate(claim);
    if (connection.phase.is !== 'closed') then(identity);
  }

  #known(connection: Connection, command: Command<'hello'>, identity: Identity): void {
    const { pool, shards } = this.#deps;
    if (connection.phase.is !== 'opening') return;
    connection.phase.known = true;
    connection.user = identity.user;
    connection.device = command.device ?? '';
    connection.home = placeOf(identity.user, shards.all.length);
    this.#expire(connection, identity);
    pool.identify(connection);
    this.introduce(connection);
  }

  #expire(connection: Connection, { expiresAtMs, issuedAtMs, jti, scopes }: Identity): void {
    const { clock } = this.#deps;
    connection.issuedAt = issuedAtMs;
    connection.jti = jti;
    connection.scopes = this.#scopes.of(scopes);
    connection.warned = false;
    if (expiresAtMs === null) connection.expiresAt = null;
    else {
      const left = expiresAtMs - clock.now();
      connection.expiresAt = clock.tick() + left;
      connection.noticeMs = Math.min(noticeMs, left / 4);
    }
  }

  #refused(connection: Connection, id: number | undefined, of: string, thrown: unknown): void {
    const error = this.#coded(thrown);
    connection.answer(refusal(id, of, error));
    this.#deps.pool.close(connection, closeFor(error), true);
  }

  #release(connection: Connection, held: readonly Buffer[]): void {
    for (const bytes of held) this.#deps.receive(connection, bytes);
    connection.unpause('held');
  }

  #coded(error: unknown): CodedError {
    if (error instanceof CodedError) return error;
    this.#deps.log('error', 'authentication failed by a fault', { error });
    return new CodedError('internal');
  }
}

function closeFor({ code }: CodedError): CloseReason {
  if (code === 'token-expired') return 'token-expired';
  if (code === 'internal') return 'fault';
  return errorCodes[code].retry ? 'overloaded' : 'auth-failed';
}
