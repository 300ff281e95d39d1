/**
 * Writes frames into the arena of the gateway's link, ready for a socket: text for clients that speak JSON, binary for those
 * that speak MessagePack. The outlet calls it and says what is in the arena; nothing else of a shard encodes.
 */
import { binaryOpcode, entryJson, entryMap, frameBytes, inboxJson, inboxMap, textOpcode, writeFrameHeader } from '../protocol/frames.ts';
import { MsgpackWriter } from '../protocol/msgpack-writer.ts';
import type { Arena } from '../thread/arena.ts';
import type { EntryRecord, Format } from '../thread/messages.ts';

export class Encoder {
  readonly #arena: Arena;
  readonly #msgpack = new MsgpackWriter();

  constructor(arena: Arena) {
    this.#arena = arena;
  }

  map(map: object, format: Format): void {
    if (format === 'json') this.text(JSON.stringify(map));
    else this.#binary(this.#msgpack.pack(map));
  }

  entry(record: EntryRecord, format: Format): void {
    if (format === 'json') this.text(entryJson(record));
    else this.#binary(this.#msgpack.pack(entryMap(record, 'msgpack')));
  }

  /** The same as item `n` of an inbox. */
  item(record: EntryRecord, n: number, format: Format): void {
    if (format === 'json') this.text(inboxJson(record, n));
    else this.#binary(this.#msgpack.pack(inboxMap(record, n, 'msgpack')));
  }

  /** One text frame. The header's size depends on the length in bytes, which only long or middling texts must be counted for. */
  text(text: string): void {
    const arena = this.#arena;
    arena.ensure(text.length * 3 + 14);
    const certain = text.length * 3 < 126 || (text.length >= 126 && text.length * 3 < 65_536);
    const headerBytes = frameBytes(certain ? text.length : Buffer.byteLength(text));
    const length = arena.buffer.write(text, arena.offset + headerBytes);
    writeFrameHeader(arena.buffer, arena.offset, textOpcode, length);
    arena.offset += headerBytes + length;
  }

  #binary(bytes: Uint8Array): void {
    const arena = this.#arena;
    const headerBytes = frameBytes(bytes.length);
    arena.ensure(headerBytes + bytes.length);
    writeFrameHeader(arena.buffer, arena.offset, binaryOpcode, bytes.length);
    arena.offset += headerBytes;
    arena.put(bytes);
  }
}
