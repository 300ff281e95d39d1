/** `hubbub/testing` as its users have it: the built package, and the example of the README word by word. */
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { networkInterfaces } from 'node:os';
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

it('a test that ends by a fault leaves no hub and no folder behind', async () => {
  const file = join(temporaryFolder(), 'faulty.mjs');
  writeFileSync(
    file,
    `import { startHub } from '${dist('testing/index.js')}';
    const hub = await startHub();
    console.log(JSON.stringify([hub.http, hub.data]));
    throw new Error('an assertion');`,
  );
  const { status, stdout } = spawnSync(process.execPath, [file], { encoding: 'utf8', timeout: 30_000 });
  const [url, data] = JSON.parse(stdout) as [string, string];
  expect(status).toBe(1);
  await expect
    .poll(() =>
      fetch(url).then(
        () => 'there',
        () => 'gone',
      ),
    )
    .toBe('gone');
  expect(existsSync(data)).toBe(false);
});

const hasIpv6 = Object.values(networkInterfaces()).some((all) => all?.some(({ address }) => address === '::1'));
it.runIf(hasIpv6)('is reached where it listens, also at an address of IPv6', async () => {
  const hub = await startHub({ host: '::1' });
  expect(hub.url).toBe(`ws://[::1]:${hub.port}`);
  expect((await fetch(`${hub.http}/healthz`)).status).toBe(200);
});

it('says what is wrong where the process cannot even be made', async () => {
  await expect(startHub({ filesMax: 1_000, env: { PATH: '/nowhere' } })).rejects.toThrow('spawn bash ENOENT');
});
