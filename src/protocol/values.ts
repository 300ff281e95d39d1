/**
 * What a body may be: a plain JSON value. The server's scan sees to that for frames; this is for values that were made in
 * memory: a caller of the client, a request of the backend API. Browser-safe.
 */
import { CodedError } from './codes.ts';
import { depthMax } from './limits.ts';

/** What is wrong, and where: keys and indexes from the inside out. */
type Problem = { text: string; path: (string | number)[] };

/**
 * Throws `bad-value` with the path to what is no JSON value (`body.a[3]`): numbers that are not finite or whole beyond
 * ±(2^53 − 1), half surrogate pairs, undefined in a list, `__proto__`, anything but plain maps and lists, too many levels
 * (a body lies one below its envelope). Undefined fields pass: they are left out when encoded.
 */
export function checkValue(value: unknown, field = 'body', levels = depthMax - 1): void {
  const problem = problemOf(value, levels);
  if (problem !== null) throw new CodedError('bad-value', problem.text, pathText(field, problem.path.reverse()));
}

/** Longest path told; keys are the sender's and may be of any length. */
const pathUnitsMax = 200;

/** How a path is written: `rooms.general`, `users[3]`. */
export function pathText(first: string, rest: readonly (string | number)[]): string {
  let text = first;
  for (const part of rest) text += typeof part === 'number' ? `[${part}]` : `.${part}`;
  // Not between the halves of a surrogate pair: the answer must be encodable.
  return text.length <= pathUnitsMax ? text : `${text.slice(0, pathUnitsMax).replace(/[\ud800-\udbff]$/, '')}…`;
}

function problemOf(value: unknown, levels: number): Problem | null {
  switch (typeof value) {
    case 'string':
      return isWellFormed(value) ? null : problem('half of a surrogate pair in a string');
    case 'boolean':
      return null;
    case 'number':
      if (!Number.isFinite(value)) return problem(`${value} is no JSON value`);
      return Number.isInteger(value) && !Number.isSafeInteger(value) ? problem('a whole number beyond ±(2^53 − 1)') : null;
    case 'object':
      return value === null ? null : problemIn(value, levels);
    default:
      return problem(`${typeof value} is no JSON value`);
  }
}

function problemIn(value: object, levels: number): Problem | null {
  const list = Array.isArray(value);
  if (!list) {
    if (value instanceof Uint8Array) return problem('binary is a whole body only');
    const prototype: unknown = Object.getPrototypeOf(value);
    if (prototype !== Object.prototype && prototype !== null) return problem('neither a plain map nor a list');
  }
  if (levels === 0) return problem(`nested deeper than ${depthMax} levels`);
  if (list) {
    for (let i = 0; i < value.length; i++) {
      const found = problemOf(value[i], levels - 1);
      if (found !== null) return outward(found, i);
    }
    return null;
  }
  for (const key of Object.keys(value)) {
    const item = (value as Record<string, unknown>)[key];
    if (item === undefined) continue;
    // Where the key itself cannot be told, its map is.
    if (!isWellFormed(key)) return problem('half of a surrogate pair in a key');
    const found = key === '__proto__' ? problem('a key __proto__') : problemOf(item, levels - 1);
    if (found !== null) return outward(found, key);
  }
  return null;
}

function problem(text: string): Problem {
  return { text, path: [] };
}

function outward(found: Problem, part: string | number): Problem {
  found.path.push(part);
  return found;
}

/** `String.prototype.isWellFormed` where the engine has it. */
export function isWellFormed(text: string & { isWellFormed?(): boolean }): boolean {
  return text.isWellFormed?.() ?? !/\p{Surrogate}/u.test(text);
}
