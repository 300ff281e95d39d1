/**
 * Builds dist/: the server as tsc emits it, what it takes from packages in few files (dist/packages), the client as a package
 * folder of its own (dist/client: one bundled file and the types it needs, nothing of the server's dependencies), and the page.
 * `npm run build` and, before them, start and test run it.
 */
import { spawnSync } from 'node:child_process';
import { chmodSync, copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join, relative, resolve, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const root = dirname(fileURLToPath(import.meta.url));
/** `node build.js FOLDER` builds into a new folder instead, for the tests. */
const dist = resolve(process.argv[2] ?? join(root, 'dist'));
const client = join(dist, 'client');
const nativeStack = '@sentry-internal/node-native-stacktrace';
const { version, license } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));

if (process.argv[2] === undefined) rmSync(dist, { recursive: true, force: true });
compile();
await packClient();
await packPackages();
await packPage();

function compile() {
  const tsc = join(dirname(createRequire(import.meta.url).resolve('typescript/package.json')), 'bin', 'tsc');
  const { status, error } = spawnSync(process.execPath, [tsc, '-p', join(root, 'tsconfig.json'), '--outDir', dist], { stdio: 'inherit' });
  if (error) throw error;
  if (status !== 0) process.exit(status ?? 1);
  // tsc makes plain files; `npx hubbub` runs this one.
  chmodSync(join(dist, 'cli', 'main.js'), 0o755);
}

/** tsc's output for the client refers to the server's protocol folder and packages; it makes room for what stands alone. */
async function packClient() {
  const types = collectTypes(join(client, 'index.d.ts'), new Map());
  rmSync(client, { recursive: true });
  for (const [file, text] of types) {
    const target = join(client, 'types', relative(dist, file));
    mkdirSync(dirname(target), { recursive: true });
    writeFileSync(target, text);
  }
  await build({
    entryPoints: [join(root, 'src/client/index.ts')],
    outfile: join(client, 'hubbub-client.js'),
    bundle: true,
    minify: true,
    lineLimit: 160, // Node shows the whole line of an error that nobody caught
    sourcemap: true,
    format: 'esm',
    platform: 'browser',
    target: 'es2022',
    external: ['ws'],
  });
  writeFileSync(join(client, 'index.js'), "export * from './hubbub-client.js';\n");
  writeFileSync(join(client, 'index.d.ts'), "export * from './types/client/index.js';\n");
  const manifest = {
    name: 'hubbub-client',
    version,
    description: 'Client of the Hubbub communication hub, for browsers and Node',
    license,
    type: 'module',
    sideEffects: false,
    exports: { '.': { types: './index.d.ts', default: './hubbub-client.js' }, './package.json': './package.json' },
    types: './index.d.ts',
    // Only Node below 22 has no WebSocket of its own; a bundler for browsers must not look for the package.
    browser: { ws: false },
    dependencies: {},
    peerDependencies: { ws: '^8.0.0' },
    peerDependenciesMeta: { ws: { optional: true } },
  };
  writeFileSync(join(client, 'package.json'), `${JSON.stringify(manifest, null, 2)}\n`);
}

