/** The two files of a certificate: what is taken, what is refused and in what words. Without openssl these tests are skipped. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { opsSpeakTls, readPair } from '../src/http/tls.ts';
import { OptionError } from '../src/options.ts';
import { type Certificate, hasOpenssl, makeCertificate } from './kit/certificate.ts';
import { pretend, production } from './kit/http-stage.ts';

const folder = mkdtempSync(join(tmpdir(), 'hubbub-tls-'));
afterAll(() => rmSync(folder, { recursive: true }));
const now = Date.now();

describe.skipIf(!hasOpenssl)('a certificate', () => {
  const none: Certificate = { cert: '', key: '', pem: '' };
  const one = hasOpenssl ? makeCertificate(folder, 'one') : none;
  const other = hasOpenssl ? makeCertificate(folder, 'other') : none;
  const text = join(folder, 'text.pem');
  const locked = join(folder, 'locked.key');
  writeFileSync(text, 'canary');
  if (hasOpenssl) execFileSync('openssl', ['ec', '-aes256', '-passout', 'pass:canary', '-in', one.key, '-out', locked], { stdio: 'ignore' });

  it('is taken with its key, and says whose it is and for how long', () => {
    expect(readPair({ tlsCert: '', tlsKey: '' }, now)).toBe(null);
    expect(readPair({ tlsCert: one.cert, tlsKey: one.key }, now)).toMatchObject({
      context: { minVersion: 'TLSv1.2' },
      subject: 'DNS:localhost, IP Address:127.0.0.1',
      expired: false,
    });
    expect(readPair({ tlsCert: one.cert, tlsKey: one.key }, now + 10 * 86_400_000)?.expired).toBe(true);
  });

  it.each<[string, string, string, string]>([
    ['no key', one.cert, '', 'tlsKey: is needed too'],
    ['no certificate', '', one.key, 'tlsCert: is needed too'],
    ['a certificate that is not there', join(folder, 'nowhere'), one.key, 'nowhere: it does not exist'],
    ['a folder for a key', one.cert, folder, 'it is a folder'],
    ['a certificate that is none', text, one.key, 'text.pem is no PEM certificate'],
    ['a key that is none', one.cert, text, 'text.pem is no PEM private key'],
    ['a key with a passphrase', one.cert, locked, 'locked.key is no PEM private key without a passphrase'],
    ['a certificate for a key', one.cert, one.cert, 'is no PEM private key'],
    ['the key of another', one.cert, other.key, 'is not the private key of the certificate in'],
  ])('is refused in one sentence: %s', (_what, tlsCert, tlsKey, sentence) => {
    const refused = (): unknown => readPair({ tlsCert, tlsKey }, now);
    expect(refused).toThrow(OptionError);
    expect(refused).toThrow(sentence);
    expect(refused).not.toThrow('canary');
  });

  it('is on the operations listener too where others could listen in', async () => {
    expect(opsSpeakTls({ tlsCert: 'c', opsHost: '127.0.0.1' })).toBe(false);
    expect(opsSpeakTls({ tlsCert: 'c', opsHost: '0.0.0.0' })).toBe(true);
    expect(opsSpeakTls({ tlsCert: '', opsHost: '0.0.0.0' })).toBe(false);
    for (const [opsHost, strict] of [
      ['127.0.0.1', undefined],
      ['0.0.0.0', 'max-age=31536000'],
    ] as const) {
      const at = await pretend({ ...production, tlsCert: one.cert, tlsKey: one.key, opsHost });
      expect((await at.public.inject({ url: '/nowhere' })).headers['strict-transport-security']).toBe('max-age=31536000');
      expect((await at.ops.inject({ url: '/nowhere' })).headers['strict-transport-security']).toBe(strict);
      expect(at.reload()).toBe(true);
      expect(at.lines.map(({ message }) => message)).toEqual(Array(2).fill(expect.stringContaining('the certificate of DNS:localhost')));
      await at.close();
    }
  });

  it('in development does not bind the name localhost to TLS for good', async () => {
    const at = await pretend({ dev: true, tlsCert: one.cert, tlsKey: one.key });
    expect((await at.public.inject({ url: '/healthz' })).headers['strict-transport-security']).toBeUndefined();
    await at.close();
  });
});

it('a hub without a certificate has none to reload', async () => {
  const at = await pretend();
  expect(at.reload()).toBe(false);
  await at.close();
});
