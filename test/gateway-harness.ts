/**
 * A gateway behind a real HTTP server, with shards that the test plays: each is the other end of a real link, keeps what it
 * is told, and says what the test wants. Shared by the tests of the gateway.
 */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { MessageChannel, type MessagePort } from 'node:worker_threads';
import { type Authenticator, createAuthenticator } from '../src/gateway/authenticate.ts';
import { createGateway, type Gateway } from '../src/gateway/gateway.ts';
import { fillOptions, type HubOptions } from '../src/options.ts';
import { decode, encode } from '../src/protocol/codec.ts';
import { frameBytes, writeFrameHeader } from '../src/protocol/frames.ts';
import { type Clock, systemClock } from '../src/thread/clock.ts';
import { Link } from '../src/thread/link.ts';
import { type ConnectionId, type Format, formats, type ToGateway, type ToShard, toGateway } from '../src/thread/messages.ts';
import { type ClientOptions, closeAllClients, RawClient } from './kit/raw-client.ts';
import { closeAllSockets } from './kit/raw-socket.ts';

type Fields = Record<string, unknown>;
export type Command = { t: 'command'; connection: ConnectionId; command: Fields };
export type Received = ToShard | Command;
type Kind = Received['t'];

export class FakeShard {
  readonly link: Link<ToGateway, ToShard>;
  /** Everything it was told, in order. */
  readonly received: Received[] = [];
  /** Whether it answers probes; otherwise they count here. */
  probes: number | 'answered' = 'answered';
  /** Whether it welcomes every hello by itself. */
  welcomes = true;
  batches = 0;
  readonly formats = new Map<ConnectionId, Format>();
  #untaken: Received[] = [];
  #waiters: (() => boolean)[] = [];
  readonly #port: MessagePort;

  constructor(port: MessagePort) {
    this.#port = port;
    this.link = new Link<ToGateway, ToShard>(port, { batch: (list, arena) => this.#batch(list, arena) });
  }

  /** Takes the first message of the kind that was not taken before, now or when it comes. */
  next<K extends Kind>(kind: K, matches: (message: Extract<Received, { t: K }>) => boolean = () => true): Promise<Extract<Received, { t: K }>> {
    type Wanted = Extract<Received, { t: K }>;
    return new Promise((resolve) => {
      const seek = (): boolean => {
        const at = this.#untaken.findIndex((message) => message.t === kind && matches(message as Wanted));
        if (at < 0) return false;
        resolve(this.#untaken.splice(at, 1)[0] as Wanted);
        return true;
      };
      if (!seek()) this.#waiters.push(seek);
    });
  }

  /** The next command of an op. */
  command(op: string): Promise<Command> {
    return this.next('command', ({ command }) => command.op === op);
  }

  kinds(connection: ConnectionId): string[] {
    return this.received
      .filter((message) => message.t !== 'alive' && message.t !== 'probe' && message.connection === connection)
      .map((message) => (message.t === 'command' ? String(message.command.op) : message.t));
  }

  welcome(connection: ConnectionId): void {
    this.link.push({ t: 'welcome', connection, epoch: 'e1', inbox: { head: 0, acked: 0 }, allMark: 3, revokedAt: 0 });
  }

  reply(connection: ConnectionId, id: number, fields: Fields = {}): void {
    const { offset, length } = this.#frame({ op: 'ok', ...(id === 0 ? {} : { id }), ...fields }, this.formats.get(connection) ?? 'json');
    this.link.record(toGateway.reply, connection, id, offset, length);
  }

  page(connection: ConnectionId, maps: Fields[], paced: boolean): void {
    const start = this.link.arena.offset;
    for (const map of maps) this.#frame(map, this.formats.get(connection) ?? 'json');
    this.link.record(toGateway.page, connection, start, this.link.arena.offset - start, paced ? 1 : 0);
  }

  room(roomKey: number, room: string): void {
    this.link.push({ t: 'room', roomKey, room });
  }

  attach(roomKey: number, connection: ConnectionId, fromSeq = 1, presence = false, attachment = 1): void {
    this.link.record(toGateway.attach, roomKey, connection, fromSeq, presence ? 1 : 0, attachment);
  }

  reached(roomKey: number, connection: ConnectionId, seq: number): void {
    this.link.record(toGateway.reached, roomKey, connection, seq);
  }

  detach(roomKey: number, connection: ConnectionId): void {
    this.link.record(toGateway.detach, roomKey, connection);
  }

  /** Entries `first` to `last` of a room, in each of the given formats. */
  deliver(roomKey: number, room: string, first: number, last: number, body: unknown = 'x', to: readonly Format[] = ['json']): void {
    for (const format of to) {
      const start = this.link.arena.offset;
      for (let seq = first; seq <= last; seq++) this.#frame({ op: 'entry', room, seq, kind: 'message', body }, format);
      this.link.record(toGateway.deliver, roomKey, formats.indexOf(format), first, last, start, this.link.arena.offset - start);
    }
  }

  shed(roomKey: number, room: string, body: unknown, except: ConnectionId = 0, format: Format = 'json'): void {
    const { offset, length } = this.#frame({ op: 'ephemeral', room, from: 'a', ts: 1, body }, format);
    this.link.record(toGateway.shed, roomKey, formats.indexOf(format), except, offset, length);
  }

  /** As when its thread dies. */
  die(): void {
    this.#port.close();
  }

  #frame(map: Fields, format: Format): { offset: number; length: number } {
    const payload = encode(map, format);
    const head = frameBytes(payload.length);
    const { arena } = this.link;
    arena.ensure(head + payload.length);
    const offset = arena.offset;
    writeFrameHeader(arena.buffer, offset, format === 'json' ? 1 : 2, payload.length);
    arena.offset += head;
    arena.put(payload);
    return { offset, length: head + payload.length };
  }

  #batch(list: (number | ToShard)[], arena: Buffer): void {
    this.batches++;
    for (let i = 0; i < list.length; i++) {
      const item = list[i];
      if (typeof item === 'object') this.#take(item);
      else {
        const connection = item as number;
        const offset = list[++i] as number;
        const length = list[++i] as number;
        this.#take({ t: 'command', connection, command: decode(arena.subarray(offset, offset + length), this.formats.get(connection) ?? 'json') });
      }
    }
  }

  #take(message: Received): void {
    if (message.t === 'probe') {
      if (this.probes === 'answered') this.link.push({ t: 'probed' });
      else this.probes++;
      return;
    }
    if (message.t === 'open') this.formats.set(message.connection, message.format);
    this.received.push(message);
    this.#untaken.push(message);
    if (message.t === 'hello' && !message.again && this.welcomes) this.welcome(message.connection);
    this.#waiters = this.#waiters.filter((seek) => !seek());
  }
}

