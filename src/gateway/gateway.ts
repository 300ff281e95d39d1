/**
 * The gateway put together: the main-thread part that owns sockets. The composition root hands it the HTTP server's upgrades
 * and the ports to the shards; the backend API sends its commands through it. Knows rooms by name only.
 */
import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import type { MessagePort } from 'node:worker_threads';
import { type FilledOptions, OptionError } from '../options.ts';
import type { CloseReason } from '../protocol/codes.ts';
import type { WireLimits } from '../protocol/limits.ts';
import type { Clock } from '../thread/clock.ts';
import type { Log } from '../thread/log.ts';
import type { ConnectionId } from '../thread/messages.ts';
import type { Authenticator } from './authenticate.ts';
import { Backend, type Principal } from './backend.ts';
import { Backlog } from './backlog.ts';
import type { Connection } from './connection.ts';
import { type ConnectionInfo, Counters, type GatewayStats } from './counters.ts';
import { Delivery } from './delivery.ts';
import { drain } from './drain.ts';
import { Inbound } from './inbound.ts';
import { Limits, ratesOf } from './limits.ts';
import { Outbox } from './outbox.ts';
import { Pool } from './pool.ts';
import { Reattach } from './reattach.ts';
import { Routing } from './routing.ts';
import { Session } from './session.ts';
import { Shards } from './shards.ts';
import { Sweep, type SweepTime } from './sweep.ts';
import { Upgrade } from './upgrade.ts';

export type GatewayDeps = { options: FilledOptions; clock: Clock; log: Log; authenticate: Authenticator; shards: number };

export interface Gateway {
  /** For the HTTP server's `upgrade` event; owns the socket from then on. */
  upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void;
  /** A thread of the shard is there: connections that it should know are opened again, and their rooms followed from where the last thread's writes ended. */
  attachShard(index: number, port: MessagePort): void;
  /** It is gone: what it had under way is answered `restarted`, and commands for it `busy` until the next one is attached. */
  detachShard(index: number): void;
  /** One command of the backend API; resolves to its answer, errors included. */
  command(principal: Principal, command: Record<string, unknown>): Promise<Record<string, unknown>>;
  connectionsOf(user: string): ConnectionInfo[];
  /** Of a socket or a service; null: it is gone. */
  userOf(number: ConnectionId): string | null;
  /** Closes one connection of the user (by its string id) or all; returns how many. */
  disconnect(user: string, connection?: string): number;
  stats(): GatewayStats;
  /** Shards that cannot keep up at present. */
  overloaded(): number[];
  /** Takes no more, tells everybody, waits for what is under way, closes; done within about `ms`. */
  drain(ms: number): Promise<void>;
  /** At once, without goodbye; ends the links as well. */
  close(): void;
}

export function createGateway(deps: GatewayDeps): Gateway {
  const { options, clock } = deps;
  if (!options.dev && options.origins.length === 0) throw new OptionError('origins', 'without --dev it must name the origins that browsers may connect from');
  const { backend, backlog, counters, outbox, pool, reattach, shards, sweep, time, upgrade } = composeGateway(deps);
  const timer = setInterval(() => sweep.run(), sweep.intervalMs);

  return {
    upgrade: (request, socket, head) => upgrade.handle(request, socket, head),
    attachShard: (index, port) => reattach.attach(index, port),
    detachShard: (index) => reattach.detach(index),
    command: (principal, command) => backend.command(principal, command),
    connectionsOf: (user) => [...pool.of(user)].map((connection) => pool.describe(connection, time.now)),
    userOf: (number) => (pool.connections.get(number) ?? backend.get(number))?.user ?? null,
    disconnect: (user, id) => disconnect(pool, user, id, 'disconnected'),
    stats: () => stats(counters, pool, outbox, shards, backend, backlog),
    overloaded: () => backlog.overloaded,
    drain: async (ms) => {
      await drain({ clock, pool, backend, upgrade }, ms);
      clearInterval(timer);
      backend.close();
    },
    close: () => {
      clearInterval(timer);
      upgrade.draining = true;
      backend.close();
      for (const connection of [...pool.connections.values()]) pool.terminate(connection);
      for (const shard of shards.all) {
        const { link } = shard;
        shard.link = null;
        link?.close();
      }
    },
  };
}

/** The parts and what each knows of the others, without a timer: who makes them runs the sweep. */
export function composeGateway(deps: GatewayDeps, firstNumber = 1) {
  const { options, clock, log } = deps;
  const counters = new Counters();
  const time: SweepTime = { now: 0 };
  const shards = new Shards(deps.shards);
  const outbox = new Outbox(options, counters, (connection, shard) => shards.tell(shard, { t: 'drained', connection: connection.number }));
  const pool = new Pool(outbox, shards, counters);
  const routing = new Routing(shards, options, counters);
  const backlog = new Backlog({ clock, log, shards, limits: options, time, receive: (connection, bytes) => inbound.held(connection, bytes) });
  const rates = new Limits(options, clock, shards);
  let lastNumber = firstNumber - 1;
  const nextNumber = (): number => ++lastNumber;
  const { frameBytesMax, bodyBytesMax, subscriptionsMax, openCommandsMax } = options;
  const limits: WireLimits = { frameBytesMax, bodyBytesMax, subscriptionsMax, openCommandsMax, ...ratesOf(options) };
  const session = new Session({
    authenticate: deps.authenticate,
    clock,
    log,
    pool,
    shards,
    limits,
    heartbeatMs: options.heartbeatMs,
    receive: (connection, bytes) => inbound.held(connection, bytes),
  });
  const inbound = new Inbound({ clock, log, counters, outbox, pool, shards, routing, session, backlog, limits: options, rates, time });
  const backend = new Backend({ clock, shards, routing, nextNumber });
  const delivery = new Delivery({ log, counters, outbox, pool, shards, backend, routing, session, backlog, limits: options });
  const upgrade = new Upgrade({ options, clock, log, counters, pool, outbox, inbound, limits: rates, shards: deps.shards, time, nextNumber });
  const reattach = new Reattach({ log, pool, shards, backend, routing, session, backlog, delivery, lastNumber: () => lastNumber });
  const sweep = new Sweep({ options, clock, pool, outbox, shards, backend, rates, backlog, time });
  return { backend, backlog, counters, inbound, nextNumber, outbox, pool, reattach, shards, sweep, time, upgrade };
}

function disconnect(pool: Pool, user: string, id: string | undefined, reason: CloseReason): number {
  const victims: Connection[] = [...pool.of(user)].filter((connection) => id === undefined || connection.id === id);
  for (const connection of victims) pool.close(connection, reason, true);
  return victims.length;
}

function stats(counters: Counters, pool: Pool, outbox: Outbox, shards: Shards, backend: Backend, backlog: Backlog): GatewayStats {
  const { closed, rejected, ...counts } = counters;
  return {
    ...counts,
    connections: pool.size,
    connectionsPeak: pool.peak,
    states: pool.states(),
    users: pool.users,
    perUserPeak: pool.perUserPeak,
    rejected: { ...rejected },
    closed: Object.fromEntries(closed),
    evicted: (closed.get('evicted') ?? 0) + (closed.get('replaced') ?? 0),
    backed: outbox.backed.size,
    outboxBytes: outbox.total,
    commandsOpen: pool.commandsOpen() + backend.open,
    serviceConnections: backend.size,
    held: backlog.heldConnections,
    heldBytes: backlog.heldBytes,
    queueMs: backlog.queueMs,
    overloaded: backlog.overloaded.length,
    linkDepth: shards.all.map(({ link }) => link?.items ?? null),
  };
}
