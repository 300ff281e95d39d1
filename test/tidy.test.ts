/** The house rules, run on the whole project; each check is first shown an offence that it must find and a neighbour that it must not. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { routeTable, table } from '../src/protocol/authorize.ts';
import { commands } from '../src/protocol/commands.ts';
import { root } from './kit/paths.ts';
import { provenRules, routesIn, rulesOf, rulesWithoutProof } from './kit/protocol-checks.ts';
import { codeOf, importsOf, readSources, type Source } from './kit/source.ts';
import * as checks from './kit/tidy-checks.ts';

const sources = readSources('src');
const tests = readSources('test');
const protocol = readFileSync(join(root, 'src/protocol/PROTOCOL.md'), 'utf8');

/** Each of the `offences` alone must be found. */
type Plant = { check: (files: readonly Source[]) => string[]; on: readonly Source[]; offences: Source[][]; innocent: Source[] };
const file = (path: string, text: string): Source => ({ path, text });
const one = (text: string, path = 'src/shard/x.ts'): Source[] => [file(path, text)];
const line = (text: string): string => text.repeat(checks.linesMax);
/** Words that would offend the checks in this very file. */
const toDo = `TO${'DO'}`;

const plants: Record<string, Plant> = {
  'a file is at most 300 lines long': {
    check: checks.tooLong,
    on: [...sources, ...tests],
    offences: [one(line('x\n').concat('x'))],
    innocent: one(line('x\n')),
  },
  'src is two levels deep': { check: checks.tooDeep, on: sources, offences: [one('', 'src/shard/rooms/x.ts')], innocent: one('', 'src/shard/x.ts') },
  'a file begins with what it owns': {
    check: checks.withoutHeader,
    on: [...sources, ...tests],
    offences: [one("import x from './x.ts';\n/** Late. */")],
    innocent: one('#!/usr/bin/env node\n/** Starts the hub. */'),
  },
  'a file is named after something': {
    check: checks.badName,
    on: [...sources, ...tests],
    offences: [one('', 'src/shard/room-utils.ts')],
    innocent: one('', 'src/shard/newest-room.ts'),
  },
  'imports point one way, and only hub.ts composes': {
    check: checks.wrongDirection,
    on: sources,
    offences: [
      one("import type { Store } from '../persistence/store.ts';", 'src/gateway/x.ts'),
      one("import {\n  a,\n  b,\n} from '../gateway/hub.ts';", 'src/cli/main.ts'),
      one("import { TcpProxy } from './testing/proxy.ts';", 'src/hub.ts'),
      one('', 'src/tools/x.ts'),
    ],
    innocent: [...one("import { hub } from './gateway/hub.ts';", 'src/hub.ts'), ...one("import { hub } from '../hub.ts';", 'src/cli/main.ts')],
  },
  'what reaches a browser needs nothing of Node': {
    check: checks.notForBrowsers,
    on: sources,
    offences: [one("import { Socket } from 'node:net';", 'src/client/x.ts'), one('Buffer.from(x)', 'src/protocol/x.ts')],
    innocent: [...one("import type { Socket } from 'node:net';", 'src/client/x.ts'), ...one("'Buffer.from'", 'src/protocol/x.ts')],
  },
  'the client loads no zod': {
    check: checks.clientLoadsZod,
    on: sources,
    offences: [
      [
        file('src/client/x.ts', "import { y } from '../protocol/y.ts';"),
        file('src/protocol/y.ts', "import { z } from './z.ts';"),
        file('src/protocol/z.ts', "import { z } from 'zod';"),
      ],
    ],
    innocent: [file('src/client/x.ts', "import type { z } from '../protocol/z.ts';"), file('src/protocol/z.ts', "import { z } from 'zod';")],
  },
  'no type is any': { check: checks.anyTypes, on: [...sources, ...tests], offences: [one('const x = y as any;')], innocent: one('// any\nPromise.any(x)') },
  'no default exports': {
    check: checks.defaultExports,
    on: [...sources, ...tests],
    offences: [one('const x = 1;\nexport default x;')],
    innocent: one("const x = 'export default';"),
  },
  'no test is set apart': { check: checks.focusedTests, on: tests, offences: [one('it.only(title, run)')], innocent: one('it.skipIf(bare)(title, run)') },
  'no test waits for a guessed time': {
    check: checks.guessedWaits,
    on: tests,
    offences: [one('await new Promise((r) => setTimeout(r, 1_000));')],
    innocent: one('setTimeout(run, delayMs); clearTimeout(5)'),
  },
  'time, chance, environment and output have an owner': {
    check: checks.ambient,
    on: sources,
    offences: [one('const now = Date.now();')],
    innocent: [...one('const now = Date.now();', 'src/thread/clock.ts'), ...one('console.log(1)', 'src/cli/x.ts'), ...one('new Date(ts)')],
  },
  'no module holds state': {
    check: checks.moduleState,
    on: sources,
    offences: [one('export let x = 1;'), one('const x: Map<string, number> = new Map();'), one('const x: string[] = [\n  a,\n];')],
    innocent: one(
      '  let w = 1;\nconst x: ReadonlyMap<string, number> = new Map([[a, 1]]);\nconst y = [a] as const;\nconst z: readonly string[] = [b];\nconst [v] = z;',
    ),
  },
  'nothing is left for later': { check: checks.unfinished, on: [...sources, ...tests], offences: [one(`// ${toDo}: later`)], innocent: one('// to do') },
};

