/**
 * Commands that no honest client sends, one by one. Whatever comes, the answer is a coded error, no other connection notices, and
 * the hub is alive afterwards. Frames that break WebSocket itself are fault row 14's, chance is row 13's.
 */
import { Packr } from 'msgpackr';
import { afterEach, describe, expect, it } from 'vitest';
import { startHub } from '../kit/hub.ts';
import { RawClient } from '../kit/raw-client.ts';

const hub = await startHub({ rateLimit: 0, acceptPerSecond: 0 });
const packr = new Packr({ useRecords: false });

afterEach(async () => {
  const alive = await RawClient.connect(hub.url, { user: 'witness' });
  await alive.ok('subscribe', { room: 'witness' });
  await alive.ok('publish', { room: 'witness', body: 'alive' });
  expect(await alive.next('entry')).toMatchObject({ body: 'alive' });
  alive.terminate();
});

const repeat = (text: string, times: number): string => text.repeat(times);
const array32 = Buffer.from([0xdd, 0x00, 0xff, 0xff, 0xff]);

describe('json that is none, or too much of it', () => {
  it.each([
    ['nothing', '', 'bad-frame'],
    ['no JSON', '{"op":', 'bad-frame'],
    ['more than one value', '{"op":"ping"}{}', 'bad-frame'],
    ['a list', '[1]', 'bad-frame'],
    ['a string', '"ping"', 'bad-frame'],
    ['null', 'null', 'bad-frame'],
    ['16 levels too deep', `{"op":"publish","room":"r","body":${repeat('[', 32)}${repeat(']', 32)}}`, 'bad-value'],
    ['100,000 levels', `{"op":"publish","room":"r","body":${repeat('[', 100_000)}${repeat(']', 100_000)}}`, 'bad-value'],
    ['100,000 open brackets', repeat('[', 100_000), 'bad-(?:value|frame)'],
    ['30,000 values', `{"op":"publish","room":"r","body":[${repeat('1,', 30_000)}1]}`, 'bad-value|too-large'],
    ['a body over its limit', `{"op":"publish","room":"r","body":"${repeat('x', 70_000)}"}`, 'too-large'],
    ['__proto__ as a key of the body', '{"op":"publish","room":"r","body":{"__proto__":{"polluted":1}}}', 'bad-value'],
    ['a field twice', '{"op":"ping","op":"ping"}', 'bad-request'],
    ['__proto__ as a field', '{"op":"ping","__proto__":{"id":1}}', 'bad-(?:value|request|frame)'],
    ['__proto__ escaped', '{"op":"publish","room":"r","body":{"\\u005f_proto__":1}}', 'bad-value'],
    ['__proto__ as a room of a resume', '{"op":"resume","epoch":"e","rooms":{"__proto__":1}}', 'bad-(?:value|request)'],
  ])('V1 V2 V5 V7 is refused: %s', async (_what, text, code) => {
    const client = await RawClient.connect(hub.url, { user: 'mallory' });
    client.sendRaw(text);
    expect(await client.next('error')).toMatchObject({ code: expect.stringMatching(new RegExp(`^(?:${code})$`)), retry: false });
    await client.settled();
  });
});

describe('msgpack that is none, or too much of it', () => {
  const deep = (levels: number): Buffer => Buffer.concat([Buffer.alloc(levels, 0x91), Buffer.from([0xc0])]);
  const publish = (body: Uint8Array): Buffer => {
    const head = packr.pack({ op: 'publish', room: 'r', body: null });
    return Buffer.concat([head.subarray(0, head.length - 1), body]);
  };

  it.each([
    ['nothing', Buffer.alloc(0), 'bad-frame'],
    ['a cut-off map', packr.pack({ op: 'ping', id: 1 }).subarray(0, 5), 'bad-frame'],
    ['bytes behind the map', Buffer.concat([packr.pack({ op: 'ping' }), Buffer.from([0xc0])]), 'bad-frame'],
    ['a list', packr.pack([1]), 'bad-frame'],
    ['the byte that msgpack never uses', Buffer.from([0xc1]), 'bad-frame'],
    ['lists that declare 16 million items each, in each other', Buffer.concat(Array.from({ length: 8 }, () => array32)), 'bad-(?:frame|value)'],
    ['a map that declares 4 billion keys', Buffer.from([0xdf, 0xff, 0xff, 0xff, 0xff]), 'bad-(?:frame|value)'],
    ['a string that declares 4 GiB', publish(Buffer.from([0xdb, 0xff, 0xff, 0xff, 0xff])), 'bad-(?:frame|value)'],
    ['bytes that declare 4 GiB', publish(Buffer.from([0xc6, 0xff, 0xff, 0xff, 0xff])), 'bad-(?:frame|value)'],
    ['17 levels', publish(deep(17)), 'bad-(?:frame|value)'],
    ['100,000 levels', publish(deep(100_000)), 'bad-(?:frame|value)'],
    ['an extension', publish(Buffer.from([0xd4, 0x72, 0x40])), 'bad-(?:frame|value)'],
    ['a timestamp', publish(Buffer.from([0xd6, 0xff, 0, 0, 0, 0])), 'bad-(?:frame|value)'],
    ['__proto__ as a key', publish(packr.pack(new Map([['__proto__', 1]]))), 'bad-(?:frame|value)'],
  ])('V1 V2 V4 is refused: %s', async (_what, bytes, code) => {
    const client = await RawClient.connect(hub.url, { user: 'mallory', format: 'msgpack' });
    client.sendRaw(bytes);
    expect(await client.next('error')).toMatchObject({ code: expect.stringMatching(new RegExp(`^(?:${code})$`)), retry: false });
    await client.settled();
  });
});
