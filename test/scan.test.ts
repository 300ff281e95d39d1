/** The scan before decoding: which frames and values it refuses, and why. */
import { Packr } from 'msgpackr';
import { describe, expect, it } from 'vitest';
import { decode, encode, type Format } from '../src/protocol/codec.ts';
import { CodedError } from '../src/protocol/codes.ts';
import { depthMax, nodesMax } from '../src/protocol/limits.ts';
import { scan } from '../src/protocol/scan.ts';
import { checkValue } from '../src/protocol/values.ts';
import { bytesOf, json, packed, refusalOf, refused } from './kit/scanned.ts';

const formats: Format[] = ['json', 'msgpack'];

function isPlain(value: unknown): boolean {
  try {
    checkValue(value, 'frame', depthMax);
    return true;
  } catch {
    return false;
  }
}

describe('V1 a frame is one map, bounded in depth and number of values', () => {
  it.each(['[]', '1', 'null', '"x"', ''])('V1 refuses %j as a frame', (text) => refused(json(text), 'json', 'bad-frame'));
  it.each([[[]], [[0x90]], [[0x01]], [[0xc0]], [[0xa1, 0x61]]])('V1 refuses %j as a MessagePack frame', (bytes) =>
    refused(Buffer.from(bytes), 'msgpack', 'bad-frame'),
  );

  it('V1 takes 16 levels and refuses 17, with the id and op of the command', () => {
    const nested = (levels: number) => `{"op":"x","id":7,"body":${'['.repeat(levels - 1)}${']'.repeat(levels - 1)}}`;
    expect(scan(json(nested(depthMax)), 'json').op).toBe('x');
    expect(refusalOf(json(nested(depthMax + 1)), 'json')).toMatchObject({ code: 'bad-value', field: 'body', id: 7, op: 'x' });
    expect(scan(packed(new Array(depthMax - 2).fill(0x91), 1), 'msgpack').op).toBe('publish');
    expect(scan(packed(new Array(depthMax - 1).fill(0x91), 1), 'msgpack').op).toBe('publish');
    expect(refusalOf(packed(new Array(depthMax).fill(0x91), 1), 'msgpack')).toMatchObject({ code: 'bad-value', field: 'body', id: 7, op: 'publish' });
  });

  it('V1 refuses a million levels without following them', () => {
    refused(json(`{"op":"x","body":${'['.repeat(1_000_000)}`), 'json', 'bad-value', 'body');
    refused(json(`{"op":"x","body":${'{"a":'.repeat(1_000_000)}`), 'json', 'bad-value', 'body');
    refused(packed(new Array(1_000_000).fill(0x91)), 'msgpack', 'bad-value', 'body');
    refused(packed(new Array(200_000).fill([0x81, 0xa1, 0x61]).flat()), 'msgpack', 'bad-value', 'body');
  });

  it('V1 counts every key and value', () => {
    // The map, op and its value, body and its list make five.
    const list = (items: number) => ({ op: 'x', body: new Array(items).fill(0) });
    for (const format of formats) {
      expect(scan(encode(list(nodesMax - 5), format), format).op).toBe('x');
      refused(encode(list(nodesMax - 4), format), format, 'bad-value', 'body');
    }
  });
});

