/** What must be there before anything runs: the hub built, the peers installed. */
import { spawnSync } from 'node:child_process';
import { existsSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { root } from './contestants.js';

/** Installs the peers from their lock file where that has not been done since it last changed. */
export function installPeers() {
  const folder = join(root, 'bench');
  const installed = join(folder, 'node_modules/.package-lock.json');
  if (existsSync(installed) && statSync(installed).mtimeMs >= statSync(join(folder, 'package-lock.json')).mtimeMs) return;
  console.log('installing the peers (bench/package.json)');
  run('npm', ['ci', '--no-audit', '--no-fund'], folder);
}

/** @param {string} [checkout] this one by default */
export function buildHub(checkout = root) {
  run(process.execPath, ['build.js'], checkout);
}

/**
 * Throws with what it wrote where it fails.
 * @param {string} command
 * @param {string[]} args
 * @param {string} cwd
 */
export function run(command, args, cwd) {
  const { status, stdout, stderr, error } = spawnSync(command, args, { cwd, encoding: 'utf8', maxBuffer: 64 * 1024 * 1024 });
  if (error) throw error;
  if (status !== 0) throw new Error(`${command} ${args.join(' ')} ended with ${status}:\n${stdout}${stderr}`);
  return stdout.trim();
}
