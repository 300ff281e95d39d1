/**
 * One shard: the loop around its actors. It takes batches from the gateway, hands each command to the actor of its room or
 * user, and at the end of every turn sends what the actors caused: entries to the gateway, appends to the store. All I/O of
 * the shard is here and in the links; actors only take steps.
 */
import { getHeapStatistics } from 'node:v8';
import type { MessagePort } from 'node:worker_threads';
import type { FilledOptions } from '../options.ts';
import { decode } from '../protocol/codec.ts';
import { CodedError } from '../protocol/codes.ts';
import type { Command } from '../protocol/commands.ts';
import { parseCommand } from '../protocol/validate.ts';
import { Alike } from '../thread/alike.ts';
import type { Clock } from '../thread/clock.ts';
import { Link } from '../thread/link.ts';
import type { Log } from '../thread/log.ts';
import type { ConnectionId, InboxItem, InboxLoss, ToGateway, ToShard } from '../thread/messages.ts';
import { type Barred, Barrier } from '../thread/quarantine.ts';
import type { Witness } from '../thread/witness.ts';
import type { Connection } from './actor.ts';
import { Commits } from './commits.ts';
import { Feed } from './feed.ts';
import { Outlet } from './outlet.ts';
import { Pages } from './pages.ts';
import { presenceCommand, watchAgain } from './presence-command.ts';
import { PublishReader } from './publish-reader.ts';
import { Reads } from './reads.ts';
import { revoke } from './revoke.ts';
import { type RoomBus, Rooms } from './rooms.ts';
import { UserDirectory } from './user-directory.ts';

export type ShardBus = RoomBus & { onMessage(listener: (message: { topic: string; payload: Uint8Array }) => void): void };
export type ShardDeps = {
  index: number;
  incarnation: number;
  /** How many there are. */
  shards: number;
  options: FilledOptions;
  clock: Clock;
  log: Log;
  /** To the other nodes. */
  bus: ShardBus;
  /** Is told what the shard is about to do, before it does it. */
  witness: Pick<Witness, 'frame' | 'step' | 'item' | 'clear'>;
  /** What is refused from the start. */
  barred: Barred;
  /** A fault of the shard: the thread must end and be replaced. */
  failed(error: unknown): void;
};

export class Shard {
  readonly #deps: ShardDeps;
  readonly #connections = new Map<ConnectionId, Connection>();
  readonly #scopes = new Alike();
  readonly #commits: Commits;
  readonly #reads: Reads;
  readonly #feed = new Feed();
  readonly #rooms: Rooms;
  readonly #barrier: Barrier;
  readonly #reader = new PublishReader();
  #link: Link<ToGateway, ToShard> | null = null;
  /** There once the store has let this shard in. */
  #open: { outlet: Outlet; users: UserDirectory; pages: Pages } | null = null;
  /** Batches that came before the store let this shard in; the link's credit bounds them. */
  readonly #early: { list: (number | ToShard)[]; arena: Buffer }[] = [];
  #commands = 0;
  #failed = false;
  /** A probe of the gateway is answered when so many operations are done; null: none is out. */
  #probed: number | null = null;
  #stopped: (() => void) | null = null;

