/** One run of the command line from arguments to exit code, with a hub and a signer that only pretend. */
import { EventEmitter } from 'node:events';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { createLog } from '../src/cli/log.ts';
import { run } from '../src/cli/run.ts';
import type { StartHub } from '../src/cli/serve.ts';
import type { MintToken } from '../src/cli/token.ts';
import { fillOptions, OptionError } from '../src/options.ts';

async function command(argv: string[], over: { environment?: Record<string, string>; startHub?: StartHub; mintToken?: MintToken; node?: string } = {}) {
  let out = '';
  let problem = '';
  const code = await run(argv, {
    environment: over.environment ?? {},
    readFile: () => '',
    out: (text) => {
      out += text;
    },
    problem: (text) => {
      problem += text;
    },
    events: new EventEmitter(),
    version: () => '1.2.3',
    node: over.node ?? process.versions.node,
    loadHub: async () => ({
      startHub: over.startHub ?? (() => Promise.reject(new Error('not here'))),
      mintToken: over.mintToken ?? (async (_, claims) => JSON.stringify(claims)),
    }),
    loadAdmin: () => import('../src/admin.ts'),
  });
  return { code, out, problem };
}

describe('hubbub', () => {
  it('--version and --help answer on stdout with 0', async () => {
    expect(await command(['--version'])).toEqual({ code: 0, out: '1.2.3\n', problem: '' });
    const help = await command(['--help']);
    expect(help.code).toBe(0);
    for (const name of Object.keys(fillOptions({}))) expect(help.out).toContain(`--${name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)} `);
  });

  it('a usage error is one line on stderr and exit 2', async () => {
    for (const argv of [['serve', '--prot=1'], ['serve', '--port=x'], ['serve'], ['serve', '--dev', '--host=0.0.0.0'], ['token'], ['nonsense'], []]) {
      const { code, out, problem } = await command(argv);
      expect([argv, code, out]).toEqual([argv, 2, '']);
      expect(problem).toMatch(/^hubbub: [^\n]+\n$/);
    }
  });

  it('refuses a Node that is too old before anything else, with exit 1', async () => {
    expect(await command(['--help'], { node: '20.18.3' })).toEqual({
      code: 1,
      out: '',
      problem: 'hubbub: Node 20.18.3 is too old: 20.19.0 or later is needed\n',
    });
    for (const node of ['20.19.0', '20.20.2', '22.1.0', '24.0.0-nightly', '100.0.0']) expect((await command(['--help'], { node })).code).toBe(0);
  });

  it('config prints to stdout, warnings to stderr', async () => {
    const { code, out, problem } = await command(['config', '--port', '9'], { environment: { HUBBUB_PROT: '1' } });
    expect(code).toBe(0);
    expect(out).toMatch(/^--port +9 +flag --port/m);
    expect(problem).toContain('HUBBUB_PROT');
  });

  it('token prints what the gateway signs, an hour unless told otherwise', async () => {
    const secret = '--jwt-secrets=k1:0123456789abcdef0123456789abcdef';
    expect((await command(['token', secret, '--user', 'alice'])).out).toBe('{"user":"alice","ttlMs":3600000,"scopes":[]}\n');
    const full = await command(['token', secret, '--user', 'alice', '--ttl', '2d', '--scope', 'broadcast', '--scope', 'a,b']);
    expect(full.out).toBe('{"user":"alice","ttlMs":172800000,"scopes":["broadcast","a","b"]}\n');
    for (const flags of [
      ['--ttl', '1h'],
      ['--user', 'alice', '--ttl', 'soon'],
      ['--user', 'alice', '--ttl', '0s'],
    ])
      expect((await command(['token', secret, ...flags])).code).toBe(2);
  });

  it('an option that a part refuses later still says where it came from', async () => {
    const startHub: StartHub = () => Promise.reject(new OptionError('jwtSecrets', 'each needs at least 32 bytes'));
    const { code, problem } = await command(['serve', '--jwt-secrets=k1:short', '--origins=https://a'], { startHub });
    expect(code).toBe(2);
    expect(problem).toBe('hubbub: option jwtSecrets: each needs at least 32 bytes (from flag --jwt-secrets)\n');
  });

  it('outside development the log is JSON lines on stdout', async () => {
    const startHub: StartHub = (_, { log }) => {
      log('warn', 'hello', { room: 'general' });
      return Promise.reject(Object.assign(new Error('x'), { code: 'EADDRINUSE', port: 8080 }));
    };
    const { code, out, problem } = await command(['serve', '--origins=https://a'], { startHub, environment: { HUBBUB_JWT_SECRETS: 'x' } });
    expect(code).toBe(1);
    expect(problem).toMatch(/^hubbub: port 8080 is in use[^\n]*\n$/);
    const lines = out
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as Record<string, unknown>);
    expect(lines[0]).toMatchObject({ level: 'warn', msg: 'hello', room: 'general' });
    expect(lines).toHaveLength(1);
  });
});

describe('the log', () => {
  function lines(plain: boolean, level: 'info' | 'error' | 'silent' = 'info') {
    const written: string[] = [];
    return { written, log: createLog({ level, plain, write: (line) => written.push(line) }) };
  }

  it.each([true, false])('blanks credentials at any of three levels (plain: %s)', (plain) => {
    const { written, log } = lines(plain);
    log('info', 'hello', { token: 'canary', headers: { authorization: 'Bearer canary', cookie: 'canary' }, a: { b: { secret: 'canary' } }, room: 'general' });
    expect(written.join('')).not.toContain('canary');
    expect(written.join('')).toContain('general');
  });

  it('plain lines are for people: time, level unless info, message, fields', () => {
    const { written, log } = lines(true);
    log('info', 'started', { room: 'general', n: 2 });
    log('error', 'failed', { error: new Error('why') });
    expect(written[0]).toMatch(/^\d\d:\d\d:\d\d\.\d{3} started room=general n=2\n$/);
    expect(written[1]).toMatch(/^\d\d:\d\d:\d\d\.\d{3} error: failed\n {2}Error: why\n/);
  });

  it('lines below the level are not written', () => {
    const error = lines(false, 'error');
    error.log('warn', 'a');
    error.log('error', 'b');
    expect(error.written).toHaveLength(1);
    const silent = lines(false, 'silent');
    silent.log('error', 'c');
    expect(silent.written).toHaveLength(0);
  });

  it('a message that repeats is written twenty times within ten seconds, then its number; others are written all the same', () => {
    vi.useFakeTimers();
    onTestFinished(() => void vi.useRealTimers());
    const { written, log } = lines(true);
    for (let n = 0; n < 1_000; n++) log('error', 'a commit failed', { n });
    log('info', 'a shard is back');
    expect(written).toHaveLength(21);
    expect(written[20]).toContain('a shard is back');
    vi.advanceTimersByTime(10_000);
    expect(written).toHaveLength(22);
    expect(written[21]).toMatch(/error: a commit failed: and more of these lines, left out lines=980 withinMs=10000\n$/);
    log('error', 'a commit failed', { n: 1_000 });
    expect(written).toHaveLength(23);
    vi.advanceTimersByTime(10_000);
    expect(written).toHaveLength(23);
    expect(vi.getTimerCount()).toBe(0);
    // A text that is never the same does not pass.
    for (let n = 0; n < 1_000; n++) log('warn', `about ${n}`);
    expect(written).toHaveLength(243);
  });
});
