/**
 * Another host on this machine: a network namespace joined by a pair of virtual interfaces whose link can be taken down, so that
 * a peer falls silent without a FIN or a RST. Needs root and iproute2; `cannotSeparate` says so.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';

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
    ip('netns', 'add', name);
    ip('netns', 'del', name);
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

  constructor() {
    ip('netns', 'add', this.#name);
    try {
      ip('link', 'add', this.#near, 'type', 'veth', 'peer', 'name', this.#far, 'netns', this.#name);
      ip('addr', 'add', `${here}/30`, 'dev', this.#near);
      ip('-n', this.#name, 'addr', 'add', `${there}/30`, 'dev', this.#far);
      ip('-n', this.#name, 'link', 'set', this.#far, 'up');
      this.connect();
    } catch (error) {
      this.remove();
      throw error;
    }
  }

  spawn(command: string, ...args: string[]): ChildProcess {
    return spawn('ip', ['netns', 'exec', this.#name, command, ...args], { stdio: ['ignore', 'pipe', 'inherit'] });
  }

  connect(): void {
    ip('link', 'set', this.#near, 'up');
  }

  /** From now on nothing crosses, and neither side is told. */
  cut(): void {
    ip('-n', this.#name, 'link', 'set', this.#far, 'down');
  }

  remove(): void {
    try {
      ip('link', 'del', this.#near); // at once, and its peer with it; a namespace takes its own time to go
    } finally {
      ip('netns', 'del', this.#name);
    }
  }
}

function ip(...args: string[]): void {
  execFileSync('ip', args, { stdio: ['ignore', 'ignore', 'pipe'] });
}