  constructor(deps: ShardDeps) {
    this.#deps = deps;
    const { options } = deps;
    this.#commits = new Commits(options.pendingMax, options.pendingBytesMax, {
      opened: (epoch) => this.guarded(() => this.#opened(epoch)),
      notices: (notices) => this.guarded(() => this.#notices(notices)),
      settled: (settle) => this.guarded(settle),
      about: (room) => this.#rooms.about(room),
    });
    this.#barrier = new Barrier(deps.barred);
    this.#reads = new Reads((room, answer) => this.guarded(answer, room), this.#barrier);
    this.#rooms = new Rooms(options, deps.bus, deps.witness, this.#barrier);
    deps.bus.onMessage(({ topic, payload }) => this.guarded(() => this.#open !== null && this.#rooms.hint(topic, payload, this.#open.outlet)));
  }

  connect(role: 'gateway' | 'shard' | 'persistence' | 'reader', index: number, port: MessagePort): void {
    if (role === 'gateway') this.#attach(port);
    else if (role === 'persistence') this.#commits.connect(port, this.#deps.index, this.#deps.incarnation);
    else if (role === 'reader') this.#reads.connect(index, port);
  }

  /** Runs one turn, which is about that room: whatever it causes is sent at its end; a fault ends the shard. */
  guarded(turn: () => void, room: string | null = null): void {
    if (this.#failed) return; // until the thread is gone: the witness must go on naming what broke it
    try {
      if (room !== null) this.#rooms.about(room);
      turn();
      this.#flush();
      this.#deps.witness.clear();
    } catch (error) {
      this.fail(error);
    }
  }

  fail(error: unknown): void {
    this.#failed = true;
    this.#deps.failed(error);
  }

  bar(barred: Barred): void {
    this.#barrier.set(barred);
    this.guarded(() => this.#open !== null && this.#rooms.bar(barred.rooms, this.#open.outlet));
  }

  /** About once a second. */
  tick(): void {
    if (this.#open === null) return;
    this.#feed.tick();
    this.#open.pages.tick();
    this.#rooms.tick(this.#open.outlet);
    this.#open.users.tick(this.#open.outlet);
  }

  stats(): Record<string, number> {
    return {
      connections: this.#connections.size,
      commands: this.#commands,
      pendingAppends: this.#commits.pending,
      pendingReads: this.#reads.waiting,
      feeding: this.#feed.busy,
      linkDepth: this.#link?.items ?? 0,
      quarantined: this.#barrier.refused,
      // Not process.memoryUsage: it opens a file, and throws where there is no descriptor left.
      heapBytes: getHeapStatistics().used_heap_size,
      ...this.#rooms.stats(),
      users: this.#open?.users.size ?? 0,
    };
  }

  /** Calls `stopped` once everything that was committed here is settled, and lets go of the ports. */
  stop(stopped: () => void): void {
    this.#stopped = stopped;
    this.guarded(() => {});
  }

  #attach(port: MessagePort): void {
    const link = new Link<ToGateway, ToShard>(port, {
      batch: (list, arena) => {
        if (this.#open === null) this.#early.push({ list, arena });
        else this.guarded(() => this.#batch(list, arena));
      },
    });
    this.#link = link;
    link.hold();
  }

  /** The store let this shard in: for the first time, or a new writer after another died. */
  #opened(epoch: string): void {
    if (this.#open !== null) return this.#open.users.recheck(this.#open.outlet);
    if (this.#link === null) throw new Error('the gateway is linked before persistence');
    const pages = new Pages(this.#link);
    const { clock, witness } = this.#deps;
    const parts = { commits: this.#commits, reads: this.#reads, feed: this.#feed, rooms: this.#rooms, barrier: this.#barrier };
    const outlet = new Outlet({ ...parts, link: this.#link, pages, clock, witness, epoch });
    this.#open = { outlet, users: new UserDirectory(epoch, this.#deps.options), pages };
    for (const { list, arena } of this.#early.splice(0)) this.#batch(list, arena);
    this.#link.release();
  }

  #batch(list: (number | ToShard)[], arena: Buffer): void {
    const { outlet, users } = this.#open as { outlet: Outlet; users: UserDirectory };
    for (let i = 0; i < list.length; i++) {
      const item = list[i];
      if (typeof item !== 'number') {
        this.#message(item as ToShard, outlet, users);
        continue;
      }
      const offset = list[++i] as number;
      const length = list[++i] as number;
      const connection = this.#connections.get(item);
      if (connection !== undefined) this.#frame(connection, arena.subarray(offset, offset + length), outlet, users);
    }
  }

  /** The gateway has scanned the frame: its text is checked, depth and lengths are bounded. What it says is validated here, once. */
  #frame(connection: Connection, bytes: Buffer, outlet: Outlet, users: UserDirectory): void {
    this.#commands++;
    this.#deps.witness.frame(connection.format, connection.id, bytes);
    const barred = this.#barrier.up ? this.#barrier.barred(connection, bytes) : null;
    if (barred !== null) return outlet.refuse(connection, barred.id, barred.op, new CodedError('quarantined'));
    const publish = connection.format === 'json' ? this.#reader.read(bytes) : null;
    let map: Record<string, unknown> = publish ?? {};
    try {
      if (publish === null) map = decode(connection.format === 'json' ? bytes.toString() : bytes, connection.format);
      this.#command(connection, publish ?? parseCommand(map), bytes.length, outlet, users);
    } catch (error) {
      if (!(error instanceof CodedError)) throw error;
      const { id, op } = map;
      outlet.refuse(connection, typeof id === 'number' ? id : undefined, typeof op === 'string' ? op : '', error);
    }
  }

  #command(connection: Connection, command: Command, bytes: number, outlet: Outlet, users: UserDirectory): void {
    switch (command.op) {
      case 'resume':
        return this.#rooms.resume(connection, command, outlet);
      case 'ack':
      case 'status':
      case 'rooms':
        return users.command(connection, command, outlet);
      case 'who':
      case 'watch':
      case 'unwatch':
        return presenceCommand(users, connection, command, outlet);
      case 'revoke':
      case 'disable':
        return revoke(users, connection, command, outlet);
      case 'hello':
      case 'refresh':
      case 'ping':
        throw new CodedError('internal', `${command.op} is answered by the gateway`);
      default:
        return this.#rooms.command(connection, command, outlet, bytes);
    }
  }

  #message(message: ToShard, outlet: Outlet, users: UserDirectory): void {
    this.#deps.witness.clear();
    if (message.t === 'open') {
      // Field by field: a copy of what is left of a message takes more memory.
      const { connection: id, user, device, format, service, scopes } = message;
      this.#connections.set(id, { id, user, device, format, service, scopes: this.#scopes.of(scopes), open: true });
      return;
    }
    if (message.t === 'probe') {
      this.#probed = this.#commits.added;
      return;
    }
    if (message.t === 'alive') {
      return users.prune({ type: 'prune', shard: this.#deps.index, shards: this.#deps.shards, through: message.through, alive: message.connections }, outlet);
    }
    const connection = this.#connections.get(message.connection);
    if (connection === undefined) return;
    switch (message.t) {
      case 'hello':
        return users.hello(connection, { ...message, named: connection.device !== '' }, outlet);
      case 'follow':
        return this.#rooms.follow(connection, message.room, message.position, message.presence, outlet);
      case 'scopes':
        connection.scopes = this.#scopes.of(message.scopes);
        return;
      case 'idle':
        return users.inactive(connection, message.idle, outlet);
      case 'watch':
        return watchAgain(users, connection, message.users, outlet);
      case 'drained':
        return this.#feed.done(connection);
      case 'behind':
        return this.#rooms.behind(connection, message.roomKey, message.attachment, message.lastSeq, outlet);
      case 'close':
        connection.open = false;
        this.#connections.delete(connection.id);
        this.#feed.drop(connection);
        this.#rooms.closed(connection, outlet);
        return users.close(connection, message.clean, outlet);
    }
  }

  #notices(notices: readonly (InboxItem | InboxLoss)[]): void {
    if (this.#open === null) return;
    for (const notice of notices) this.#open.users.notice(notice, this.#open.outlet);
  }

  #flush(): void {
    if (this.#open !== null) {
      this.#rooms.flush(this.#open.outlet);
      this.#deps.witness.clear(); // users are no matter of the last room's
      this.#open.users.flush(this.#open.outlet);
      this.#commits.flush();
      if (this.#probed !== null && this.#commits.done >= this.#probed) {
        this.#probed = null;
        this.#link?.push({ t: 'probed' });
      }
      this.#link?.flush();
    }
    if (this.#stopped === null || this.#commits.pending > 0) return;
    this.#link?.close();
    this.#commits.close();
    this.#reads.close();
    this.#stopped();
    this.#stopped = null;
  }
}
