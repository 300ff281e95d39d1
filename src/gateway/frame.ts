/** A map as one ready WebSocket frame, and back: for what the gateway itself says and hears. */
import { decode, encode } from '../protocol/codec.ts';
import { binaryOpcode, frameBytes, textOpcode, writeFrameHeader } from '../protocol/frames.ts';
import type { Format } from '../thread/messages.ts';
import type { Fields } from './connection.ts';

/** A ping without payload; the same bytes for everybody. */
export const pingFrame = Buffer.from([0x89, 0]);

/** The answer to a ping, whose payload is of at most 125 bytes. */
export function pongFrame(payload: Buffer): Buffer {
  return Buffer.concat([Buffer.of(0x8a, payload.length), payload]);
}

/** Fields that are undefined are left out. */
export function frameOf(fields: Fields, format: Format): Buffer {
  return format === 'json' ? textFrame(JSON.stringify(fields)) : binaryFrame(encode(fields, format));
}

/** Written in place: made as bytes of its own first it would be copied. */
function textFrame(text: string): Buffer {
  const length = Buffer.byteLength(text);
  const head = frameBytes(length);
  const frame = Buffer.allocUnsafe(head + length);
  writeFrameHeader(frame, 0, textOpcode, length);
  frame.write(text, head);
  return frame;
}

function binaryFrame(payload: Uint8Array): Buffer {
  const head = frameBytes(payload.length);
  const frame = Buffer.allocUnsafe(head + payload.length);
  writeFrameHeader(frame, 0, binaryOpcode, payload.length);
  frame.set(payload, head);
  return frame;
}

/** The map in a ready frame of the hub (unmasked, unfragmented). */
export function fieldsOf(frame: Buffer, format: Format): Fields {
  const short = (frame[1] as number) & 127;
  return decode(frame.subarray(short < 126 ? 2 : short === 126 ? 4 : 10), format);
}
