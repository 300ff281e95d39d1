#!/usr/bin/env node
/**
 * The `hubbub` command: binds `run` to this process, and is the only file that reads its environment and arguments or
 * ends it.
 */
import { readFileSync } from 'node:fs';
import { run } from './run.ts';
import { exitCodes } from './serve.ts';

// A reader of our output that went away (`hubbub serve | head`) is no reason to stop serving.
for (const stream of [process.stdout, process.stderr]) stream.on('error', () => {});

const code = await run(process.argv.slice(2), {
  environment: process.env,
  readFile: (path) => readFileSync(path, 'utf8'),
  out: (text) => process.stdout.write(text),
  problem: (text) => process.stderr.write(text),
  events: process,
  version: () => (JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as { version: string }).version,
  node: process.versions.node,
  loadHub: () => import('../hub.ts'),
  loadAdmin: () => import('../admin.ts'),
});
// An exit waits for every thread to end.
if (code === exitCodes.stuck) process.kill(process.pid, 'SIGKILL');
process.exit(code);
