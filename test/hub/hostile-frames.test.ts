/**
 * Frames that no honest client sends. Whatever comes, the answer is a coded error or the right close, no other connection
 * notices, and the hub is alive afterwards.
 */
import { Packr } from 'msgpackr';
import { afterEach, describe, expect, it } from 'vitest';
import type { Format } from '../../src/thread/messages.ts';
import { startHub } from '../kit/hub.ts';
import type { Random } from '../kit/random.ts';
import { RawClient } from '../kit/raw-client.ts';
import { frame, RawSocket } from '../kit/raw-socket.ts';
import { seeded } from '../kit/seeded.ts';

const hub = await startHub({ rateLimit: 0, acceptPerSecond: 0 });
const packr = new Packr({ useRecords: false });

afterEach(async () => {
  const alive = await RawClient.connect(hub.url, { user: 'witness' });
  await alive.ok('subscribe', { room: 'witness' });
  await alive.ok('publish', { room: 'witness', body: 'alive' });
  expect(await alive.next('entry')).toMatchObject({ body: 'alive' });
  alive.terminate();
});

const hello = '{"op":"hello","id":1,"user":"mallory"}';
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

describe('frames against RFC 6455', () => {
  it.each([
    ['unmasked', frame(hello, { masked: false }), [1002]],
    ['with a reserved bit', frame(hello, { reserved: 4 }), [1002]],
    ['with a reserved opcode', frame(hello, { opcode: 3 }), [1002]],
    ['with a reserved control opcode', frame('', { opcode: 11 }), [1002]],
    ['a continuation of nothing', frame(hello, { opcode: 0 }), [1002]],
    ['a new message within a message', Buffer.concat([frame('{', { fin: false }), frame(hello)]), [1002]],
    ['a ping in fragments', frame('', { opcode: 9, fin: false }), [1002]],
    ['a ping of 126 bytes', frame('x'.repeat(126), { opcode: 9 }), [1002]],
    ['a close of one byte', frame('x', { opcode: 8 }), [1002]],
    ['a close with a code that may not be sent', frame(Buffer.from([0x03, 0xed]), { opcode: 8 }), [1002]],
    ['text that is no UTF-8', frame(Buffer.from([0x22, 0xff, 0xfe, 0x22])), [1007]],
    ['a length beyond 2^63', frame('', { declared: 2n ** 63n }), [1002, 1009]],
    ['a length of 4 GiB', frame('', { declared: 2n ** 32n }), [1009]],
    ['a frame over the limit', frame('x'.repeat(300_000)), [1009]],
    ['a message over the limit in fragments', Buffer.concat([frame('x'.repeat(200_000), { fin: false }), frame('x'.repeat(200_000), { opcode: 0 })]), [1009]],
  ])('V1 V2 close the connection: %s', async (_what, bytes, codes) => {
    const socket = await RawSocket.upgrade(hub.port);
    socket.write(bytes);
    expect(codes).toContain(await socket.closed);
  });

  it('V1 a message in 100,000 fragments of one byte costs its sender the connection', async () => {
    const socket = await RawSocket.upgrade(hub.port);
    const part = frame('x', { opcode: 0, fin: false });
    socket.write(frame('{', { fin: false }));
    socket.write(Buffer.concat(Array.from({ length: 100_000 }, () => part)));
    expect([1008, 1009, null]).toContain(await socket.closed);
  });

  it('a message in several fragments, byte by byte, is a message', async () => {
    const socket = await RawSocket.upgrade(hub.port);
    for (const byte of Buffer.concat([frame(hello.slice(0, 5), { fin: false }), frame('', { opcode: 9 }), frame(hello.slice(5), { opcode: 0 })]))
      socket.write(Buffer.of(byte));
    await socket.until(() => socket.frames.some(({ opcode, payload }) => opcode === 1 && payload.includes('"welcome"')));
    expect(socket.frames.map(({ opcode }) => opcode)).toContain(10);
  });

  it.each<[Format, Buffer]>([
    ['json', frame(packr.pack({ op: 'hello', id: 1, user: 'x' }), { opcode: 2 })],
    ['msgpack', frame(hello)],
  ])('C1 a frame of the other kind in %s is refused', async (format, bytes) => {
    const socket = await RawSocket.upgrade(hub.port, `hubbub.v1.${format}`);
    socket.write(bytes);
    const refused = socket.until(() => socket.frames.some(({ payload }) => payload.includes('bad-frame'))).then(() => 'bad-frame');
    expect(['bad-frame', 1003]).toContain(await Promise.race([refused, socket.closed]));
  });

  it.each([
    ['no HTTP', '\u0016\u0003\u0001 hello\r\n\r\n'],
    ['2,500 headers', `GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n${repeat('X-A: b\r\n', 2_500)}Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n`],
    ['a header of 20 kB', `GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-A: ${repeat('b', 20_000)}\r\n\r\n`],
    ['another protocol', 'GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n'],
    ['a POST that upgrades', 'POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 0\r\n\r\n'],
  ])('a handshake that is none ends: %s', async (_what, text) => {
    const socket = await RawSocket.open(hub.port);
    socket.write(text);
    await socket.closed;
    expect(socket.head).toMatch(/^(?:HTTP\/1\.1 4\d\d|$)/);
  });
});

describe('noise', () => {
  const seeds = [
    '{"op":"publish","id":1,"room":"r","body":{"a":[1,"x",null]},"mid":"01999999-9999-7999-8999-999999999999"}',
    '{"op":"subscribe","id":2,"room":"r","position":{"epoch":"e","seq":1}}',
  ];

  it.each<Format>(['json', 'msgpack'])('in %s never gets more than an error or a close', async (format) => {
    const random = seeded();
    const valid = seeds.map((text) => (format === 'json' ? Buffer.from(text) : packr.pack(JSON.parse(text))));
    for (let round = 0; round < 60; round++) {
      const socket = await RawSocket.upgrade(hub.port, `hubbub.v1.${format}`);
      const opcode = format === 'json' ? 1 : 2;
      socket.write(frame(format === 'json' ? hello : packr.pack(JSON.parse(hello)), { opcode }));
      for (let i = 0; i < 15; i++) socket.write(frame(changed(random, Buffer.from(random.pick(valid)), format), { opcode }));
      socket.write(frame('', { opcode: 9 }));
      await Promise.race([socket.closed, socket.until(() => socket.frames.some(({ opcode }) => opcode === 10)).catch(() => {})]);
      socket.destroy();
    }
    expect(hub.pid).toBeGreaterThan(0);
  });
});

/** Some bytes of it replaced, moved or cut; in json by characters, so that not all of it ends as malformed UTF-8. */
function changed(random: Random, bytes: Buffer, format: Format): Buffer {
  for (let i = random.int(4); i >= 0; i--) bytes[random.int(bytes.length)] = format === 'json' ? 0x20 + random.int(0x5f) : random.int(256);
  if (random.int(4) === 0) return bytes.subarray(0, random.int(bytes.length + 1));
  if (random.int(4) === 0) return Buffer.concat([bytes.subarray(random.int(bytes.length)), bytes]);
  return bytes;
}
