/**
 * What a fault row is: one way of breaking the hub, what must hold while it is broken, and at what size. A file of this folder
 * named `<nn>-<subject>.ts` exports its row as `row`; `rows.ts` lists them. `run.ts` runs them at full size in processes of
 * their own, `test/faults/gate.ts, in test/hub/` at the size of the gate. Rows know nothing of the test runner.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { checkHistory, commandsEnd } from '../../src/testing/checker.ts';
import { HubProcess, type StartOptions } from '../../src/testing/hub-process.ts';
import { type ProxyOptions, startProxy, type TcpProxy } from '../../src/testing/proxy.ts';
import { Recorder } from '../../src/testing/recorder.ts';
import { hubEntry } from '../kit/paths.ts';
import { type Random, randomFrom } from '../kit/random.ts';

const closingMsMax = 15_000;
const pollMs = 50;

/** How much of everything: rounds, clients, seconds. */
export type Size = Readonly<Record<string, number>>;

export type FaultRow<S extends Size = Size> = {
  /** The number of the test in the list of faults. */
  readonly test: number;
  /** Begins with the rules of PROTOCOL.md that it proves, where there are any. */
  readonly title: string;
  /** The figures to reach, in words; stands in the report. */
  readonly target: string;
  /** At most some seconds. */
  readonly gate: S;
  /** At most ten minutes, unless `fullMsMax` says otherwise. */
  readonly full: S;
  /** Its time limit at full size, where that is not the limit of all (run.ts). */
  readonly fullMsMax?: number;
  /** Full size for so many minutes, where a row can go on as long as one likes; `fullMsMax` is beside them then. */
  lasting?(minutes: number): S;
  /** Why this machine cannot run it, or null. */
  needs?(): string | null;
  run(size: S, kit: FaultKit): Promise<FaultReport>;
};

export type FaultReport = {
  /** What was measured, each with its unit in the name: `restartP99Ms: 512`. */
  readonly figures: Readonly<Record<string, number | string>>;
  /** What no hub may do and this one did. Empty: it held. */
  readonly violations: readonly string[];
  /** Figures that missed their target; told of at full size only, because the gate runs beside other work. */
  readonly missed?: readonly string[];
};

/** What a row gets: its chance, hubs and proxies, and a place for what must be released when it ends. */
export class FaultKit {
  readonly random: Random;
  readonly recorder = new Recorder();
  /** Says in one line how far it is; the runner shows it. */
  readonly say: (line: string) => void;
  readonly #releases: (() => unknown)[] = [];

  constructor(seed: number, say: (line: string) => void = () => undefined) {
    this.random = randomFrom(seed);
    this.say = say;
  }

  /** Runs when the row has ended, however it ended; the last one first. */
  defer(release: () => unknown): void {
    this.#releases.push(release);
  }

  async hub(options: StartOptions = {}): Promise<HubProcess> {
    const hub = new HubProcess({ entry: hubEntry, rateLimit: 0, ...options });
    this.defer(() => hub.remove());
    await hub.start();
    return hub;
  }

  async proxy(hub: HubProcess, options: ProxyOptions = {}): Promise<TcpProxy> {
    const proxy = await startProxy(() => hub.port, options);
    this.defer(() => proxy.stop());
    return proxy;
  }

  folder(): string {
    const folder = mkdtempSync(join(tmpdir(), 'hubbub-faults-'));
    this.defer(() => rmSync(folder, { recursive: true, force: true }));
    return folder;
  }

  /** What the checker finds in the history so far, the first twenty. */
  check(): string[] {
    const found = checkHistory(this.recorder.events);
    return found.length <= 20 ? found : [...found.slice(0, 20), `and ${found.length - 20} more`];
  }

  /** The same once every command has ended: connections that were dropped may take a moment to close. */
  async checkSettled(): Promise<string[]> {
    const deadline = performance.now() + closingMsMax;
    while (commandsEnd(this.recorder.events).length > 0 && performance.now() < deadline) await new Promise((resolve) => setTimeout(resolve, pollMs));
    return this.check();
  }

  async release(): Promise<void> {
    for (const release of this.#releases.splice(0).reverse()) await release();
  }
}

/** Runs one row to its end and releases what it took. */
export async function runRow(row: FaultRow, size: Size, kit: FaultKit): Promise<FaultReport> {
  try {
    return await row.run(size, kit);
  } finally {
    await kit.release();
  }
}

/** `violations` unless every part of it held; for facts that the history does not show. */
export function violationsOf(facts: Readonly<Record<string, boolean>>): string[] {
  return Object.entries(facts).flatMap(([fact, held]) => (held ? [] : [`not so: ${fact}`]));
}
