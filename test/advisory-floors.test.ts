/** What is installed is not older than the releases that mended what strangers could use; raised with every advisory that concerns us. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { describe, expect, it } from 'vitest';
import { isBefore } from '../src/cli/node-floor.ts';
import { root } from './kit/paths.ts';

/** Of packages: the oldest version, and why. */
const floors: Readonly<Record<string, readonly [string, string]>> = {
  ws: ['8.21.0', 'tiny fragments held memory without end (CVE-2026-48779)'],
  'better-sqlite3': ['12.11.0', 'ships an SQLite without the WAL-reset race'],
};
const ceilings: Readonly<Record<string, readonly [string, string]>> = {
  'better-sqlite3': ['13.0.0', 'ending a worker during a call aborts the process there, and it needs Node 22'],
};
const sqliteFloor = '3.51.3';

type Manifest = {
  engines: { node: string };
  packages: Record<string, { version?: string; hasInstallScript?: boolean }>;
  allowScripts: Record<string, boolean>;
};
const read = (file: string): Manifest => JSON.parse(readFileSync(join(root, file), 'utf8')) as Manifest;
const installed = Object.entries(read('package-lock.json').packages);
const versionsOf = (name: string): string[] => installed.flatMap(([path, { version }]) => (path.endsWith(`node_modules/${name}`) && version ? [version] : []));

describe('advisories', () => {
  it.each(Object.entries(floors))('%s is not older than its floor', (name, [floor]) => {
    expect(versionsOf(name).length).toBeGreaterThan(0);
    expect(versionsOf(name).filter((version) => isBefore(version, floor))).toEqual([]);
  });

  it.each(Object.entries(ceilings))('%s is not newer than what works', (name, [ceiling]) => {
    expect(versionsOf(name).filter((version) => !isBefore(version, ceiling))).toEqual([]);
  });

  it('SQLite is the one that was compiled in, and not older than its floor', () => {
    const memory = new Database(':memory:');
    const version = String(memory.prepare('select sqlite_version()').pluck().get());
    memory.close();
    expect(isBefore(version, sqliteFloor), version).toBe(false);
  });

  it('Node is at least what package.json asks for, and the command line asks for the same', () => {
    const floor = `${read('package.json').engines.node.replace('>=', '')}.0`;
    expect(isBefore(process.versions.node, floor)).toBe(false);
    expect(readFileSync(join(root, 'src/cli/node-floor.ts'), 'utf8')).toContain(`const oldest = '${floor}'`);
  });

  it('no package runs a script at installation that nobody allowed or forbade', () => {
    const { allowScripts } = read('package.json');
    const scripted = installed.filter(([, { hasInstallScript }]) => hasInstallScript).map(([path]) => path.replace(/^.*node_modules\//, ''));
    expect(scripted.length).toBeGreaterThan(0);
    expect(scripted.filter((name) => name !== 'fsevents' && !Object.hasOwn(allowScripts, name))).toEqual([]);
  });

  it('a version is compared by its numbers', () => {
    expect([
      isBefore('8.9.0', '8.21.0'),
      isBefore('8.21.0', '8.21.0'),
      isBefore('8.21.1', '8.21.0'),
      isBefore('7.99.99', '8.0.0'),
      isBefore('9', '8.21.0'),
    ]).toEqual([true, false, false, true, false]);
  });
});
