/**
 * What a shard's batch brings, in its order: ready frames for the subscribers of a room or for one connection, subscriptions
 * beginning and ending, and events. Decides who gets what by the state of the outboxes; outbox.ts does the writing.
 */
import { CodedError } from '../protocol/codes.ts';
import type { Log } from '../thread/log.ts';
import { type RoomKey, strides, type ToGateway, toGateway } from '../thread/messages.ts';
import type { Backend } from './backend.ts';
import type { Backlog } from './backlog.ts';
import type { Connection, Slot } from './connection.ts';
import type { Counters } from './counters.ts';
import { fieldsOf } from './frame.ts';
import type { Outbox } from './outbox.ts';
import type { Pool } from './pool.ts';
import type { Routing } from './routing.ts';
import type { Session } from './session.ts';
import type { Shard, Shards } from './shards.ts';
import { attach, detach, fallBehind, reached } from './subscriptions.ts';

export type DeliveryDeps = {
  log: Log;
  counters: Counters;
  outbox: Outbox;
  pool: Pool;
  shards: Shards;
  backend: Backend;
  routing: Routing;
  backlog: Backlog;
  session: Session;
  limits: { outboxSoftBytes: number; outboxBytesMax: number };
};

/** Connections that one flush may cut off while all outboxes together hold too much. */
const victimsMax = 8;
/** Those that fell behind still hold what was queued; more than this beyond the budget can only be answers and pages. */
const cutOffPressure = 1.25;

export class Delivery {
  readonly #deps: DeliveryDeps;

  constructor(deps: DeliveryDeps) {
    this.#deps = deps;
  }

  batch(shard: Shard, list: (number | ToGateway)[], arena: Buffer): void {
    const { outbox } = this.#deps;
    outbox.begin(arena);
    try {
      for (let i = 0; i < list.length; ) {
        const item = list[i];
        if (typeof item === 'number') i += this.#record(shard, list as number[], i, arena);
        else {
          this.#event(shard, item as ToGateway);
          i++;
        }
      }
    } finally {
      outbox.end();
    }
    if (outbox.pressure > 1) this.#relieve();
  }

