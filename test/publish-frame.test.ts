/** What the short pass reads of a JSON frame is what scanning and decoding it say, and is taken only where the text is what would be stored. */
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { decode } from '../src/protocol/codec.ts';
import { CodedError } from '../src/protocol/codes.ts';
import { PublishFrame } from '../src/protocol/publish-frame.ts';
import { scanJson } from '../src/protocol/scan-json.ts';
import { contentOf, parseCommand } from '../src/protocol/validate.ts';
import { PublishReader } from '../src/shard/publish-reader.ts';

const bodyBytesMax = 400;
const mid = '0199c1d3-7a11-7000-8000-5d3c6e1f0a42';
const reader = new PublishReader();
const frame = new PublishFrame();

type Fields = { body?: unknown; bin?: Uint8Array; body64?: string };
const contentBy = (fields: Fields): unknown => {
  try {
    return contentOf(fields, 'json', bodyBytesMax).stored;
  } catch (error) {
    if (!(error instanceof CodedError)) throw error;
    return error.code;
  }
};

/** By both ways: null where the short one does not take it, which it never does where a scan refuses. */
function compare(text: string): { read: unknown; decoded: unknown } {
  const bytes = Buffer.from(text);
  const read = reader.read(bytes);
  const short = frame.read(bytes) ? frame.header() : null;
  let header: unknown = null;
  try {
    header = scanJson(bytes);
  } catch (error) {
    if (!(error instanceof CodedError)) throw error;
  }
  if (short !== null) expect(short).toEqual(header);
  expect(read === null).toBe(short === null);
  if (header === null || read === null) return { read, decoded: null };
  const command = parseCommand(decode(text, 'json'));
  if (command.op !== 'publish' && command.op !== 'direct') throw new Error(`the frame is a ${command.op}`);
  const outcome = (fields: Fields): unknown => ({ ...fields, body: contentBy(fields) });
  return { read: outcome(read as Fields), decoded: outcome(command as Fields) };
}

/** JSON texts of all spellings: as `JSON.stringify` writes them, and with blanks, escapes, other numbers and keys that come twice. */
const letters = fc.constantFrom('a', 'ж', '😀', '"', '\\', '\n', '\u0001', '\u007f', '\u2028', '/', '1', ' ', '{', ',');
const string = fc
  .array(letters, { maxLength: 6 })
  .chain((list) =>
    fc.constantFrom(
      JSON.stringify(list.join('')),
      `"${list.map((letter) => `\\u${letter.charCodeAt(0).toString(16).padStart(4, '0')}${letter.length > 1 ? `\\u${letter.charCodeAt(1).toString(16)}` : ''}`).join('')}"`,
      JSON.stringify(list.join('')).replaceAll('/', '\\/'),
    ),
  );
const number = fc.oneof(
  fc.integer().map(String),
  fc.double({ noNaN: true, min: -1e15, max: 1e15 }).map(String),
  fc.constantFrom('0', '-0', '-1', '1.0', '1e2', '1E+2', '10e-1', '0.1', '-0.0', '123456789012345', '1234567890123456', '9007199254740991', '5e-324'),
);
const key = fc.constantFrom('"a"', '"b"', '"10"', '"2"', '""', '"-1"', '"\\u0061"', '"ж"', '"toJSON"', '"constructor"', '"a b"');
const blank = fc.oneof({ weight: 30, arbitrary: fc.constant('') }, { weight: 1, arbitrary: fc.constantFrom(' ', '\n', '\t ') });
const { value } = fc.letrec<{ value: string }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 3, withCrossShrink: true },
    string,
    number,
    fc.constantFrom('true', 'false', 'null'),
    fc.tuple(blank, fc.array(tie('value'), { maxLength: 4 })).map(([space, list]) => `[${space}${list.join(`,${space}`)}${space}]`),
    fc
      .tuple(blank, fc.array(fc.tuple(key, tie('value')), { maxLength: 4 }))
      .map(([space, list]) => `{${space}${list.map(([name, of]) => `${name}${space}:${space}${of}`).join(`${space},`)}}`),
  ),
}));
/** Fields of the envelope, in any order; seldom something out of the ordinary. */
const name = fc.oneof(
  { weight: 8, arbitrary: fc.constantFrom('general', 'room-7', 'a.b_c', 'x'.repeat(100)) },
  { weight: 1, arbitrary: fc.constantFrom('ж', 'a b', 'x'.repeat(101)) },
);
const spelling = fc
  .record({
    direct: fc.boolean(),
    name,
    body: value,
    extra: fc.subarray(['"id":17', `"mid":"${mid}"`, `"thread":"${mid}"`, '"ephemeral":true', '"echo":false']),
    space: blank,
    order: fc.integer({ min: 0, max: 5 }),
  })
  .map(({ direct, name, body, extra, space, order }) => {
    const fields = direct ? ['"op":"direct"', `"to":"${name}"`] : ['"op":"publish"', `"room":"${name}"`];
    fields.push(`"body":${body}`, ...extra.filter((field) => !direct || !/ephemeral|echo/.test(field)));
    return `{${space}${[...fields.slice(order), ...fields.slice(0, order)].join(',')}}`;
  });
