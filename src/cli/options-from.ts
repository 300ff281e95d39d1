/**
 * Gathers every option from where it may be stated: flag, then environment, then config file, then the default; the first
 * that states it wins. Remembers where each came from, so that a bad value and `hubbub config` can say so. Pure but for
 * the `readFile` it is given.
 */
import { type FilledOptions, fillOptions, type HubOptions, OptionError, optionTable } from '../options.ts';
import type { FlagValue } from './arguments.ts';
import {
  isOptionName,
  nearest,
  type OptionName,
  type OptionRow,
  type OptionValue,
  optionRows,
  parseNumber,
  rangeOf,
  UsageError,
  unitOf,
  variableOf,
} from './format.ts';
import type { Exposure } from './unsafe.ts';

export type Source = { from: 'default' } | { from: 'config file'; path: string } | { from: 'environment'; variable: string } | { from: 'flag'; flag: string };
export type Sources = { readonly [K in OptionName]: Source };
export type Given = {
  flags: readonly FlagValue[];
  /** Value of `--config`; without it HUBBUB_CONFIG. */
  config: string | undefined;
  environment: Readonly<Record<string, string | undefined>>;
  readFile(path: string): string;
};
export type Gathered = { options: FilledOptions; sources: Sources; warnings: string[]; exposure: Exposure };

type Stated = { value: OptionValue; source: Source };
/** What is given, and the files that secrets were read from so far. */
type Reading = Given & { secretFiles: string[] };
const configVariable = 'HUBBUB_CONFIG';

/** Throws `UsageError` with one line that names the option, its value, what is allowed and where it came from. */
export function gatherOptions(from: Given): Gathered {
  const given: Reading = { ...from, secretFiles: [] };
  const stated = new Map<OptionName, Stated>();
  const warnings: string[] = [];
  const path = given.config ?? given.environment[configVariable];
  if (path) fromFile(path, given, stated);
  fromEnvironment(given, stated, warnings);
  fromFlags(given, stated);
  const onCommandLine = given.flags.filter(({ name, text }) => isSecret(name) && !text.startsWith('@')).map(({ name }) => name);
  const exposure = { secretFiles: given.secretFiles, onCommandLine: [...new Set(onCommandLine)] };
  const sources = Object.fromEntries(optionRows.map(([name]) => [name, stated.get(name)?.source ?? { from: 'default' }])) as Sources;
  try {
    return { options: fillOptions(Object.fromEntries([...stated].map(([name, { value }]) => [name, value])) as HubOptions), sources, warnings, exposure };
  } catch (error) {
    if (error instanceof OptionError && isOptionName(error.option)) throw new UsageError(`${error.message} (from ${showSource(sources[error.option])})`);
    throw error;
  }
}

export function showSource(source: Source): string {
  switch (source.from) {
    case 'default':
      return 'default';
    case 'config file':
      return `config file ${source.path}`;
    case 'environment':
      return `environment ${source.variable}`;
    case 'flag':
      return `flag ${source.flag}`;
  }
}

function fromFile(path: string, given: Reading, stated: Map<OptionName, Stated>): void {
  const source: Source = { from: 'config file', path };
  let content: unknown;
  try {
    content = JSON.parse(readText(path, given, 'config file'));
  } catch (error) {
    // Not in the parser's words: they quote the file, which may hold secrets.
    if (error instanceof SyntaxError) throw new UsageError(`config file ${path} is not JSON: look at line ${brokenLine(readText(path, given, 'config file'))}`);
    throw error;
  }
  if (typeof content !== 'object' || content === null || Array.isArray(content)) throw new UsageError(`config file ${path} must hold one JSON object`);
  for (const [key, value] of Object.entries(content)) {
    if (!isOptionName(key)) throw new UsageError(`config file ${path}: no option ${key}${suggestion(key)}`);
    const texts = Array.isArray(value) ? value : [value];
    if (!texts.every((text) => ['string', 'number', 'boolean'].includes(typeof text))) throw refusal(key, JSON.stringify(value), source);
    if (Array.isArray(value) && !Array.isArray(optionTable[key].value)) throw refusal(key, JSON.stringify(value), source);
    stated.set(key, { value: parse(key, texts.map(String), source, given), source });
    if (isSecret(key) && !given.secretFiles.includes(path)) given.secretFiles.push(path);
  }
}

