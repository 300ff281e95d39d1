/**
 * Settings under which a hub would be open to people it was not meant for: refused with one sentence where nobody can mean
 * them, warned of where it depends on what is around the hub. Called before a hub is started; changes nothing.
 */
import { statSync } from 'node:fs';
import { join } from 'node:path';
import type { FilledOptions } from '../options.ts';
import { isLoopbackHost } from '../protocol/loopback.ts';
import { type OptionName, UsageError } from './format.ts';

/** Permission bits of a file or folder; null where it is not there or has none. */
export type ModeOf = (path: string) => number | null;

const writableByAll = 0o002;
const writableByGroup = 0o020;
const readableByAll = 0o004;
const enterableByAll = 0o001;

/** Throws `UsageError` where serving so would be open to the world, or of no use. */
export function refuseUnsafe(options: FilledOptions, mode: ModeOf = modeOf): void {
  refuseOrigins(options.origins);
  refuseSharedSecrets(options);
  if ((mode(options.data) ?? 0) & writableByAll)
    throw new UsageError(`every user of this machine may write to the data folder ${options.data}, and so replace the database: chmod o-w ${options.data}`);
  const development = 'or --dev to try it out on this machine';
  if (options.dev) {
    if (!isLoopbackHost(options.host))
      throw new UsageError(`--dev takes users at their word, so it listens on loopback only, not on ${options.host}: leave out --host, or --dev`);
    return;
  }
  if (options.jwtSecrets.length === 0 && options.jwtPublicKey === '' && options.jwksUrl === '')
    throw new UsageError(`nothing to check tokens with: give --jwt-secrets, --jwt-public-key or --jwks-url, ${development}`);
  if (options.origins.length === 0) throw new UsageError(`no --origins: name those browsers may connect from (https://chat.example.com), ${development}`);
}

export type Exposure = {
  /** Files that options with secrets were read from. */
  readonly secretFiles: readonly string[];
  /** Options whose secrets stand on the command line. */
  readonly onCommandLine: readonly OptionName[];
};

/** One sentence each; the hub starts all the same. */
export function warningsOf(options: FilledOptions, exposure: Exposure, mode: ModeOf = modeOf): string[] {
  const warnings: string[] = [];
  for (const name of exposure.onCommandLine)
    warnings.push(`${name}: what is on the command line shows in the process list; write it into a file and give @FILE`);
  // Not refused: secrets mounted into a container are readable by all, and there are no others there.
  for (const path of [...new Set([...exposure.secretFiles, options.tlsKey])])
    if (path !== '' && (mode(path) ?? 0) & readableByAll) warnings.push(`every user of this machine may read the secrets in ${path}: chmod o-r ${path}`);
  const database = join(options.data, 'hubbub.db');
  if ((mode(options.data) ?? 0) & enterableByAll && (mode(database) ?? 0) & readableByAll)
    warnings.push(`every user of this machine may read the messages in ${database}: chmod o-r ${database}*`);
  if ((mode(options.data) ?? 0) & writableByGroup)
    warnings.push(`the whole group may write to the data folder ${options.data}, and so replace the database: chmod g-w ${options.data}`);
  if (options.tlsCert === '' && !options.dev) {
    const open = (host: string, what: string) => `${what} cross the network readable on ${host}: give --tls-cert and --tls-key, or let only a proxy reach it`;
    if (!isLoopbackHost(options.host)) warnings.push(open(options.host, 'tokens and messages'));
    if (!isLoopbackHost(options.opsHost)) warnings.push(open(options.opsHost, 'API keys and metrics'));
  }
  if (options.endlessTokens) warnings.push('endlessTokens: a stolen token without exp opens the hub until the key that signed it is changed');
  return warnings;
}

function modeOf(path: string): number | null {
  try {
    return statSync(path).mode;
  } catch {
    return null; // using it says why
  }
}

/** What no browser sends never matches, and what any page can have matches all of them. */
function refuseOrigins(origins: readonly string[]): void {
  for (const origin of origins) {
    if (origin === '*') throw new UsageError('origins: * would let every page of the web connect as its visitor: name yours (https://chat.example.com)');
    if (origin === 'null') throw new UsageError('origins: null is the origin of every sandboxed frame and local file, not of a page of yours');
    if (!isOrigin(origin)) throw new UsageError(`origins: ${origin} is not an origin as browsers send it: https://chat.example.com, without a path or a slash`);
  }
}

function isOrigin(text: string): boolean {
  if (!URL.canParse(text) || text.includes('*')) return false;
  const url = new URL(text);
  // Apps have schemes of their own (capacitor://localhost), whose origin the URL class does not know.
  return /^https?:$/.test(url.protocol) ? url.origin === text : /^[a-z][a-z0-9+.-]*:\/\/[^/?#@\s]+$/.test(text);
}

/** One secret, one use: who may act for one user must not be able to sign tokens for all, and a key is withdrawn alone. */
function refuseSharedSecrets({ apiKeys, jwtSecrets }: FilledOptions): void {
  const signing = new Set(jwtSecrets.map((entry) => /^[\w.-]{1,64}:(.+)$/s.exec(entry)?.[1] ?? entry));
  const names = new Set<string>();
  const keys = new Set<string>();
  for (const entry of apiKeys) {
    const colon = entry.indexOf(':');
    const [name, key] = [entry.slice(0, colon), entry.slice(colon + 1)];
    if (signing.has(key)) throw new UsageError(`apiKeys: the key ${name} is also one of jwtSecrets: whoever has it could sign tokens; make one for each`);
    if (names.has(name)) throw new UsageError(`apiKeys: the name ${name} is there twice`);
    if (keys.has(key)) throw new UsageError(`apiKeys: ${name} has the key of another name: make one for each`);
    names.add(name);
    keys.add(key);
  }
}
