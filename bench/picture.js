/** The ratios as an SVG: deliveries per second beside a naive `ws` hub, one bar for each contestant, on a logarithmic scale. */
import { figure } from './words.js';

const drawn = ['fan1000', 'fan100', 'rooms10', 'pairs'];
const base = 'ws';
const rowHeight = 20;
const barHeight = 14;
const labelWidth = 210;
const plotWidth = 460;
const valueWidth = 170;
const width = labelWidth + plotWidth + valueWidth;
const topHeight = 64;
const titleHeight = 30;
/** The bars begin at this multiple, so that one slower than the base still shows. */
const least = 0.5;

/** @param {import('./rows.js').Row[]} rows */
export function picture(rows) {
  const groups = drawn
    .map((name) => ({ name, rows: rows.filter((row) => row.scenario === name && row.deliveries !== null) }))
    .filter((group) => group.rows.length > 0);
  const ratios = groups.map((group) => ({ ...group, unit: group.rows.find(({ id }) => id === base)?.deliveries ?? 0 })).filter(({ unit }) => unit > 0);
  const most = Math.max(2, ...ratios.flatMap(({ rows: own, unit }) => own.map((row) => (row.deliveries ?? 0) / unit)));
  const scale = (/** @type {number} */ ratio) => (Math.log(Math.max(ratio, least) / least) / Math.log((most * 1.1) / least)) * plotWidth;
  const height = topHeight + ratios.reduce((sum, { rows: own }) => sum + titleHeight + own.length * rowHeight, 0) + 16;
  /** @type {string[]} */
  const parts = [];
  let y = topHeight;
  for (const { name, rows: own, unit } of ratios) {
    parts.push(text(12, y + 20, name, 'title'));
    y += titleHeight;
    for (const row of own) {
      const ratio = (row.deliveries ?? 0) / unit;
      const bar = scale(ratio);
      parts.push(text(labelWidth - 8, y + 11, row.label, 'end'));
      parts.push(`<rect x="${labelWidth}" y="${y}" width="${bar.toFixed(1)}" height="${barHeight}" class="${colour(row)}"/>`);
      parts.push(text(labelWidth + bar + 6, y + 11, `${figure(ratio)} × (${figure(row.deliveries)}/s)`, 'value'));
      y += rowHeight;
    }
  }
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img" aria-label="Deliveries per second beside a naive ws hub">
<style>
text { font: 12px system-ui, sans-serif; fill: #1f2328 } .end { text-anchor: end } .title { font-weight: 600; font-size: 14px } .value { fill: #57606a }
.peer { fill: #8c959f } .ephemeral { fill: #54aeff } .durable { fill: #0550ae } .ground { fill: #ffffff }
</style>
<rect width="${width}" height="${height}" class="ground"/>
${text(12, 24, `Deliveries per second, as a multiple of a naive ${base} hub (logarithmic)`, 'title')}
<rect x="12" y="36" width="12" height="12" class="durable"/>${text(30, 46, 'Hubbub, committed to disk before delivery', '')}
<rect x="306" y="36" width="12" height="12" class="ephemeral"/>${text(324, 46, 'Hubbub, ephemeral', '')}
<rect x="456" y="36" width="12" height="12" class="peer"/>${text(474, 46, 'others, nothing stored', '')}
${parts.join('\n')}
</svg>
`;
}

/** @param {import('./rows.js').Row} row */
function colour({ id, durability }) {
  if (!id.startsWith('hubbub')) return 'peer';
  return durability === 'none' ? 'ephemeral' : 'durable';
}

/**
 * @param {number} x
 * @param {number} y
 * @param {string} content
 * @param {string} kind
 */
function text(x, y, content, kind) {
  const safe = content.replace(/&/g, '&amp;').replace(/</g, '&lt;');
  return `<text x="${x.toFixed(1)}" y="${y}"${kind === '' ? '' : ` class="${kind}"`}>${safe}</text>`;
}
