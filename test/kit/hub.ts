/**
 * Hubs, commands and folders of this project's own tests: whatever a test file started is ended with it. The hub process
 * itself is `src/testing/hub-process.ts`.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { HubProcess, inheritedEnvironment, type StartOptions } from '../../src/testing/hub-process.ts';
import { hubEntry } from './paths.ts';

export type { Exit, HubProcess as Hub, StartOptions } from '../../src/testing/hub-process.ts';

const hubs = new Set<HubProcess>();
const commands = new Set<ChildProcess>();
const folders = new Set<string>();

/** Resolves when the hub listens; rejects, with what it wrote, when it exits before. */
export async function startHub(options: StartOptions = {}): Promise<HubProcess> {
  const hub = new HubProcess({ entry: hubEntry, ...options });
  hubs.add(hub);
  await hub.start();
  return hub;
}

export async function stopAllHubs(): Promise<void> {
  for (const child of commands) child.kill('SIGKILL');
  await Promise.all([...hubs].map((hub) => hub.remove()));
  hubs.clear();
  for (const folder of folders) rmSync(folder, { recursive: true, force: true });
  folders.clear();
}

/** Runs the command line to its end; `lines` are what it wrote, to stdout and stderr. */
export async function runCommand(...words: string[]): Promise<{ code: number | null; lines: string[] }> {
  const child = spawn(process.execPath, [hubEntry, ...words], { stdio: ['ignore', 'pipe', 'pipe'], env: inheritedEnvironment() });
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
