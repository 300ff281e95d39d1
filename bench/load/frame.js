/**
 * WebSocket frames of a client, made ahead. The mask is all zeros: legal, and it lets a frame be patched in place; the
 * contestant still has to unmask every byte, so nothing is given to it.
 */
import { randomBytes } from 'node:crypto';

const maskBytes = 4;

/** @param {string | Uint8Array} payload text, or binary for bytes */
export function frameOf(payload) {
  const bytes = Buffer.from(/** @type {Uint8Array} */ (payload));
  const opcode = typeof payload === 'string' ? 1 : 2;
  const extended = bytes.length > 125;
  if (bytes.length > 65_535) throw new Error('too long for a frame of the benchmark');
  const head = Buffer.alloc(2 + (extended ? 2 : 0) + maskBytes);
  head[0] = 0x80 | opcode;
  head[1] = 0x80 | (extended ? 126 : bytes.length);
  if (extended) head.writeUInt16BE(bytes.length, 2);
  return Buffer.concat([head, bytes]);
}

/**
 * @param {number} port
 * @param {string} path
 * @param {string} protocol a subprotocol, or ''
 */
export function upgradeRequest(port, path, protocol) {
  const lines = [
    `GET ${path} HTTP/1.1`,
    `Host: 127.0.0.1:${port}`,
    'Connection: Upgrade',
    'Upgrade: websocket',
    'Sec-WebSocket-Version: 13',
    `Sec-WebSocket-Key: ${randomBytes(16).toString('base64')}`,
    ...(protocol === '' ? [] : [`Sec-WebSocket-Protocol: ${protocol}`]),
  ];
  return Buffer.from(`${lines.join('\r\n')}\r\n\r\n`);
}
