/**
 * The actor of one user who is connected to this node or watched on it: admits connections through the store, feeds them
 * their inbox, merges their presence. The directory of the shard calls its steps; nothing here waits or reads a clock.
 *
 *   hello ──▶ connecting ──connected──▶ open ──close──▶ (disconnect owed until the store has it)
 *               │   └──rejected, no room──▶ refused
 *               └──no room, after a restart of the shard──▶ stalled ──tick──▶ connecting
 */
import { type CloseReason, CodedError, type ErrorCode } from '../protocol/codes.ts';
import { FewMap } from '../thread/few.ts';
import type { ConnectionId, InboxItem, InboxLoss, Outcome } from '../thread/messages.ts';
import type { Connection, Effects, Waker } from './actor.ts';
import { failure } from './kept.ts';
import { UserInbox } from './user-inbox.ts';
import { UserPresence } from './user-presence.ts';
import { admission, evict, type Hello, open, type Session, type UserCommand, type UserLimits } from './user-session.ts';

/** Commands of one connection kept while its `connect` is on its way, which after a restart of the shard they may overtake. */
const waitingMax = 64;

export class UserActor implements Waker {
  readonly user: string;
  readonly presence: UserPresence;
  readonly #epoch: string;
  readonly #limits: UserLimits;
  readonly #wake: (actor: UserActor) => void;
  readonly #inbox: UserInbox;
  readonly #sessions = new FewMap<ConnectionId, Session>();
  /** Connections that are gone here and not yet in the store. `owed`: to be tried at the next tick. */
  #leaving: Map<ConnectionId, 'flying' | 'owed'> | null = null;

  /** `wake`: told who asks for a `flush`, as often as there is a reason. */
  constructor(user: string, epoch: string, limits: UserLimits, wake: (actor: UserActor) => void) {
    this.user = user;
    this.#epoch = epoch;
    this.#limits = limits;
    this.#wake = wake;
    this.presence = new UserPresence(user, limits.presenceGraceMs, this);
    this.#inbox = new UserInbox(user, limits.inboxItemsMax, this);
  }

  /** Asks for a `flush` at the end of the turn. */
  wake(): void {
    this.#wake(this);
  }

  hello(connection: Connection, hello: Hello, effects: Effects): void {
    const known = this.#sessions.get(connection.id);
    if (hello.renews) return known === undefined ? undefined : this.#renew(known, hello, effects);
    if (known !== undefined) return;
    const { again, named, issuedAt, jti, told } = hello;
    const state: Session['state'] = { is: 'connecting', waiting: [], idle: false };
    const session: Session = { connection, named, again, issuedAt, ...(jti !== undefined && { jti }), ...(told && { told }), state };
    this.#sessions.set(connection.id, session);
    this.#connect(session, effects);
  }

  close(connection: Connection, clean: boolean, effects: Effects): void {
    const session = this.#sessions.get(connection.id);
    if (session === undefined) return;
    this.#sessions.delete(connection.id);
    // While `connect` is on its way, what it does to the status is undone when it is answered.
    if (session.state.is !== 'connecting') this.#left(session, clean, effects);
    this.#inbox.close(connection.id);
    this.#disconnect(connection.id, effects);
    this.wake();
  }

  /** The store has it: who is admitted (with that token) is closed. Those on their way to the store are judged there, by their tokens. */
  revoked(jti: string | undefined, effects: Effects): void {
    const connections: ConnectionId[] = [];
    for (const [id, session] of this.#sessions) {
      if ((session.again || session.state.is === 'open') && (jti === undefined || session.jti === jti)) connections.push(id);
    }
    if (connections.length > 0) effects.tell({ t: 'evict', connections, close: 'revoked' });
  }

  command(connection: Connection, command: UserCommand, effects: Effects): void {
    const session = this.#sessions.get(connection.id);
    if (session === undefined) {
      effects.refuse(connection, command.id, command.op, new CodedError('unauthenticated'));
      return;
    }
    if (session.state.is === 'open') this.#run(session, command, effects);
    else if (session.state.waiting.length < waitingMax) session.state.waiting.push(command);
    else effects.refuse(connection, command.id, command.op, new CodedError('busy'));
  }

  /** The connection has sent no command for long, or has sent one after that. */
  inactive(connection: Connection, idle: boolean, effects: Effects): void {
    const state = this.#sessions.get(connection.id)?.state;
    if (state === undefined) return;
    if (state.is === 'open') this.presence.note(connection.id, { idle }, effects);
    else state.idle = idle;
    this.wake();
  }

  inbox(item: InboxItem, effects: Effects): void {
    this.#inbox.item(item, effects);
  }

  loss(loss: InboxLoss, effects: Effects): void {
    this.#inbox.loss(loss, effects);
  }

  /** The writer was replaced: announcements of what it committed last may be lost. */
  recheck(effects: Effects): void {
    this.#inbox.recheck(effects);
  }

  /** End of a turn: tells and saves what changed in it, once. */
  flush(effects: Effects): void {
    this.#settle(effects, false);
  }

