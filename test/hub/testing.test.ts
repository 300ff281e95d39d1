/** `hubbub/testing` as its users have it: the built package, and the example of the README word by word. */
import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { expect, it } from 'vitest';
import { startHub, temporaryFolder } from '../kit/hub.ts';
import { root } from '../kit/paths.ts';

const dist = (path: string): string => pathToFileURL(join(root, 'dist', path)).href;

it("runs the README's example, and finds nothing", () => {
  const readme = readFileSync(join(root, 'README.md'), 'utf8');
  const example = /## Test your own application[\s\S]*?```ts\n([\s\S]*?)```/.exec(readme)?.[1] ?? '';
  expect(example).toContain("'hubbub/testing'");
  const file = join(temporaryFolder(), 'example.mjs');
  writeFileSync(file, example.replace("'hubbub/client'", `'${dist('client/index.js')}'`).replace("'hubbub/testing'", `'${dist('testing/index.js')}'`));
  const { status, stdout, stderr } = spawnSync(process.execPath, [file], { encoding: 'utf8', timeout: 30_000 });
  expect({ status, stdout, stderr }).toEqual({ status: 0, stdout: '[]\n', stderr: '' });
});

it('says so at once where the hub could not tell its port', async () => {
  await expect(startHub({ logLevel: 'silent' })).rejects.toThrow('logLevel may be info or debug');
});