describe('V2 a frame that is malformed is bad-frame', () => {
  it.each([
    '{"op":"x"',
    '{"op":"x"}}',
    '{"op":"x"} {}',
    '{"op":"x",}',
    '{,"op":"x"}',
    '{"op" "x"}',
    "{'op':'x'}",
    '{op:"x"}',
    '{"op":}',
    '{"op":"x","body":[1,]}',
    '{"op":"x","body":[1 2]}',
    '{"op":"x","body":[}',
    '{"op":"x","body":{"a"}}',
    '{"op":"x","body":01}',
    '{"op":"x","body":-}',
    '{"op":"x","body":+1}',
    '{"op":"x","body":.5}',
    '{"op":"x","body":1.}',
    '{"op":"x","body":1e}',
    '{"op":"x","body":0x10}',
    '{"op":"x","body":NaN}',
    '{"op":"x","body":Infinity}',
    '{"op":"x","body":undefined}',
    '{"op":"x","body":nul}',
    '{"op":"x","body":truetrue}',
    '{"op":"x","body":"\\x41"}',
    '{"op":"x","body":"\\u12"}',
    '{"op":"x","body":"\\',
    '{"op":"x","body":"\\u',
    '{"op":"x","body":"a\nb"}',
    '{"op":"x","body":"\0"}',
    '\ufeff{"op":"x"}',
    '\u00a0{"op":"x"}',
    '/* */{"op":"x"}',
  ])('V2 refuses %j as JSON does', (text) => {
    expect(() => JSON.parse(text)).toThrow();
    refused(json(text), 'json', 'bad-frame');
  });

  it('V2 refuses a text that is not UTF-8 where it must read it, and decoding refuses it elsewhere', () => {
    refused(bytesOf('{"op":"', 0xff, '"}'), 'json', 'bad-frame');
    const elsewhere = bytesOf('{"op":"x","body":"', 0xc3, 0x28, '"}');
    expect(scan(elsewhere, 'json').op).toBe('x');
    expect(() => decode(elsewhere, 'json')).toThrow(CodedError);
  });

  it.each([
    ['a map that ends too early', bytesOf(0x82, 0xa2, 'op', 0xa1, 'x')],
    ['a length without its bytes', packed(0xd9, 200, 'short')],
    ['a string header cut short', packed(0xda, 0x01)],
    ['a binary of 4 GiB', packed(0xc6, [0xff, 0xff, 0xff, 0xff])],
    ['a map of 2^32 − 1 keys', bytesOf(0xdf, [0xff, 0xff, 0xff, 0xff], 0xa1, 'a', 1)],
    ['eight nested lists of 16 million', packed(...new Array(8).fill([0xdd, 0x01, 0, 0, 0]))],
    ['the type 0xc1', packed(0xc1)],
    ['an extension cut short', packed(0xc7, 10, 1)],
    ['something behind the map', bytesOf([...packed(1)], 0xc0)],
    ['a second map behind the first', bytesOf([...packed(1)], [...packed(1)])],
    ['a float cut short', packed(0xcb, 0x3f)],
  ])('V2 refuses %s', (_, bytes) => refused(bytes, 'msgpack', 'bad-frame'));
});

describe('V3 values are JSON values, whole numbers within ±(2^53 − 1)', () => {
  it.each(['9007199254740991', '-9007199254740991', '0.1', '-0', '1e15', '123456789.123456789', '1E-400', '5e-324', '9007199254740990.0'])(
    'V3 takes the number %s',
    (text) => {
      expect(scan(json(`{"op":"x","body":${text}}`), 'json').op).toBe('x');
    },
  );
  it.each(['9007199254740992', '-9007199254740992', '1e400', '-1e400', '1e300', '12345678901234567890', '9007199254740993.5', `1${'0'.repeat(400)}`])(
    'V3 refuses the number %s',
    (text) => refused(json(`{"op":"x","body":[${text}]}`), 'json', 'bad-value', 'body'),
  );
  it.each([
    ['the largest uint64 that is safe', [0xcf, 0x00, 0x1f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], true],
    ['2^53 as uint64', [0xcf, 0x00, 0x20, 0, 0, 0, 0, 0, 0], false],
    ['the largest uint64', [0xcf, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], false],
    ['−(2^53 − 1) as int64', [0xd3, 0xff, 0xe0, 0, 0, 0, 0, 0, 1], true],
    ['−2^53 as int64', [0xd3, 0xff, 0xe0, 0, 0, 0, 0, 0, 0], false],
    ['NaN', [0xcb, 0x7f, 0xf8, 0, 0, 0, 0, 0, 0], false],
    ['−Infinity', [0xcb, 0xff, 0xf0, 0, 0, 0, 0, 0, 0], false],
    ['2^53 as float 64', [0xcb, 0x43, 0x40, 0, 0, 0, 0, 0, 0], false],
    ['2^53 − 1 as float 64', [0xcb, 0x43, 0x3f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], true],
    ['NaN as float 32', [0xca, 0x7f, 0xc0, 0, 0], false],
    ['2^53 as float 32', [0xca, 0x5a, 0, 0, 0], false],
    ['2^52 as float 32', [0xca, 0x59, 0x80, 0, 0], true],
  ])('V3 knows %s', (_, bytes, good) => {
    if (good) expect(isPlain(decode(packed(bytes), 'msgpack').body)).toBe(true);
    if (good) expect(scan(packed(bytes), 'msgpack').id).toBe(7);
    else refused(packed(bytes), 'msgpack', 'bad-value', 'body');
  });
  it.each(['"\\ud800"', '"\\udc00"', '"\\ud800\\ud800"', '"\\ud83dx"', '"\\ud83d\\n"', '{"\\udfff":1}'])('V3 refuses half of a surrogate pair: %s', (text) =>
    refused(json(`{"op":"x","body":${text}}`), 'json', 'bad-value', 'body'),
  );
  it('V3 takes a whole surrogate pair', () => expect(scan(json('{"op":"x","body":"\\ud83d\\uDE00"}'), 'json').op).toBe('x'));
  it.each([
    ['a surrogate', [0xa3, 0xed, 0xa0, 0x80]],
    ['an overlong form', [0xa2, 0xc0, 0x80]],
    ['an overlong form of three', [0xa3, 0xe0, 0x80, 0x80]],
    ['a code point above U+10FFFF', [0xa4, 0xf4, 0x90, 0x80, 0x80]],
    ['a lone continuation', [0xa1, 0x80]],
    ['a lead without its bytes', [0xa2, 0xe2, 0x82]],
  ])('V3 refuses a string with %s', (_, bytes) => refused(packed(bytes), 'msgpack', 'bad-value', 'body'));
});

