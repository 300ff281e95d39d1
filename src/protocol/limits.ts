/**
 * Sizes that bound every decoded frame, on both ends of the wire. `welcome` tells a client the ones in force.
 * Those an operator may change are fields of `WireLimits`; the constants are part of the protocol.
 */

/** Levels of maps and arrays in a frame, the envelope itself counted (deeper values break structured clone later). */
export const depthMax = 16;
/** Values in one frame: maps, arrays, keys and scalars together. */
export const nodesMax = 20_000;
export const idMax = Number.MAX_SAFE_INTEGER;
/** Rooms of one `resume`, users of one `who` or `watch`. */
export const listMax = 1_000;
export const pageMax = 200;
/** Characters in the id of a token. */
export const jtiMax = 256;
export const pageDefault = 50;
export const deviceBytesMax = 64;
/** Of a token, in letters. */
export const tokenMax = 8_192;

export type WireLimits = {
  /** Largest frame a client may send, in bytes. */
  readonly frameBytesMax: number;
  /** Largest body as JSON text or binary, in bytes. */
  readonly bodyBytesMax: number;
  /** Rooms one connection may follow. */
  readonly subscriptionsMax: number;
  /** Commands with an `id` one connection may have unanswered. */
  readonly openCommandsMax: number;
  /** Commands a second of one connection, and of one user; 0: no limit. */
  readonly rateLimit: number;
  readonly userRateLimit: number;
  /** Cost a second, in bytes times those who get them; 0: no limit. */
  readonly costLimit: number;
  readonly userCostLimit: number;
};

export const wireLimitDefaults: WireLimits = {
  frameBytesMax: 256 * 1024,
  bodyBytesMax: 64 * 1024,
  subscriptionsMax: 1_000,
  openCommandsMax: 1_024,
  rateLimit: 1_000,
  userRateLimit: 5_000,
  costLimit: 256 * 1024 * 1024,
  userCostLimit: 512 * 1024 * 1024,
};