  /** One record of numbers; returns how many they were. */
  #record(shard: Shard, list: number[], i: number, arena: Buffer): number {
    const kind = list[i] as keyof typeof strides;
    const a = list[i + 1] as number;
    const b = list[i + 2] as number;
    const c = list[i + 3] as number;
    const d = list[i + 4] as number;
    switch (kind) {
      case toGateway.deliver:
        this.#deliver(shard.slots.get(a), b, c, d, list[i + 5] as number, list[i + 6] as number);
        break;
      case toGateway.shed:
        this.#shed(shard.slots.get(a), b, c, d, list[i + 5] as number);
        break;
      case toGateway.reply:
        this.#reply(shard, a, b, arena, c, d);
        break;
      case toGateway.page:
        this.#page(shard, a, b, c, d === 1);
        break;
      case toGateway.attach:
        this.#attach(shard.slots.get(a), b, c, d === 1, list[i + 5] as number);
        break;
      case toGateway.detach:
        this.#detach(shard.slots.get(a), b);
        break;
      case toGateway.reached:
        this.#reached(shard.slots.get(a), b, c);
        break;
      default:
        throw new Error(`shard ${shard.index} sent a record of unknown kind ${String(kind)}`);
    }
    return strides[kind];
  }

  #deliver(slot: Slot | undefined, format: number, firstSeq: number, lastSeq: number, from: number, length: number): void {
    if (slot === undefined) return;
    const { outbox, counters, limits } = this.#deps;
    const list = slot.lists[format as 0 | 1];
    const entries = lastSeq - firstSeq + 1;
    for (let k = 0; k < list.length; k++) {
      const connection = list[k] as Connection;
      if (outbox.exceeds(connection, limits.outboxBytesMax)) {
        this.#behind(connection, slot, firstSeq - 1, lastSeq);
        if (list[k] !== connection) k--; // the last has taken its place
        continue;
      }
      outbox.put(connection, from, length);
      counters.deliveries += entries;
      counters.framesOut += entries;
    }
    if (lastSeq > slot.lastSeq) slot.lastSeq = lastSeq;
  }

  #shed(slot: Slot | undefined, format: number, except: number, from: number, length: number): void {
    if (slot === undefined) return;
    const { outbox, counters, limits } = this.#deps;
    for (const connection of slot.lists[format as 0 | 1]) {
      if (connection.number === except) continue;
      if (outbox.exceeds(connection, limits.outboxSoftBytes)) {
        counters.shed++;
        continue;
      }
      outbox.put(connection, from, length);
      counters.framesOut++;
    }
  }

  #reply(shard: Shard, number: number, id: number, arena: Buffer, from: number, length: number): void {
    const { pool, backend, routing, outbox, counters } = this.#deps;
    const connection = pool.connections.get(number);
    if (connection !== undefined) {
      if (!routing.answered(connection, shard.index, id, arena, from, length)) return;
      outbox.put(connection, from, length);
      counters.framesOut++;
      return;
    }
    const service = backend.get(number);
    if (service !== undefined && routing.answered(service, shard.index, id, arena, from, length))
      service.answer(fieldsOf(arena.subarray(from, from + length), service.format));
  }

  #page(shard: Shard, number: number, from: number, length: number, paced: boolean): void {
    const { pool, outbox, counters } = this.#deps;
    const connection = pool.connections.get(number);
    if (connection === undefined || connection.phase.is === 'closed') return;
    if (paced) connection.paced = [...(connection.paced ?? []), shard.index];
    outbox.put(connection, from, length);
    counters.framesOut++;
  }

  #attach(slot: Slot | undefined, number: number, fromSeq: number, presence: boolean, attachment: number): void {
    const connection = this.#deps.pool.connections.get(number);
    // A late attach of a connection that has closed meanwhile is ignored; the shard hears of the close.
    if (slot !== undefined && connection !== undefined && connection.phase.is !== 'closed') attach(connection, slot, fromSeq, presence, attachment);
  }

  #detach(slot: Slot | undefined, number: number): void {
    const connection = this.#deps.pool.connections.get(number);
    if (slot !== undefined && connection !== undefined) detach(connection, slot.room);
  }

  #reached(slot: Slot | undefined, number: number, seq: number): void {
    const connection = this.#deps.pool.connections.get(number);
    if (slot !== undefined && connection !== undefined) reached(connection, slot.room, seq);
  }

  #behind(connection: Connection, slot: Slot, lastSeq: number, head: number): void {
    const attachment = fallBehind(connection, slot, lastSeq);
    if (attachment === 0) return;
    this.#deps.counters.behind++;
    connection.answer({ op: 'behind', room: slot.room, head });
    this.#deps.shards.tell(slot.shard, { t: 'behind', connection: connection.number, roomKey: slot.roomKey, attachment, lastSeq });
  }

  #introduce(shard: Shard, { roomKey, room }: ToGateway & { t: 'room' }): void {
    const slot: Slot = { roomKey, room, shard: shard.index, lastSeq: 0, lists: [[], []] };
    shard.slots.set(roomKey, slot);
    shard.named.set(room, slot);
  }

  #event(shard: Shard, message: ToGateway): void {
    const { pool, session, routing, backend, log } = this.#deps;
    switch (message.t) {
      case 'room':
        this.#introduce(shard, message);
        return;
      case 'probed':
        this.#deps.backlog.answered(shard);
        return;
      case 'forget':
        forget(shard, message.roomKey);
        return;
      case 'welcome': {
        const connection = pool.connections.get(message.connection);
        if (connection !== undefined) session.welcome(connection, message);
        return;
      }
      case 'refuse': {
        const connection = pool.connections.get(message.connection);
        if (connection !== undefined) session.refuse(connection, message.close);
        return;
      }
      case 'renewed': {
        const connection = pool.connections.get(message.connection);
        if (connection !== undefined) session.renewed(connection, message.refused);
        return;
      }
      case 'evict':
        for (const number of message.connections) {
          const connection = pool.connections.get(number);
          if (connection !== undefined) pool.close(connection, message.close, true);
        }
        return;
      case 'part': {
        const sender = pool.connections.get(message.connection) ?? backend.get(message.connection);
        const error = message.error === undefined ? null : new CodedError(message.error.code, message.error.message);
        if (sender !== undefined) routing.part(sender, shard.index, message.id, message.part, error);
        return;
      }
      default: {
        const unknown: { t: unknown } = message satisfies never;
        // Its kind alone: the rest may be what people wrote.
        log('error', 'a shard sent what the gateway does not know', { shard: shard.index, kind: unknown.t });
      }
    }
  }

  /** All outboxes together hold too much: the largest get no more copies, and where that does not help, one is cut off. */
  #relieve(): void {
    const { outbox, pool } = this.#deps;
    const largest = [...outbox.backed].sort((a, b) => b.socket.writableLength - a.socket.writableLength).slice(0, victimsMax);
    let cut = false;
    for (const connection of largest) {
      const live = [...connection.rooms.values()].flatMap(({ state }) => (state.is === 'live' ? [state.slot] : []));
      for (const slot of live) this.#behind(connection, slot, slot.lastSeq, slot.lastSeq);
      cut = cut || live.length > 0;
    }
    const first = largest[0];
    if (!cut && first !== undefined && outbox.pressure > cutOffPressure) pool.terminate(first);
  }
}

/** A room that is active again has a new key, and may have been introduced by it before. */
function forget(shard: Shard, roomKey: RoomKey): void {
  const slot = shard.slots.get(roomKey);
  shard.slots.delete(roomKey);
  if (slot !== undefined && shard.named.get(slot.room) === slot) shard.named.delete(slot.room);
}
