/** What a body may be, and commands from decoded frames. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { CodedError, type ErrorCode } from '../src/protocol/codes.ts';
import { depthMax } from '../src/protocol/limits.ts';
import { contentOf, parseCommand } from '../src/protocol/validate.ts';
import { checkValue } from '../src/protocol/values.ts';

const mid = '0199c1d3-7a11-7000-8000-5d3c6e1f0a42';

function refused(act: () => unknown, code: ErrorCode, field?: string): void {
  try {
    act();
  } catch (error) {
    expect(error).toBeInstanceOf(CodedError);
    expect(error).toMatchObject({ code, field });
    return;
  }
  throw new Error('it was accepted');
}

function nested(levels: number): unknown {
  let value: unknown = 1;
  for (let i = 0; i < levels; i++) value = i % 2 === 0 ? [value] : { a: value };
  return value;
}

describe('checkValue', () => {
  it('V3 takes every JSON value that can be carried', () => {
    const numbers = (value: unknown): boolean =>
      typeof value === 'number'
        ? !Number.isInteger(value) || Number.isSafeInteger(value)
        : typeof value !== 'object' || value === null || Object.values(value).every(numbers);
    fc.assert(
      fc.property(fc.jsonValue({ maxDepth: 8 }), (value) => {
        fc.pre(numbers(value) && !JSON.stringify(value).includes('__proto__'));
        expect(() => checkValue(value)).not.toThrow();
      }),
    );
    expect(() => checkValue(Object.assign(Object.create(null), { a: 1 }))).not.toThrow();
    expect(() => checkValue({ a: undefined })).not.toThrow();
  });

  it.each([
    [{ a: [1, 2, 3, Number.NaN] }, 'body.a[3]'],
    [Number.POSITIVE_INFINITY, 'body'],
    [[-(2 ** 53)], 'body[0]'],
    [1e300, 'body'],
    [{ a: { b: '\ud800' } }, 'body.a.b'],
    [{ a: { '\udc00': 1 } }, 'body.a'],
    [{ ['k'.repeat(300)]: 1n }, `body.${'k'.repeat(195)}…`],
    [{ ['😀'.repeat(300)]: 1n }, `body.${'😀'.repeat(97)}…`],
    [[undefined], 'body[0]'],
    [undefined, 'body'],
    [{ a: 1n }, 'body.a'],
    [{ a: () => 1 }, 'body.a'],
    [{ a: Symbol('x') }, 'body.a'],
    [{ a: new Date(0) }, 'body.a'],
    [{ a: new Map() }, 'body.a'],
    [{ a: new Uint8Array(1) }, 'body.a'],
    [{ a: /x/ }, 'body.a'],
    [JSON.parse('{"a":{"__proto__":{}}}'), 'body.a.__proto__'],
    [new (class A {})(), 'body'],
  ])('V3 refuses %o and says where', (value, field) => refused(() => checkValue(value), 'bad-value', field));

  it('V1 counts levels below the envelope, and is not led round in circles', () => {
    expect(() => checkValue(nested(depthMax - 1))).not.toThrow();
    refused(() => checkValue(nested(depthMax)), 'bad-value', `body${'.a[0]'.repeat(7)}.a`);
    const circle: Record<string, unknown> = {};
    circle.a = circle;
    refused(() => checkValue(circle), 'bad-value', `body${'.a'.repeat(depthMax - 1)}`);
  });
});

describe('parseCommand', () => {
  it('R1 takes a command and brings its names to normal form C', () => {
    expect(parseCommand({ op: 'publish', id: 1, room: 'cafe\u0301', mid, body: { a: null } })).toEqual({
      op: 'publish',
      id: 1,
      room: 'café',
      mid,
      body: { a: null },
    });
    expect(parseCommand({ op: 'resume', epoch: 'e', rooms: { 'cafe\u0301': 3 } })).toEqual({ op: 'resume', epoch: 'e', rooms: { café: 3 } });
  });

  it.each([
    [{}, 'bad-request', 'op'],
    [{ op: 1 }, 'bad-request', 'op'],
    [{ op: 'fly' }, 'unknown-op', 'op'],
    [{ op: 'toString' }, 'unknown-op', 'op'],
    [{ op: '__proto__' }, 'unknown-op', 'op'],
    [{ op: 'ping', id: 0 }, 'bad-request', 'id'],
    [{ op: 'ping', id: 2 ** 53 }, 'bad-request', 'id'],
    [{ op: 'ping', extra: 1 }, 'bad-request', 'extra'],
    [{ op: 'publish', body: 1 }, 'bad-request', 'room'],
    [{ op: 'publish', room: '', body: 1 }, 'bad-request', 'room'],
    [{ op: 'publish', room: 'dm:b:a', body: 1 }, 'bad-request', 'room'],
    [{ op: 'publish', room: 'a', body: 1, mid: mid.toUpperCase() }, 'bad-request', 'mid'],
    [{ op: 'publish', room: 'a', bin: 'text' }, 'bad-request', 'bin'],
    [{ op: 'publish', room: 'a', body64: '*' }, 'bad-request', 'body64'],
    [{ op: 'subscribe', room: 'a', position: { epoch: 'e' } }, 'bad-request', 'position.seq'],
    [{ op: 'subscribe', room: 'a', position: { epoch: 'e', seq: 1, extra: 1 } }, 'bad-request', 'position.extra'],
    [{ op: 'subscribe', room: 'a', position: 'end' }, 'bad-request', 'position'],
    [{ op: 'resume', epoch: 'e', rooms: { general: -1 } }, 'bad-request', 'rooms.general'],
    [{ op: 'resume', epoch: 'e', rooms: { ' x': 1 } }, 'bad-request', 'rooms. x'],
    [{ op: 'resume', epoch: 'e', rooms: Object.fromEntries(Array.from({ length: 1_001 }, (_, i) => [`r${i}`, 1])) }, 'bad-request', 'rooms'],
    [{ op: 'who', users: ['a', 'b', 'c', 4] }, 'bad-request', 'users[3]'],
    [{ op: 'who', users: [] }, 'bad-request', 'users'],
    [{ op: 'history', room: 'a', limit: 201 }, 'bad-request', 'limit'],
    [{ op: 'create', room: 'a', visibility: 'secret' }, 'bad-request', 'visibility'],
  ])('R1 refuses %j and names the field', (map, code, field) => refused(() => parseCommand(map as Record<string, unknown>), code as ErrorCode, field));

  it('N2 does not begin to compose a name that is too long to be one', () => {
    const marks = `a${'\u0316\u0301'.repeat(60_000)}`;
    for (const map of [
      { op: 'info', room: marks },
      { op: 'who', users: [marks] },
      { op: 'resume', epoch: 'e', rooms: { [marks]: 1 } },
      { op: 'hello', device: marks },
    ])
      expect(() => parseCommand(map)).toThrow(CodedError);
  });

  it('R1 throws nothing but coded errors, whatever the map', () => {
    const op = fc.constantFrom('hello', 'publish', 'direct', 'subscribe', 'resume', 'create', 'who', 'rooms', 'mark', 'x');
    fc.assert(
      fc.property(
        op,
        fc.dictionary(fc.constantFrom('id', 'room', 'to', 'rooms', 'users', 'position', 'body', 'mid', 'epoch', 'title', 'x'), fc.jsonValue()),
        (name, fields) => {
          try {
            expect(parseCommand({ ...fields, op: name }).op).toBe(name);
          } catch (error) {
            expect(error).toBeInstanceOf(CodedError);
          }
        },
      ),
      { numRuns: 1_000 },
    );
  });
});

describe('contentOf', () => {
  it('V6 takes exactly one of body, bin and body64', () => {
    const bin = new Uint8Array([1, 2]);
    expect(contentOf({ body: { a: [1, 'é'] } }, 'json', 100)).toEqual({ stored: '{"a":[1,"é"]}', value: { a: [1, 'é'] } });
    expect(contentOf({ body: null }, 'msgpack', 100)).toEqual({ stored: 'null', value: null });
    expect(contentOf({ bin }, 'msgpack', 100)).toEqual({ stored: bin, value: bin });
    expect(contentOf({ body64: 'AQI=' }, 'json', 100)).toEqual({ stored: bin, value: bin });
    refused(() => contentOf({}, 'json', 100), 'bad-request', 'body');
    refused(() => contentOf({ body: 1, body64: '' }, 'json', 100), 'bad-request', 'body');
    refused(() => contentOf({ bin, body: 1 }, 'msgpack', 100), 'bad-request', 'body');
    refused(() => contentOf({ bin }, 'json', 100), 'bad-request', 'bin');
    refused(() => contentOf({ body64: '' }, 'msgpack', 100), 'bad-request', 'body64');
  });

  it('V7 counts bytes of the JSON text in UTF-8, or of the binary', () => {
    for (const [body, bytes] of [
      ['x'.repeat(98), 100],
      ['é'.repeat(49), 100],
      ['語'.repeat(32), 98],
      ['😀'.repeat(24), 98],
      ['"', 4],
      [[1, 2, 3], 7],
    ] as const) {
      expect(contentOf({ body }, 'json', bytes).stored).toBe(JSON.stringify(body));
      refused(() => contentOf({ body }, 'json', bytes - 1), 'too-large', 'body');
    }
    const bin = new Uint8Array(100);
    expect(contentOf({ bin }, 'msgpack', 100).stored).toBe(bin);
    refused(() => contentOf({ bin }, 'msgpack', 99), 'too-large', 'bin');
    refused(() => contentOf({ body64: Buffer.from(bin).toString('base64') }, 'json', 99), 'too-large', 'body64');
  });

  it('V3 makes −0 a 0', () => expect(contentOf({ body: [-0] }, 'json', 100).stored).toBe('[0]'));
});
