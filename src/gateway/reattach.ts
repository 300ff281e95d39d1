/**
 * The life of a shard's thread as sockets see it: none of them closes when it dies (DESIGN 2.10). Its commands are answered
 * so that clients repeat them; to its successor every connection is told again, with the positions its writes had reached.
 */
import type { MessagePort } from 'node:worker_threads';
import { encode } from '../protocol/codec.ts';
import type { Log } from '../thread/log.ts';
import { placeOf } from '../thread/placement.ts';
import type { Backend } from './backend.ts';
import type { Backlog } from './backlog.ts';
import type { Connection } from './connection.ts';
import type { Delivery } from './delivery.ts';
import type { Pool } from './pool.ts';
import type { Routing } from './routing.ts';
import type { Session } from './session.ts';
import type { Shards } from './shards.ts';

export type ReattachDeps = {
  log: Log;
  pool: Pool;
  shards: Shards;
  backend: Backend;
  routing: Routing;
  backlog: Backlog;
  session: Session;
  delivery: Delivery;
  /** The highest number that a connection was given. */
  lastNumber(): number;
};

export class Reattach {
  readonly #deps: ReattachDeps;

  constructor(deps: ReattachDeps) {
    this.#deps = deps;
  }

  attach(index: number, port: MessagePort): void {
    const { shards, pool, delivery, log } = this.#deps;
    const shard = shards.get(index);
    if (shard.link !== null) this.detach(index);
    shards.connect(shard, port, {
      batch: (from, list, arena) => delivery.batch(from, list, arena),
      closed: () => this.detach(index),
    });
    for (const connection of pool.connections.values()) this.#introduce(connection, index);
    if (shard.incarnations === 1) return;
    // What closed while it was away, or had its end under way in it, is still in the store.
    const left = [...pool.connections.values()].filter(({ phase }) => phase.is !== 'closed');
    shards.tell(index, { t: 'alive', through: this.#deps.lastNumber(), connections: left.map(({ number }) => number) });
    log('info', 'a shard is back', { shard: index, connections: left.length });
  }

  detach(index: number): void {
    const { shards, pool, backend, routing, session } = this.#deps;
    const shard = shards.get(index);
    const { link } = shard;
    if (link === null) return;
    shard.link = null;
    link.close();
    for (const connection of pool.connections.values()) {
      routing.lost(connection, index);
      if (connection.home === index) session.renewed(connection, 'restarted');
      if (connection.paced === null) continue;
      const others = connection.paced.filter((one) => one !== index);
      connection.paced = others.length > 0 ? others : null;
    }
    for (const service of backend.all) routing.lost(service, index);
    this.#deps.backlog.lost(shard);
    shard.slots.clear();
    shard.named.clear();
  }

  #introduce(connection: Connection, index: number): void {
    const { session, shards } = this.#deps;
    const { phase, home, number } = connection;
    if (home === index && (phase.is === 'open' || phase.is === 'draining' || (phase.is === 'opening' && phase.known))) {
      session.introduce(connection, shards.get(index).incarnations > 1 && phase.is === 'opening' ? true : undefined);
      if (connection.idle) shards.tell(index, { t: 'idle', connection: number, idle: true });
      if (connection.saidAway) shards.frame(connection, index, encode({ op: 'status', status: 'away' }, connection.format));
    }
    if (phase.is !== 'open' && phase.is !== 'draining') return;
    for (const { room, shard } of connection.rooms.values()) if (shard === index) session.follow(connection, room);
    const watched = [...connection.watches.keys()].filter((user) => placeOf(user, shards.all.length) === index);
    if (watched.length === 0) return;
    shards.open(connection, index);
    shards.tell(index, { t: 'watch', connection: number, users: watched });
  }
}
