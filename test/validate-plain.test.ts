/** The short way of frequent commands says exactly what the schemas say. */
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { CodedError } from '../src/protocol/codes.ts';
import { commands } from '../src/protocol/commands.ts';
import { parseCommand } from '../src/protocol/validate.ts';

const mid = '0199c1d3-7a11-7000-8000-5d3c6e1f0a42';
const ops = ['publish', 'direct', 'ack', 'subscribe', 'hello'] as const;
type Fields = Record<string, unknown>;

/** What comes of a command, as a client would hear it. */
function verdict(map: Fields): unknown {
  try {
    return { accepted: parseCommand(map) };
  } catch (error) {
    if (!(error instanceof CodedError)) throw error;
    const { code, message, field } = error;
    return { code, message, field };
  }
}

/** Null: refused. The short way refuses nothing itself, so what a refusal says is the schema's. */
function bySchema(map: Fields): unknown {
  const op = map.op as (typeof ops)[number];
  const result = commands[op].safeParse(map);
  return result.success ? { accepted: result.data } : null;
}

const name = fc.oneof(
  { weight: 4, arbitrary: fc.constantFrom('general', 'a.b-c_9', 'x'.repeat(100), 'A') },
  {
    weight: 1,
    arbitrary: fc.constantFrom('', 'x'.repeat(101), 'x'.repeat(129), 'dm:a:b', 'dm:b:a', 'all:', 'all:x', ' a', 'a b', 'cafe\u0301', 'ж', 'a\n', 'a\u0000'),
  },
  { weight: 1, arbitrary: fc.string({ unit: 'grapheme', maxLength: 8 }) },
);
const id = fc.oneof(fc.integer({ min: 1 }), fc.constantFrom(0, -0, 1.5, 2 ** 53, 2 ** 53 - 1, -1, Number.NaN, '1', null, true));
const uuid = fc.oneof(fc.constant(mid), fc.uuid(), fc.constantFrom(mid.toUpperCase(), `${mid}\n`, mid.slice(1), '', null, 7));
const flag = fc.oneof(fc.boolean(), fc.constantFrom(0, 1, 'true', null));
/** Of each field a value that fits, and now and then one that does not, or a field of another op. */
const fields = fc.record(
  {
    id,
    room: fc.oneof(name, fc.constantFrom(1, null)),
    to: fc.oneof(name, fc.constantFrom(1, null)),
    through: id,
    mid: uuid,
    thread: uuid,
    body: fc.jsonValue(),
    ephemeral: flag,
    echo: flag,
    as: name,
    presence: flag,
    position: fc.constantFrom('mark', { epoch: 'e', seq: 0 }, { epoch: 'e' }, 1),
    user: fc.oneof(name, fc.constantFrom(1, null)),
    device: fc.oneof(name, fc.constantFrom('x'.repeat(64), 'x'.repeat(65), 1, null)),
    token: fc.constantFrom('a.b.c', 'x'.repeat(8_192), 'x'.repeat(8_193), '', 1, null),
    bin: fc.oneof(fc.uint8Array({ maxLength: 4 }), fc.constant('text')),
    body64: fc.constantFrom('AQI=', '*', ''),
    extra: fc.constant(1),
  },
  { requiredKeys: [] },
);
const own = {
  publish: ['id', 'room', 'mid', 'thread', 'body', 'ephemeral', 'echo'],
  direct: ['id', 'to', 'mid', 'thread', 'body'],
  ack: ['id', 'through'],
  subscribe: ['id', 'room', 'presence', 'position'],
  hello: ['id', 'user', 'device', 'token'],
};

it('R1 the short way of frequent commands takes what their schemas take, with the same outcome, and nothing else', () => {
  const seen = { accepted: 0, refused: 0 };
  fc.assert(
    fc.property(fc.constantFrom(...ops), fields, fc.integer({ min: 0, max: 9 }), (op, all, foreign) => {
      // Mostly only fields that the op has: a map with a foreign one is refused and says little.
      const map: Fields = { op, ...Object.fromEntries(Object.entries(all).filter(([key]) => foreign === 0 || own[op].includes(key))) };
      const before = structuredClone(map);
      const said = verdict(map);
      const schema = bySchema(before);
      if (schema !== null) expect(said).toEqual(schema);
      else expect(said).toMatchObject({ code: 'bad-request', field: expect.any(String) });
      seen[schema === null ? 'refused' : 'accepted']++;
    }),
    { numRuns: 4_000, seed: 20_260 },
  );
  expect(Math.min(seen.accepted, seen.refused)).toBeGreaterThan(400);
});
