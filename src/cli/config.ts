/**
 * `hubbub config`: every option, the value in force and where it came from; secrets only by their number. Returns text,
 * prints nothing itself.
 */
import { kebab, type OptionRow, optionRows, showValue } from './format.ts';
import { type Gathered, showSource } from './options-from.ts';

/** Aligned columns: flag, value, source, help. */
export function configText(gathered: Gathered): string {
  const lines = optionRows.map(([name, row]: readonly [keyof Gathered['options'], OptionRow]) => [
    `--${kebab(name)}`,
    showValue(name, row, gathered.options[name]),
    showSource(gathered.sources[name]),
    row.help,
  ]);
  return columns([['option', 'value', 'from', 'meaning'], ...lines]);
}

/** Cells padded to the widest of their column; the last column is ragged. */
export function columns(lines: readonly (readonly string[])[]): string {
  const widths = (lines[0] ?? []).map((_, column) => Math.max(...lines.map((line) => line[column]?.length ?? 0)));
  return lines.map((line) => `${line.map((cell, column) => (column === line.length - 1 ? cell : cell.padEnd(widths[column] ?? 0))).join('  ')}\n`).join('');
}
