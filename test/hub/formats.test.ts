/** The two subprotocols say the same: every value that one sends the other receives, and what one refuses the other does too. */
import { Packr } from 'msgpackr';
import { describe, expect, it } from 'vitest';
import type { Format } from '../../src/thread/messages.ts';
import { startHub } from '../kit/hub.ts';
import { RawClient } from '../kit/raw-client.ts';

const hub = await startHub();
const formats: Format[] = ['json', 'msgpack'];

const values: unknown[] = [
  null,
  true,
  false,
  0,
  -1,
  1.5,
  -1e-7,
  1e-300,
  127,
  128,
  65_536,
  -2_147_483_649,
  Number.MAX_SAFE_INTEGER,
  Number.MIN_SAFE_INTEGER,
  '',
  'plain',
  'quotes " and \\ and \n and \u0000 and \u007f',
  'ë 漢字 🦊 \u2028',
  'x'.repeat(40_000),
  [],
  {},
  [[], {}, [null]],
  { a: 1, 'key with "quotes"': [{ b: { c: [1, 2, 3] } }], clé: 'ö', '': 0 },
  { op: 'error', seq: 1, room: 'elsewhere', constructor: { prototype: 'own' }, toString: 'own' },
  Array.from({ length: 2_000 }, (_, i) => i),
];

describe.each(formats)('sent in %s', (sent) => {
  it.each(formats)('V3 C1 every JSON value arrives unchanged in %s', async (received) => {
    const room = `values-${sent}-${received}`;
    const sender = await RawClient.connect(hub.url, { user: 'sender', format: sent });
    const reader = await RawClient.connect(hub.url, { user: 'reader', format: received });
    await reader.ok('subscribe', { room });
    await Promise.all(values.map((body) => sender.ok('publish', { room, body })));
    await reader.until(() => reader.entries(room).length === values.length);
    expect(reader.entries(room).map(({ body }) => body)).toEqual(values);
  });

  it.each(formats)('V3 F9 history and recovery give the same values in %s', async (received) => {
    const room = `kept-${sent}-${received}`;
    const sender = await RawClient.connect(hub.url, { user: 'sender', format: sent });
    await Promise.all(values.map((body) => sender.ok('publish', { room, body })));
    const reader = await RawClient.connect(hub.url, { user: 'reader', format: received });
    const { entries } = await reader.ok('history', { room });
    expect(entries.map(({ body }) => body)).toEqual(values);
    await reader.ok('subscribe', { room, position: { epoch: reader.welcome?.epoch, seq: 0 } });
    await reader.until(() => reader.entries(room).length === values.length);
    expect(reader.entries(room)).toEqual(entries.map((entry) => ({ op: 'entry', ...entry, room })));
  });

  it.each(formats)('V3 M6 an ephemeral arrives unchanged in %s', async (received) => {
    const room = `passing-${sent}-${received}`;
    const sender = await RawClient.connect(hub.url, { user: 'sender', format: sent });
    const reader = await RawClient.connect(hub.url, { user: 'reader', format: received });
    await reader.ok('subscribe', { room });
    for (const body of values) {
      await sender.ok('publish', { room, body, ephemeral: true });
      expect(await reader.next('ephemeral')).toEqual({ op: 'ephemeral', room, from: 'sender', ts: expect.any(Number), body });
    }
  });
});

describe('a binary body', () => {
  const bytes = Uint8Array.from({ length: 256 }, (_, i) => i);
  const body64 = Buffer.from(bytes).toString('base64');

  it.each([
    ['json', { body64 }],
    ['msgpack', { bin: bytes }],
  ] as const)('V6 sent in %s arrives as bin in msgpack and as body64 in json', async (format, content) => {
    const room = `bytes-${format}`;
    const sender = await RawClient.connect(hub.url, { user: 'sender', format });
    const [json, msgpack] = await Promise.all(formats.map((received) => RawClient.connect(hub.url, { user: `reader-${received}`, format: received })));
    for (const reader of [json, msgpack]) await reader?.ok('subscribe', { room });
    await sender.ok('publish', { room, ...content });
    const text = await json?.next('entry');
    const binary = await msgpack?.next('entry');
    expect(text).toMatchObject({ body64 });
    expect(text).not.toHaveProperty('body');
    expect(new Uint8Array(binary?.bin ?? [])).toEqual(bytes);
    expect(binary).not.toHaveProperty('body');
    const { entries } = (await json?.ok('history', { room })) ?? {};
    expect(entries?.[0]).toMatchObject({ body64 });
  });

  it('V6 may be empty', async () => {
    const sender = await RawClient.connect(hub.url, { user: 'sender', format: 'msgpack' });
    await sender.ok('subscribe', { room: 'no-bytes' });
    await sender.ok('publish', { room: 'no-bytes', bin: new Uint8Array(0) });
    expect((await sender.next('entry')).bin).toHaveLength(0);
  });

  it('V6 is the whole body or none of it', async () => {
    const json = await RawClient.connect(hub.url, { user: 'sender' });
    const msgpack = await RawClient.connect(hub.url, { user: 'sender', format: 'msgpack' });
    expect(await json.command('publish', { room: 'r', body: 1, body64 })).toMatchObject({ op: 'error', code: 'bad-request' });
    expect(await json.command('publish', { room: 'r' })).toMatchObject({ op: 'error', code: 'bad-request' });
    expect(await json.command('publish', { room: 'r', body64: 'not base64!' })).toMatchObject({ op: 'error', code: 'bad-request', field: 'body64' });
    expect(await msgpack.command('publish', { room: 'r', body: { inside: bytes } })).toMatchObject({ op: 'error', code: 'bad-value' });
  });
});

describe('what is no JSON value', () => {
  const packr = new Packr({ useRecords: false });

  it.each([
    ['not a number', Number.NaN],
    ['infinity', Number.POSITIVE_INFINITY],
    ['an integer beyond 2^53', 2n ** 60n],
    ['a date', new Date(0)],
    ['a map with a number as key', new Map([[1, 2]])],
  ])('V3 V4 is refused in msgpack: %s', async (_what, body) => {
    const client = await RawClient.connect(hub.url, { user: 'odd', format: 'msgpack' });
    client.sendRaw(new Packr({ useRecords: false, moreTypes: true, largeBigIntToFloat: false }).pack({ op: 'publish', room: 'odd', body }));
    const error = await client.next('error');
    expect(error).toMatchObject({ code: 'bad-value' });
    await client.settled();
  });

  it('V2 is refused in msgpack: malformed UTF-8', async () => {
    const client = await RawClient.connect(hub.url, { user: 'odd', format: 'msgpack' });
    const frame = packr.pack({ op: 'publish', room: 'odd', body: 'AAAA' });
    frame.fill(0xff, frame.length - 4);
    client.sendRaw(frame);
    expect(await client.next('error')).toMatchObject({ code: expect.stringMatching(/^bad-(?:value|frame)$/) });
    await client.settled();
  });

  it.each([
    ['an integer beyond 2^53', '9007199254740993'],
    ['a number beyond all', '1e999'],
    ['half of a surrogate pair', '"\\ud83e"'],
  ])('V3 is refused in json: %s', async (_what, body) => {
    const client = await RawClient.connect(hub.url, { user: 'odd' });
    client.sendRaw(`{"op":"publish","room":"odd","body":${body}}`);
    expect(await client.next('error')).toMatchObject({ code: 'bad-value' });
    await client.settled();
  });
});
