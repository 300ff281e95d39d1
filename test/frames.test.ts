/** Frames and pushes written by hand: read back by ws, by JSON and by the codec. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import * as ws from 'ws';
import { decode, encode } from '../src/protocol/codec.ts';
import {
  entryJson,
  entryMap,
  ephemeralJson,
  ephemeralMap,
  frameBytes,
  inboxJson,
  inboxMap,
  itemJson,
  itemMap,
  type StoredEntry,
  writeFrameHeader,
} from '../src/protocol/frames.ts';

type Receiving = { on(event: 'message', listener: (data: Buffer, binary: boolean) => void): void; write(bytes: Buffer): void };
/** Its types leave it out. */
const { Receiver } = ws as unknown as { Receiver: new (options: object) => Receiving };

const mid = '0199c1d3-7a11-7000-8000-5d3c6e1f0a42';
const plain: StoredEntry = { room: 'general', seq: 5, kind: 'message', mid, from: 'alice', ts: 1_790_000_000_000, thread: null, body: '{"a":1}' };

/** Half surrogate pairs become U+FFFD. */
function wellFormed(text: string): string {
  return Buffer.from(text).toString();
}

/** What a client of ws makes of the bytes. */
function received(bytes: Buffer): { data: Buffer; binary: boolean }[] {
  const messages: { data: Buffer; binary: boolean }[] = [];
  const receiver = new Receiver({ isServer: false, allowSynchronousEvents: true });
  receiver.on('message', (data: Buffer, binary: boolean) => messages.push({ data, binary }));
  receiver.write(bytes);
  return messages;
}

describe('a frame', () => {
  it.each([0, 1, 125, 126, 127, 65_535, 65_536, 70_000])('of %i bytes is read by a client as it was written, with the shortest header', (length) => {
    for (const opcode of [1, 2] as const) {
      const header = frameBytes(length);
      const bytes = Buffer.alloc(3 + header + length, 0x61);
      expect(writeFrameHeader(bytes, 3, opcode, length)).toBe(header);
      expect(header).toBe(length < 126 ? 2 : length < 65_536 ? 4 : 10);
      expect(bytes.subarray(0, 3).toString()).toBe('aaa');
      const messages = received(bytes.subarray(3));
      expect(messages).toHaveLength(1);
      expect(messages[0]?.binary).toBe(opcode === 2);
      expect(messages[0]?.data.equals(Buffer.alloc(length, 0x61))).toBe(true);
    }
  });

  it('follows another without a seam', () => {
    const texts = ['', 'x'.repeat(200), 'é', 'y'.repeat(70_000)];
    const parts = texts.map((text) => {
      const payload = Buffer.from(text);
      const head = Buffer.alloc(frameBytes(payload.length));
      writeFrameHeader(head, 0, 1, payload.length);
      return Buffer.concat([head, payload]);
    });
    expect(received(Buffer.concat(parts)).map(({ data }) => data.toString())).toEqual(texts);
  });

  it('of more than 4 GiB has its length in 64 bits', () => {
    const head = Buffer.alloc(10);
    expect(writeFrameHeader(head, 0, 2, 2 ** 32 + 5)).toBe(10);
    expect(head.readBigUInt64BE(2)).toBe(2n ** 32n + 5n);
  });
});

describe('V6 a stored entry', () => {
  const entry = fc.record({
    room: fc.string({ unit: 'binary' }).map((text) => wellFormed(text)),
    seq: fc.maxSafeNat(),
    kind: fc.constantFrom('message' as const, 'created' as const, 'member' as const, 'settings' as const, 'deleted' as const),
    mid: fc.option(fc.uuid()),
    from: fc.option(fc.string({ unit: 'grapheme' })),
    ts: fc.maxSafeNat(),
    thread: fc.option(fc.uuid()),
    body: fc.oneof(fc.json({ noUnicodeString: false }), fc.uint8Array(), fc.constant(null)),
  });

  it('V6 is the same push in JSON text and as a map, and the same value in both encodings', () => {
    fc.assert(
      fc.property(entry, fc.maxSafeNat(), (stored, n) => {
        expect(JSON.parse(entryJson(stored))).toEqual(decode(encode(entryMap(stored, 'json'), 'json'), 'json'));
        expect(JSON.parse(itemJson(stored))).toEqual(decode(encode(itemMap(stored, 'json'), 'json'), 'json'));
        expect(JSON.parse(inboxJson(stored, n))).toEqual(decode(encode(inboxMap(stored, n, 'json'), 'json'), 'json'));
        const { bin, ...rest } = itemMap(stored, 'msgpack');
        const { body64, ...restJson } = JSON.parse(itemJson(stored)) as { body64?: string };
        expect(JSON.parse(JSON.stringify(rest))).toEqual(restJson);
        expect(bin === undefined ? undefined : Buffer.from(bin).toString('base64')).toBe(body64);
      }),
    );
  });

  it('is written in this order, with the body as it is stored', () => {
    const fields = `"room":"general","seq":5,"kind":"message","mid":"${mid}","from":"alice","ts":1790000000000`;
    expect(entryJson(plain)).toBe(`{"op":"entry",${fields},"body":{"a":1}}`);
    expect(itemJson(plain)).toBe(`{${fields},"body":{"a":1}}`);
    expect(inboxJson(plain, 9)).toBe(`{"op":"inbox","n":9,${fields},"body":{"a":1}}`);
    expect(itemJson({ ...plain, thread: mid })).toBe(`{${fields},"thread":"${mid}","body":{"a":1}}`);
    expect(itemJson({ ...plain, body: new Uint8Array([1, 2]) })).toBe(`{${fields},"body64":"AQI="}`);
    expect(itemJson({ ...plain, body: null })).toBe(`{${fields}}`);
    expect(itemJson({ ...plain, body: 'null' })).toBe(`{${fields},"body":null}`);
    expect(itemMap({ ...plain, body: null }, 'msgpack')).not.toHaveProperty('body');
    expect(itemMap({ ...plain, body: 'null' }, 'msgpack').body).toBeNull();
  });

  it('keeps a key __proto__ of old data out of prototypes', () => {
    const map = itemMap({ ...plain, body: '{"__proto__":{"polluted":true}}' }, 'msgpack');
    expect(({} as { polluted?: boolean }).polluted).toBeUndefined();
    expect(Object.getPrototypeOf(map.body)).toBe(Object.prototype);
  });
});

describe('M6 an ephemeral', () => {
  it('M6 is the same push in JSON text and as a map', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme' }), fc.option(fc.string({ unit: 'grapheme' })), fc.jsonValue(), (room, from, value) => {
        const text = ephemeralJson(room, from, 5, JSON.stringify(value));
        expect(text).toBe(JSON.stringify(ephemeralMap(room, from, 5, value, 'json')));
      }),
    );
    const bin = new Uint8Array([1, 2]);
    expect(JSON.parse(ephemeralJson('r', null, 5, bin))).toEqual({ op: 'ephemeral', room: 'r', from: null, ts: 5, body64: 'AQI=' });
    expect(ephemeralMap('r', null, 5, bin, 'msgpack')).toEqual({ op: 'ephemeral', room: 'r', from: null, ts: 5, bin });
  });
});
