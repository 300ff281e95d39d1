/**
 * Another host on this machine: a network namespace joined by a pair of virtual interfaces whose link can be taken down, so that
 * a peer falls silent without a FIN or a RST. Needs root and iproute2; `cannotSeparate` says so.
 */
import { type ChildProcess, execFile, execFileSync, spawn } from 'node:child_process';
import { promisify } from 'node:util';

/** A network for tests only (RFC 2544), of each process its own; one host here, one there. */
const network = `198.18.${process.pid % 256}`;
const here = `${network}.1`;
const there = `${network}.2`;

/** Why this machine can make no second host, or null. */
export function cannotSeparate(): string | null {
  if (process.platform !== 'linux') return 'network namespaces are of Linux';
  if (process.getuid?.() !== 0) return 'network namespaces need root';
  const name = `hubbub-try-${process.pid}`;
  try {
    execFileSync('ip', ['netns', 'add', name], { stdio: 'ignore' });
    execFileSync('ip', ['netns', 'del', name], { stdio: 'ignore' });
    return null;
  } catch {
    return 'it can make no network namespaces (iproute2)';
  }
}

export class OtherHost {
  /** Of this side, as the other host sees it. */
  readonly address = here;
  readonly #name = `hubbub-${process.pid}`;
  readonly #near = `hub${process.pid}a`;
  readonly #far = `hub${process.pid}b`;

  static async create(): Promise<OtherHost> {
    const host = new OtherHost();
    await ip('netns', 'add', host.#name);
    try {
      await ip('link', 'add', host.#near, 'type', 'veth', 'peer', 'name', host.#far, 'netns', host.#name);
      await ip('addr', 'add', `${here}/30`, 'dev', host.#near);
      await ip('-n', host.#name, 'addr', 'add', `${there}/30`, 'dev', host.#far);
      await ip('-n', host.#name, 'link', 'set', host.#far, 'up');
      await host.connect();
      return host;
    } catch (error) {
      await host.remove();
      throw error;
    }
  }

  private constructor() {}

  spawn(command: string, ...args: string[]): ChildProcess {
    return spawn('ip', ['netns', 'exec', this.#name, command, ...args], { stdio: ['ignore', 'pipe', 'inherit'] });
  }

  async connect(): Promise<void> {
    await ip('link', 'set', this.#near, 'up');
  }

  /** From now on nothing crosses, and neither side is told. */
  async cut(): Promise<void> {
    await ip('-n', this.#name, 'link', 'set', this.#far, 'down');
  }

  async remove(): Promise<void> {
    try {
      await ip('link', 'del', this.#near); // at once, and its peer with it; a namespace takes its own time to go
    } finally {
      await ip('netns', 'del', this.#name);
    }
  }
}

/** Not in this turn: sockets of this process have heartbeats to answer. */
async function ip(...args: string[]): Promise<void> {
  await promisify(execFile)('ip', args);
}
