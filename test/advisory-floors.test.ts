/** What is installed is not older than the releases that mended what strangers could use, and runs no script that nobody allowed. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { isBefore } from '../src/cli/node-floor.ts';
import { floors, lockedPackages, shortfalls, versionsOf } from './kit/advisory-floors.ts';
import { root } from './kit/paths.ts';

type Manifest = { engines: { node: string }; allowScripts: Record<string, boolean> };
const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as Manifest;

describe('advisories', () => {
  it('all that is here is from its floor on, and the lockfile fixes it', () => {
    expect(shortfalls()).toEqual([]);
    for (const name of Object.keys(floors)) expect([name, versionsOf(name).length > 0]).toEqual([name, true]);
  });

  it('what is too old, too new or not fixed is told of', () => {
    const locked = {
      '': {},
      'node_modules/ws': { version: '8.20.9', integrity: 'sha512-x' },
      'node_modules/loose': { version: '1.0.0' },
      'node_modules/tool': { dev: true },
    };
    const versions: Record<string, string[]> = { Node: ['20.19.9'], SQLite: ['3.51.3'], ws: ['8.21.0', '8.20.9'], 'better-sqlite3': ['13.0.0'] };
    const told = shortfalls(locked, (name) => versions[name] ?? []);
    expect(told.map((sentence) => sentence.split(':')[0])).toEqual([
      'Node 20.19.9 is not from 20.20.0 on',
      'ws 8.20.9 is not from 8.21.0 on',
      'better-sqlite3 13.0.0 is not from 12.11.0 to before 13.0.0',
      'the lockfile does not fix the content of node_modules/loose',
    ]);
  });

  it('the command line asks for the Node that package.json asks for', () => {
    const floor = `${manifest.engines.node.replace('>=', '')}.0`;
    expect(isBefore(process.versions.node, floor)).toBe(false);
    expect(readFileSync(join(root, 'src/cli/node-floor.ts'), 'utf8')).toContain(`const oldest = '${floor}'`);
  });

  it('no package runs a script at installation that nobody allowed or forbade', () => {
    const scripted = Object.entries(lockedPackages())
      .filter(([, { hasInstallScript }]) => hasInstallScript)
      .map(([path]) => path.replace(/^.*node_modules\//, ''));
    expect(scripted.length).toBeGreaterThan(0);
    expect(scripted.filter((name) => name !== 'fsevents' && !Object.hasOwn(manifest.allowScripts, name))).toEqual([]);
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
