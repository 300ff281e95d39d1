/**
 * What Hubbub runs on must not be older than the releases that mended what strangers could use: the table, and what of the lockfile and
 * of this process falls short of it. Raised with every advisory that concerns us. Needs no registry.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { isBefore } from '../../src/cli/node-floor.ts';
import { root } from './paths.ts';

/** Versions from `oldest` on and before `newer`. */
export type Floor = { readonly oldest: string; readonly newer?: string; readonly why: string };
export type Locked = Readonly<Record<string, { version?: string; integrity?: string; dev?: boolean; hasInstallScript?: boolean }>>;

export const floors: Readonly<Record<string, Floor>> = {
  Node: { oldest: '20.20.0', why: 'a stack that overflows in async hooks ends the process before it (January 2026)' },
  SQLite: { oldest: '3.51.3', why: 'two connections could corrupt the file when the log was reset' },
  ws: { oldest: '8.21.0', why: 'tiny fragments held memory without end (CVE-2026-48779)' },
  'better-sqlite3': {
    oldest: '12.11.0',
    newer: '13.0.0',
    why: 'older ones ship an older SQLite; newer ones need Node 22, and ending a worker during a call aborts them',
  },
};

export function lockedPackages(): Locked {
  return (JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8')) as { packages: Locked }).packages;
}

/** Every version that is here: of packages those in the lockfile and the one installed. */
export function versionsOf(name: string, locked: Locked = lockedPackages()): string[] {
  if (name === 'Node') return [process.versions.node];
  if (name === 'SQLite') return [sqliteVersion()];
  const { version } = JSON.parse(readFileSync(join(root, 'node_modules', name, 'package.json'), 'utf8')) as { version: string };
  return [version, ...Object.entries(locked).flatMap(([path, entry]) => (path.endsWith(`node_modules/${name}`) && entry.version ? [entry.version] : []))];
}

/** A sentence for each version that is not allowed, and for each package a hub runs on whose content the lockfile does not fix. */
export function shortfalls(locked: Locked = lockedPackages(), versions = (name: string): string[] => versionsOf(name, locked)): string[] {
  const loose = Object.entries(locked).filter(([path, { dev, integrity }]) => path !== '' && dev !== true && integrity === undefined);
  return [
    ...Object.entries(floors).flatMap(([name, { oldest, newer, why }]) =>
      versions(name)
        .filter((version) => isBefore(version, oldest) || (newer !== undefined && !isBefore(version, newer)))
        .map((version) => `${name} ${version} is not from ${oldest}${newer === undefined ? ' on' : ` to before ${newer}`}: ${why}`),
    ),
    ...loose.map(([path]) => `the lockfile does not fix the content of ${path}`),
  ];
}

function sqliteVersion(): string {
  const memory = new Database(':memory:');
  const version = String(memory.prepare('select sqlite_version()').pluck().get());
  memory.close();
  return version;
}
