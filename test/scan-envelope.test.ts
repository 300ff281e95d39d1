/** The scan before decoding: the fields of the envelope, their names, and what may stand where. */
import { Packr } from 'msgpackr';
import { describe, expect, it } from 'vitest';
import { decode, encode, type Format } from '../src/protocol/codec.ts';
import { scan } from '../src/protocol/scan.ts';
import { bytesOf, json, packed, refusalOf, refused } from './kit/scanned.ts';

const packr = new Packr({ useRecords: false, useToJSON: false });
const formats: Format[] = ['json', 'msgpack'];

describe('V5 no key __proto__, no field twice', () => {
  it('V5 refuses __proto__ at any level, escaped too', () => {
    refused(json('{"op":"x","__proto__":1}'), 'json', 'bad-value', '__proto__');
    refused(json('{"op":"x","body":{"a":[{"__proto__":1}]}}'), 'json', 'bad-value', 'body');
    refused(json('{"op":"x","body":{"\\u005f_proto_\\u005F":1}}'), 'json', 'bad-value', 'body');
    refused(packed(0x81, 0xa9, '__proto__', 1), 'msgpack', 'bad-value', 'body');
    refused(packed(0x81, [0xd9, 9], '__proto__', 1), 'msgpack', 'bad-value', 'body');
    refused(bytesOf(0x82, 0xa2, 'op', 0xa1, 'x', 0xa9, '__proto__', 0x80), 'msgpack', 'bad-value', '__proto__');
  });
  it('V5 takes names of other methods, which are only keys', () => {
    for (const format of formats) {
      const bytes = encode({ op: 'x', body: { constructor: 1, toString: 2, hasOwnProperty: 3, toJSON: 4, __proto_: 5 } }, format);
      expect(scan(bytes, format).op).toBe('x');
      expect(decode(bytes, format).body).toEqual({ constructor: 1, toString: 2, hasOwnProperty: 3, toJSON: 4, __proto_: 5 });
    }
  });
  it('V5 refuses a field twice, however it is written', () => {
    refused(json('{"op":"x","room":"a","room":"b"}'), 'json', 'bad-request', 'room');
    refused(json('{"op":"x","r\\u006fom":"a","room":"b"}'), 'json', 'bad-request', 'room');
    refused(json('{"op":"x","q":1,"\\u0071":2}'), 'json', 'bad-request', 'q');
    refused(bytesOf(0x83, 0xa2, 'op', 0xa1, 'x', 0xa2, 'id', 1, [0xd9, 2], 'id', 2), 'msgpack', 'bad-request', 'id');
    expect(scan(json('{"op":"x","body":{"a":1,"a":2}}'), 'json').op).toBe('x');
  });
});

describe('V6 binary is a whole body', () => {
  it('V6 takes bin in the envelope and binary nowhere else', () => {
    const bin = Buffer.from([1, 2, 3]);
    expect(scan(packr.pack({ op: 'x', bin }), 'msgpack').op).toBe('x');
    refused(packr.pack({ op: 'x', body: bin }), 'msgpack', 'bad-value', 'body');
    refused(packr.pack({ op: 'x', body: { bin } }), 'msgpack', 'bad-value', 'body');
    refused(packr.pack({ op: 'x', bin: [bin] }), 'msgpack', 'bad-value', 'bin');
    refused(packr.pack({ op: 'x', room: bin }), 'msgpack', 'bad-request', 'room');
  });
});

describe('R1 a wrong routing field is named', () => {
  it.each([
    ['op', 1],
    ['op', null],
    ['id', 0],
    ['id', -1],
    ['id', 1.5],
    ['id', '1'],
    ['id', true],
    ['id', []],
    ['room', 1],
    ['room', null],
    ['room', {}],
    ['to', false],
    ['as', ['a']],
    ['room', 'x'.repeat(1_025)],
  ])('R1 names %s when it is %j', (field, value) => {
    for (const format of formats) refused(encode({ op: 'x', [field]: value }, format), format, 'bad-request', field);
  });
  it('R1 names op when it is missing', () => {
    for (const format of formats) refused(encode({ id: 1 }, format), format, 'bad-request', 'op');
    for (const format of formats) refused(encode({ op: 'x'.repeat(65) }, format), format, 'unknown-op', 'op');
  });
  it('R1 refuses more fields than any command has', () => {
    const map = Object.fromEntries(Array.from({ length: 33 }, (_, i) => [`field${i}`, i]));
    for (const format of formats) refused(encode(map, format), format, 'bad-request');
    for (const format of formats) refused(encode({ op: 'x', ['é'.repeat(40)]: 1 }, format), format, 'bad-request');
  });
  it('R3 finds id and op behind the fault that it answers', () => {
    for (const format of formats) {
      expect(refusalOf(encode({ room: 5, op: 'publish', id: 9 }, format), format)).toMatchObject({ code: 'bad-request', field: 'room', id: 9, op: 'publish' });
      expect(refusalOf(encode({ body: [1e300], id: 9, op: 'publish' }, format), format)).toMatchObject({
        code: 'bad-value',
        field: 'body',
        id: 9,
        op: 'publish',
      });
    }
  });
});
