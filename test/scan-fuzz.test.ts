/** The scan against what decoding gives: for any envelope, any damage to one, and bytes of no sense. */
import fc from 'fast-check';
import { Packr } from 'msgpackr';
import { describe, expect, it } from 'vitest';
import { decode, encode, type Format } from '../src/protocol/codec.ts';
import { CodedError } from '../src/protocol/codes.ts';
import { type Header, ScanError } from '../src/protocol/header.ts';
import { depthMax } from '../src/protocol/limits.ts';
import { normalName } from '../src/protocol/names.ts';
import { scan } from '../src/protocol/scan.ts';
import { checkValue } from '../src/protocol/values.ts';
import { damagedFrames } from './kit/damaged-frames.ts';
import { seeded } from './kit/seeded.ts';

const packr = new Packr({ useRecords: false, useToJSON: false });
const formats: Format[] = ['json', 'msgpack'];

/** The header, by way of decoding everything. */
function headerOf(map: Record<string, unknown>): Header {
  const name = (field: string) => (typeof map[field] === 'string' ? normalName(map[field]) : undefined);
  return {
    op: map.op as string,
    id: map.id as number | undefined,
    room: name('room'),
    to: name('to'),
    as: name('as'),
    mid: typeof map.mid === 'string' ? map.mid : undefined,
  };
}

const name = fc.oneof(fc.string({ maxLength: 40, unit: 'grapheme' }), fc.string({ maxLength: 300 }), fc.constant('e\u0301'));
const envelope = fc.record(
  {
    op: fc.constantFrom('publish', 'subscribe', 'x', 'toString', 'a longer op than any there is'),
    id: fc.oneof(fc.integer({ min: 1, max: 2 ** 53 - 1 }), fc.integer({ min: 1, max: 300 })),
    room: name,
    to: name,
    as: name,
    mid: fc.uuid(),
    body: fc.jsonValue({ maxDepth: 6 }),
    'a "quoted" \\ name': fc.jsonValue(),
  },
  { requiredKeys: ['op'] },
);

/** Half surrogate pairs become U+FFFD. */
function wellFormed(text: string): string {
  return Buffer.from(text).toString();
}

function json(text: string): Buffer {
  return Buffer.from(text);
}

function codeOf(bytes: Uint8Array, format: Format): string {
  try {
    scan(bytes, format);
    return 'accepted';
  } catch (error) {
    if (error instanceof ScanError) return error.code;
    throw error;
  }
}

function isPlain(value: unknown): boolean {
  try {
    checkValue(value, 'frame', depthMax);
    return true;
  } catch {
    return false;
  }
}

