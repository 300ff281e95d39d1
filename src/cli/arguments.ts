/**
 * Reads the command line into a command, its words, its own flags and option flags. Called by `run.ts`; values stay text here, and
 * nothing is read from disk or environment. A flag nobody knows is a `UsageError` that names the nearest one.
 */
import { isOptionName, kebab, nearest, type OptionName, optionRows, UsageError } from './format.ts';

export const commandNames = ['serve', 'config', 'token', 'backup', 'restore', 'check', 'epoch'] as const;
export type CommandName = (typeof commandNames)[number];

/** One flag of an option as written: `--no-dev` is dev, "false". */
export type FlagValue = { name: OptionName; text: string; flag: string };
export type Arguments = {
  command: CommandName | 'help' | 'version';
  flags: FlagValue[];
  /** Value of `--config`. */
  config: string | undefined;
  /** Flags of the command itself, in order. */
  own: { name: string; text: string }[];
  /** Words behind the command, as many as it takes. */
  words: string[];
};

/** Flags that are no options: for every command, and per command. */
const commonFlags = ['config', 'help', 'version'] as const;
type Form = { readonly flags?: readonly string[]; readonly switches?: readonly string[]; readonly words?: readonly string[] };
/** Of each command: flags with a value, flags without, and the words it needs (in capitals: any). */
const forms: { readonly [K in CommandName]: Form } = {
  serve: {},
  config: {},
  token: { flags: ['user', 'ttl', 'scope'] },
  backup: { words: ['FILE'] },
  restore: { words: ['FILE'], switches: ['force'] },
  check: {},
  epoch: { words: ['bump'] },
};
const optionOfFlag: ReadonlyMap<string, OptionName> = new Map(optionRows.map(([name]) => [kebab(name), name]));
const booleans: ReadonlySet<string> = new Set(optionRows.filter(([, row]) => typeof row.value === 'boolean').map(([name]) => name));

export function readArguments(argv: readonly string[]): Arguments {
  const words = argv.map((word) => (word === '-h' ? '--help' : word));
  const command = words.find((word) => !word.startsWith('-'));
  const flagsAlone = words.every((word) => word.startsWith('-'));
  const result: Arguments = { command: 'help', flags: [], config: undefined, own: [], words: [] };
  if (flagsAlone) return withoutCommand(words, result);
  if (words[0] !== command || command === undefined) throw new UsageError(`the command comes first: hubbub ${commandNames.join('|')} [flags]`);
  if (command === 'help') return result;
  if (!isCommand(command)) throw new UsageError(`no command ${command}${hint(command, commandNames)}`);
  result.command = command;
  const form = forms[command];

  for (let i = 1; i < words.length; i++) {
    const word = words[i] ?? '';
    if (!word.startsWith('-') && fits(word, form.words?.[result.words.length])) {
      result.words.push(word);
      continue;
    }
    if (!word.startsWith('--') || word === '--') throw new UsageError(`${word} is not expected here: flags look like --port 8080`);
    const equals = word.indexOf('=');
    const flag = equals < 0 ? word.slice(2) : word.slice(2, equals);
    const inline = equals < 0 ? undefined : word.slice(equals + 1);
    if (flag === 'help' || flag === 'version') return { ...result, command: flag };
    const boolean = booleanFlag(flag, inline);
    if (boolean !== null) {
      result.flags.push(boolean);
      continue;
    }
    if (form.switches?.includes(flag)) {
      if (inline !== undefined) throw new UsageError(`--${flag} takes no value`);
      result.own.push({ name: flag, text: 'true' });
      continue;
    }
    const option = optionOfFlag.get(flag);
    const own = form.flags?.includes(flag) ?? false;
    if (option === undefined && !own && flag !== 'config') throw new UsageError(`no flag --${flag}${hint(flag, knownFlags(command), '--')}`);
    const text = inline ?? words[++i];
    if (text === undefined || (inline === undefined && text.startsWith('--'))) throw new UsageError(`--${flag} needs a value`);
    if (own) result.own.push({ name: flag, text });
    else if (option !== undefined) result.flags.push({ name: option, text, flag: `--${flag}` });
    else result.config = text;
  }
  const missing = form.words?.[result.words.length];
  if (missing !== undefined) throw new UsageError(`hubbub ${command} needs ${missing}: hubbub ${command} ${form.words?.join(' ')} [flags]`);
  return result;
}

function fits(word: string, wanted: string | undefined): boolean {
  return wanted !== undefined && (wanted === wanted.toUpperCase() || word === wanted);
}

function withoutCommand(words: readonly string[], result: Arguments): Arguments {
  const [first] = words;
  if (first === '--help') return result;
  if (first === '--version') return { ...result, command: 'version' };
  throw new UsageError(`say what to do: hubbub ${commandNames.join('|')} [flags], or hubbub --help`);
}

/** `--dev`, `--no-dev`, `--dev=false`: booleans take no separate word, so that a command line can go on behind them. */
function booleanFlag(flag: string, inline: string | undefined): FlagValue | null {
  const option = optionOfFlag.get(flag);
  if (option !== undefined && booleans.has(option)) return { name: option, text: inline ?? 'true', flag: `--${flag}` };
  const negated = flag.startsWith('no-') ? optionOfFlag.get(flag.slice(3)) : undefined;
  if (negated === undefined || !booleans.has(negated)) return null;
  if (inline !== undefined) throw new UsageError(`--${flag} takes no value`);
  return { name: negated, text: 'false', flag: `--${flag}` };
}

function isCommand(word: string): word is CommandName {
  return (commandNames as readonly string[]).includes(word);
}

function knownFlags(command: CommandName): string[] {
  return [...optionOfFlag.keys(), ...commonFlags, ...(forms[command].flags ?? []), ...(forms[command].switches ?? [])];
}

function hint(word: string, known: Iterable<string>, prefix = ''): string {
  if (isOptionName(word)) return `; did you mean ${prefix}${kebab(word)}?`;
  const near = nearest(word, known);
  return near === null ? '; hubbub --help lists them' : `; did you mean ${prefix}${near}?`;
}
