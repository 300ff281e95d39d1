/** The sweep of all connections in stepped time: heartbeats, stalls of the event loop, slow sockets, idleness. */
import type { Socket } from 'node:net';
import { beforeEach, describe, expect, it } from 'vitest';
import { Backend } from '../src/gateway/backend.ts';
import { Backlog } from '../src/gateway/backlog.ts';
import { Connection } from '../src/gateway/connection.ts';
import { Counters } from '../src/gateway/counters.ts';
import { Limits } from '../src/gateway/limits.ts';
import { Outbox } from '../src/gateway/outbox.ts';
import type { Peer } from '../src/gateway/peer.ts';
import { Pool } from '../src/gateway/pool.ts';
import { Routing } from '../src/gateway/routing.ts';
import { Shards } from '../src/gateway/shards.ts';
import { Sweep, type SweepTime } from '../src/gateway/sweep.ts';
import { fillOptions, type HubOptions } from '../src/options.ts';

/** A socket that takes what the test lets it take. */
class FakeSocket {
  on(): void {}
  writableLength = 0;
  bytesRead = 0;
  readonly written: Buffer[] = [];
  readonly _handle = { writeQueueSize: 0 };
  write(bytes: Buffer): void {
    this.written.push(bytes);
  }
  cork(): void {}
  uncork(): void {}
  get pings(): number {
    return this.written.filter((bytes) => bytes[0] === 0x89).length;
  }
}

class FakeWs {
  readyState = 1;
  ended: number | 'terminated' | null = null;
  close(code: number): void {
    this.readyState = 2;
    this.ended = code;
  }
  terminate(): void {
    this.readyState = 3;
    this.ended = 'terminated';
  }
  resume(): void {}
  pause(): void {}
}

let tick = 0;
const clock = { now: () => tick, tick: () => tick, random: () => 0 };

function setUp(given: HubOptions = {}) {
  tick = 0;
  const options = fillOptions({ dev: true, heartbeatMs: 10_000, heartbeatGraceMs: 5_000, slowMs: 30_000, ...given });
  const counters = new Counters();
  const shards = new Shards(1);
  const outbox = new Outbox(options, counters, () => {});
  const pool = new Pool(outbox, shards, counters);
  const time: SweepTime = { now: 0 };
  const backend = new Backend({ clock, shards, routing: new Routing(shards, options, counters), nextNumber: () => 1 });
  const backlog = new Backlog({ clock, log: () => {}, shards, limits: options, time, receive: () => {} });
  const rates = new Limits(options, clock, shards);
  const sweep = new Sweep({ options, clock, pool, outbox, shards, backend, rates, backlog, time });
  /** Lets time pass as sweeps on time see it. */
  const pass = (ms: number): void => {
    for (let end = tick + ms; tick < end; ) {
      tick = Math.min(end, tick + sweep.intervalMs);
      sweep.run();
    }
  };
  let last = 0;
  const add = () => {
    const ws = new FakeWs();
    const socket = new FakeSocket();
    const connection = new Connection(
      {
        number: ++last,
        id: `c${last}`,
        format: 'json',
        shards: 1,
        ws: ws as unknown as Peer<Connection>,
        socket: socket as unknown as Socket,
        address: '',
        bearer: null,
        openedAt: 0,
        now: time.now,
        helloTimeoutMs: options.helloTimeoutMs,
        pingAfterMs: options.heartbeatMs,
      },
      () => {},
    );
    connection.phase = { is: 'open' };
    pool.add(connection);
    return { ws, socket, connection };
  };
  return { sweep, pass, add, pool, outbox, counters };
}

let hub: ReturnType<typeof setUp>;
beforeEach(() => {
  hub = setUp();
});

describe('the sweep', () => {
  it('C5 pings who sent nothing for heartbeatMs, and closes who does not answer within heartbeatGraceMs', () => {
    const { ws, socket } = hub.add();
    hub.pass(9_000);
    expect(socket.pings).toBe(0);
    hub.pass(1_000);
    expect(socket.pings).toBe(1);
    hub.pass(4_000);
    expect(ws.ended).toBeNull();
    hub.pass(1_000);
    expect(ws.ended).toBe(4002);
    expect(hub.counters.closed.get('silent')).toBe(1);
  });

  it('any byte that comes in is a sign of life', () => {
    const { ws, socket } = hub.add();
    for (let turn = 0; turn < 20; turn++) {
      hub.pass(9_000);
      socket.bytesRead++;
    }
    expect(socket.pings).toBe(0);
    for (let turn = 0; turn < 20; turn++) {
      hub.pass(13_000); // pinged after 10 s, answers after 3 s
      socket.bytesRead += 6;
    }
    expect(socket.pings).toBe(20);
    expect(ws.ended).toBeNull();
  });

  it('after a stall of the event loop nobody is closed for what was not read meanwhile', () => {
    const all = Array.from({ length: 50 }, () => hub.add());
    hub.pass(10_000); // everybody is pinged
    tick += 60_000; // nothing runs; the answers wait in the kernel
    hub.sweep.run();
    expect(all.filter(({ ws }) => ws.ended !== null)).toEqual([]);
    for (const { socket } of all.slice(1)) socket.bytesRead += 6; // what a turn of the event loop brings
    hub.pass(5_000);
    expect(all.filter(({ ws }) => ws.ended !== null)).toEqual([all[0]]);
  });

  it('a socket is slow when its write queue does not move for slowMs, however long it is', () => {
    const dead = hub.add();
    const slow = hub.add();
    for (const { connection, socket } of [dead, slow]) {
      socket.writableLength = 1_000_000;
      socket._handle.writeQueueSize = 1_000_000;
      hub.outbox.send(connection, { op: 'x' });
      hub.outbox.finish(connection); // it notices that the socket is backed up
    }
    for (let turn = 0; turn < 29; turn++) {
      hub.pass(1_000);
      slow.socket._handle.writeQueueSize -= 100; // the kernel takes a little of one large write
    }
    expect(dead.ws.ended).toBeNull();
    hub.pass(2_000);
    expect([dead.ws.ended, slow.ws.ended]).toEqual(['terminated', null]);
  });

  it('a connection whose reading is paused by the hub is not expected to answer', () => {
    const { connection, ws } = hub.add();
    connection.pause('outbox');
    hub.pass(60_000);
    expect(ws.ended).toBeNull();
  });

  it('commands keep a connection from being idle, bytes do not', () => {
    hub = setUp({ idleMs: 20_000, heartbeatMs: 60_000 });
    const { connection, socket, ws } = hub.add();
    for (let turn = 0; turn < 19; turn++) {
      hub.pass(1_000);
      socket.bytesRead++;
    }
    expect(ws.ended).toBeNull();
    connection.commandAt += 19_000;
    hub.pass(19_000);
    expect(ws.ended).toBeNull();
    socket.bytesRead++;
    hub.pass(1_000);
    expect(ws.ended).toBe(4006);
  });

  it('H5 an expired token may be refreshed within its grace, and ends the connection after it', () => {
    hub = setUp({ refreshGraceMs: 3_000 });
    const { connection, ws } = hub.add();
    connection.expiresAt = 5_000;
    hub.pass(7_000);
    expect(ws.ended).toBeNull();
    hub.pass(1_000);
    expect(ws.ended).toBe(4005);
  });
});
