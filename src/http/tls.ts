/**
 * The certificate of the listeners: reads and checks the two files that the options name, and says whose it is. Called when
 * the listeners are made and when they are told to reload; never keeps a key beyond that.
 */
import { createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createSecureContext, type SecureContextOptions } from 'node:tls';
import { type FilledOptions, OptionError } from '../options.ts';
import { isLoopbackHost } from '../protocol/loopback.ts';

/** What Node's TLS servers take, plus what the log says of it. */
export type Pair = { readonly context: SecureContextOptions; readonly subject: string; readonly until: string; readonly expired: boolean };

/** Older versions are broken, and Node's own floor can be lowered from the command line. */
const minVersion = 'TLSv1.2';

/** Null without TLS. Throws `OptionError` with one sentence where the files are no pair that could serve. */
export function readPair(options: Pick<FilledOptions, 'tlsCert' | 'tlsKey'>, nowMs: number): Pair | null {
  if (options.tlsCert === '' && options.tlsKey === '') return null;
  if (options.tlsKey === '') throw new OptionError('tlsKey', 'is needed too: tlsCert is a certificate without its private key');
  if (options.tlsCert === '') throw new OptionError('tlsCert', 'is needed too: tlsKey is a private key without its certificate');
  const cert = readPart('tlsCert', options.tlsCert);
  const key = readPart('tlsKey', options.tlsKey);
  const certificate = parsed('tlsCert', options.tlsCert, 'no PEM certificate', () => new X509Certificate(cert));
  const secret = parsed('tlsKey', options.tlsKey, 'no PEM private key without a passphrase', (): KeyObject => createPrivateKey(key));
  if (!certificate.checkPrivateKey(secret))
    throw new OptionError('tlsKey', `${options.tlsKey} is not the private key of the certificate in ${options.tlsCert}`);
  const context = { cert, key, minVersion } as const;
  // The chain behind the first certificate, and what OpenSSL finds too weak.
  parsed('tlsCert', options.tlsCert, 'a certificate that OpenSSL does not accept, or its chain is', () => createSecureContext(context));
  const subject = certificate.subjectAltName ?? certificate.subject.replaceAll('\n', ', ');
  return { context, subject, until: certificate.validTo, expired: Date.parse(certificate.validTo) <= nowMs };
}

/**
 * Whether the operations listener speaks TLS too: where others could listen in on its API keys. On loopback it does not, for
 * the scrapers and backends of the same machine.
 */
export function opsSpeakTls(options: Pick<FilledOptions, 'tlsCert' | 'opsHost'>): boolean {
  return options.tlsCert !== '' && !isLoopbackHost(options.opsHost);
}

function readPart(option: 'tlsCert' | 'tlsKey', path: string): Buffer {
  try {
    return readFileSync(path);
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : String(error);
    const reason = { ENOENT: 'it does not exist', EACCES: 'permission denied', EISDIR: 'it is a folder' }[code] ?? code;
    throw new OptionError(option, `cannot read ${path}: ${reason}`);
  }
}

/** OpenSSL's words name its functions and not the cause, so the sentence says what was expected. */
function parsed<T>(option: 'tlsCert' | 'tlsKey', path: string, problem: string, parse: () => T): T {
  try {
    return parse();
  } catch {
    throw new OptionError(option, `${path} is ${problem}`);
  }
}
