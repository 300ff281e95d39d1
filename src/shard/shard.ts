/**
 * One shard: the loop around its actors. It takes batches from the gateway, hands each command to the actor of its room or
 * user, and at the end of every turn sends what the actors caused: entries to the gateway, appends to the store. All I/O of
 * the shard is here and in the links; actors only take steps.
 */
import type { MessagePort } from 'node:worker_threads';
import type { FilledOptions } from '../options.ts';
import { CodedError } from '../protocol/codes.ts';
import { decode } from '../protocol/codec.ts';
import type { Command } from '../protocol/commands.ts';
import { parseCommand } from '../protocol/validate.ts';
import type { Clock } from '../thread/clock.ts';
import { Link } from '../thread/link.ts';
import type { Log } from '../thread/log.ts';
import type { ConnectionId, InboxItem, InboxLoss, ToGateway, ToShard } from '../thread/messages.ts';
import type { Connection } from './actor.ts';
import { Commits } from './commits.ts';
import { Feed } from './feed.ts';
import { Outlet } from './outlet.ts';
import { Reads } from './reads.ts';
import { Rooms } from './rooms.ts';
import { Users } from './users.ts';

export type ShardDeps = {
  index: number;
  incarnation: number;
  options: FilledOptions;
  clock: Clock;
  log: Log;
  /** A fault of the shard: the thread must end and be replaced. */
  failed(error: unknown): void;
};

export class Shard {
  readonly #deps: ShardDeps;
  readonly #connections = new Map<ConnectionId, Connection>();
  readonly #commits: Commits;
  readonly #reads: Reads;
  readonly #feed = new Feed();
  readonly #rooms: Rooms;
  readonly #users: Users;
  #link: Link<ToGateway, ToShard> | null = null;
  #outlet: Outlet | null = null;
  #epoch: string | null = null;
  /** Batches that came before the store let this shard in; the link's credit bounds them. */
  #early: { list: (number | ToShard)[]; arena: Buffer }[] = [];
  #commands = 0;

  constructor(deps: ShardDeps) {
    this.#deps = deps;
    const { options } = deps;
    this.#commits = new Commits(options.pendingMax, options.pendingBytesMax, {
      opened: (epoch) => this.guarded(() => this.#opened(epoch)),
      notice: (notice) => this.guarded(() => this.#notice(notice)),
      settled: (settle) => this.guarded(settle),
    });
    this.#reads = new Reads((answer) => this.guarded(answer));
    this.#rooms = new Rooms(options);
    this.#users = new Users(options);
  }

  connect(role: 'gateway' | 'shard' | 'persistence' | 'reader', index: number, port: MessagePort): void {
    if (role === 'gateway') this.#attach(port);
    else if (role === 'persistence') this.#commits.connect(port, this.#deps.index, this.#deps.incarnation);
    else if (role === 'reader') this.#reads.connect(index, port);
  }

  /** Runs one turn: whatever it causes is sent at its end; a fault ends the shard. */
  guarded(turn: () => void): void {
    try {
      turn();
      this.#flush();
    } catch (error) {
      this.#deps.failed(error);
    }
  }

