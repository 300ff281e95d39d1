/**
 * The operator's commands on the data folder (`backup`, `restore`, `check`, `epoch bump`): what they print, and their exit codes.
 * What they do is the store's; it is handed in.
 */
import { resolve } from 'node:path';
import type { Clock } from '../thread/clock.ts';
import type { Arguments } from './arguments.ts';
import { Failure } from './format.ts';
import { exitCodes, type ProcessEvents } from './serve.ts';

export type Admin = typeof import('../admin.ts');
type Called = Pick<Arguments, 'words' | 'own'> & { command: 'backup' | 'restore' | 'check' | 'epoch' };
type Around = { out(text: string): void; problem(text: string): void; events: ProcessEvents; clock: Clock };

export async function administer({ command, words, own }: Called, folder: string, admin: Admin, around: Around): Promise<number> {
  const data = resolve(folder);
  const [word = ''] = words;
  try {
    switch (command) {
      case 'backup':
        return await backup(data, word, admin, around);
      case 'restore': {
        const { bytes, entries, lastTs, epoch } = admin.restore(
          data,
          word,
          own.some(({ name }) => name === 'force'),
          around.clock,
        );
        const last = lastTs === null ? '' : `, the last of ${new Date(lastTs).toISOString()}`;
        around.out(`restored ${size(bytes)} to ${data}: ${count(entries, 'entry', 'entries')}${last}; epoch ${epoch}\n`);
        return exitCodes.ok;
      }
      case 'check':
        return check(data, admin, around);
      case 'epoch':
        around.out(`epoch ${admin.bumpEpoch(data, around.clock)} begins in ${data}\n`);
        return exitCodes.ok;
    }
  } catch (error) {
    throw error instanceof admin.StoreError ? new Failure(error.message) : error;
  }
}

/** A signal ends it with nothing left behind. */
async function backup(data: string, file: string, admin: Admin, { out, events, clock }: Around): Promise<number> {
  const signal = { stopped: false };
  const stop = (): void => {
    signal.stopped = true;
  };
  for (const event of ['SIGINT', 'SIGTERM']) events.on(event, stop);
  try {
    const { bytes, entries, ms } = await admin.backup(data, file, clock, signal);
    out(`${file}: ${size(bytes)}, ${count(entries, 'entry', 'entries')}, in ${seconds(ms)}\n`);
    return exitCodes.ok;
  } finally {
    for (const event of ['SIGINT', 'SIGTERM']) events.off(event, stop);
  }
}

function check(data: string, admin: Admin, { out, problem, clock }: Around): number {
  const { problems, found, counts, bytes, ms } = admin.check(data, clock);
  for (const line of problems) problem(`${line}\n`);
  if (found > problems.length) problem(`and ${found - problems.length} more\n`);
  const { rooms, entries, users, members, inboxItems, epochs } = counts;
  const held = [
    count(rooms, 'room', 'rooms'),
    count(entries, 'entry', 'entries'),
    count(users, 'user', 'users'),
    count(members, 'member', 'members'),
    count(inboxItems, 'inbox item', 'inbox items'),
    count(epochs, 'epoch', 'epochs'),
  ].join(', ');
  out(`${found === 0 ? 'no problem' : count(found, 'problem', 'problems')} in ${data}: ${held}, ${size(bytes)}, in ${seconds(ms)}\n`);
  return found === 0 ? exitCodes.ok : exitCodes.failed;
}

function count(n: number, one: string, many: string): string {
  return `${n} ${n === 1 ? one : many}`;
}

function size(bytes: number): string {
  return `${(bytes / 1_000_000).toFixed(1)} MB`;
}

function seconds(ms: number): string {
  return `${(ms / 1_000).toFixed(1)} s`;
}