describe('tidy', () => {
  it('reads the whole project', () => {
    expect(sources.length).toBeGreaterThan(60);
    expect(tests.length).toBeGreaterThan(30);
    expect(sources.reduce((sum, { text }) => sum + text.length, 0)).toBeGreaterThan(200_000);
    expect(sources.flatMap(importsOf).filter(({ target }) => target.startsWith('src/')).length).toBeGreaterThan(150);
  });

  describe.each(Object.entries(plants))('%s', (_rule, { check, on, offences, innocent }) => {
    it('holds', () => expect(check(on)).toEqual([]));
    it('finds what was planted', () => expect(offences.map((offence) => check(offence).length > 0)).toEqual(offences.map(() => true)));
    it('lets the neighbour pass', () => expect(check(innocent)).toEqual([]));
  });

  it('tells code from strings, comments, templates and patterns', () => {
    const text = `a('x') // y\n/* z */ b(\`p \${c('q', { d })} r\`) && /[/]s'/.test(e);`;
    expect(codeOf(text).replace(/\s+/g, '')).toBe('a()b(c(,{d}))&&.test(e);');
  });

  it('sees every form of import', () => {
    const text = "import a from './a.ts';\nimport type {\n  B,\n} from '../b.ts';\nexport * from './c.ts';\nimport 'd';\nconst e = await import('./e.ts');";
    expect(importsOf(file('src/x/y.ts', text)).map(({ target, typeOnly }) => (typeOnly ? `type ${target}` : target))).toEqual([
      'src/x/a.ts',
      'type src/b.ts',
      'src/x/c.ts',
      'd',
      'src/x/e.ts',
    ]);
  });
});

describe('the authorization table', () => {
  const declared = Object.keys(routeTable);
  const routed = routesIn(sources.filter(({ path }) => path.startsWith('src/http/')));

  it('has a row for every op and every route of HTTP, and none for what is not there', () => {
    expect(Object.keys(table).sort()).toEqual(Object.keys(commands).sort());
    expect(routed.length).toBeGreaterThan(20);
    expect([...routed].sort()).toEqual([...declared].sort());
  });

  it('is found to lack a route that was planted, and the rooms ask nobody else', () => {
    const planted = routesIn([file('src/http/x.ts', "api.post(\n  '/rooms/:room/pins',\n  {}")]);
    expect(planted).toEqual(['POST /api/v1/rooms/:room/pins']);
    expect(declared).not.toContain(planted[0]);
    // Roles and visibilities are compared where the table and its relations are made, and in the rules of who manages whom.
    const asks = /(?:relation|role|room\.kind|visibility)\w*(?:\(\w*\))?\s*[!=]==\s*'(?:owner|admin|moderator|member|muted|stranger|service|private|public)'/;
    const allowed = ['src/shard/room-members.ts', 'src/shard/room-state.ts'];
    const asking = sources.filter(({ path, text }) => /^src\/(?:shard|gateway|http)\//.test(path) && !allowed.includes(path) && asks.test(text));
    expect(asking.map(({ path }) => path)).toEqual([]);
    expect(asks.test("if (room.relation(connection) === 'owner')")).toBe(true);
  });
});

describe('the rules of PROTOCOL.md', () => {
  const titled = tests.filter(({ path }) => (path.endsWith('.test.ts') || path.startsWith('test/faults/')) && !path.endsWith('/tidy.test.ts'));

  it('have a test each, and every title has its rule', () => {
    expect(rulesOf(protocol).length).toBeGreaterThan(60);
    expect(rulesWithoutProof(protocol, titled)).toEqual([]);
  });

  it('are found without a test, twice, or missing where they are', () => {
    const text = '**M1.** One.\n\n- **M2** Two.';
    const complaints = (title: string): string[] => rulesWithoutProof(text, [file('test/x.test.ts', `it('${title} is so', run)`)]);
    expect(rulesOf(text)).toEqual(['M1', 'M2']);
    expect(provenRules([file('t', "it.each(x)(\n  'M1 M2: so', run)")]).map(({ rule }) => rule)).toEqual(['M1', 'M2']);
    expect(provenRules([file('t', "title: 'M1 M2 so',\nsubtitle: 'M3 so'")]).map(({ rule }) => rule)).toEqual(['M1', 'M2']);
    expect(complaints('M1 M2')).toEqual([]);
    expect(complaints('M1')).toEqual(['PROTOCOL.md: no test title begins with M2']);
    expect(complaints('M1 M2 M3')).toEqual(['test/x.test.ts: there is no rule M3']);
    expect(rulesWithoutProof(`${text}\n**M1.** Again.`, [file('t', "it('M1 M2 x')")])).toEqual(['PROTOCOL.md: M1 is there twice']);
  });
});
