/** Settings under which a hub would be open to people it was not meant for: which are refused, which are warned of, and in what words. */
import { describe, expect, it } from 'vitest';
import { nodeWarnings } from '../src/cli/node-floor.ts';
import { gatherOptions } from '../src/cli/options-from.ts';
import { type Exposure, refuseUnsafe, warningsOf } from '../src/cli/unsafe.ts';
import { fillOptions, type HubOptions } from '../src/options.ts';

const secret = 'k1:0123456789abcdef0123456789abcdef';
const key = 'fedcba9876543210fedcba9876543210';
const safe: HubOptions = { origins: ['https://chat.example.com'], jwtSecrets: [secret] };
const closed = (): number => 0o40700;
const hidden: Exposure = { secretFiles: [], onCommandLine: [] };
const refuse = (given: HubOptions, mode = closed): void => refuseUnsafe(fillOptions(given), mode);

describe('settings that serve refuses', () => {
  it('without --dev: no key to check tokens, or no origins', () => {
    expect(() => refuse({ ...safe, jwtSecrets: [] })).toThrow('nothing to check tokens with');
    expect(() => refuse({ ...safe, origins: [] })).toThrow('no --origins');
    for (const means of [{ jwtSecrets: [secret] }, { jwtSecrets: [], jwtPublicKey: 'key.pem' }, { jwtSecrets: [], jwksUrl: 'https://a/jwks' }])
      expect(() => refuse({ ...safe, ...means, host: '0.0.0.0' })).not.toThrow();
  });

  it('with --dev: any host but loopback', () => {
    for (const host of ['0.0.0.0', '::', '192.168.1.1', 'example.com', '127.0.0.1.example.com', '128.0.0.1'])
      expect(() => refuse({ dev: true, host })).toThrow(`not on ${host}`);
    for (const host of ['127.0.0.1', '127.1.2.3', '::1', 'localhost']) expect(() => refuse({ dev: true, host })).not.toThrow();
  });

  it.each([
    ['*', 'every page of the web'],
    ['null', 'every sandboxed frame'],
    ['https://chat.example.com/', 'not an origin as browsers send it'],
    ['https://chat.example.com/app', 'not an origin'],
    ['https://Chat.example.com', 'not an origin'],
    ['https://chat.example.com:443', 'not an origin'],
    ['https://me@chat.example.com', 'not an origin'],
    ['chat.example.com', 'not an origin'],
    ['https://*.example.com', 'not an origin'],
  ])('the origin %s, which no browser sends or every page has', (origin, words) => {
    for (const dev of [true, false]) expect(() => refuse({ ...safe, dev, origins: ['https://a', origin] })).toThrow(words);
  });

  it('no origin that a browser or an app does send', () => {
    const origins = ['https://chat.example.com', 'http://localhost:3000', 'https://[::1]:8443', 'capacitor://localhost', 'chrome-extension://abcdef'];
    expect(() => refuse({ ...safe, origins })).not.toThrow();
  });

  it('one secret for two uses', () => {
    const both = (apiKeys: string[]): void => refuse({ ...safe, jwtSecrets: [secret, `k2:${key}`], apiKeys });
    expect(() => both([`shop:${key}`])).toThrow('the key shop is also one of jwtSecrets');
    expect(() => both(['shop:a', 'shop:b'])).toThrow('the name shop is there twice');
    expect(() => both(['shop:a', 'till:a'])).toThrow('till has the key of another name');
    expect(() => both(['shop:a', 'till:b'])).not.toThrow();
    for (const given of [[`shop:${key}`], ['shop:a', 'till:a']]) expect(() => both(given)).not.toThrow(key);
  });

  it('a data folder that every user may write to', () => {
    for (const dev of [true, false]) expect(() => refuse({ ...safe, dev, data: '/srv/hub' }, () => 0o40777)).toThrow('chmod o-w /srv/hub');
    for (const mode of [0o40755, 0o40775]) expect(() => refuse(safe, () => mode)).not.toThrow();
  });
});