/** A declaration file and every one it refers to, as text. Fails on a reference to a package: the client's types must stand without any. */
function collectTypes(file, found) {
  if (found.has(file)) return found;
  const text = readFileSync(file, 'utf8').replace(/^\/\/# sourceMappingURL=.*$/m, '');
  const referred = [];
  const rewritten = text.replace(/(\bfrom |\bimport\()(['"])([^'"]+)\2/g, (_, before, quote, specifier) => {
    if (!specifier.startsWith('.')) throw new Error(`${relative(root, file)}: the client's types refer to the package ${specifier}`);
    referred.push(join(dirname(file), specifier.replace(/\.(ts|js)$/, '.d.ts')));
    return `${before}${quote}${specifier.replace(/\.ts$/, '.js')}${quote}`;
  });
  found.set(file, rewritten);
  for (const next of referred) collectTypes(next, found);
  return found;
}

/**
 * A start of the hub would look for some 400 small files of packages, in each thread anew; that takes longer than what they do.
 * So each file of dist that imports a package gets it from a bundle, which has what dist uses of it and no more. Native code
 * (better-sqlite3) and what finds its own files (piscina) stay where they are, and so does what `hubbub/testing` shares with tests.
 */
async function packPackages() {
  const folder = join(dist, 'packages');
  const used = new Map();
  for (const file of emitted(dist)) {
    const text = readFileSync(file, 'utf8');
    const rewritten = text.replace(/^import (.+) from '((?:@[\w-]+\/)?[\w-]+)';$/gm, (line, what, name) => {
      if (['better-sqlite3', 'piscina'].includes(name)) return line;
      const [, whole, parts = ''] = /^(\w+)?(?:, )?(?:{(.*)})?$/.exec(what) ?? [];
      const names = parts.split(',').flatMap((part) => part.trim().split(' as ')[0] || []);
      used.set(name, new Set([...(used.get(name) ?? []), ...(whole === undefined ? [] : ['default']), ...names]));
      const target = relative(dirname(file), join(folder, `${fileOf(name)}.js`)).replaceAll(sep, '/');
      return `import ${what} from '${target.startsWith('.') ? target : `./${target}`}';`;
    });
    if (rewritten !== text) writeFileSync(file, rewritten);
  }
  const { metafile } = await build({
    entryPoints: [...used.keys()].map((name) => ({ in: `used:${name}`, out: fileOf(name) })),
    outdir: folder,
    absWorkingDir: root,
    bundle: true,
    splitting: true,
    metafile: true,
    format: 'esm',
    platform: 'node',
    target: 'node20.19',
    external: [`${nativeStack}/lib/*.node`],
    legalComments: 'inline',
    // What was CommonJS asks for Node's own modules by `require`.
    banner: { js: "import { createRequire } from 'node:module';\nconst require = createRequire(import.meta.url);" },
    plugins: [
      {
        name: 'what is used',
        setup({ onResolve, onLoad }) {
          onResolve({ filter: /^used:/ }, ({ path }) => ({ path: path.slice('used:'.length), namespace: 'used' }));
          onLoad({ filter: /.*/, namespace: 'used' }, ({ path }) => ({
            contents: `export { ${[...(used.get(path) ?? [])].join(', ')} } from '${path}';`,
            resolveDir: root,
          }));
          // It asks for the adapters of every store there is; each part has a file of its own.
          onLoad({ filter: /rate-limiter-flexible\/index\.js$/ }, () => ({
            contents: [...(used.get('rate-limiter-flexible') ?? [])].map((name) => `exports.${name} = require('./lib/${name}');`).join('\n'),
          }));
          // The bundle is in another place than its native code, which is loaded by path.
          onLoad({ filter: /node-native-stacktrace\/lib\/index\.js$/ }, ({ path }) => ({
            contents: readFileSync(path, 'utf8').replaceAll(/require\((['`])\.\/stack-trace-/g, `require($1${nativeStack}/lib/stack-trace-`),
          }));
          // The hub's words are English; these are the others.
          onLoad({ filter: /zod\/v4\/locales\/index\.js$/ }, () => ({ contents: "export { default as en } from './en.js';" }));
        },
      },
    ],
  });
  writeFileSync(join(folder, 'LICENSES.txt'), licenses(Object.keys(metafile.inputs)));
}

/** What tsc made for the hub, without the client and what is for tests. */
function emitted(folder) {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) return [client, join(dist, 'testing'), join(dist, 'page')].includes(path) ? [] : emitted(path);
    return entry.name.endsWith('.js') ? [path] : [];
  });
}

function fileOf(packageName) {
  return packageName.replace('@', '').replace('/', '-');
}

/** Most licences want their text to go with every copy. */
function licenses(inputs) {
  const folders = new Set(inputs.flatMap((input) => /^(.*node_modules\/(?:@[^/]+\/)?[^/]+)\//.exec(input)?.[1] ?? []));
  return [...folders]
    .sort()
    .map((folder) => {
      const { name, version, license } = JSON.parse(readFileSync(join(root, folder, 'package.json'), 'utf8'));
      const file = readdirSync(join(root, folder)).find((entry) => /^licen[cs]e/i.test(entry));
      return `${name} ${version} (${license})\n\n${file === undefined ? '' : readFileSync(join(root, folder, file), 'utf8').trim()}\n`;
    })
    .join(`\n${'-'.repeat(80)}\n\n`);
}

async function packPage() {
  const source = join(root, 'src/page');
  if (!existsSync(join(source, 'index.html'))) return;
  const target = join(dist, 'page');
  rmSync(target, { recursive: true, force: true });
  await build({
    entryPoints: [join(source, 'main.ts')],
    outdir: target,
    bundle: true,
    minify: true,
    sourcemap: true,
    format: 'esm',
    platform: 'browser',
    target: 'es2022',
    external: ['ws'],
  });
  for (const file of readdirSync(source)) if (/\.(html|css|svg)$/.test(file)) copyFileSync(join(source, file), join(target, file));
}
