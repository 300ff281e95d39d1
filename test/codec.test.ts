/** The encodings: against JSON and against an independent MessagePack library, both ways. */
import fc from 'fast-check';
import { Packr, Unpackr } from 'msgpackr';
import { describe, expect, it } from 'vitest';
import { binFor, decode, encode, fromBase64, toBase64 } from '../src/protocol/codec.ts';
import { CodedError } from '../src/protocol/codes.ts';
import { unpackMsgpack } from '../src/protocol/msgpack-reader.ts';
import { MsgpackWriter } from '../src/protocol/msgpack-writer.ts';
import { isUtf8, textOf, utf8Bytes } from '../src/protocol/utf8.ts';

const packr = new Packr({ useRecords: false, useToJSON: false });
// Integers of 64 bits come as bigint, so that a test sees what type was written.
const unpackr = new Unpackr({ useRecords: false });

const safeNumber = fc.oneof(
  fc.maxSafeInteger(),
  fc.integer(),
  fc.integer({ min: -300, max: 300 }),
  fc.double({ noNaN: true, noDefaultInfinity: true, min: -1e15, max: 1e15 }).map((value) => (Object.is(value, -0) ? 0 : value)),
);
const text = fc.oneof(fc.string({ maxLength: 100 }), fc.string({ unit: 'grapheme', maxLength: 100 }), fc.string({ unit: 'binary', maxLength: 300 }));
const { value: plainValue } = fc.letrec((tie) => ({
  value: fc.oneof({ maxDepth: 5 }, fc.constant(null), fc.boolean(), safeNumber, text, tie('list'), tie('map')),
  list: fc.array(tie('value'), { maxLength: 20 }),
  map: fc.dictionary(
    text.filter((key) => key !== '__proto__'),
    tie('value'),
    { maxKeys: 20, noNullPrototype: true },
  ),
}));

/** Half surrogate pairs become U+FFFD. */
function wellFormed(text: string): string {
  return Buffer.from(text).toString();
}

function codeOf(act: () => unknown): string {
  try {
    act();
  } catch (error) {
    if (error instanceof CodedError) return error.code;
    throw error;
  }
  return 'none';
}

describe('MessagePack', () => {
  it('comes back as it went, whatever the JSON value', () => {
    const writer = new MsgpackWriter();
    fc.assert(
      fc.property(plainValue, (value) => {
        expect(unpackMsgpack(writer.pack(value))).toEqual(value);
        expect(unpackMsgpack(encode({ value }, 'msgpack'))).toEqual({ value });
      }),
      { numRuns: 500 },
    );
  });

  it('is read from what the library writes', () => {
    fc.assert(
      fc.property(plainValue, (value) => {
        expect(unpackMsgpack(packr.pack(value))).toEqual(value);
      }),
      { numRuns: 500 },
    );
  });

  it('is written so that the library reads it', () => {
    const library = new Unpackr({ useRecords: false, int64AsType: 'number' });
    const writer = new MsgpackWriter();
    // The library drops a byte order mark at the start of a text.
    const marked = /"\ufeff/;
    fc.assert(
      fc.property(plainValue, (value) => {
        fc.pre(!marked.test(JSON.stringify(value)));
        expect(library.unpack(Buffer.from(writer.pack(value)))).toEqual(value);
      }),
      { numRuns: 500 },
    );
  });

  it('V4 writes whole numbers as integers in their shortest form, others as float 64', () => {
    const typeOf = (value: number) => encode({ value }, 'msgpack')[7];
    for (const [value, type] of [
      [0, 0],
      [127, 127],
      [128, 0xcc],
      [255, 0xcc],
      [256, 0xcd],
      [65_535, 0xcd],
      [65_536, 0xce],
      [2 ** 32 - 1, 0xce],
      [2 ** 32, 0xcf],
      [1_790_000_000_000, 0xcf],
      [2 ** 53 - 1, 0xcf],
      [-1, 0xff],
      [-32, 0xe0],
      [-33, 0xd0],
      [-128, 0xd0],
      [-129, 0xd1],
      [-32_768, 0xd1],
      [-32_769, 0xd2],
      [-(2 ** 31), 0xd2],
      [-(2 ** 31) - 1, 0xd3],
      [-(2 ** 53) + 1, 0xd3],
      [0.5, 0xcb],
      [1e300, 0xcb],
    ] as const) {
      expect([value, typeOf(value)]).toEqual([value, type]);
      expect(unpackMsgpack(encode({ value }, 'msgpack'))).toEqual({ value });
      const read: unknown = (unpackr.unpack(Buffer.from(encode({ value }, 'msgpack'))) as { value: unknown }).value;
      expect(Number(read)).toBe(value);
    }
  });

  it('keeps a byte order mark at the start of a text', () => {
    for (const value of ['\ufeff', `\ufeff${'x'.repeat(100)}`]) expect(decode(encode({ value }, 'msgpack'), 'msgpack')).toEqual({ value });
    expect(decode(encode({ value: '\ufeffx' }, 'json'), 'json')).toEqual({ value: '\ufeffx' });
  });

  it('leaves undefined fields out, as JSON does', () => {
    const map = Object.fromEntries(Array.from({ length: 20 }, (_, i) => [`key${i}`, i % 3 === 0 ? undefined : i]));
    const wide = Object.fromEntries(Array.from({ length: 70_000 }, (_, i) => [`key${i}`, i % 3 === 0 ? undefined : i]));
    for (const value of [{ a: undefined }, { a: undefined, b: 1 }, map, wide, { list: [1, undefined] }]) {
      const kept: unknown = JSON.parse(JSON.stringify(value));
      expect(unpackMsgpack(encode(value, 'msgpack'))).toEqual(kept);
      expect(unpackr.unpack(Buffer.from(encode(value, 'msgpack')))).toEqual(kept);
      expect(decode(encode(value, 'json'), 'json')).toEqual(kept);
    }
  });

  it('carries large and long things', () => {
    const value = {
      text: 'é'.repeat(40_000),
      ascii: 'x'.repeat(70_000),
      list: new Array(70_000).fill(1),
      bin: new Uint8Array(70_000).fill(7),
      small: new Uint8Array(3),
    };
    expect(unpackMsgpack(encode(value, 'msgpack'))).toEqual(value);
    const writer = new MsgpackWriter();
    writer.pack({ text: 'x'.repeat(2_000_000) });
    expect(unpackMsgpack(writer.pack({ a: 1 }))).toEqual({ a: 1 });
  });

  it('gives binary of its own, not a view of the frame', () => {
    const bytes = encode({ bin: new Uint8Array([1, 2, 3]) }, 'msgpack');
    const { bin } = decode(bytes, 'msgpack') as { bin: Uint8Array };
    bytes.fill(0);
    expect(bin).toEqual(new Uint8Array([1, 2, 3]));
    expect(bin.buffer.byteLength).toBe(3);
    expect(bin.constructor).toBe(Uint8Array);
  });

  it('V3 refuses to write what is no JSON value', () => {
    for (const value of [Number.NaN, Number.POSITIVE_INFINITY, 1n, () => 1, Symbol('x'), '\ud800', '\udc00x', `${'é'.repeat(40)}\ud800`])
      expect(codeOf(() => encode({ value }, 'msgpack'))).toBe('bad-value');
  });

  it('V1 is not read beyond a depth that memory can bear', () => {
    expect(codeOf(() => unpackMsgpack(Buffer.alloc(100_000, 0x91)))).toBe('bad-value');
    expect(codeOf(() => unpackMsgpack(Buffer.from([0xdd, 0x7f, 0xff, 0xff, 0xff])))).toBe('bad-frame');
    expect(codeOf(() => unpackMsgpack(Buffer.from([0x81, 0xa9, ...Buffer.from('__proto__'), 0x80])))).toBe('bad-value');
    expect(codeOf(() => unpackMsgpack(Buffer.from([1, 1])))).toBe('bad-frame');
  });
});

