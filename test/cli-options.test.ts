/** Where each option comes from, and what a bad one says. */
import { describe, expect, it } from 'vitest';
import { readArguments } from '../src/cli/arguments.ts';
import { configText } from '../src/cli/config.ts';
import { UsageError } from '../src/cli/format.ts';
import { gatherOptions } from '../src/cli/options-from.ts';
import { fillOptions } from '../src/options.ts';

function gather(flags: string[], environment: Record<string, string> = {}, files: Record<string, string> = {}) {
  const args = readArguments(['config', ...flags]);
  const readFile = (path: string): string => {
    const text = files[path];
    if (text === undefined) throw Object.assign(new Error('no file'), { code: 'ENOENT' });
    return text;
  };
  return gatherOptions({ flags: args.flags, config: args.config, environment, readFile });
}

describe('where options come from', () => {
  it('nothing stated gives the defaults', () => {
    const { options, sources, warnings } = gather([]);
    expect(options).toEqual(fillOptions({}));
    expect(sources.port).toEqual({ from: 'default' });
    expect(warnings).toEqual([]);
  });

  it('a flag wins over the environment, that over the config file, that over the default', () => {
    const files = { 'hub.json': JSON.stringify({ port: 1, data: '/file', heartbeatMs: '20s', rateLimit: 'off', origins: ['https://a', 'https://b'] }) };
    const { options, sources } = gather(['--config', 'hub.json', '--port', '3'], { HUBBUB_PORT: '2', HUBBUB_DATA: '/environment' }, files);
    expect(options).toMatchObject({ port: 3, data: '/environment', heartbeatMs: 20_000, rateLimit: 0, origins: ['https://a', 'https://b'] });
    expect(sources.port).toEqual({ from: 'flag', flag: '--port' });
    expect(sources.data).toEqual({ from: 'environment', variable: 'HUBBUB_DATA' });
    expect(sources.heartbeatMs).toEqual({ from: 'config file', path: 'hub.json' });
  });

  it('HUBBUB_CONFIG names the config file, and --config wins over it', () => {
    const files = { a: '{"port":1}', b: '{"port":2}' };
    expect(gather([], { HUBBUB_CONFIG: 'a' }, files).options.port).toBe(1);
    expect(gather(['--config', 'b'], { HUBBUB_CONFIG: 'a' }, files).options.port).toBe(2);
  });

  it('a repeated flag: the last one counts, a list collects', () => {
    const { options } = gather(['--port', '1', '--port', '2', '--origins', 'https://a,https://b', '--origins', 'https://c', '--dev', '--no-dev']);
    expect(options).toMatchObject({ port: 2, origins: ['https://a', 'https://b', 'https://c'], dev: false });
  });

  it('a secret may be a file with one entry a line', () => {
    const files = { keys: '# ours\nk1:aaaa,bbbb\n\n  k2:cccc \n' };
    expect(gather(['--jwt-secrets', '@keys'], {}, files).options.jwtSecrets).toEqual(['k1:aaaa,bbbb', 'k2:cccc']);
    expect(gather([], { HUBBUB_JWT_SECRETS: '@keys' }, files).options.jwtSecrets).toEqual(['k1:aaaa,bbbb', 'k2:cccc']);
    expect(() => gather(['--jwt-secrets', '@none'])).toThrow('cannot read the file none: it does not exist');
  });

  it('a secret may hold a comma: several are several flags, lines or items', () => {
    expect(gather(['--jwt-secrets', 'k1:a,b', '--jwt-secrets', 'k2:c']).options.jwtSecrets).toEqual(['k1:a,b', 'k2:c']);
    expect(gather([], { HUBBUB_JWT_SECRETS: 'k1:a,b\nk2:c' }).options.jwtSecrets).toEqual(['k1:a,b', 'k2:c']);
    expect(gather(['--config', 'f'], {}, { f: '{"jwtSecrets":["k1:a,b","k2:c"]}' }).options.jwtSecrets).toEqual(['k1:a,b', 'k2:c']);
  });

  it('an empty variable counts as not set, a foreign one as a warning', () => {
    const { options, warnings } = gather([], { HUBBUB_PORT: '', HUBBUB_PROT: '1', HUBBUB_SERVICE_HOST_NAME_X: 'x', PORT: '1' });
    expect(options.port).toBe(8080);
    expect(warnings).toEqual(['no option for the variable HUBBUB_PROT; did you mean HUBBUB_PORT?', expect.stringContaining('HUBBUB_SERVICE_HOST_NAME_X')]);
  });
});

