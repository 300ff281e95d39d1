/** A contestant's process: started on a port it chooses, known by its pid, stopped by it; and jobs for the load generator. */
import { fork, spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { root } from './contestants.js';

const startMs = 120_000;
const stopMs = 15_000;
/** On the project's own disk: a temporary folder may be memory, which would make durable rows a lie. */
const dataRoot = join(root, 'bench', 'data');

/** @typedef {{ pid: number, port: number, startedMs: number, stop: () => Promise<void> }} Server */

/** A folder of its own for a hub; `remove` deletes it. */
export function dataFolder() {
  mkdirSync(dataRoot, { recursive: true });
  const path = mkdtempSync(join(dataRoot, 'run-'));
  return { path, remove: () => rmSync(path, { recursive: true, force: true }) };
}

/**
 * Resolves when it says that it listens.
 * @param {import('./contestants.js').Contestant} contestant
 * @param {import('./contestants.js').Launch} launch
 * @returns {Promise<Server>}
 */
export async function startServer(contestant, launch) {
  const { command, args, env } = contestant.start(launch);
  const began = performance.now();
  const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'], env: { ...inherited(), ...env } });
  const exited = new Promise((resolve) => child.once('exit', resolve));
  const end = () => child.kill('SIGKILL');
  process.once('exit', end);
  let said = '';
  const port = await new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`${contestant.id} does not listen after ${startMs} ms: ${said}`)), startMs);
    /** @param {string} text */
    const hear = (text) => {
      said = (said + text).slice(-4_000);
      const found = /listening on http:\/\/[^:]+:(\d+)/.exec(said)?.[1];
      if (found === undefined) return;
      clearTimeout(timer);
      resolve(Number(found));
    };
    child.stdout.setEncoding('utf8').on('data', hear);
    child.stderr.setEncoding('utf8').on('data', hear);
    child.once('error', reject);
    void exited.then(() => reject(new Error(`${contestant.id} ended: ${said}`)));
  });
  return {
    pid: /** @type {number} */ (child.pid),
    port,
    startedMs: performance.now() - began,
    stop: async () => {
      child.kill('SIGTERM');
      const timer = setTimeout(end, stopMs);
      await exited;
      clearTimeout(timer);
      process.off('exit', end);
    },
  };
}

/**
 * Runs one job in a load generator of its own.
 * @param {Omit<import('./load/main.js').Job, 'dialect' | 'manner' | 'port' | 'pid'>} job
 * @param {import('./contestants.js').Contestant} contestant
 * @param {Server} server
 * @returns {Promise<any>}
 */
export async function runLoad(job, { dialect, manner }, { port, pid }) {
  const child = fork(join(root, 'bench/load/main.js'), { env: inherited() });
  const kill = () => child.kill('SIGKILL');
  process.once('exit', kill);
  try {
    return await new Promise((resolve, reject) => {
      child.once('message', (/** @type {any} */ answer) => (answer.failed ? reject(new Error(answer.failed)) : resolve(answer)));
      child.once('exit', (code, signal) => reject(new Error(`the load generator ended with ${code ?? signal}`)));
      child.send({ ...job, dialect, manner, port, pid });
    });
  } finally {
    process.off('exit', kill);
    kill();
  }
}

/** The environment without options of the hub that a shell may state. */
function inherited() {
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('HUBBUB_') && !name.startsWith('NODE_OPTIONS')));
}
