/**
 * Sends commands to the shards and follows each until its one answer: from the shard, or from here when the shard's thread
 * died. The same for sockets and for the backend API. Looks only at the header of what it passes on.
 */
import { mayActFor, maySend } from '../protocol/authorize.ts';
import { decode } from '../protocol/codec.ts';
import { CodedError } from '../protocol/codes.ts';
import { isOp, type Op, routes } from '../protocol/commands.ts';
import type { Header } from '../protocol/header.ts';
import { allRoom, dmName } from '../protocol/names.ts';
import { placeOf } from '../thread/placement.ts';
import { Connection, type OpenCommand, type Sender } from './connection.ts';
import type { Counters } from './counters.ts';
import { fieldsOf } from './frame.ts';
import { refusalOf } from './refusal.ts';
import { Scatter } from './scatter.ts';
import type { Shards } from './shards.ts';
import { asked, left, loseShard, refused } from './subscriptions.ts';

export type RoutingLimits = { openCommandsMax: number; subscriptionsMax: number; watchesMax: number };

export class Routing {
  readonly #shards: Shards;
  readonly #limits: RoutingLimits;
  readonly #counters: Counters;
  readonly #scatter: Scatter;
  /** The shared records of plain commands, by op; two per shard. */
  readonly #plain = new Map<string, OpenCommand[]>();

  constructor(shards: Shards, limits: RoutingLimits, counters: Counters) {
    this.#shards = shards;
    this.#limits = limits;
    this.#counters = counters;
    this.#scatter = new Scatter(shards, limits);
  }

  /** Throws what the command is refused with; it is on its way otherwise. Its `id` must not be one that waits for its answer. */
  route(sender: Sender, bytes: Uint8Array, header: Header): void {
    const { op, id } = header;
    if (!isOp(op)) throw new CodedError('unknown-op', `no such op: ${op}`, 'op');
    if (id !== undefined && sender.commands.size >= this.#limits.openCommandsMax) {
      if (sender.service) throw this.#busy();
      throw new CodedError('limit', `more than ${this.#limits.openCommandsMax} unanswered commands`);
    }
    const caller = sender.service ? 'service' : 'user';
    if (!maySend(caller, op)) throw sender.service ? new CodedError('bad-request', `${op} is not for the backend API`, 'op') : new CodedError('forbidden');
    if (header.as !== undefined && !mayActFor(caller)) throw new CodedError('forbidden', 'only an API key may act for others', 'as');
    const count = this.#shards.all.length;
    switch (routes[op]) {
      case 'room':
        if (header.room === undefined) throw new CodedError('bad-request', 'room is missing', 'room');
        this.#forward(sender, bytes, header, op, placeOf(header.room, count));
        break;
      case 'dm':
        if (header.to === undefined) throw new CodedError('bad-request', 'to is missing', 'to');
        this.#forward(sender, bytes, header, op, placeOf(dmName(header.as ?? sender.user, header.to), count));
        break;
      case 'user':
        this.#forward(sender, bytes, header, op, sender.home);
        break;
      case 'users':
      case 'rooms':
        this.#split(sender, bytes, id);
        break;
      case 'gateway':
        throw new CodedError('internal', `${op} is answered by the gateway`);
    }
  }

  /** A shard's answer, a ready frame in `arena`: false if nobody waits for it any more. */
  answered(sender: Sender, shard: number, id: number, arena: Buffer, from: number, length: number): boolean {
    if (id === 0) {
      // A refusal of a command without id. It may be a subscribe's, so those no longer count as asked; one that was granted attaches.
      if (sender instanceof Connection) for (const { room, shard: of } of [...sender.rooms.values()]) if (of === shard) refused(sender, room, 0);
      return true;
    }
    const command = sender.commands.get(id);
    if (command === undefined) return false;
    sender.commands.delete(id);
    if (!(sender instanceof Connection)) return true;
    if (command.is === 'scatter') this.#scatter.refused(sender, command, id);
    else if (command.is === 'subscribe' && fieldsOf(arena.subarray(from, from + length), sender.format).op === 'error') refused(sender, command.room, id);
    return true;
  }

