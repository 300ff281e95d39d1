/** Frames by the byte, and what the scan before decoding says of them. */
import { expect } from 'vitest';
import type { Format } from '../../src/protocol/codec.ts';
import type { ErrorCode } from '../../src/protocol/codes.ts';
import { ScanError } from '../../src/protocol/header.ts';
import { scan } from '../../src/protocol/scan.ts';

export function bytesOf(...parts: (number | string | number[])[]): Buffer {
  return Buffer.concat(parts.map((part) => (typeof part === 'string' ? Buffer.from(part) : Buffer.from([part].flat()))));
}

/** {op: 'publish', id: 7, body: …} in MessagePack, its last value given as raw bytes. */
export function packed(...body: (number | string | number[])[]): Buffer {
  return bytesOf(0x83, 0xa2, 'op', 0xa7, 'publish', 0xa2, 'id', 7, 0xa4, 'body', ...body);
}

export function refusalOf(bytes: Uint8Array, format: Format): ScanError {
  try {
    scan(bytes, format);
  } catch (error) {
    if (error instanceof ScanError) return error;
    throw error;
  }
  throw new Error('it was accepted');
}

export function refused(bytes: Uint8Array, format: Format, code: ErrorCode, field?: string): void {
  expect(refusalOf(bytes, format)).toMatchObject({ code, field });
}

export function json(text: string): Buffer {
  return Buffer.from(text);
}
