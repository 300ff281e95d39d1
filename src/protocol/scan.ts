/**
 * The gateway's look at a frame before anything is decoded: refuses what is malformed, too deep, too much or no JSON value,
 * and returns the fields to route by. Throws `ScanError` only (a `CodedError` that carries the `op` and `id` found so far).
 */
import type { Format } from './codec.ts';
import type { Header } from './header.ts';
import { scanJson } from './scan-json.ts';
import { scanMsgpack } from './scan-msgpack.ts';

export function scan(bytes: Uint8Array, format: Format): Header {
  return format === 'json' ? scanJson(bytes) : scanMsgpack(bytes);
}
