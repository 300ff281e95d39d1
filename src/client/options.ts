/**
 * What `connect` takes, and the same with every default filled in. A bad option throws at once and names itself.
 */
import type { Format } from '../protocol/codec.ts';
import { type BackoffLimits, type ClientClock, systemClock } from './clock.ts';
import type { OutboxLimits } from './outbox.ts';
import type { PositionStore } from './positions.ts';
import type { WebSocketClass } from './socket.ts';

/** A function is asked for each connection and before the token expires. */
export type Token = string | (() => string | Promise<string>);

export type ConnectOptions = {
  /** Who connects to a hub in development mode. Either this or `token`. */
  user?: string;
  token?: Token;
  /** A label of this device: each has its own place in the inbox. */
  device?: string;
  /** `msgpack` unless stated; `json` reads well in a browser's network panel. */
  format?: Format;
  /** The WebSocket class to use. Otherwise the global one, or in Node 20 the `ws` package. */
  webSocket?: WebSocketClass;
  /** Time limit of a command that states none (0: none). Messages have none: they wait in the outbox. */
  timeoutMs?: number;
  /** Time for token, socket and hello together. */
  connectTimeoutMs?: number;
  /** Delays between attempts: doubling, jittered. */
  backoff?: Partial<BackoffLimits>;
  /** What may wait for the hub before `publish` and `direct` refuse. */
  outbox?: Partial<OutboxLimits>;
  /** Keeps positions across reloads. */
  positions?: PositionStore;
  /** Time and chance, for tests. */
  clock?: ClientClock;
};

export type FilledConnectOptions = {
  user: string | undefined;
  token: Token | undefined;
  device: string | undefined;
  format: Format;
  webSocket: WebSocketClass | undefined;
  timeoutMs: number;
  connectTimeoutMs: number;
  backoff: BackoffLimits;
  outbox: OutboxLimits;
  positions: PositionStore | undefined;
  clock: ClientClock;
};

export function fillConnectOptions(given: ConnectOptions): FilledConnectOptions {
  // A caller without types may pass nothing.
  const { user, token, device, format = 'msgpack', webSocket, positions, ...times } = (given as ConnectOptions | undefined) ?? {};
  const { clock = systemClock, timeoutMs = 10_000, connectTimeoutMs = 10_000, backoff, outbox, ...unknown } = times;
  const { firstMs = 250, maxMs = 30_000 } = backoff ?? {};
  const { itemsMax = 1_000, bytesMax = 4 * 1024 * 1024 } = outbox ?? {};
  if ((user === undefined) === (token === undefined)) throw new TypeError('connect: give either user (a hub in development mode) or token');
  if (format !== 'msgpack' && format !== 'json') throw new TypeError(`connect: format must be msgpack or json, not ${String(format)}`);
  const [stranger] = Object.keys(unknown);
  if (stranger !== undefined) throw new TypeError(`connect: there is no option ${stranger}`);
  const numbers = { timeoutMs, connectTimeoutMs, 'backoff.firstMs': firstMs, 'backoff.maxMs': maxMs, 'outbox.itemsMax': itemsMax, 'outbox.bytesMax': bytesMax };
  for (const [name, value] of Object.entries(numbers)) {
    if (!Number.isSafeInteger(value) || value < 0) throw new TypeError(`connect: ${name} must be a whole number from 0, not ${value}`);
  }
  return {
    user,
    token,
    device,
    format,
    webSocket,
    timeoutMs,
    connectTimeoutMs,
    backoff: { firstMs, maxMs },
    outbox: { itemsMax, bytesMax },
    positions,
    clock,
  };
}