describe('a bad option is one line with option, value, range and source', () => {
  const cases: [string, string[], Record<string, string>, Record<string, string>, RegExp][] = [
    ['no number', ['--port', 'x'], {}, {}, /^option port: "x" must be a whole number from 0 to 65535 \("off": 0\) \(from flag --port\)$/],
    ['out of range', [], { HUBBUB_PORT: '70000' }, {}, /^option port: "70000" must be .* 65535 .*\(from environment HUBBUB_PORT\)$/],
    ['below its minimum', ['--hello-timeout-ms', 'off'], {}, {}, /"off" must be a duration .* from 100ms to 10m \(from flag --hello-timeout-ms\)/],
    ['a size with a wrong unit', ['--outbox-bytes-max', '1MB'], {}, {}, /"1MB" must be a size .* from 1KiB to 1GiB \(from flag/],
    ['none of the choices', [], { HUBBUB_DURABILITY: 'none' }, {}, /"none" must be one of power-loss, process \(from environment HUBBUB_DURABILITY\)/],
    ['no boolean', ['--dev=yes'], {}, {}, /option dev: "yes" must be true or false \(from flag --dev\)/],
    ['an unknown key', ['--config', 'f'], {}, { f: '{"prot":1}' }, /config file f: no option prot; did you mean port\?/],
    ['a key named like a prototype', ['--config', 'f'], {}, { f: '{"constructor":1}' }, /config file f: no option constructor/],
    ['a value of the wrong type', ['--config', 'f'], {}, { f: '{"port":{"a":1}}' }, /option port: .* \(from config file f\)/],
    ['a list for one value', ['--config', 'f'], {}, { f: '{"port":[1,2]}' }, /option port: "\[1,2\]" must be a whole number/],
    ['a file that is no JSON', ['--config', 'f'], {}, { f: '{' }, /^config file f is not JSON: /],
    ['a file that is no object', ['--config', 'f'], {}, { f: '[1]' }, /^config file f must hold one JSON object$/],
    ['a file that is not there', ['--config', 'f'], {}, {}, /^cannot read the config file f: it does not exist$/],
    ['a folder without a name', ['--data', ''], {}, {}, /^option data: must not be empty \(from flag --data\)$/],
    ['a host without a name', ['--config', 'f'], {}, { f: '{"opsHost":""}' }, /^option opsHost: must not be empty \(from config file f\)$/],
    ['two that contradict', ['--body-bytes-max', '256KiB'], {}, {}, /^option bodyBytesMax: must be below frameBytesMax \(from flag --body-bytes-max\)$/],
  ];
  it.each(cases)('%s', (_, flags, environment, files, line) => {
    const attempt = () => gather(flags, environment, files);
    expect(attempt).toThrow(UsageError);
    expect(attempt).toThrow(line);
    try {
      attempt();
    } catch (error) {
      expect((error as Error).message).not.toContain('\n');
    }
  });
});

describe('hubbub config', () => {
  it('prints every option with value and source, and no secret', () => {
    const text = configText(
      gather(['--jwt-secrets', 'k1:canary-canary-canary-canary-canary', '--heartbeat-ms', '1500ms'], { HUBBUB_API_KEYS: 'a:canary\nb:canary' }),
    );
    expect(text).not.toContain('canary');
    expect(text).toMatch(/^--jwt-secrets +\(1 hidden\) +flag --jwt-secrets /m);
    expect(text).toMatch(/^--api-keys +\(2 hidden\) +environment HUBBUB_API_KEYS /m);
    expect(text).toMatch(/^--heartbeat-ms +1500ms +flag/m);
    expect(text).toMatch(/^--outbox-bytes-max +1MiB +default/m);
    expect(text.trim().split('\n')).toHaveLength(1 + Object.keys(fillOptions({})).length);
  });
});
