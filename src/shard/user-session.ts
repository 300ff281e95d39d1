/**
 * One connection of a user as his actor keeps it, and what the store is asked and tells about it. Made and changed by user.ts
 * alone; nothing here keeps state.
 */
import type { FilledOptions } from '../options.ts';
import type { CloseReason } from '../protocol/codes.ts';
import type { Command } from '../protocol/commands.ts';
import type { ConnectionId, Operation } from '../thread/messages.ts';
import type { Connection, Effects } from './actor.ts';

export type UserLimits = Pick<FilledOptions, 'connectionsPerUserMax' | 'connectionPolicy' | 'devicesMax' | 'presenceGraceMs' | 'watchesMax' | 'inboxItemsMax'>;

/** The state of all sessions that are open. */
export const open: Session['state'] = { is: 'open' };

export type Hello = Pick<Session, 'again' | 'named' | 'issuedAt' | 'jti' | 'told'> & { readonly renews?: true };
export type UserCommand = Command<'ack' | 'status'>;
export type Session = {
  readonly connection: Connection;
  /** Whether the client named its device: then a ghost of the same device is replaced. */
  readonly named: boolean;
  /** The gateway had it welcomed by an earlier incarnation of this shard. */
  readonly again: boolean;
  /** When its token was issued, ms, and the id of it. */
  issuedAt: number;
  jti?: string | undefined;
  /** An earlier incarnation may have connected it and died of it. */
  readonly told?: true;
  state: { is: 'connecting' | 'stalled'; waiting: UserCommand[]; idle: boolean } | { is: 'open' };
};

/** Asks the store whether the connection may be there with that token. */
export function admission({ connection, named }: Session, { again, issuedAt, jti }: Pick<Hello, 'again' | 'issuedAt' | 'jti'>, limits: UserLimits): Operation {
  const { connectionsPerUserMax: perUserMax, connectionPolicy: policy, devicesMax } = limits;
  const { id, user, device } = connection;
  return { type: 'connect', user, device, named, connection: id, perUserMax, policy, devicesMax, again, issuedAt, ...(jti !== undefined && { jti }) };
}

/** One message for each reason. */
export function evict(victims: readonly { connection: ConnectionId; close: CloseReason }[], effects: Effects): void {
  const reasons = new Map<CloseReason, ConnectionId[]>();
  for (const { connection, close } of victims) reasons.set(close, [...(reasons.get(close) ?? []), connection]);
  for (const [close, connections] of reasons) effects.tell({ t: 'evict', connections, close });
}
