/** What the gateway counts, and the shapes in which it tells: statistics, and connections of a user. */
import type { CloseReason } from '../protocol/codes.ts';
import type { Format } from '../thread/messages.ts';
import type { PhaseName } from './connection.ts';

/** Why a handshake was refused. */
export const rejections = [
  'path',
  'host',
  'origin',
  'token-in-url',
  'protocol',
  'handshake',
  'full',
  'rate',
  'address-full',
  'address-rate',
  'draining',
] as const;
export type Rejection = (typeof rejections)[number];

export class Counters {
  accepted = 0;
  readonly rejected: Record<Rejection, number> = {
    path: 0,
    host: 0,
    origin: 0,
    'token-in-url': 0,
    protocol: 0,
    handshake: 0,
    full: 0,
    rate: 0,
    'address-full': 0,
    'address-rate': 0,
    draining: 0,
  };
  /** Connections the hub closed, by reason. */
  readonly closed = new Map<CloseReason, number>();
  terminated = 0;
  framesIn = 0;
  bytesIn = 0;
  badFrames = 0;
  rateLimited = 0;
  busy = 0;
  /** Frames written; several entries of one delivery count each. */
  framesOut = 0;
  bytesOut = 0;
  /** Durable entries times their live subscribers. */
  deliveries = 0;
  /** Ephemeral frames that a full outbox kept from a connection. */
  shed = 0;
  behind = 0;
  flushes = 0;
}

export type GatewayStats = {
  connections: number;
  connectionsPeak: number;
  states: Record<PhaseName, number>;
  users: number;
  /** The most connections one user had at once. */
  perUserPeak: number;
  accepted: number;
  rejected: Record<Rejection, number>;
  closed: Partial<Record<CloseReason, number>>;
  evicted: number;
  terminated: number;
  framesIn: number;
  bytesIn: number;
  framesOut: number;
  bytesOut: number;
  badFrames: number;
  rateLimited: number;
  busy: number;
  deliveries: number;
  shed: number;
  behind: number;
  flushes: number;
  /** Connections whose socket did not take all that was written. */
  backed: number;
  outboxBytes: number;
  commandsOpen: number;
  serviceConnections: number;
  /** Connections that are not read because a shard is behind, and what they sent before that. */
  held: number;
  heldBytes: number;
  /** Per shard: how long what is sent to it takes. */
  queueMs: number[];
  /** Shards that cannot keep up. */
  overloaded: number;
  /** Per shard; null while its thread is being replaced. */
  linkDepth: (number | null)[];
};

export type ConnectionInfo = {
  connection: string;
  user: string;
  device: string;
  state: PhaseName;
  format: Format;
  address: string;
  openedAt: number;
  idleMs: number;
  framesIn: number;
  bytesIn: number;
  subscriptions: number;
  unsentBytes: number;
};
