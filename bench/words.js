/** Figures as people read them, and tables of them for a terminal and for Markdown. */

/** @typedef {{ head: string[], rows: string[][], left?: number }} Table `left`: so many columns are text */

const none = '–';

/**
 * Three significant digits, with thousands separated; a whole number as it is.
 * @param {number | null | undefined} value
 */
export function figure(value) {
  if (value === null || value === undefined || !Number.isFinite(value)) return none;
  if (Math.abs(value) >= 1_000 || Number.isInteger(value)) return Math.round(value).toLocaleString('en');
  return Math.abs(value) >= 100 ? value.toFixed(0) : Math.abs(value) >= 10 ? value.toFixed(1) : value.toFixed(2);
}

/** @param {number | null} share */
export function percent(share) {
  return share === null ? none : `${Math.round(share * 100)} %`;
}

/** @param {number | null} share */
function tenths(share) {
  return share === null ? none : `${(share * 100).toFixed(1)} %`;
}

/** @param {number | null} bytes */
export function mebibytes(bytes) {
  return bytes === null ? none : figure(bytes / 2 ** 20);
}

/**
 * The table of rows that all scenarios share.
 * @param {import('./rows.js').Row[]} rows
 * @returns {Table}
 */
export function rowTable(rows) {
  const extra = [...new Set(rows.flatMap((row) => Object.keys(row.extra ?? {})))];
  const head = ['contestant', 'survives', 'publishes/s', 'deliveries/s', 'p50 ms', 'p99 ms', 'p99.9 ms', 'CPU µs/delivery', 'cores', 'peak MiB'];
  return {
    head: [...head, 'client idle', 'stolen', ...extra, 'errors'],
    left: 2,
    rows: rows.map((row) => [
      row.label,
      row.durability,
      ...[row.publishes, row.deliveries, row.p50, row.p99, row.p999, row.cpuPerDelivery, row.cpuShare].map(figure),
      mebibytes(row.peakBytes),
      percent(row.clientIdle),
      tenths(row.stolen ?? null),
      ...extra.map((name) => figure(row.extra?.[name])),
      row.errors.length === 0 ? '0' : row.errors.join('; '),
    ]),
  };
}

/** @param {Table} table */
export function inTerminal({ head, rows, left = 1 }) {
  const widths = head.map((name, i) => Math.max(...[name, ...rows.map((row) => row[i] ?? '')].map((cell) => cell.length)));
  const line = (/** @type {string[]} */ cells) =>
    cells
      .map((cell, i) => (i < left || i === cells.length - 1 ? cell.padEnd(widths[i] ?? 0) : cell.padStart(widths[i] ?? 0)))
      .join('  ')
      .trimEnd();
  return [line(head), line(widths.map((width) => '─'.repeat(width))), ...rows.map(line)].join('\n');
}

/** @param {Table} table */
export function inMarkdown({ head, rows, left = 1 }) {
  const line = (/** @type {string[]} */ cells) => `| ${cells.map((cell) => cell.replace(/[|\n]/g, ' ')).join(' | ')} |`;
  return [line(head), line(head.map((_, i) => (i < left ? '---' : '---:'))), ...rows.map(line)].join('\n');
}
