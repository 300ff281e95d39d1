/** What the built hub takes from packages: in few files, since each of its threads loads them at its start. */
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { expect, it } from 'vitest';
import { hubEntry, root } from '../kit/paths.ts';

const dist = dirname(dirname(hubEntry));
/** Native code, and what starts threads from a file of its own. */
const left = ['better-sqlite3', 'piscina'];

it('is in dist/packages, but for what cannot be; with the licences of what was taken', () => {
  const files = readdirSync(dist, { recursive: true, encoding: 'utf8' }).filter((path) => path.endsWith('.js') && !/^(?:testing|client|page)\b/.test(path));
  const asked = new Set<string>();
  for (const file of files) {
    const text = readFileSync(join(dist, file), 'utf8');
    for (const [, name = ''] of text.matchAll(/^(?:import|export) .*from ['"]([^.'"][^'"]*)['"];?$/gm)) if (!name.startsWith('node:')) asked.add(name);
  }
  const { dependencies } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { dependencies: Record<string, string> };
  const packages = Object.keys(dependencies);
  expect([...asked].filter((name) => packages.includes(name)).sort()).toEqual(left);
  const licences = readFileSync(join(dist, 'packages', 'LICENSES.txt'), 'utf8');
  for (const name of packages) if (!left.includes(name)) expect(licences).toContain(`${name} `);
});
