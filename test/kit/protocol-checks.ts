/**
 * Compares PROTOCOL.md with what it describes: its rules with the titles of tests, its ops with the schemas, its two tables
 * with `codes.ts`. Pure, as the tidy checks are.
 */
import type { Source } from './source.ts';
import type { Complaint } from './tidy-checks.ts';

/** A rule begins its paragraph, item or table row with its number in bold; the number is one or two letters and digits. */
const ruleStart = /^(?:[-*|]\s*|#+\s+)?\*\*([A-Z]{1,2}\d{1,3})\b/gm;
/** A title is the first argument of a call and begins with the numbers of the rules that it proves. */
const titleStart = /\(\s*(['"`])((?:[A-Z]{1,2}\d{1,3}[ ,:]+)+)/g;

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

export function opsWithoutText(protocol: string, ops: readonly string[]): Complaint[] {
  return ops.filter((op) => !protocol.includes(`\`${op}\``)).map((op) => `PROTOCOL.md: says nothing of \`${op}\``);
}

type ErrorTable = Readonly<Record<string, { readonly retry: boolean }>>;
type CloseTable = Readonly<Record<string, { readonly code: number }>>;

/** The rows `| code | yes/no | … |` and `| number | reason | … |` say what `codes.ts` says, no more and no less. */
export function codesOutOfStep(protocol: string, errors: ErrorTable, closes: CloseTable): Complaint[] {
  const rows = protocol
    .split('\n')
    .filter((line) => line.startsWith('|'))
    .map((line) =>
      line
        .split('|')
        .slice(1, -1)
        .map((cell) => cell.replaceAll('`', '').trim()),
    );
  const errorRows = rows.filter(([code, retry]) => /^[a-z-]+$/.test(code ?? '') && /^(?:yes|no)$/.test(retry ?? '')).map(([code, retry]) => `${code} ${retry}`);
  const closeRows = rows
    .filter(([number, reason]) => /^4\d{3}$/.test(number ?? '') && /^[a-z-]+$/.test(reason ?? ''))
    .map(([number, reason]) => `${number} ${reason}`);
  return [
    ...differences(
      errorRows,
      Object.entries(errors).map(([code, { retry }]) => `${code} ${retry ? 'yes' : 'no'}`),
    ),
    ...differences(
      closeRows,
      Object.entries(closes).map(([reason, { code }]) => `${code} ${reason}`),
    ),
  ];
}

function differences(documented: readonly string[], real: readonly string[]): Complaint[] {
  return [
    ...real.filter((row) => !documented.includes(row)).map((row) => `PROTOCOL.md: the row "${row}" is missing`),
    ...documented.filter((row) => !real.includes(row)).map((row) => `PROTOCOL.md: codes.ts knows no "${row}"`),
  ];
}
