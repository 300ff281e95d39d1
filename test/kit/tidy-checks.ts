/**
 * The house rules as functions from files to complaints, so that each can be shown a planted offence. `test/tidy.test.ts`
 * runs them on the real files.
 */
import { codeOf, importsOf, type Source } from './source.ts';

export type Complaint = string;
type Check = (files: readonly Source[]) => Complaint[];

export const linesMax = 300;
const bannedNameParts = ['v2', 'new', 'util', 'utils', 'helper', 'helpers', 'misc', 'common'];

/** What each folder, or file directly in src, may import; `hub.ts` composes and so may import everything. */
const mayImport: Readonly<Record<string, readonly string[]>> = {
  protocol: [],
  thread: ['protocol'],
  gateway: ['protocol', 'thread', 'options.ts'],
  shard: ['protocol', 'thread', 'options.ts'],
  persistence: ['protocol', 'thread', 'options.ts'],
  cluster: ['protocol', 'thread', 'options.ts'],
  http: ['protocol', 'thread', 'options.ts'],
  client: ['protocol'],
  page: ['client', 'protocol'],
  cli: ['protocol', 'thread', 'options.ts', 'hub.ts', 'admin.ts'],
  'options.ts': ['protocol'],
  'index.ts': ['protocol', 'thread', 'options.ts', 'hub.ts', 'http'],
  // Part of the composition root: what the parts are to each other, as types.
  'threads.ts': ['gateway', 'http', 'options.ts', 'persistence', 'thread'],
  'worker.ts': ['cluster', 'shard'],
  testing: ['client', 'protocol', 'options.ts'],
  'admin.ts': ['persistence'],
};
/** Packages that run in a browser; the folders that reach one may import nothing else from outside. */
const browserPackages: Readonly<Record<string, readonly string[]>> = { protocol: ['zod', 'msgpackr'], client: ['msgpackr'], page: [] };

export const tooLong: Check = (files) =>
  files.flatMap(({ path, text }) => {
    const lines = text.replace(/\n$/, '').split('\n').length;
    return lines > linesMax ? [`${path}: ${lines} lines; ${linesMax} is the most`] : [];
  });

export const tooDeep: Check = (files) => files.filter(({ path }) => path.split('/').length > 3).map(({ path }) => `${path}: src is two levels deep`);

