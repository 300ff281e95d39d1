/**
 * A hub as its users run it: the built CLI in a process of its own, on a port it chose and a data folder of its own.
 * Stopped by its pid when the test file ends, its data removed.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { HubOptions } from '../../src/options.ts';
import { hubEntry } from './paths.ts';

export type Exit = { code: number | null; signal: NodeJS.Signals | null };
export type StartOptions = HubOptions & {
  /** Runs without development mode (which is the default here). */
  production?: boolean;
  env?: Record<string, string>;
  /** The largest file this hub can write, as if the disk were full beyond it; `unlimitFiles` ends that. */
  fileBytesMax?: number;
};

const running = new Set<Hub>();
const commands = new Set<ChildProcess>();
const folders = new Set<string>();

/** Resolves when the hub listens; rejects, with what it wrote, when it exits before. */
export async function startHub(options: StartOptions = {}): Promise<Hub> {
  const hub = new Hub(options);
  await hub.start();
  return hub;
}

export async function stopAllHubs(): Promise<void> {
  for (const child of commands) child.kill('SIGKILL');
  await Promise.all([...running].map((hub) => hub.kill('SIGKILL')));
  for (const folder of folders) rmSync(folder, { recursive: true, force: true });
  folders.clear();
}

/** Runs the command line to its end; `lines` are what it wrote, to stdout and stderr. */
export async function runCommand(...words: string[]): Promise<{ code: number | null; lines: string[] }> {
  const child = spawn(process.execPath, [hubEntry, ...words], { stdio: ['ignore', 'pipe', 'pipe'], env: inherited() });
  commands.add(child);
  let text = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (more: string) => {
      text += more;
    });
  }
  const code = await new Promise<number | null>((resolve) => child.once('close', resolve));
  commands.delete(child);
  return { code, lines: text.split('\n').filter((line) => line.trim() !== '') };
}

/** A folder that goes when the test file ends. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'hubbub-test-'));
  folders.add(folder);
  return folder;
}

export class Hub {
  readonly data: string;
  readonly #options: StartOptions;
  /** Kept over a restart, so that clients find the hub again. */
  port = 0;
  opsPort = 0;
  stdout = '';
  stderr = '';
  exited: Promise<Exit> = Promise.resolve({ code: null, signal: null });
  #child: ChildProcess | null = null;

  constructor(options: StartOptions) {
    this.#options = options;
    this.data = options.data ?? temporaryFolder();
    this.port = options.port ?? 0;
  }

  get url(): string {
    return `ws://127.0.0.1:${this.port}`;
  }

  /** Where HTTP requests of operators and backends go. */
  get http(): string {
    return `http://127.0.0.1:${this.opsPort || this.port}`;
  }

  get pid(): number {
    const pid = this.#child?.pid;
    if (pid === undefined) throw new Error('the hub is not running');
    return pid;
  }

  async start(extra: StartOptions = {}): Promise<void> {
    const { production, env, fileBytesMax, ...options } = { ...this.#options, ...extra };
    const words = [hubEntry, 'serve', ...flags({ dev: production !== true, ...options, port: this.port, data: this.data })];
    // A shell that ignores SIGXFSZ, so that a write beyond the limit fails instead of ending the process.
    const limited = `trap '' XFSZ; ulimit -S -f ${Math.ceil((fileBytesMax ?? 0) / 1024)}; exec "$0" "$@"`;
    const [command, args] = fileBytesMax === undefined ? [process.execPath, words] : ['bash', ['-c', limited, process.execPath, ...words]];
    const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'], env: { ...inherited(), ...env } });
    this.#child = child;
    running.add(this);
    this.exited = new Promise((resolve) => {
      child.once('exit', (code, signal) => {
        this.#child = null;
        running.delete(this);
        resolve({ code, signal });
      });
    });
    await new Promise<void>((resolve, reject) => {
      const look = (): void => {
        const port = /listening on http:\/\/127\.0\.0\.1:(\d+)/.exec(this.stdout)?.[1];
        const ops = /operations on http:\/\/127\.0\.0\.1:(\d+)/.exec(this.stdout)?.[1];
        if (port === undefined || (production && ops === undefined)) return;
        this.port = Number(port);
        this.opsPort = Number(ops ?? 0);
        resolve();
      };
      this.stdout = '';
      child.stdout.setEncoding('utf8').on('data', (text: string) => {
        this.stdout += text;
        look();
      });
      child.stderr.setEncoding('utf8').on('data', (text: string) => {
        this.stderr += text;
      });
      void this.exited.then(({ code, signal }) => {
        reject(new Error(`the hub ended (code ${code}, signal ${signal}) before it listened:\n${this.stdout}${this.stderr}`));
      });
    });
  }

  /** Sends a signal to this hub's process and waits for its end. */
  async kill(signal: NodeJS.Signals): Promise<Exit> {
    this.#child?.kill(signal);
    return await this.exited;
  }

  /** Frees the disk that `fileBytesMax` filled. */
  unlimitFiles(): void {
    execFileSync('prlimit', ['--pid', String(this.pid), '--fsize=unlimited:']);
  }

  /** As an operator stops it. */
  async stop(): Promise<Exit> {
    return await this.kill('SIGTERM');
  }

  /** The same port and data again; `signal` decides how the first life ends. */
  async restart(signal: NodeJS.Signals = 'SIGTERM', extra: StartOptions = {}): Promise<void> {
    await this.kill(signal);
    await this.start(extra);
  }
}

/** The environment without the options that the developer's shell may state. */
function inherited(): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('HUBBUB_')));
}

/** `{rateLimit: 0}` → `--rate-limit 0`; lists repeat their flag, `false` becomes `--no-…`. */
export function flags(options: HubOptions): string[] {
  return Object.entries(options).flatMap(([name, value]) => {
    const flag = name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
    if (value === undefined || (name === 'dev' && value === false)) return [];
    if (typeof value === 'boolean') return [value ? `--${flag}` : `--no-${flag}`];
    return (Array.isArray(value) ? value : [value]).flatMap((one) => [`--${flag}`, String(one)]);
  });
}
