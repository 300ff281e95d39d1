/**
 * Reads MessagePack into plain JSON values and binary, and nothing else: no extension types, no maps with other keys. Why it
 * is written here: `msgpack-writer.ts`. The server scans a frame before (`scan-msgpack.ts`), a client reads what its hub
 * sends; so this guards memory and prototypes but leaves numbers as they are. Browser-safe.
 */
import { CodedError } from './codes.ts';
import { textOf } from './utf8.ts';

/** Levels a value may have: what the hub sends nests a body deeper than a command may. */
const levelsMax = 64;

/** Throws `CodedError` (`bad-frame`, `bad-value`) for anything but one JSON value; binary becomes a `Uint8Array` of its own. */
export function unpackMsgpack(bytes: Uint8Array): unknown {
  const reader = new Reader(bytes);
  const value = reader.value(levelsMax);
  if (reader.at !== bytes.length) throw malformed();
  return value;
}

class Reader {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  value(levels: number): unknown {
    const type = this.#uint(1);
    if (type < 0x80) return type;
    if (type < 0x90) return this.#map(type & 0x0f, levels);
    if (type < 0xa0) return this.#list(type & 0x0f, levels);
    if (type < 0xc0) return this.#text(type & 0x1f);
    if (type >= 0xe0) return type - 0x100;
    switch (type) {
      case 0xc0:
        return null;
      case 0xc2:
        return false;
      case 0xc3:
        return true;
      case 0xc4:
      case 0xc5:
      case 0xc6: {
        const start = this.#skip(this.#uint(1 << (type - 0xc4)));
        // A copy: a view would keep the whole batch alive, and be cloned with it when it is posted.
        return new Uint8Array(this.#bytes.subarray(start, this.at));
      }
      case 0xca:
        return this.#view.getFloat32(this.#skip(4));
      case 0xcb:
        return this.#view.getFloat64(this.#skip(8));
      case 0xcc:
      case 0xcd:
      case 0xce:
        return this.#uint(1 << (type - 0xcc));
      case 0xcf:
        return this.#uint(4) * 0x1_0000_0000 + this.#uint(4);
      case 0xd0:
        return this.#view.getInt8(this.#skip(1));
      case 0xd1:
        return this.#view.getInt16(this.#skip(2));
      case 0xd2:
        return this.#view.getInt32(this.#skip(4));
      case 0xd3:
        return this.#view.getInt32(this.#skip(4)) * 0x1_0000_0000 + this.#uint(4);
      case 0xd9:
      case 0xda:
      case 0xdb:
        return this.#text(this.#uint(1 << (type - 0xd9)));
      case 0xdc:
      case 0xdd:
        return this.#list(this.#uint(type === 0xdc ? 2 : 4), levels);
      case 0xde:
      case 0xdf:
        return this.#map(this.#uint(type === 0xde ? 2 : 4), levels);
      default:
        throw new CodedError('bad-value', 'a MessagePack type that is no JSON value');
    }
  }

  #list(count: number, levels: number): unknown[] {
    this.#check(count, levels);
    const list: unknown[] = [];
    for (let i = 0; i < count; i++) list.push(this.value(levels - 1));
    return list;
  }

  #map(count: number, levels: number): Record<string, unknown> {
    this.#check(count * 2, levels);
    const map: Record<string, unknown> = {};
    for (let i = 0; i < count; i++) {
      const type = this.#uint(1);
      const short = type >= 0xa0 && type < 0xc0;
      if (!short && (type < 0xd9 || type > 0xdb)) throw new CodedError('bad-value', 'a key that is not a string');
      const key = this.#text(short ? type & 0x1f : this.#uint(1 << (type - 0xd9)));
      // Assigning it would set the prototype.
      if (key === '__proto__') throw new CodedError('bad-value', 'a key __proto__');
      map[key] = this.value(levels - 1);
    }
    return map;
  }

  #check(items: number, levels: number): void {
    if (items > this.#bytes.length - this.at) throw malformed();
    if (levels === 0) throw new CodedError('bad-value', `nested deeper than ${levelsMax} levels`);
  }

  #text(length: number): string {
    const start = this.#skip(length);
    try {
      return textOf(this.#bytes, start, this.at);
    } catch {
      throw new CodedError('bad-value', 'a string that is not UTF-8');
    }
  }

  #uint(size: number): number {
    const at = this.#skip(size);
    return size === 1 ? (this.#bytes[at] as number) : size === 2 ? this.#view.getUint16(at) : this.#view.getUint32(at);
  }

  #skip(length: number): number {
    const start = this.at;
    if (length > this.#bytes.length - start) throw malformed();
    this.at = start + length;
    return start;
  }
}

function malformed(): CodedError {
  return new CodedError('bad-frame', 'not MessagePack: it ends too early or too late');
}