describe('the header is what decoding gives', () => {
  it('for any envelope, in both encodings, however it is spaced or escaped', () => {
    const escapes = (text: string) => text.replace(/[a-z]/g, (letter) => `\\u00${letter.charCodeAt(0).toString(16)}`);
    fc.assert(
      fc.property(envelope, fc.constantFrom('', ' ', '\t', '\n  '), fc.boolean(), (map, indent, escaped) => {
        const plain = isPlain(map) && Object.keys(map).every((key) => key !== '__proto__');
        const text = JSON.stringify(map, null, indent);
        const frames: [Buffer | Uint8Array, Format][] = [
          [json(text), 'json'],
          [encode(map, 'msgpack'), 'msgpack'],
          [packr.pack(map), 'msgpack'],
        ];
        // Escaping the op alone, so that no escape sequence of the text is broken.
        if (escaped) frames.push([json(text.replace(JSON.stringify(map.op), () => escapes(JSON.stringify(map.op)))), 'json']);
        for (const [bytes, format] of frames) {
          if (plain) expect(scan(bytes, format)).toEqual(headerOf(decode(bytes, format)));
          else expect(codeOf(bytes, format)).toBe('bad-value');
        }
      }),
      { numRuns: 1_000 },
    );
  });

  it('for any damage to JSON: accepted only if JSON.parse accepts it, bad-frame only if it does not', () => {
    const edit = fc.record({
      at: fc.nat(),
      cut: fc.nat(3),
      put: fc.constantFrom('', '"', '\\', '{', '}', '[', ']', ',', ':', '0', '-', '.', 'e', '1e999', 'null', ' ', 'é', '\\ud800', '\n'),
    });
    fc.assert(
      fc.property(envelope, fc.array(edit, { maxLength: 3 }), (map, edits) => {
        let text = JSON.stringify(map);
        for (const { at, cut, put } of edits) {
          const place = at % (text.length + 1);
          text = text.slice(0, place) + put + text.slice(place + cut);
        }
        text = wellFormed(text);
        let parsed: unknown;
        try {
          parsed = JSON.parse(text);
        } catch {
          parsed = undefined;
        }
        const isMap = typeof parsed === 'object' && parsed !== null && !Array.isArray(parsed);
        let header: Header | null = null;
        try {
          header = scan(json(text), 'json');
        } catch (error) {
          expect(error).toBeInstanceOf(ScanError);
          expect((error as ScanError).code === 'bad-frame').toBe(!isMap);
        }
        if (header !== null) {
          expect(header).toEqual(headerOf(decode(json(text), 'json')));
          expect(isPlain(parsed)).toBe(true);
        }
      }),
      { numRuns: 3_000 },
    );
  });

  it('for any damage to MessagePack: what is accepted decodes to plain values, and no fault but coded ones', () => {
    const edit = fc.record({ at: fc.nat(), byte: fc.integer({ min: 0, max: 255 }), kind: fc.constantFrom('set', 'cut', 'put') });
    const pollution = Object.getOwnPropertyNames(Object.prototype).length;
    let accepted = 0;
    fc.assert(
      fc.property(envelope, fc.array(edit, { maxLength: 3 }), fc.uint8Array({ maxLength: 40 }), fc.boolean(), (map, edits, noise, noisy) => {
        const bytes = [...(noisy ? [0x81 + (noise.length & 3), 0xa2, 0x6f, 0x70, 0xa1, 0x78, 0xa1, 0x61, ...noise] : encode(map, 'msgpack'))];
        for (const { at, byte, kind } of edits) bytes.splice(at % (bytes.length + 1), kind === 'put' ? 0 : 1, ...(kind === 'cut' ? [] : [byte]));
        const frame = Buffer.from(bytes);
        let header: Header;
        try {
          header = scan(frame, 'msgpack');
        } catch (error) {
          expect(error).toBeInstanceOf(CodedError);
          return;
        }
        accepted++;
        const decoded = decode(frame, 'msgpack');
        expect(header).toEqual({ ...headerOf(decoded), mid: header.mid });
        delete decoded.bin;
        expect(isPlain(decoded)).toBe(true);
      }),
      { numRuns: 3_000 },
    );
    expect(accepted).toBeGreaterThan(100);
    expect(Object.getOwnPropertyNames(Object.prototype)).toHaveLength(pollution);
  });

  it('for 200,000 damaged frames: coded faults only, of scan and decoder, and nothing decoded that is not plain', { timeout: 60_000 }, () => {
    const random = seeded();
    const damaged = damagedFrames(random);
    const verdicts = { accepted: 0, refused: 0 };
    for (let round = 0; round < 200_000; round++) {
      const { bytes, format } = damaged();
      let decoded: Record<string, unknown> | null = null;
      try {
        scan(bytes, format);
        verdicts.accepted++;
        decoded = decode(bytes, format);
      } catch (error) {
        if (!(error instanceof CodedError)) throw error;
        verdicts.refused++;
      }
      if (decoded === null) continue;
      delete decoded.bin;
      if (!isPlain(decoded)) throw new Error(`not plain: ${JSON.stringify(decoded)}`);
    }
    expect(verdicts.accepted).toBeGreaterThan(10_000);
    expect(verdicts.refused).toBeGreaterThan(10_000);
  });

  it('N2 in normal form C, as validation has it', () => {
    for (const format of formats) expect(scan(encode({ op: 'x', room: 'cafe\u0301' }, format), format).room).toBe('café');
  });
});
