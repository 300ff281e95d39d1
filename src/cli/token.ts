/**
 * `hubbub token`: a token for one user, printed to stdout and nowhere else. The signing is the gateway's; this checks the
 * flags and turns them into its arguments.
 */
import type { FilledOptions } from '../options.ts';
import type { Arguments } from './arguments.ts';
import { parseNumber, UsageError } from './format.ts';

export type MintToken = (options: FilledOptions, claims: { user: string; ttlMs: number; scopes: string[] }) => Promise<string>;

const ttlDefault = '1h';
const ttlMinMs = 1_000;
const ttlMaxMs = 3_650 * 86_400_000;

export async function token(own: Arguments['own'], options: FilledOptions, mintToken: MintToken): Promise<string> {
  if (options.jwtSecrets.length === 0) throw new UsageError('hubbub token signs with a secret: give the hub’s own --jwt-secrets (or @FILE)');
  const last = (name: string) => own.findLast((flag) => flag.name === name)?.text;
  const user = last('user');
  if (!user) throw new UsageError('hubbub token needs --user NAME');
  const ttl = last('ttl') ?? ttlDefault;
  const ttlMs = parseNumber(ttl, 'ms');
  if (ttlMs === null || ttlMs < ttlMinMs || ttlMs > ttlMaxMs) throw new UsageError(`--ttl must be a duration from 1s to 3650d (10m, 1h, 30d), not ${ttl}`);
  const scopes = own.filter(({ name }) => name === 'scope').flatMap(({ text }) => text.split(',').filter((scope) => scope !== ''));
  return mintToken(options, { user, ttlMs, scopes });
}
