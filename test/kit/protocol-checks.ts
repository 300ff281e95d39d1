/** Compares the numbered rules of PROTOCOL.md with the titles of the tests. Pure, as the tidy checks are. */
import type { Source } from './source.ts';
import type { Complaint } from './tidy-checks.ts';

/** A rule begins its paragraph, item or table row with its number in bold; the number is one or two letters and digits. */
const ruleStart = /^(?:[-*|]\s*|#+\s+)?\*\*([A-Z]{1,2}\d{1,3})\b/gm;
/** A title is the first argument of a call, or the `title` of a fault row, and begins with the numbers of the rules that it proves. */
const titleStart = /(?:\(|\btitle:)\s*(['"`])((?:[A-Z]{1,2}\d{1,3}[ ,:]+)+)/g;

export function rulesOf(protocol: string): string[] {
  return [...protocol.matchAll(ruleStart)].map((match) => match[1] ?? '');
}

export function provenRules(tests: readonly Source[]): { rule: string; path: string }[] {
  return tests.flatMap(({ path, text }) =>
    [...text.matchAll(titleStart)].flatMap((match) =>
      (match[2] ?? '')
        .split(/[ ,:]+/)
        .filter(Boolean)
        .map((rule) => ({ rule, path })),
    ),
  );
}

/** Every rule has a test, every title's rule exists, no number stands for two rules. */
export function rulesWithoutProof(protocol: string, tests: readonly Source[]): Complaint[] {
  const rules = rulesOf(protocol);
  const proven = provenRules(tests);
  const known = new Set(rules);
  const proofs = new Set(proven.map(({ rule }) => rule));
  return [
    ...rules.filter((rule, i) => rules.indexOf(rule) !== i).map((rule) => `PROTOCOL.md: ${rule} is there twice`),
    ...[...known].filter((rule) => !proofs.has(rule)).map((rule) => `PROTOCOL.md: no test title begins with ${rule}`),
    ...proven.filter(({ rule }) => !known.has(rule)).map(({ rule, path }) => `${path}: there is no rule ${rule}`),
  ];
}

/** Routes that files of `src/http` add, as the rows of the authorization table name them. Those of `api` are below its prefix. */
export function routesIn(files: readonly Source[]): string[] {
  return files.flatMap(({ text }) =>
    [...text.matchAll(/\b(api|app)\.(get|post|put|patch|delete)\(\s*([`'])([^`']+)\3/g)].map(([, on, method = '', , path = '']) => {
      const whole = on === 'api' ? `/api/v1${path}` : path.replace(/\$\{prefix\}/, '/api/v1');
      return `${method.toUpperCase()} ${whole}`;
    }),
  );
}