export class Stand {
  readonly gateway: Gateway;
  readonly shards: FakeShard[] = [];
  readonly log: string[] = [];
  readonly port: number;
  readonly url: string;
  readonly #close: () => Promise<void>;

  constructor(gateway: Gateway, shards: number, port: number, log: string[], close: () => Promise<void>) {
    this.gateway = gateway;
    this.log = log;
    this.port = port;
    this.url = `ws://127.0.0.1:${port}/ws`;
    this.#close = close;
    for (let index = 0; index < shards; index++) this.attach(index);
  }

  get shard(): FakeShard {
    return this.shards[0] as FakeShard;
  }

  attach(index: number): FakeShard {
    const { port1, port2 } = new MessageChannel();
    const shard = new FakeShard(port2);
    this.shards[index] = shard;
    this.gateway.attachShard(index, port1);
    return shard;
  }

  connect(options: ClientOptions = {}): Promise<RawClient> {
    return RawClient.connect(this.url, { user: 'alice', pretended: true, ...options });
  }

  /** A client, and its number at the gateway. */
  async join(options: ClientOptions = {}): Promise<{ client: RawClient; number: ConnectionId }> {
    const client = await this.connect(options);
    const said = await Promise.race(this.shards.map((shard) => shard.next('hello')));
    return { client, number: said.connection };
  }

  async close(): Promise<void> {
    closeAllClients();
    closeAllSockets();
    await this.#close();
  }
}

export type StandOptions = { options?: HubOptions; shards?: number; clock?: Clock; authenticate?: Authenticator };

export async function stand({ options = {}, shards = 1, clock = systemClock, authenticate }: StandOptions = {}): Promise<Stand> {
  const filled = fillOptions({ dev: true, ...options });
  const lines: string[] = [];
  const log = (level: string, message: string, fields?: Fields) => void lines.push(`${level} ${message} ${JSON.stringify(fields ?? {})}`);
  const gateway = createGateway({ options: filled, clock, log, authenticate: authenticate ?? (await createAuthenticator(filled, clock, log)), shards });
  const server = createServer();
  server.on('upgrade', (request, socket, head) => gateway.upgrade(request, socket, head));
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  const close = async (): Promise<void> => {
    gateway.close();
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  };
  return new Stand(gateway, shards, (server.address() as AddressInfo).port, lines, close);
}
