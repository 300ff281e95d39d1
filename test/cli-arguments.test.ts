/** How the command line is read, and how values are written. */
import { describe, expect, it } from 'vitest';
import { readArguments } from '../src/cli/arguments.ts';
import { nearest, optionRows, parseNumber, showNumber, unitOf, variableOf } from '../src/cli/format.ts';

describe('command line', () => {
  it('the command comes first, its flags in any of three forms', () => {
    const args = readArguments(['serve', '--port', '9000', '--outbox-bytes-max=2MiB', '--dev', '--no-dev', '--dev=false', '--config', 'hub.json']);
    expect(args.command).toBe('serve');
    expect(args.config).toBe('hub.json');
    expect(args.flags).toEqual([
      { name: 'port', text: '9000', flag: '--port' },
      { name: 'outboxBytesMax', text: '2MiB', flag: '--outbox-bytes-max' },
      { name: 'dev', text: 'true', flag: '--dev' },
      { name: 'dev', text: 'false', flag: '--no-dev' },
      { name: 'dev', text: 'false', flag: '--dev' },
    ]);
  });

  it('a boolean takes no separate word, so the flag behind it is read', () => {
    expect(readArguments(['serve', '--dev', '--port', '1']).flags.map(({ name }) => name)).toEqual(['dev', 'port']);
  });

  it('every option has a flag', () => {
    for (const [name, row] of optionRows) {
      const flag = `--${name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
      expect(readArguments(['config', typeof row.value === 'boolean' ? flag : `${flag}=1`]).flags[0]?.name).toBe(name);
    }
  });

  it('an unknown flag is named, with the nearest one', () => {
    expect(() => readArguments(['serve', '--prot', '1'])).toThrow('no flag --prot; did you mean --port?');
    expect(() => readArguments(['serve', '--outboxBytesMax', '1'])).toThrow('no flag --outboxBytesMax; did you mean --outbox-bytes-max?');
    expect(() => readArguments(['serve', '--qqqqqqqqqqqqqqqqqq'])).toThrow('no flag --qqqqqqqqqqqqqqqqqq; hubbub --help lists them');
  });

  it('a flag of another command is unknown', () => {
    expect(() => readArguments(['serve', '--ttl', '1h'])).toThrow('no flag --ttl');
    expect(readArguments(['token', '--user', 'alice', '--scope=broadcast', '--scope', 'x']).own).toEqual([
      { name: 'user', text: 'alice' },
      { name: 'scope', text: 'broadcast' },
      { name: 'scope', text: 'x' },
    ]);
  });

  it('a flag without its value is refused, also where the next flag follows', () => {
    expect(() => readArguments(['serve', '--port'])).toThrow('--port needs a value');
    expect(() => readArguments(['serve', '--data', '--dev'])).toThrow('--data needs a value');
    expect(() => readArguments(['serve', '--no-dev=true'])).toThrow('--no-dev takes no value');
  });

  it('a command takes the words it needs, before or behind its flags, and no other', () => {
    expect(readArguments(['backup', 'b.db', '--data', 'd'])).toMatchObject({ command: 'backup', words: ['b.db'], flags: [{ name: 'data', text: 'd' }] });
    expect(readArguments(['restore', '--data=d', '--force', 'b.db'])).toMatchObject({ words: ['b.db'], own: [{ name: 'force', text: 'true' }] });
    expect(readArguments(['epoch', 'bump'])).toMatchObject({ command: 'epoch', words: ['bump'] });
    expect(() => readArguments(['backup'])).toThrow('hubbub backup needs FILE: hubbub backup FILE [flags]');
    expect(() => readArguments(['backup', 'a', 'b'])).toThrow('b is not expected here');
    expect(() => readArguments(['epoch', 'jump'])).toThrow('jump is not expected here');
    expect(() => readArguments(['epoch'])).toThrow('hubbub epoch needs bump');
    expect(() => readArguments(['check', 'all'])).toThrow('all is not expected here');
    expect(() => readArguments(['restore', 'b.db', '--force=yes'])).toThrow('--force takes no value');
    expect(() => readArguments(['restore', 'b.db', '--forse'])).toThrow('no flag --forse; did you mean --force?');
    expect(() => readArguments(['backup', 'b.db', '--force'])).toThrow('no flag --force');
  });

  it('words that are neither command nor flag are refused', () => {
    expect(() => readArguments(['serve', 'now'])).toThrow('now is not expected here');
    expect(() => readArguments(['sreve'])).toThrow('no command sreve; did you mean serve?');
    expect(() => readArguments(['--dev', 'serve'])).toThrow('the command comes first');
    expect(() => readArguments([])).toThrow('say what to do');
  });

  it('help and version need no command and win over the rest', () => {
    expect(readArguments(['--help']).command).toBe('help');
    expect(readArguments(['-h']).command).toBe('help');
    expect(readArguments(['--version']).command).toBe('version');
    expect(readArguments(['serve', '--port', '1', '--help']).command).toBe('help');
  });
});

describe('how values are written', () => {
  it('durations and sizes take units, counts do not', () => {
    const cases: [string, 'ms' | 'bytes' | 'count', number | null][] = [
      ['250ms', 'ms', 250],
      ['10s', 'ms', 10_000],
      ['1.5h', 'ms', 5_400_000],
      ['30d', 'ms', 2_592_000_000],
      ['7', 'ms', 7],
      ['64KiB', 'bytes', 65_536],
      ['1mib', 'bytes', 1_048_576],
      ['512', 'bytes', 512],
      ['off', 'count', 0],
      ['5', 'count', 5],
      ['5s', 'count', null],
      ['5KB', 'bytes', null],
      ['ten', 'ms', null],
      ['', 'count', null],
      ['1e9', 'count', null],
      ['constructor', 'ms', null],
      ['1constructor', 'ms', null],
    ];
    for (const [text, unit, value] of cases) expect([text, parseNumber(text, unit)]).toEqual([text, value]);
  });

  it('every default is shown so that reading it gives the default', () => {
    for (const [name, row] of optionRows)
      if (typeof row.value === 'number') expect(parseNumber(showNumber(row.value, unitOf(name)), unitOf(name))).toBe(row.value);
  });

  it('variables are the flag in capitals', () => {
    expect(variableOf('outboxBytesMax')).toBe('HUBBUB_OUTBOX_BYTES_MAX');
    expect(variableOf('jwksUrl')).toBe('HUBBUB_JWKS_URL');
  });

  it('the nearest name is close, or there is none', () => {
    expect(nearest('durabilty', ['durability', 'data'])).toBe('durability');
    expect(nearest('zzz', ['durability', 'data'])).toBeNull();
  });
});
