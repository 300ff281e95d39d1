/**
 * How options are written by people: names of flags and variables, durations with units (`10s`), sizes (`64KiB`), ranges.
 * Used by whatever reads or prints options; knows nothing of where a value comes from.
 */
import { type FilledOptions, optionTable } from '../options.ts';

export type OptionName = keyof FilledOptions;
export type OptionValue = FilledOptions[OptionName];
export type OptionRow = {
  readonly value: OptionValue;
  readonly help: string;
  readonly min?: number;
  readonly max?: number;
  readonly among?: readonly string[];
  readonly secret?: true;
};
export type Unit = 'ms' | 'bytes' | 'count';

export const optionRows = Object.entries(optionTable) as readonly (readonly [OptionName, OptionRow])[];

/** A mistake of whoever wrote the command line, a variable or the config file: one line, exit code 2. */
export class UsageError extends Error {}

/** What was asked for could not be done, for a reason that one line tells: exit code 1. */
export class Failure extends Error {}

const durations = { d: 86_400_000, h: 3_600_000, m: 60_000, s: 1_000, ms: 1 } as const;
const sizes = { GiB: 1024 ** 3, MiB: 1024 ** 2, KiB: 1024, B: 1 } as const;

export function isOptionName(name: string): name is OptionName {
  return Object.hasOwn(optionTable, name);
}

/** `outboxBytesMax` → `outbox-bytes-max`. */
export function kebab(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}

/** `outboxBytesMax` → `HUBBUB_OUTBOX_BYTES_MAX`. */
export function variableOf(name: string): string {
  return `HUBBUB_${kebab(name).replaceAll('-', '_').toUpperCase()}`;
}

export function unitOf(name: OptionName): Unit {
  if (name.endsWith('Ms')) return 'ms';
  return name.includes('Bytes') ? 'bytes' : 'count';
}

/** The number that `text` means in `unit`, or null. `off` is 0; whether 0 is allowed is a question of the range. */
export function parseNumber(text: string, unit: Unit): number | null {
  if (text === 'off') return 0;
  const match = /^(-?\d+(?:\.\d+)?)([a-z]*)$/i.exec(text);
  if (match === null) return null;
  const factor = factorOf(match[2] ?? '', unit);
  return factor === null ? null : Number(match[1]) * factor;
}

/** The shortest exact form: 64KiB, 10s, 0. `parseNumber` reads it back. */
export function showNumber(value: number, unit: Unit): string {
  if (unit === 'count' || value === 0) return String(value);
  for (const [suffix, factor] of Object.entries(unit === 'ms' ? durations : sizes)) if (value % factor === 0) return `${value / factor}${suffix}`;
  return String(value);
}

/** What a value may be, in words that fit behind "must be". */
export function rangeOf(name: OptionName, row: OptionRow): string {
  if (row.among) return `one of ${row.among.join(', ')}`;
  if (typeof row.value === 'boolean') return 'true or false';
  if (typeof row.value === 'string') return 'a text';
  if (typeof row.value !== 'number') return 'a list of texts';
  const unit = unitOf(name);
  const { min = 0, max = Number.MAX_SAFE_INTEGER } = row;
  const kind = { ms: 'a duration (250ms, 10s, 5m, 1h, 30d)', bytes: 'a size (512, 64KiB, 1MiB)', count: 'a whole number' }[unit];
  const span = max === Number.MAX_SAFE_INTEGER ? `of at least ${showNumber(min, unit)}` : `from ${showNumber(min, unit)} to ${showNumber(max, unit)}`;
  return `${kind} ${span}${min === 0 ? ' ("off": 0)' : ''}`;
}

/** For people: units where there are some, nothing of a secret but how many there are. */
export function showValue(name: OptionName, row: OptionRow, value: OptionValue): string {
  if (row.secret) return Array.isArray(value) && value.length > 0 ? `(${value.length} hidden)` : '(none)';
  if (typeof value === 'number') return showNumber(value, unitOf(name));
  if (typeof value === 'object') return value.length === 0 ? '(none)' : value.join(',');
  return value === '' ? '(none)' : String(value);
}

/** The one of `names` that `name` was probably meant to be, or null. */
export function nearest(name: string, names: Iterable<string>): string | null {
  let best: string | null = null;
  let bestDistance = Math.max(2, Math.floor(name.length / 3)) + 1;
  for (const candidate of names) {
    const distance = editDistance(name.toLowerCase(), candidate.toLowerCase());
    if (distance < bestDistance) [best, bestDistance] = [candidate, distance];
  }
  return best;
}

function factorOf(suffix: string, unit: Unit): number | null {
  if (suffix === '') return 1;
  if (unit === 'ms') return Object.hasOwn(durations, suffix) ? durations[suffix as keyof typeof durations] : null;
  if (unit === 'bytes') return Object.entries(sizes).find(([name]) => name.toLowerCase() === suffix.toLowerCase())?.[1] ?? null;
  return null;
}

/** Levenshtein's distance, one row at a time. */
function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, column) => column);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const change = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(change, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1));
    }
    row = next;
  }
  return row[b.length] ?? 0;
}