/** The first line with which the text can no longer become JSON, whatever follows: what merely ends too early is broken off at its end. */
function brokenLine(text: string): number {
  const lines = text.split('\n');
  for (let count = 1; count < lines.length; count++) {
    const part = `${lines.slice(0, count).join('\n')}\n`;
    try {
      JSON.parse(part);
    } catch (error) {
      const message = String(error);
      if (!message.includes('end of JSON input') && Number(/at position (\d+)/.exec(message)?.[1]) !== part.length) return count;
    }
  }
  return lines.length;
}

function isSecret(name: OptionName): boolean {
  const row: OptionRow = optionTable[name];
  return row.secret === true;
}

function fromEnvironment(given: Reading, stated: Map<OptionName, Stated>, warnings: string[]): void {
  const names = new Map(optionRows.map(([name]) => [variableOf(name), name]));
  for (const [variable, text] of Object.entries(given.environment)) {
    // An empty variable is how compose files and shells write "not set".
    if (!variable.startsWith('HUBBUB_') || variable === configVariable || !text) continue;
    const name = names.get(variable);
    if (name === undefined) {
      // Not an error: an orchestrator adds variables such as HUBBUB_SERVICE_HOST for a service of that name.
      const near = nearest(variable, names.keys());
      warnings.push(`no option for the variable ${variable}${near === null ? '' : `; did you mean ${near}?`}`);
      continue;
    }
    const source: Source = { from: 'environment', variable };
    stated.set(name, { value: parse(name, [text], source, given), source });
  }
}

function fromFlags(given: Reading, stated: Map<OptionName, Stated>): void {
  const texts = new Map<OptionName, FlagValue[]>();
  for (const flag of given.flags) {
    const list = Array.isArray(optionTable[flag.name].value) ? (texts.get(flag.name) ?? []) : [];
    texts.set(flag.name, [...list, flag]);
  }
  for (const [name, values] of texts) {
    const source: Source = { from: 'flag', flag: values[0]?.flag ?? name };
    const all = values.map(({ text }) => text);
    stated.set(name, { value: parse(name, all, source, given), source });
  }
}

/** The value that `texts` state; only a list can have more than one. */
function parse(name: OptionName, texts: readonly string[], source: Source, given: Reading): OptionValue {
  const row: OptionRow = optionTable[name];
  const [text = ''] = texts;
  if (Array.isArray(row.value)) return texts.flatMap((part) => listOf(part, row, given));
  if (row.among) {
    if (!row.among.includes(text)) throw refusal(name, text, source);
    return text;
  }
  if (typeof row.value === 'boolean') {
    if (text !== 'true' && text !== 'false') throw refusal(name, text, source);
    return text === 'true';
  }
  if (typeof row.value === 'string') return text;
  const value = parseNumber(text, unitOf(name));
  const { min = 0, max = Number.MAX_SAFE_INTEGER } = row;
  if (value === null || !Number.isSafeInteger(value) || value < min || value > max) throw refusal(name, text, source);
  return value;
}

/**
 * Comma-separated; but a secret may hold a comma, so several are several lines (or flags, or items of a JSON list). `@file` reads
 * them from a file, where they show in no process list.
 */
function listOf(text: string, row: OptionRow, given: Reading): string[] {
  const file = row.secret && text.startsWith('@') ? text.slice(1) : null;
  if (file !== null) given.secretFiles.push(file);
  const parts = row.secret ? (file === null ? text : readText(file, given, 'file')).split(/\r?\n/) : text.split(',');
  return parts.map((part) => part.trim()).filter((part) => part !== '' && !(row.secret && part.startsWith('#')));
}

function readText(path: string, given: Given, what: string): string {
  try {
    return given.readFile(path);
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : String(error);
    const reason = { ENOENT: 'it does not exist', EACCES: 'permission denied', EISDIR: 'it is a folder' }[code] ?? code;
    throw new UsageError(`cannot read the ${what} ${path}: ${reason}`);
  }
}

function refusal(name: OptionName, text: string, source: Source): UsageError {
  const row: OptionRow = optionTable[name];
  return new UsageError(`option ${name}: ${row.secret ? 'its value' : JSON.stringify(text)} must be ${rangeOf(name, row)} (from ${showSource(source)})`);
}

function suggestion(key: string): string {
  const near = nearest(
    key,
    optionRows.map(([name]) => name),
  );
  return near === null ? '' : `; did you mean ${near}?`;
}