export const withoutHeader: Check = (files) =>
  files.filter(({ text }) => !/^(?:#!.*\n)?\/\*\*\s*\S/.test(text)).map(({ path }) => `${path}: begins without a comment that says what it owns`);

export const badName: Check = (files) =>
  files.flatMap(({ path }) => {
    const part = (path.split('/').at(-1) ?? '').split(/[-_.]/).find((one) => bannedNameParts.includes(one.toLowerCase()));
    return part === undefined ? [] : [`${path}: "${part}" names nothing`];
  });

export const wrongDirection: Check = (files) =>
  files.flatMap((file) => {
    const room = roomOf(file.path);
    const allowed = room === 'hub.ts' ? Object.keys(mayImport).filter((name) => name !== 'testing') : mayImport[room];
    if (allowed === undefined) return [`${file.path}: ${room} is no place of this project`];
    return importsOf(file)
      .filter(({ target }) => target.startsWith('src/') && roomOf(target) !== room && !allowed.includes(roomOf(target)))
      .map(({ target }) => `${file.path}: ${room} may not import ${target}`);
  });

export const notForBrowsers: Check = (files) =>
  files.flatMap((file) => {
    const packages = browserPackages[roomOf(file.path)];
    if (packages === undefined) return [];
    const foreign = importsOf(file).filter(({ target, typeOnly }) => !target.startsWith('src/') && !typeOnly && !packages.includes(target));
    const globals = /\b(?:Buffer|process|require|__dirname)\b\s*[.([]/.exec(codeOf(file.text));
    return [...foreign.map(({ target }) => target), ...(globals ? [globals[0]] : [])].map((what) => `${file.path}: ${what} is not there in a browser`);
  });

/** Follows what the client really loads: zod is larger than the client is allowed to be. */
export const clientLoadsZod: Check = (files) => {
  const byPath = new Map(files.map((file) => [file.path, file]));
  const complaints: Complaint[] = [];
  const seen = new Set<string>();
  const visit = (path: string, via: string): void => {
    const file = byPath.get(path);
    if (file === undefined || seen.has(path)) return;
    seen.add(path);
    for (const { target, typeOnly } of importsOf(file)) {
      if (typeOnly) continue;
      if (target === 'zod') complaints.push(`${via} loads zod`);
      else visit(target, `${via} → ${target}`);
    }
  };
  for (const { path } of files) if (roomOf(path) === 'client') visit(path, path);
  return complaints;
};

export const anyTypes: Check = inCode(/(?<![.\w])any\b(?!\s*[(:?])/, 'any');
export const defaultExports: Check = inCode(/^export\s+default\b|\bas\s+default\b/m, 'a default export');
export const focusedTests: Check = inCode(/\.(?:only|skip|todo|fails)\(/, 'a test that is set apart');
/** Both forms: a timer with a fixed time, and a promise of one. */
export const guessedWaits: Check = inCode(
  /\b(?:setTimeout|sleep|delay|wait)\((?:[^()]|\((?:[^()]|\([^()]*\))*\))*?(?<![\w.])\d[\d_]*\s*\)/,
  'a wait for a guessed time',
);

/** Time, chance, environment and output have one owner each; the tools for tests drive real processes in real time. */
export const ambient: Check = (files) => {
  const outside = files.filter(({ path }) => !path.endsWith('/clock.ts') && !/^src\/(?:cli|testing)\//.test(path));
  return inCode(/\b(?:Date\.now|Math\.random|performance\.now|process\.env)\b|\bnew Date\(\s*\)|\bconsole\s*\./, 'belongs to clock.ts or cli/')(outside);
};

/** Two hubs in one process share nothing: what a module holds is fixed, and its type says so. */
export const moduleState: Check = (files) =>
  files.flatMap(({ path, text }) => {
    const code = codeOf(text);
    const mutable = [...code.matchAll(/^(?:export\s+)?(?:let|var)\s+(\w+)/gm)].map((match) => match[1]);
    const collections = [...code.matchAll(/^(?:export\s+)?const\s+(\w+)\s*(:[^=]*)?=\s*new\s+(?:Weak)?(?:Map|Set)\b/gm)]
      .filter((match) => !/^:\s*Readonly(?:Map|Set)</.test(match[2] ?? ''))
      .map((match) => match[1]);
    const arrays = [...code.matchAll(/^(?:export\s+)?const\s+(\w+)\s*(:[^=]*)?=\s*\[[^;]*?\](\s*as\s+const|\s*\.|\s*satisfies)?(?=[^;\]]*;)/gm)]
      .filter((match) => match[3] === undefined && !/readonly|Readonly/.test(match[2] ?? ''))
      .map((match) => match[1]);
    return [...mutable, ...collections, ...arrays].map((name) => `${path}: ${name} is state of the module`);
  });

export const unfinished: Check = (files) =>
  files.flatMap(({ path, text }) => {
    const word = new RegExp(`\\b(?:${['TO', 'FIX', 'X'].map((start, i) => start + (['DO', 'ME', 'XX'][i] ?? '')).join('|')})\\b`).exec(text);
    return word === null ? [] : [`${path}: ${word[0]}`];
  });

/** A check that is one pattern over code. */
function inCode(pattern: RegExp, what: string): Check {
  return (files) =>
    files.flatMap(({ path, text }) => {
      const code = codeOf(text);
      const found = pattern.exec(code);
      return found === null ? [] : [`${path}:${code.slice(0, found.index).split('\n').length}: ${found[0].trim()}: ${what}`];
    });
}

/** The folder in src, or the file where it lies directly in it. */
function roomOf(path: string): string {
  return path.split('/')[1] ?? '';
}
