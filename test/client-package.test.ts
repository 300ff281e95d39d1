/**
 * dist/client is a package of its own: small, without dependencies, usable from a project that knows nothing of this one.
 * Built into a folder of its own, so that a build that others are using stays as it is.
 */
import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { gzipSync } from 'node:zlib';
import { build } from 'esbuild';
import { afterAll, beforeAll, expect, test } from 'vitest';
import * as source from '../src/client/index.ts';

const root = resolve(import.meta.dirname, '..');
const tsc = join(dirname(createRequire(import.meta.url).resolve('typescript/package.json')), 'bin/tsc');
const gzipBytesMax = 20 * 1024;

let folder = '';
/** A project outside the tree with the client installed, and nothing else. */
let project = '';
let installed = '';

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'hubbub-package-'));
  const built = join(folder, 'dist');
  const { status, stdout, stderr } = spawnSync(process.execPath, ['build.js', built], { cwd: root, encoding: 'utf8' });
  if (status !== 0) throw new Error(stdout + stderr);
  project = join(folder, 'project');
  installed = join(project, 'node_modules/hubbub-client');
  mkdirSync(dirname(installed), { recursive: true });
  cpSync(join(built, 'client'), installed, { recursive: true });
  writeFileSync(join(project, 'package.json'), '{ "type": "module" }');
}, 120_000);

afterAll(() => rmSync(folder, { recursive: true, force: true }));

test(`the client is at most ${gzipBytesMax} bytes with gzip, and zod is not in it`, async () => {
  const { outputFiles, metafile } = await build({
    entryPoints: [join(root, 'src/client/index.ts')],
    bundle: true,
    minify: true,
    write: false,
    metafile: true,
    format: 'esm',
    platform: 'browser',
    external: ['ws'],
    absWorkingDir: root,
  });
  const bytes = gzipSync(outputFiles[0]?.contents ?? '').length;
  expect(bytes).toBeGreaterThan(1_000);
  expect(bytes).toBeLessThanOrEqual(gzipBytesMax);
  const outside = Object.keys(metafile.inputs).filter((path) => !/^src\/(?:client|protocol)\//.test(path));
  expect(outside).toEqual([]);
  expect(gzipSync(readFileSync(join(installed, 'hubbub-client.js'))).length).toBeLessThanOrEqual(gzipBytesMax);
});

test('the package needs nothing: no dependencies, ws only where somebody has it', () => {
  const manifest = JSON.parse(readFileSync(join(installed, 'package.json'), 'utf8'));
  const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  expect(manifest).toMatchObject({ name: 'hubbub-client', version, type: 'module', dependencies: {}, peerDependenciesMeta: { ws: { optional: true } } });
  const text = readFileSync(join(installed, 'hubbub-client.js'), 'utf8');
  const imports = [...text.matchAll(/\b(?:import|from)\s*\(?\s*["']([^"']+)["']/g)].map((match) => match[1]);
  expect(imports).toEqual(['ws']);
  expect(readdirSync(installed).toSorted()).toEqual(['hubbub-client.js', 'hubbub-client.js.map', 'index.d.ts', 'index.js', 'package.json', 'types']);
});

test.each([
  ['nodenext', 'nodenext'],
  ['esnext', 'bundler'],
])('a fresh TypeScript project (module %s) compiles against it, declarations checked too', (module, moduleResolution) => {
  const options = { strict: true, skipLibCheck: false, noEmit: true, target: 'es2022', lib: ['es2022', 'dom'], types: [], module, moduleResolution };
  writeFileSync(join(project, 'tsconfig.json'), JSON.stringify({ compilerOptions: options, files: ['main.ts'] }));
  writeFileSync(
    join(project, 'main.ts'),
    `import { connect, HubError, type Entry, type InboxItem } from 'hubbub-client';
const hub = connect('ws://127.0.0.1:8080', { user: 'alice', webSocket: WebSocket });
const room = await hub.subscribe('general', { presence: true });
room.on('entry', (entry: Entry) => entry.seq.toFixed());
const { seq, mid }: { seq: number; mid: string } = await room.publish({ text: 'hi' });
hub.on('inbox', async (item: InboxItem) => item.n + seq);
await hub.command('create', { room: 'ops', visibility: 'private' });
for await (const entry of room) entry.mid === mid;
try { await hub.direct('bob', 'psst'); } catch (error) { if (error instanceof HubError && error.code === 'forbidden') throw error; }
// @ts-expect-error no such visibility
await hub.command('create', { room: 'ops', visibility: 'secret' });
await hub.close();
`,
  );
  const { status, stdout } = spawnSync(process.execPath, [tsc, '-p', project], { encoding: 'utf8' });
  expect({ status, stdout }).toEqual({ status: 0, stdout: '' });
});

test('Node imports it and finds what the source exports, by either entry', () => {
  const script = `
    const a = await import('hubbub-client');
    const b = await import('./node_modules/hubbub-client/index.js');
    console.log(JSON.stringify([Object.keys(a), Object.keys(b)]));`;
  const { stdout, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', script], { cwd: project, encoding: 'utf8' });
  expect(stderr).toBe('');
  const expected = Object.keys(source).toSorted();
  expect((JSON.parse(stdout) as string[][]).map((names) => names.toSorted())).toEqual([expected, expected]);
});

test('without any WebSocket it says so and stops, and the process ends', () => {
  const script = `
    delete globalThis.WebSocket;
    const { connect } = await import('hubbub-client');
    const hub = connect('ws://127.0.0.1:1', { user: 'alice' });
    await hub.ready.catch((error) => console.log(error.code, hub.state.is, /ws/.test(error.message)));`;
  const { stdout, status } = spawnSync(process.execPath, ['--input-type=module', '-e', script], { cwd: project, encoding: 'utf8', timeout: 20_000 });
  expect({ stdout, status }).toEqual({ stdout: 'connect closed true\n', status: 0 });
});

test('a bundler for browsers takes it without ws being there', async () => {
  const { outputFiles, warnings } = await build({
    stdin: { contents: "import { connect } from 'hubbub-client'; connect('ws://127.0.0.1', { user: 'a' });", resolveDir: project },
    bundle: true,
    write: false,
    format: 'esm',
    platform: 'browser',
  });
  expect(warnings).toEqual([]);
  expect(outputFiles).toHaveLength(1);
});