  /** About once a second. */
  tick(): void {
    if (this.#outlet === null) return;
    this.#rooms.tick(this.#outlet);
    this.#users.tick(this.#outlet);
  }

  stats(): Record<string, number> {
    return {
      connections: this.#connections.size,
      commands: this.#commands,
      pendingAppends: this.#commits.pending,
      pendingReads: this.#reads.waiting,
      feeding: this.#feed.busy,
      linkDepth: this.#link?.items ?? 0,
      heapBytes: process.memoryUsage().heapUsed,
      ...this.#rooms.stats(),
      ...this.#users.stats(),
    };
  }

  close(): void {
    this.#flush();
    this.#link?.close();
    this.#commits.close();
    this.#reads.close();
  }

  #attach(port: MessagePort): void {
    const link = new Link<ToGateway, ToShard>(port, {
      batch: (list, arena) => {
        if (this.#epoch === null) this.#early.push({ list, arena });
        else this.guarded(() => this.#batch(list, arena));
      },
    });
    this.#link = link;
    link.hold();
  }

  #opened(epoch: string): void {
    const first = this.#epoch === null;
    this.#epoch = epoch;
    if (!first || this.#link === null) return;
    this.#outlet = new Outlet({ link: this.#link, commits: this.#commits, reads: this.#reads, feed: this.#feed, clock: this.#deps.clock, rooms: this.#rooms, epoch });
    this.#users.opened(epoch);
    for (const { list, arena } of this.#early) this.#batch(list, arena);
    this.#early = [];
    this.#link.release();
  }

  #batch(list: (number | ToShard)[], arena: Buffer): void {
    for (let i = 0; i < list.length; i++) {
      const item = list[i];
      if (typeof item !== 'number') {
        this.#message(item as ToShard);
        continue;
      }
      const offset = list[++i] as number;
      const length = list[++i] as number;
      const connection = this.#connections.get(item);
      if (connection !== undefined) this.#frame(connection, arena.subarray(offset, offset + length));
    }
  }

  /** The gateway has scanned the frame: depth and lengths are bounded. What it says is validated here, once. */
  #frame(connection: Connection, bytes: Buffer): void {
    const outlet = this.#outlet as Outlet;
    this.#commands++;
    let map: Record<string, unknown> = {};
    try {
      map = decode(bytes, connection.format);
      this.#command(connection, parseCommand(map), outlet);
    } catch (error) {
      if (!(error instanceof CodedError)) throw error;
      const { id, op } = map;
      outlet.refuse(connection, typeof id === 'number' ? id : undefined, typeof op === 'string' ? op : '', error);
    }
  }

  #command(connection: Connection, command: Command, outlet: Outlet): void {
    switch (command.op) {
      case 'resume':
        return this.#rooms.resume(connection, command, outlet);
      case 'ack':
      case 'status':
      case 'rooms':
        return this.#users.command(connection, command, outlet);
      case 'who':
      case 'watch':
      case 'unwatch':
        return this.#users.presence(connection, command, outlet);
      case 'hello':
      case 'refresh':
      case 'ping':
        throw new CodedError('internal', `${command.op} is answered by the gateway`);
      default:
        return this.#rooms.command(connection, command, outlet);
    }
  }

  #message(message: ToShard): void {
    const outlet = this.#outlet as Outlet;
    if (message.t === 'open') {
      const { t: _, connection: id, ...rest } = message;
      this.#connections.set(id, { id, ...rest, open: true });
      return;
    }
    const connection = this.#connections.get(message.connection);
    if (connection === undefined) return;
    switch (message.t) {
      case 'hello':
        return this.#users.hello(connection, message.again, outlet);
      case 'follow':
        return this.#rooms.follow(connection, message.room, message.position, message.presence, outlet);
      case 'idle':
        return this.#users.idle(connection, message.idle, outlet);
      case 'watch':
        return this.#users.watchAgain(connection, message.users, outlet);
      case 'drained':
        return this.#feed.done(connection);
      case 'behind':
        return this.#rooms.behind(connection, message.roomKey, message.lastSeq, outlet);
      case 'close':
        connection.open = false;
        this.#connections.delete(connection.id);
        this.#feed.drop(connection);
        this.#rooms.closed(connection, outlet);
        return this.#users.closed(connection, message.clean, outlet);
    }
  }

  #notice(notice: InboxItem | InboxLoss): void {
    if (this.#outlet !== null) this.#users.notice(notice, this.#outlet);
  }

  #flush(): void {
    if (this.#outlet === null) return;
    this.#rooms.flush(this.#outlet);
    this.#users.flush(this.#outlet);
    this.#commits.flush();
    this.#link?.flush();
  }
}
