/**
 * A hub as its users run it: the built command line in a process of its own, on a port it chose, with a data folder of its
 * own. Whoever starts one ends it with `remove`. Reads the environment, so that options of the developer's shell stay out.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { HubOptions } from '../options.ts';

export type Exit = { code: number | null; signal: NodeJS.Signals | null };
export type StartOptions = HubOptions & {
  /** Runs without development mode (which is the default here). */
  production?: boolean;
  env?: Record<string, string>;
  /** The largest file this hub can write, as if the disk were full beyond it; `unlimitFiles` ends that. Linux. */
  fileBytesMax?: number;
  /** Descriptors this hub may have open. */
  filesMax?: number;
  /** The user it runs as, by number; only root may say so, and `data` must be a folder of that user. */
  uid?: number;
  /** Megabytes of the heap of each of its threads. */
  heapMiBMax?: number;
  /** The file of the `hubbub` command; the one beside this module where it is left out. */
  entry?: string;
};

/** Characters of each output that are kept; the oldest go first. */
const outputMax = 1024 * 1024;

/** Resolves when the hub listens; rejects, with what it wrote, when it exits before. */
export async function startHub(options: StartOptions = {}): Promise<HubProcess> {
  const hub = new HubProcess(options);
  try {
    await hub.start();
  } catch (error) {
    await hub.remove();
    throw error;
  }
  return hub;
}

export class HubProcess {
  readonly data: string;
  readonly #options: StartOptions;
  /** Made here, so removed here. */
  readonly #ownData: boolean;
  /** Kept over a restart, so that clients find the hub again. */
  port = 0;
  /** Any free one, for hubs beside each other would take the same. */
  opsPort = 0;
  stdout = '';
  stderr = '';
  exited: Promise<Exit> = Promise.resolve({ code: null, signal: null });
  #child: ChildProcess | null = null;
  /** Scheme and host of both listeners, as the hub says them. */
  #main = 'http://127.0.0.1';
  #ops = 'http://127.0.0.1';

  constructor(options: StartOptions) {
    this.#options = options;
    this.#ownData = options.data === undefined;
    this.data = options.data ?? mkdtempSync(join(tmpdir(), 'hubbub-test-'));
    this.port = options.port ?? 0;
  }

  get url(): string {
    return `${this.#main.replace('http', 'ws')}:${this.port}`;
  }

  /** Where HTTP requests of operators and backends go. */
  get http(): string {
    return this.opsPort === 0 ? `${this.#main}:${this.port}` : `${this.#ops}:${this.opsPort}`;
  }

  get pid(): number {
    const pid = this.#child?.pid;
    if (pid === undefined) throw new Error('the hub is not running');
    return pid;
  }

  async start(extra: StartOptions = {}): Promise<void> {
    const { production, env, fileBytesMax, filesMax, heapMiBMax, uid, entry, ...options } = { ...this.#options, ...extra };
    if (options.logLevel !== undefined && !['info', 'debug'].includes(options.logLevel)) {
      throw new TypeError('startHub: the hub tells its port at log level info; logLevel may be info or debug');
    }
    const file = entry ?? fileURLToPath(new URL('../cli/main.js', import.meta.url));
    const heap = heapMiBMax === undefined ? [] : [`--max-old-space-size=${heapMiBMax}`];
    const words = [
      ...heap,
      file,
      'serve',
      ...flags({ dev: production !== true, ...(production && { opsPort: this.opsPort }), ...options, port: this.port, data: this.data }),
    ];
    const limits = [
      // Ignored, so that a write beyond the limit fails instead of ending the process.
      ...(fileBytesMax === undefined ? [] : [`trap '' XFSZ; ulimit -S -f ${Math.ceil(fileBytesMax / 1024)}`]),
      ...(filesMax === undefined ? [] : [`ulimit -n ${filesMax}`]),
    ];
    const [command, args] =
      limits.length === 0 ? [process.execPath, words] : ['bash', ['-c', [...limits, 'exec "$0" "$@"'].join('; '), process.execPath, ...words]];
    const child = spawn(command, args, {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...inheritedEnvironment(), ...env },
      ...(uid !== undefined && { uid, gid: uid }),
    });
    this.#child = child;
    // A test that ends by a fault leaves no hub and no folder behind.
    const abandoned = (): void => {
      child.kill('SIGKILL');
      this.#removeData();
    };
    process.once('exit', abandoned);
    this.exited = new Promise((resolve) => {
      const ended = (code: number | null, signal: NodeJS.Signals | null): void => {
        process.off('exit', abandoned);
        this.#child = null;
        resolve({ code, signal });
      };
      child.once('exit', ended);
      child.once('error', (error) => {
        this.stderr += String(error);
        ended(null, null);
      });
    });
    await new Promise<void>((resolve, reject) => {
      const look = (): void => {
        const main = listenerIn(this.stdout, 'listening');
        const ops = listenerIn(this.stdout, 'operations');
        if (main === null || (production && ops === null)) return;
        this.port = main.port;
        this.#main = main.base;
        this.opsPort = ops?.port ?? 0;
        this.#ops = ops?.base ?? '';
        resolve();
      };
      this.stdout = '';
      child.stdout.setEncoding('utf8').on('data', (text: string) => {
        this.stdout = (this.stdout + text).slice(-outputMax);
        look();
      });
      child.stderr.setEncoding('utf8').on('data', (text: string) => {
        this.stderr = (this.stderr + text).slice(-outputMax);
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

  /** Ends it at once and removes its data, unless the folder was given. */
  async remove(): Promise<void> {
    await this.kill('SIGKILL');
    this.#removeData();
  }

  #removeData(): void {
    if (this.#ownData) rmSync(this.data, { recursive: true, force: true });
  }
}

/** What the hub says of a listener: where it is reached from here, and its port. */
function listenerIn(log: string, which: 'listening' | 'operations'): { base: string; port: number } | null {
  const [, scheme, host, port] = new RegExp(`${which} on (https?)://(\\S+):(\\d+)`).exec(log) ?? [];
  if (host === undefined) return null;
  const local = { '0.0.0.0': '127.0.0.1', '[::]': '[::1]' }[host] ?? host;
  return { base: `${scheme}://${local}`, port: Number(port) };
}

/** The environment without the options that the developer's shell may state. */
export function inheritedEnvironment(): NodeJS.ProcessEnv {
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