  /** One shard's part of a split command. */
  part(sender: Sender, shard: number, id: number, part: Record<string, unknown[]>, error: CodedError | null): void {
    const command = sender.commands.get(id);
    if (command?.is === 'scatter') this.#scatter.part(sender, command, shard, id, part, error);
  }

  /** The shard's thread died: its commands are answered from here, and what it knew of the sender is forgotten. */
  lost(sender: Sender, shard: number): void {
    const rooms = sender instanceof Connection ? loseShard(sender, shard) : [];
    sender.opened[shard] = false;
    for (const { room, state } of rooms) {
      // The answer was given, the entries were not: the client asks again at its own position. Of a `resume` each room has its own.
      const command = state.is === 'asked' ? sender.commands.get(state.id) : undefined;
      if (command === undefined || command.op === 'resume' || !concerns(command, shard)) sender.answer({ op: 'unsubscribed', room, reason: 'restarted' });
    }
    for (const [id, command] of sender.commands) {
      if (!concerns(command, shard)) continue;
      if (command.op === 'resume') {
        this.part(sender, shard, id, { rooms: [] }, null);
        continue;
      }
      sender.commands.delete(id);
      if (command.is === 'scatter' && sender instanceof Connection) this.#scatter.refused(sender, command, id);
      sender.answer(refusalOf(id, command.op, command.is === 'plain' && !command.repeatable ? 'unknown' : 'restarted'));
    }
  }

  #forward(sender: Sender, bytes: Uint8Array, header: Header, op: Op, shard: number): void {
    if (!this.#shards.ready(shard)) throw this.#busy();
    const { id, room } = header;
    if (op === 'subscribe' && sender instanceof Connection && room !== undefined) {
      this.#roomFor(sender, room);
      asked(sender, room, shard, id ?? 0);
    } else if (op === 'unsubscribe' && sender instanceof Connection && room !== undefined && room !== allRoom) left(sender, room);
    else if (op === 'status' && sender instanceof Connection) sender.saidAway = decode(bytes, sender.format).status === 'away';
    if (id !== undefined) sender.commands.set(id, this.#record(op, shard, header, header.mid !== undefined || (op !== 'publish' && op !== 'direct')));
    this.#shards.frame(sender, shard, bytes);
  }

  #split(sender: Sender, bytes: Uint8Array, id: number | undefined): void {
    const split = this.#scatter.split(sender, bytes);
    for (const shard of split.names.keys()) if (!this.#shards.ready(shard)) throw this.#busy();
    this.#scatter.send(sender, split, id);
  }

  #roomFor(connection: Connection, room: string): void {
    const { rooms } = connection;
    const counted = rooms.size - (rooms.has(allRoom) ? 1 : 0);
    if (counted >= this.#limits.subscriptionsMax && !rooms.has(room) && room !== allRoom)
      throw new CodedError('limit', `a connection may follow ${this.#limits.subscriptionsMax} rooms`);
  }

  #record(op: Op, shard: number, header: Header, repeatable: boolean): OpenCommand {
    if (op === 'subscribe' && header.room !== undefined) return { is: 'subscribe', op, shard, room: header.room };
    let records = this.#plain.get(op);
    if (records === undefined) {
      records = this.#shards.all.flatMap(({ index }) => [
        { is: 'plain', op, shard: index, repeatable: false },
        { is: 'plain', op, shard: index, repeatable: true },
      ]);
      this.#plain.set(op, records);
    }
    return records[shard * 2 + (repeatable ? 1 : 0)] as OpenCommand;
  }

  #busy(): CodedError {
    this.#counters.busy++;
    return new CodedError('busy');
  }
}

/** Whether the shard still has to answer it. */
function concerns(command: OpenCommand, shard: number): boolean {
  switch (command.is) {
    case 'plain':
    case 'subscribe':
      return command.shard === shard;
    case 'scatter':
      return command.waiting.has(shard);
    case 'here':
      return false;
  }
}