  /** About once a second while `due`: ends a grace, tries again what was refused. */
  tick(effects: Effects): void {
    for (const [id, state] of this.#leaving ?? []) if (state === 'owed') this.#disconnect(id, effects);
    for (const session of this.#sessions.values()) {
      if (session.state.is !== 'stalled') continue;
      session.state.is = 'connecting';
      this.#connect(session, effects);
    }
    this.#settle(effects, true);
  }

  /** Whether ticks are needed. */
  get due(): boolean {
    if (this.presence.due || this.#inbox.due) return true;
    for (const state of this.#leaving?.values() ?? []) if (state === 'owed') return true;
    for (const session of this.#sessions.values()) if (session.state.is === 'stalled') return true;
    return false;
  }

  /** Nothing left that the store does not know: the actor may be dropped. */
  get idle(): boolean {
    return this.#sessions.size === 0 && this.#leaving === null && this.presence.idle && this.#inbox.idle;
  }

  get connections(): number {
    return this.#sessions.size;
  }

  #connect(session: Session, effects: Effects): void {
    this.presence.expect();
    const accepted = effects.commit(admission(session, session, this.#limits), (outcome) => {
      this.presence.expected();
      this.#answered(session, outcome, effects);
      this.wake();
    });
    if (accepted) return;
    this.presence.expected();
    this.#refused(session, 'overloaded', session.told === true, effects);
  }

  /** The store judges a fresh token as it does those of a connection that is there. Of a revocation behind it, the answer comes behind this one's. */
  #renew(session: Session, token: Hello, effects: Effects): void {
    const { id } = session.connection;
    const tell = (refused: ErrorCode | null): void => effects.tell({ t: 'renewed', connection: id, refused });
    const accepted = effects.commit(admission(session, token, this.#limits), (outcome) => {
      const code = typeof outcome === 'number' ? 'internal' : outcome.code;
      if (code === 'connected') {
        session.issuedAt = token.issuedAt;
        session.jti = token.jti;
        tell(null);
      } else tell(code === 'revoked' ? 'auth-failed' : code === 'storage' ? 'storage' : 'internal');
    });
    if (!accepted) tell('busy');
  }

  #answered(session: Session, outcome: Outcome, effects: Effects): void {
    if (typeof outcome === 'number') {
      this.#unconnected(session, 'fault', effects);
      return;
    }
    const { code } = outcome;
    const unsure = session.told === true || ('unsure' in outcome && outcome.unsure === true);
    if (code === 'connected') {
      evict(outcome.victims, effects);
      this.#connected(session, outcome, effects);
    } else if (code === 'revoked') this.#refused(session, 'revoked', unsure, effects);
    else if (code === 'rejected') this.#refused(session, 'connection-limit', unsure, effects);
    else if (code === 'storage') this.#refused(session, 'overloaded', unsure, effects);
    else this.#unconnected(session, 'fault', effects);
  }

  #connected(session: Session, admitted: { acked: number; head: number; allMark: number; revokedAt: number }, effects: Effects): void {
    const { connection, again, state } = session;
    if (this.#sessions.get(connection.id) !== session || state.is === 'open') {
      // Gone meanwhile; its `connect` has set the user online in the store.
      this.#left(session, true, effects);
      return;
    }
    session.state = open;
    this.presence.connected(connection.id, !again, effects);
    this.presence.note(connection.id, { idle: state.idle }, effects);
    this.#inbox.open(connection, admitted.acked, admitted.head, again);
    const { acked, head, allMark, revokedAt } = admitted;
    if (!again) effects.tell({ t: 'welcome', connection: connection.id, epoch: this.#epoch, inbox: { head, acked }, allMark, revokedAt });
    for (const command of state.waiting) this.#run(session, command, effects);
    this.#inbox.feed(connection.id, effects);
  }

  /** The connection was not admitted: it is closed, or after a restart of the shard tried again unless the store says no. */
  #unconnected(session: Session, close: CloseReason, effects: Effects): void {
    const { connection, again, state } = session;
    if (this.#sessions.get(connection.id) !== session || state.is === 'open') {
      if (again) this.#left(session, true, effects);
      return;
    }
    this.wake();
    if (again && close === 'overloaded') {
      state.is = 'stalled';
      return;
    }
    this.#sessions.delete(connection.id);
    if (again) {
      // An earlier incarnation had it connected; of its close nobody will ask here any more.
      this.#left(session, false, effects);
      this.#disconnect(connection.id, effects);
    }
    effects.tell({ t: 'refuse', connection: connection.id, close });
  }

  /** The store did not let it in, or could not be told. `unsure`: unless it was by a thread that died since, so it is told of the end in any case. */
  #refused(session: Session, close: CloseReason, unsure: boolean, effects: Effects): void {
    const { connection, again } = session;
    const here = this.#sessions.get(connection.id) === session;
    this.#unconnected(session, close, effects);
    if (again || !unsure) return;
    this.#left(session, true, effects);
    if (here) this.#disconnect(connection.id, effects);
  }

  /** One connection less. One that was never open has left its trace in the store all the same: online without anybody. */
  #left(session: Session, clean: boolean, effects: Effects): void {
    const { id } = session.connection;
    if (session.state.is !== 'open') this.presence.connected(id, !session.again, effects);
    this.presence.closed(id, clean, effects);
  }

  #disconnect(id: ConnectionId, effects: Effects): void {
    const leaving = this.#leaving ?? new Map<ConnectionId, 'flying' | 'owed'>();
    this.#leaving = leaving;
    leaving.set(id, 'flying');
    const accepted = effects.commit({ type: 'disconnect', user: this.user, connection: id }, (outcome) => {
      if (failure(outcome) === null) leaving.delete(id);
      else leaving.set(id, 'owed');
      if (leaving.size === 0 && this.#leaving === leaving) this.#leaving = null;
      this.wake();
    });
    if (!accepted) leaving.set(id, 'owed');
  }

  #run(session: Session, command: UserCommand, effects: Effects): void {
    const { connection } = session;
    if (command.op === 'ack') {
      this.#inbox.ack(connection, command, effects);
      return;
    }
    this.presence.note(connection.id, { away: command.status === 'away' }, effects);
    effects.reply(connection, command.id, { status: this.presence.current(effects)?.status ?? command.status });
    this.wake();
  }

  #settle(effects: Effects, ticking: boolean): void {
    this.presence.flush(effects, ticking);
    this.#inbox.flush(effects, ticking);
  }
}
