/** The client's public list: what is not named here may change without notice. */
export type { Format } from '../protocol/codec.ts';
export { type CloseReason, closeCodes, type ErrorCode, errorCodes, mayReconnect } from '../protocol/codes.ts';
export type { CommandFields, Op, Position, Role, Settings } from '../protocol/inputs.ts';
export type { WireLimits } from '../protocol/limits.ts';
export { dmName, dmUsers } from '../protocol/names.ts';
export type {
  Audience,
  Delivery,
  DeliveryState,
  EntryKind,
  Gap,
  GapReason,
  Member,
  MemberBody,
  Presence,
  Replies,
  Reply,
  RoomInfo,
  RoomSummary,
  Status,
  Welcome,
} from '../protocol/pushes.ts';
export type { CallOptions } from './bounded.ts';
export { connect, type Hub, type HubEvents, type ManagedOp } from './client.ts';
export type { BackoffLimits, Cancel, ClientClock } from './clock.ts';
export type { State } from './connection.ts';
export { HubError, type LocalCode } from './errors.ts';
export type { InboxItem } from './inbox.ts';
export type { ConnectOptions, Token } from './options.ts';
export type { OutboxLimits, Sent } from './outbox.ts';
export type { PositionStore, SavedPositions } from './positions.ts';
export type { HistoryRange, PublishOptions, Room } from './room.ts';
export type { SubscribeOptions } from './rooms.ts';
export type { WebSocketClass, WebSocketLike } from './socket.ts';
export type { RoomEvents } from './stream.ts';
export type { Entry, Ephemeral } from './wire.ts';