describe('settings that serve warns of', () => {
  const warnings = (given: HubOptions, exposure: Partial<Exposure> = {}, mode: (path: string) => number | null = closed): string[] =>
    warningsOf(fillOptions({ ...safe, ...given }), { ...hidden, ...exposure }, mode);

  it('none of what is right', () => {
    expect(warnings({ tlsCert: 'c', tlsKey: 'k', host: '0.0.0.0', opsHost: '10.0.0.1' }, { secretFiles: ['/run/secret'] })).toEqual([]);
    expect(warnings({ data: '/not/there/yet' }, {}, () => null)).toEqual([]);
  });

  it.each<[string, string[], RegExp]>([
    ['secrets on the command line', warnings({}, { onCommandLine: ['jwtSecrets'] }), /^jwtSecrets: .*process list.*@FILE$/],
    ['a file of secrets that all may read', warnings({}, { secretFiles: ['s', 's'] }, (path) => (path === 's' ? 0o100644 : 0)), /chmod o-r s$/],
    ['a private key that all may read', warnings({ tlsCert: 'c', tlsKey: 'k' }, {}, (path) => (path === 'k' ? 0o100644 : 0)), /chmod o-r k$/],
    ['a database that all may read', warnings({ data: 'd' }, {}, (path) => (path === 'd' ? 0o40755 : 0o100644)), /messages in d\/hubbub\.db: chmod o-r/],
    ['a data folder that the group may write to', warnings({ data: 'd' }, {}, (path) => (path === 'd' ? 0o40770 : 0)), /chmod g-w d$/],
    ['tokens on a network without TLS', warnings({ host: '0.0.0.0' }), /^tokens and messages .* 0\.0\.0\.0: give --tls-cert/],
    ['API keys on a network without TLS', warnings({ opsHost: '10.0.0.1' }), /^API keys .* 10\.0\.0\.1: give --tls-cert/],
    ['tokens without an end', warnings({ endlessTokens: true }), /^endlessTokens: a stolen token/],
  ])('%s', (_what, said, words) => {
    expect(said).toHaveLength(1);
    expect(said[0]).toMatch(words);
  });

  it('a Node that lacks security fixes', () => {
    for (const [version, wanted] of Object.entries({ '20.19.6': '20.20.0', '22.20.0': '22.22.0', '24.12.0': '24.13.0' }))
      expect(nodeWarnings(version)).toEqual([`Node ${version} lacks security fixes of ${wanted}: update it`]);
    for (const version of ['20.20.0', '20.20.2', '22.22.0', '24.13.1', '26.0.0']) expect(nodeWarnings(version)).toEqual([]);
  });
});

describe('where secrets stand', () => {
  const gather = (files: Record<string, string>, flags: { name: 'jwtSecrets' | 'port'; text: string }[], config?: string) =>
    gatherOptions({
      flags: flags.map((flag) => ({ ...flag, flag: `--${flag.name}` })),
      config,
      environment: {},
      readFile: (path) => files[path] ?? '',
    });

  it('is known of every file and every flag that holds one', () => {
    const files = { 'hub.json': '{"apiKeys":["shop:x"],"port":9}', 'secrets.txt': secret };
    expect(gather(files, [{ name: 'jwtSecrets', text: '@secrets.txt' }], 'hub.json').exposure).toEqual({
      secretFiles: ['hub.json', 'secrets.txt'],
      onCommandLine: [],
    });
    expect(
      gather(files, [
        { name: 'jwtSecrets', text: secret },
        { name: 'port', text: '1' },
      ]).exposure,
    ).toEqual({ secretFiles: [], onCommandLine: ['jwtSecrets'] });
  });

  it('is not told by a config file that is no JSON: its line is, not its text', () => {
    const broken = { 'a.json': '{\n"jwtSecrets": [canary],\n"port": 1\n}', 'b.json': '{"jwtSecrets": ["canary"]', 'c.json': '{"a": 1}\n"canary"' };
    const problem = (path: string): string => {
      try {
        gather(broken, [], path);
        return '';
      } catch (error) {
        return String(error);
      }
    };
    expect(problem('a.json')).toBe('Error: config file a.json is not JSON: look at line 2');
    expect(problem('b.json')).toBe('Error: config file b.json is not JSON: look at line 1');
    expect(problem('c.json')).toBe('Error: config file c.json is not JSON: look at line 2');
  });
});
