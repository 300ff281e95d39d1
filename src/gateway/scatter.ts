/**
 * Commands about many users or rooms: split by shard, each part a frame of the same op and id, the parts' answers joined into
 * one. A failed part fails the whole; what other parts did stands, and doing it again changes nothing.
 */

import { decode, encode } from '../protocol/codec.ts';
import { CodedError } from '../protocol/codes.ts';
import { type Command, routes } from '../protocol/commands.ts';
import { parseCommand } from '../protocol/validate.ts';
import { placeOf } from '../thread/placement.ts';
import { Connection, type OpenCommand, type Sender } from './connection.ts';
import { refusal } from './refusal.ts';
import type { Shards } from './shards.ts';
import { asked, refused } from './subscriptions.ts';

type ScatterOp = 'who' | 'watch' | 'unwatch' | 'resume' | 'revoke' | 'disable';
type ScatterCommand = Command<ScatterOp>;
type OpenScatter = OpenCommand & { is: 'scatter' };
/** In place of the id of the `watch` that has yet to be answered. */
const granted = 0;

export type Split = { command: ScatterCommand; names: Map<number, string[]> };

export class Scatter {
  readonly #shards: Shards;
  readonly #limits: { subscriptionsMax: number; watchesMax: number };

  constructor(shards: Shards, limits: { subscriptionsMax: number; watchesMax: number }) {
    this.#shards = shards;
    this.#limits = limits;
  }

  split(sender: Sender, bytes: Uint8Array): Split {
    const command = parseCommand(decode(bytes, sender.format));
    if (!isSplit(command)) throw new CodedError('internal', `${command.op} is not split`);
    const all = command.op === 'resume' ? Object.keys(command.rooms) : [...new Set(command.users)];
    if (sender instanceof Connection) this.#check(sender, command.op, all);
    const names = new Map<number, string[]>();
    for (const name of all) {
      const shard = placeOf(name, this.#shards.all.length);
      const own = names.get(shard);
      if (own === undefined) names.set(shard, [name]);
      else own.push(name);
    }
    return { command, names };
  }

  send(sender: Sender, { command, names }: Split, id: number | undefined): void {
    const { op } = command;
    if (id !== undefined) {
      // An empty resume goes nowhere and is answered at once.
      if (names.size === 0) {
        sender.answer({ op: 'ok', id, rooms: 0 });
        return;
      }
      sender.commands.set(id, { is: 'scatter', op, waiting: new Set(names.keys()), names, lists: {} });
    }
    for (const [shard, own] of names) {
      if (sender instanceof Connection) note(sender, op, own, shard, id ?? 0);
      this.#shards.frame(sender, shard, encode({ ...command, id, ...partOf(command, own) }, sender.format));
    }
  }

  part(sender: Sender, command: OpenScatter, shard: number, id: number, part: Record<string, unknown[]>, error: CodedError | null): void {
    if (!command.waiting.delete(shard)) return;
    if (error !== null) {
      sender.commands.delete(id);
      if (sender instanceof Connection) this.refused(sender, command, id);
      sender.answer(refusal(id, command.op, error));
      return;
    }
    for (const [field, list] of Object.entries(part)) command.lists[field] = command.lists[field]?.concat(list) ?? list;
    // Rooms that may not be followed are not among those the shard took on.
    if (command.op === 'resume' && sender instanceof Connection) {
      const followed = new Set(part.rooms);
      for (const room of command.names.get(shard) ?? []) if (!followed.has(room)) refused(sender, room, id);
    }
    if (command.waiting.size > 0) return;
    sender.commands.delete(id);
    if (command.op === 'watch' && sender instanceof Connection) watching(sender, command);
    sender.answer({ op: 'ok', id, ...(command.op === 'resume' ? { rooms: command.lists.rooms?.length ?? 0 } : command.lists) });
  }

  /** The command has failed: nothing of it is expected any more. */
  refused(connection: Connection, command: OpenScatter, id: number): void {
    for (const names of command.names.values()) {
      for (const name of names) {
        if (command.op === 'resume') refused(connection, name, id);
        else if (command.op === 'watch' && connection.watches.get(name) === id) connection.watches.delete(name);
      }
    }
  }

  #check(connection: Connection, op: ScatterCommand['op'], names: string[]): void {
    if (op === 'resume') {
      const added = names.filter((room) => !connection.rooms.has(room)).length;
      if (connection.rooms.size + added > this.#limits.subscriptionsMax + 1)
        throw new CodedError('limit', `a connection may follow ${this.#limits.subscriptionsMax} rooms`);
    } else if (op === 'watch') {
      const added = names.filter((user) => !connection.watches.has(user)).length;
      if (connection.watches.size + added > this.#limits.watchesMax) throw new CodedError('limit', `a connection may watch ${this.#limits.watchesMax} users`);
    }
  }
}

/** Granted: no refusal of another one takes them back. */
function watching({ watches }: Connection, { names }: OpenScatter): void {
  for (const users of names.values()) for (const user of users) watches.set(user, granted);
}

function isSplit(command: Command): command is ScatterCommand {
  return routes[command.op] === 'users' || routes[command.op] === 'rooms';
}

function partOf(command: ScatterCommand, names: string[]): Record<string, unknown> {
  if (command.op !== 'resume') return { users: names };
  return { rooms: Object.fromEntries(names.map((room) => [room, command.rooms[room]])) };
}

function note(connection: Connection, op: ScatterCommand['op'], names: string[], shard: number, id: number): void {
  if (op === 'unwatch') forgo(connection, names, shard);
  for (const name of names) {
    if (op === 'resume') asked(connection, name, shard, id);
    else if (op === 'watch' && !connection.watches.has(name)) connection.watches.set(name, id);
    else if (op === 'unwatch') connection.watches.delete(name);
  }
}

/** What a watch that is not answered yet was to bring is not wanted any more. */
function forgo(connection: Connection, users: readonly string[], shard: number): void {
  const gone = new Set(users);
  for (const [, command] of connection.commands) {
    if (command.op !== 'watch' || command.is !== 'scatter') continue;
    const left = command.names.get(shard)?.filter((user) => !gone.has(user));
    if (left !== undefined) command.names.set(shard, left);
  }
}