describe('decode', () => {
  it('takes JSON as text or bytes, and only a map', () => {
    expect(decode('{"a":"é"}', 'json')).toEqual({ a: 'é' });
    expect(decode(Buffer.from('{"a":"é"}'), 'json')).toEqual({ a: 'é' });
    for (const data of ['[]', 'null', '1', '{', '']) expect(codeOf(() => decode(data, 'json'))).toBe('bad-frame');
    for (const data of [Buffer.from([0x90]), Buffer.from([0xc0]), 'text']) expect(codeOf(() => decode(data, 'msgpack'))).toBe('bad-frame');
  });
});

describe('binary', () => {
  it('V6 is bin in MessagePack and base64 in JSON', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 500 }), (bytes) => {
        expect(binFor(bytes, 'msgpack')).toEqual({ bin: bytes });
        expect(binFor(bytes, 'json')).toEqual({ body64: Buffer.from(bytes).toString('base64') });
        expect(fromBase64(toBase64(bytes))).toEqual(new Uint8Array(bytes));
      }),
    );
    const large = new Uint8Array(100_000).map((_, i) => i);
    expect(fromBase64(toBase64(large))).toEqual(large);
    expect(codeOf(() => fromBase64('a'))).toBe('bad-value');
  });
});

describe('UTF-8', () => {
  const strict = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
  const isStrict = (bytes: Uint8Array) => {
    try {
      strict.decode(bytes);
      return true;
    } catch {
      return false;
    }
  };

  it('is told from what is not, as the engine does', () => {
    const nearly = fc.tuple(text, fc.array(fc.record({ at: fc.nat(), byte: fc.integer({ min: 0x7f, max: 0xff }) }), { maxLength: 2 }));
    fc.assert(
      fc.property(nearly, ([good, edits]) => {
        const bytes = Buffer.from(wellFormed(good));
        for (const { at, byte } of edits) if (bytes.length > 0) bytes[at % bytes.length] = byte;
        expect(isUtf8(bytes, 0, bytes.length)).toBe(isStrict(bytes));
      }),
      { numRuns: 2_000 },
    );
  });

  it('is told for every sequence of two bytes and each first three of four', () => {
    for (let lead = 0x80; lead < 0x100; lead++) {
      for (let second = 0x70; second < 0x100; second++) {
        for (const rest of [[], [0x80], [0x80, 0xbf], [0x7f]]) {
          const bytes = Uint8Array.from([lead, second, ...rest]);
          expect([...bytes, isUtf8(bytes, 0, bytes.length)]).toEqual([...bytes, isStrict(bytes)]);
        }
      }
    }
  });

  it('is counted and made into text right', () => {
    fc.assert(
      fc.property(text, (raw) => {
        const good = wellFormed(raw);
        const bytes = Buffer.from(`ab${good}c`);
        expect(utf8Bytes(good)).toBe(bytes.length - 3);
        expect(textOf(bytes, 2, bytes.length - 1)).toBe(good);
      }),
      { numRuns: 500 },
    );
  });
});