/** Now and then with a letter that is missing, or another in its place. */
const damaged = fc
  .tuple(spelling, fc.integer({ min: 0, max: 3 }), fc.nat(), fc.constantFrom('', ' ', ',', '"', '0', '}', 'e', '-'))
  .map(([text, chance, place, letter]) => {
    if (chance > 0) return text;
    const at = place % text.length;
    return text.slice(0, at) + letter + text.slice(at + 1);
  });

it('V3 V7 a message that is read without being decoded is the same command, with the same body to store', () => {
  const seen = { read: 0, decoded: 0 };
  fc.assert(
    fc.property(damaged, (text) => {
      const { read, decoded } = compare(text);
      if (read !== null) expect(read).toEqual(decoded);
      seen[read === null ? 'decoded' : 'read']++;
    }),
    { numRuns: 1_500, seed: 20_261 },
  );
  expect(Math.min(seen.read, seen.decoded)).toBeGreaterThan(200);
});

it('V3 a body that is spelled as it is stored is not decoded, and one in any other spelling is', () => {
  const with_ = (body: string): string => `{"op":"publish","room":"general","body":${body}}`;
  const plain = [
    '"text"',
    '"ж 😀 \u2028"',
    '0',
    '-7',
    '123456789012345',
    'true',
    'false',
    'null',
    '[]',
    '{}',
    '[1,["a"],{}]',
    '{"text":"hi","to":[1,2],"of":{"text":1}}',
  ];
  for (const body of plain) {
    const { read, decoded } = compare(with_(body));
    expect(read).toEqual(decoded);
    expect(read).not.toBeNull();
  }
  const other = [
    '"a\\n"',
    '"\\u0061"',
    '1.0',
    '1e2',
    '-0',
    '1234567890123456',
    '0.5',
    '[1, 2]',
    ' 1',
    '1 ',
    '{"a":1,"a":2}',
    '{"b":1,"10":2}',
    '{"a" :1}',
    '{"\\u0061":1}',
    '{"a":{"__proto__":1}}',
    `${'['.repeat(16)}1${']'.repeat(16)}`,
    `[${'1,'.repeat(2_000)}1]`,
    ...['tru', 'nulL', 'falsy', '[1,]', '[1', '{"a"}', '{1:1}', '{"a":1', '01', '-', '1-1', '"a', '[1}', '{"a":1]', '', '{,}', '"\t"'],
  ];
  for (const body of other) expect(compare(with_(body)).read).toBeNull();
  expect(compare(with_(`${'['.repeat(15)}1${']'.repeat(15)}`)).read).not.toBeNull();
});

it('R1 the envelope of a message is read in any order of its fields, and what is unusual in it is left to the schema', () => {
  const fields = ['"op":"publish"', '"id":9', '"room":"general"', `"mid":"${mid}"`, '"ephemeral":false', '"echo":true', `"thread":"${mid}"`, '"body":{"a":1}'];
  for (let turn = 0; turn < fields.length; turn++) {
    const { read, decoded } = compare(`{${[...fields.slice(turn), ...fields.slice(0, turn)].join(',')}}`);
    expect(read).toEqual(decoded);
    expect(read).not.toBeNull();
  }
  const unusual = [
    '{"op":"publish","room":"general"}',
    '{"op":"publish","body":1}',
    '{"op":"publish","room":"general","to":"x","body":1}',
    '{"op":"direct","to":"x","body":1,"echo":true}',
    '{"op":"subscribe","room":"general","body":1}',
    '{"op":"publish","room":"","body":1}',
    '{"op":"publish","room":"dm:a:b","body":1}',
    '{"op":"publish","room":"general","body64":"AQI="}',
    '{"op":"publish","room":"general","body":1,"as":"x"}',
    '{"op":"publish","room":"general","body":1,"id":0}',
    '{"op":"publish","room":"general","body":1,"id":"7"}',
    '{"op":"publish","room":"general","body":1,"id":1.5}',
    '{"op":"publish","room":"general","body":1,"ephemeral":1}',
    '{"op":"publish","room":"general","body":1,"mid":"7"}',
    `{"op":"publish","room":"general","body":1,"mid":"${mid.toUpperCase()}"}`,
    '{"op":"publish","room":"general","body":1} ',
    '{"op":"publish","room":"general","body":1,"room":"other"}',
    '{"op":"publish","op":"publish","room":"general","body":1}',
    '{"op":"publish","room":"general","body":1,"body":2}',
    '{"op":"publish","room":"general","body":1,}',
    '{"op":"publish","room":"general","body":1}}',
    '{"op":"publish","room":"general""body":1}',
  ];
  for (const text of unusual) expect(compare(text).read).toBeNull();
});
