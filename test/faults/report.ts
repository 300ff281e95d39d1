/** What a run of the rows came to, as lines for people: on the terminal and in RESULTS.md, where rows that did not run stay as they were. */
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, statfsSync, writeFileSync } from 'node:fs';
import { availableParallelism, cpus, release, tmpdir, totalmem, type } from 'node:os';
import { join } from 'node:path';
import { root } from '../kit/paths.ts';
import type { FaultReport, FaultRow } from './row.ts';

export type Outcome = { row: FaultRow; seconds: number; seed: number } & ({ report: FaultReport } | { notRun: string });

const file = join(import.meta.dirname, 'RESULTS.md');
const head = ['test', 'what must hold', 'figures', 'target', 'held', 'when, what, how long'];

export function figuresOf(outcome: Outcome): string {
  if ('notRun' in outcome) return outcome.notRun;
  return Object.entries(outcome.report.figures)
    .map(([name, value]) => `${name} ${typeof value === 'number' ? value.toLocaleString('en') : value}`)
    .join(', ');
}

export function verdictOf(outcome: Outcome): string {
  if ('notRun' in outcome) return 'not run';
  const { violations, missed = [] } = outcome.report;
  if (violations.length > 0) return `**NO**: ${violations.join('; ')}`;
  return missed.length > 0 ? `yes, but ${missed.join('; ')}` : 'yes';
}

/** Whether everything held; what could not run counts as held. */
export function held(outcome: Outcome): boolean {
  return 'notRun' in outcome || outcome.report.violations.length === 0;
}

/** Rows of this run replace those of earlier ones. */
export function writeResults(outcomes: readonly Outcome[], command: string): void {
  const lines = new Map(existsSync(file) ? readFileSync(file, 'utf8').split('\n').flatMap(numbered) : []);
  const commit = execFileSync('git', ['rev-parse', '--short', 'HEAD'], { cwd: root, encoding: 'utf8' }).trim();
  const day = new Date().toISOString().slice(0, 10);
  for (const outcome of outcomes) {
    const { row, seconds, seed } = outcome;
    const when = `${day}, ${commit}, seed ${seed}, ${Math.round(seconds)} s`;
    lines.set(row.test, cells([row.test, row.title, figuresOf(outcome), row.target, verdictOf(outcome), when]));
  }
  const table = [cells(head), cells(head.map(() => '---')), ...[...lines].toSorted(([a], [b]) => a - b).map(([, line]) => line)];
  writeFileSync(file, `# Faults: what was broken, and what held\n\n${machine()} Last run: \`${command}\`.\n\n${table.join('\n')}\n`);
}

function numbered(line: string): [number, string][] {
  const test = /^\| (\d+) \|/.exec(line)?.[1];
  return test === undefined ? [] : [[Number(test), line]];
}

function cells(values: readonly (string | number)[]): string {
  return `| ${values.map((value) => String(value).replaceAll('|', '\\|').replaceAll('\n', ' ')).join(' | ')} |`;
}

function machine(): string {
  const disks = new Map([
    [0xef53, 'ext4'],
    [0x58465342, 'xfs'],
    [0x9123683e, 'btrfs'],
    [0x01021994, 'tmpfs (memory)'],
    [0x794c7630, 'overlayfs'],
  ]);
  const disk = disks.get(statfsSync(tmpdir()).type) ?? 'another file system';
  const memory = Math.round(totalmem() / 2 ** 30);
  return `${cpus()[0]?.model.trim()}, ${availableParallelism()} cores shared with the load, ${memory} GiB, ${type()} ${release()}, Node ${process.version}, data on ${disk}.`;
}
