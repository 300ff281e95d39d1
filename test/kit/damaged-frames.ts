/**
 * Frames that nobody should send: valid ones with damage, and hostile ones built on purpose (depth, declared sizes, keys that
 * reach prototypes, types that JSON does not have). Endless, and the same for the same seed.
 */
import { encode, type Format } from '../../src/protocol/codec.ts';
import type { Random } from './random.ts';

export type DamagedFrame = { bytes: Buffer; format: Format };

const formats: readonly Format[] = ['json', 'msgpack'];
const uuid = '0199c1d3-7a11-7000-8000-5d3c6e1f0a42';
const maps: readonly object[] = [
  { op: 'publish', id: 7, room: 'général', mid: uuid, body: { text: 'said 😀', list: [1, -1.5, 2 ** 40, null, true, [[], {}]] } },
  { op: 'resume', id: 300, epoch: 'e', rooms: { general: 44, ops: 70_000, 'dm:a:b': 0 } },
  { op: 'direct', to: 'bob', as: 'alice', body: 'x'.repeat(300), thread: uuid },
  { op: 'publish', room: 'a', bin: Buffer.alloc(40, 0xff), ephemeral: true },
  { op: 'hello', token: 'e30.e30.x', device: 'phone' },
];
/** Bytes that mean something: quotes, brackets, escapes; containers, lengths, extensions. */
const telling: readonly number[] = [
  ...Buffer.from('"\\{}[]:,0eu-. '),
  ...[0x80, 0x8f, 0x91, 0xa0, 0xbf, 0xc1, 0xc4, 0xc7, 0xcb, 0xcf, 0xd4, 0xd9, 0xdb, 0xdd, 0xdf, 0xe0, 0xed, 0xff],
];
const deepest = 200_000;

/** A valid frame with one to four changes of single bytes, or its end cut off. */
export function damagedFrames(random: Random): () => DamagedFrame {
  const corpus = maps.flatMap((map) => formats.map((format) => [Buffer.from(encode(map, format)), format] as const));
  return () => {
    const [good, format] = random.pick(corpus);
    let bytes = Buffer.from(good);
    for (let edits = 1 + random.int(4); edits > 0; edits--) {
      const at = random.int(bytes.length);
      const byte = random.int(2) === 0 ? random.pick(telling) : random.int(256);
      const kind = random.int(4);
      if (kind < 2) bytes[at] = byte;
      else if (kind === 2) bytes = Buffer.concat([bytes.subarray(0, at), Buffer.from([byte]), bytes.subarray(at)]);
      else bytes = bytes.subarray(0, at + 1);
    }
    return { bytes, format };
  };
}

/** One of the classes that took hubs down: built, not damaged. */
export function hostileFrame(random: Random): DamagedFrame {
  const json = (text: string): DamagedFrame => ({ bytes: Buffer.from(text), format: 'json' });
  const packed = (...parts: (readonly number[] | Uint8Array | string)[]): DamagedFrame => ({
    bytes: Buffer.concat([
      Buffer.from([0x82, 0xa2]),
      Buffer.from('op'),
      Buffer.from([0xa4]),
      Buffer.from('ping'),
      ...parts.map((part) => Buffer.from(part as string)),
    ]),
    format: 'msgpack',
  });
  const field = [0xa1, 0x62];
  const size = random.int(2 ** 32);
  const sizeBytes = [size >>> 24, (size >>> 16) & 0xff, (size >>> 8) & 0xff, size & 0xff];
  const depth = 1 + random.int(random.int(100) === 0 ? deepest : 40);
  switch (random.int(12)) {
    case 0:
      return json(`{"op":"ping","b":${'['.repeat(depth)}${']'.repeat(random.int(2) === 0 ? depth : 0)}}`);
    case 1:
      return json(`{"op":"ping","b":${'{"a":'.repeat(depth)}1${'}'.repeat(depth)}}`);
    case 2:
      return packed(field, Buffer.alloc(depth, random.pick([0x91, 0x81])));
    case 3:
      return packed(field, [random.pick([0xc6, 0xc9, 0xdb, 0xdd, 0xdf]), ...sizeBytes], random.bytes(random.int(20)));
    case 4:
      return json(`{"op":"publish","room":"a","body":{"${random.pick(['__proto__', 'constructor', 'prototype', 'toString'])}":{"polluted":1}}}`);
    case 5:
      return packed([0xa9], '__proto__', [0x81, 0xa8], 'polluted', [0x01]);
    case 6:
      return packed(field, [random.pick([0xc7, 0xc8, 0xc9, 0xd4, 0xd5, 0xd6, 0xd7, 0xd8])], random.bytes(random.int(24)));
    case 7:
      return packed(field, [random.pick([0xcf, 0xd3, 0xcb, 0xca])], random.bytes(8));
    case 8:
      return json(`{"op":"ping","id":${random.pick(['1e400', '-1', '9007199254740993', '1.5', 'NaN', '"1"', 'null', '0'.repeat(1 + random.int(300))])}}`);
    case 9:
      return { bytes: Buffer.from(random.bytes(random.int(64))), format: random.pick(formats) };
    case 10:
      return packed(
        field,
        [0xd9, 4],
        random.pick([
          [0xff, 0xfe, 0xfd, 0xfc],
          [0xed, 0xa0, 0x80, 0x20],
          [0xc0, 0x80, 0x20, 0x20],
          [0xf4, 0x90, 0x80, 0x80],
        ]),
      );
    default:
      return json(
        `{"op":"${random.pick(['toString', '__proto__', 'x'.repeat(random.int(5_000)), '\\ud800'])}","id":1}${random.pick(['', ' ', '{}', '\u0000'])}`,
      );
  }
}
