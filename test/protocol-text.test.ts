/** PROTOCOL.md says what the code does: its tables, its rules and its sample session. */
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { decode, subprotocols } from '../src/protocol/codec.ts';
import { closeCodes, errorCodes, mayReconnect } from '../src/protocol/codes.ts';
import { commands } from '../src/protocol/commands.ts';
import { depthMax, deviceBytesMax, listMax, nodesMax, pageDefault, pageMax, wireLimitDefaults } from '../src/protocol/limits.ts';
import { scan } from '../src/protocol/scan.ts';
import { contentOf, parseCommand } from '../src/protocol/validate.ts';

const text = readFileSync(new URL('../src/protocol/PROTOCOL.md', import.meta.url), 'utf8');
const lines = text.split('\n');
const cellsOf = (line: string) =>
  line
    .split('|')
    .slice(1, -1)
    .map((cell) => cell.trim());
/** Rows of the table with these headings. */
function table(...headings: string[]): string[][] {
  const start = lines.findIndex((line) => line.startsWith('|') && cellsOf(line).join() === headings.join()) + 2;
  const length = lines.slice(start).findIndex((line) => !line.startsWith('|'));
  return lines.slice(start, length === -1 ? undefined : start + length).map(cellsOf);
}
const quoted = (cell: string) => [...cell.matchAll(/`([^`]+)`/g)].map((match) => match[1] as string);
const words = text.replace(/\s+/g, ' ');

describe('PROTOCOL.md', () => {
  it('has every error code with its meaning and whether to retry', () => {
    const rows = Object.entries(errorCodes).map(([code, { retry, text: meaning }]) => [`\`${code}\``, retry ? 'yes' : 'no', meaning]);
    expect(table('code', 'retry', 'meaning')).toEqual(rows);
  });

  it('has every close code with its reason and meaning', () => {
    const rows = Object.entries(closeCodes).map(([reason, { code, text: meaning }]) => [String(code), `\`${reason}\``, meaning]);
    expect(table('code', 'reason', 'meaning')).toEqual(rows);
  });

  it('X1 splits close codes into those to come back from and those not to', () => {
    for (const { code } of Object.values(closeCodes)) expect(mayReconnect(code)).toBe(code < 4500);
    for (const code of [1001, 1005, 1006, 1011, 1012, 1013, 1014, 1015]) expect(mayReconnect(code)).toBe(true);
    for (const code of [1000, 1002, 1003, 1007, 1008, 1009, 1010]) expect(mayReconnect(code)).toBe(false);
    expect(words).toContain('1001, 1005, 1006 and 1011–1015 mean: again; 1002, 1003, 1007, 1008 and 1009 name a fault of the client');
  });

  it('has every op with exactly its fields', () => {
    const expand: Record<string, string[]> = { content: ['body', 'bin', 'body64'], settings: ['visibility', 'listed', 'title', 'membersMax', 'history'] };
    const documented = table('op', 'fields', 'fields of its `ok`').map(([op = '', fields = '']) => {
      const outside = fields.replace(/\([^)]*\)/g, '');
      const groups = outside
        .replace(/`[^`]*`/g, '')
        .split(',')
        .map((word) => word.trim());
      return [quoted(op)[0], [...quoted(outside), ...groups.flatMap((word) => (expand[word] ?? []).map((field) => `${field}?`))].sort()];
    });
    const built = Object.entries(commands).map(([op, schema]) => {
      const fields = Object.entries(schema.shape).filter(([field]) => field !== 'op' && field !== 'id');
      return [op, fields.map(([field, type]) => (type.safeParse(undefined).success ? `${field}?` : field)).sort()];
    });
    expect(documented).toEqual(built);
  });

  it('states the limits in force', () => {
    expect(words).toContain(`${depthMax} levels of maps and lists`);
    expect(words).toContain(`${nodesMax.toLocaleString('en')} values`);
    expect(words).toContain(`for up to ${listMax.toLocaleString('en')} rooms`);
    expect(words).toContain(`at most ${deviceBytesMax} characters`);
    expect(words).toContain(`(1–${pageMax}, ${pageDefault})`);
    expect(text).toContain(`"limits":${JSON.stringify(wireLimitDefaults)}`);
    for (const name of Object.keys(subprotocols)) expect(text).toContain(`\`${name}\``);
  });

  it('numbers its rules from 1 in each letter, without gaps, and refers to none that is not there', () => {
    const rules = [...text.matchAll(/^\*\*([A-Z])(\d+)\.\*\* /gm)].map((match) => [match[1] as string, Number(match[2])] as const);
    expect(rules.length).toBeGreaterThan(50);
    const last = new Map<string, number>();
    for (const [letter, number] of rules) {
      expect(`${letter}${number}`).toBe(`${letter}${(last.get(letter) ?? 0) + 1}`);
      last.set(letter, number);
    }
    const known = new Set(rules.map(([letter, number]) => `${letter}${number}`));
    const prose = text.replace(/```[\s\S]*?```/g, '');
    for (const [reference] of prose.matchAll(/\b[A-Z]\d{1,2}\b/g)) expect(known).toContain(reference);
  });

  it('shows a session whose commands are valid and whose answers are JSON', () => {
    const session = text.slice(text.indexOf('```') + 4, text.indexOf('```', text.indexOf('```') + 3)).replace(/\n {3}/g, '');
    const frames = session.trim().split('\n');
    expect(frames.length).toBeGreaterThan(10);
    for (const line of frames) {
      const bytes = Buffer.from(line.slice(2));
      expect(decode(bytes, 'json').op).toBeTypeOf('string');
      if (!line.startsWith('→')) continue;
      scan(bytes, 'json');
      const command = parseCommand(decode(bytes, 'json'));
      if (command.op === 'publish' || command.op === 'direct') contentOf(command, 'json', wireLimitDefaults.bodyBytesMax);
    }
  });
});
