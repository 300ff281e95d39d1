/**
 * Runs once before the whole-process tests: builds the hub when a source is newer than the last build, and says in one line what this
 * machine cannot test.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { findChromium } from './chromium.ts';
import { hubEntry, root } from './paths.ts';

export function setup(): void {
  const sources = ['src', 'build.js', 'package.json', 'tsconfig.json'].map((name) => join(root, name));
  if (!existsSync(hubEntry) || Math.max(...sources.map(newest)) > statSync(hubEntry).mtimeMs) {
    execFileSync(process.execPath, ['build.js'], { cwd: root, stdio: ['ignore', 'inherit', 'inherit'] });
  }
  if (findChromium() === null) process.stderr.write('skipped: the browser tests, because there is no Chromium here (apt-get install chromium)\n');
}

/** The latest change below `path`; folders count too, because removing a file changes only its folder. */
function newest(path: string): number {
  if (!existsSync(path)) return 0;
  const stat = statSync(path);
  if (!stat.isDirectory()) return stat.mtimeMs;
  return Math.max(stat.mtimeMs, ...readdirSync(path).map((name) => newest(join(path, name))));
}