describe('V4 MessagePack carries JSON values only', () => {
  it.each([
    ['a timestamp', [0xd6, 0xff, 0, 0, 0, 1]],
    ['a record of msgpackr', [0xd4, 0x72, 0x40]],
    ['fixext 16', [0xd8, 1, ...new Array(16).fill(0)]],
    ['ext 8', [0xc7, 1, 0x65, 0]],
    ['ext 16', [0xc8, 0, 1, 0x78, 0]],
    ['ext 32', [0xc9, 0, 0, 0, 1, 0x73, 0]],
  ])('V4 refuses %s', (_, bytes) => refused(packed(bytes), 'msgpack', 'bad-value', 'body'));

  it('V4 refuses what the library writes for a Date, a Set and a RegExp', () => {
    const more = new Packr({ useRecords: false, moreTypes: true });
    for (const body of [new Date(0), 2n ** 60n, new Float64Array(1)]) refused(more.pack({ op: 'x', body }), 'msgpack', 'bad-value', 'body');
    // These are an extension and a value behind it: more than one value where one is due.
    for (const body of [new Set([1]), /x/, new Error('x')]) refused(more.pack({ op: 'x', body }), 'msgpack', 'bad-frame');
  });

  it.each([
    ['an integer', [0x81, 1, 2]],
    ['nil', [0x81, 0xc0, 2]],
    ['a list', [0x81, 0x91, 1, 2]],
    ['binary', [0x81, 0xc4, 1, 0x61, 2]],
  ])('V4 refuses %s as a key', (_, bytes) => refused(packed(bytes), 'msgpack', 'bad-value', 'body'));

  it('V4 takes every width of a number in id', () => {
    for (const bytes of [
      [7],
      [0xcc, 7],
      [0xcd, 0, 7],
      [0xce, 0, 0, 0, 7],
      [0xcf, 0, 0, 0, 0, 0, 0, 0, 7],
      [0xd0, 7],
      [0xd1, 0, 7],
      [0xd2, 0, 0, 0, 7],
      [0xd3, 0, 0, 0, 0, 0, 0, 0, 7],
      [0xca, 0x40, 0xe0, 0, 0],
      [0xcb, 0x40, 0x1c, 0, 0, 0, 0, 0, 0],
    ])
      expect(scan(bytesOf(0x82, 0xa2, 'op', 0xa1, 'x', 0xa2, 'id', bytes), 'msgpack').id).toBe(7);
  });
});
