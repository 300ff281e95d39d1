/**
 * This process among those that share the file: its lease, its writer's token, the current epoch, and the sweeping of nodes
 * that are gone (DESIGN 11.1, 11.5, 11.21). Called within the writer's transactions.
 */
import { hostname } from 'node:os';
import type { Statement } from 'better-sqlite3';
import { v7 } from 'uuid';
import { type Db, SupersededError } from './sqlite-open.ts';

const leaseMs = 15_000;
const renewMs = 5_000;

export type NodeRow = { id: string; host: string; pid: number; process: number; renewedAt: number; leaseUntil: number };

/** Takes the next writer's token for `node`, and begins an epoch where no other node lives. One transaction of the caller's. */
export function register(db: Db, node: string, ts: number): { token: number; epoch: string } {
  const token = db
    .prepare<[], number>("insert into meta (key, value) values ('writer', 1) on conflict (key) do update set value = value + 1 returning value")
    .pluck()
    .get() as number;
  const rows = nodesOf(db);
  const known = rows.some((row) => row.id === node);
  const others = rows.filter((row) => row.id !== node);
  const dead = others.filter((row) => !lives(row, ts));
  sweep(db, dead);
  if (!known && dead.length === others.length) {
    // Connections of nodes that are not even in the table any more.
    db.prepare('delete from connections where node <> ?').run(node);
    beginEpoch(db, ts);
    endPresence(
      db,
      dead.reduce((latest, row) => Math.max(latest, row.renewedAt), 0),
    );
  }
  write(db, node, token, ts);
  return { token, epoch: db.prepare<[], string>('select name from epochs order by id desc limit 1').pluck().get() as string };
}

/** From here on entries belong to another life of the data. */
export function beginEpoch(db: Db, ts: number): string {
  const name = v7();
  db.prepare('insert into epochs (name, first_entry, started_at) select ?, coalesce(max(id), 0) + 1, ? from entries').run(name, ts);
  return name;
}

/** Nodes that may be writing. */
export function livingNodes(db: Db, ts: number): NodeRow[] {
  return nodesOf(db).filter((row) => lives(row, ts));
}

/** For a copy of the file: nobody of the original is connected to it. */
export function sweepAll(db: Db): void {
  const nodes = nodesOf(db);
  db.exec('delete from connections; delete from nodes');
  endPresence(
    db,
    nodes.reduce((latest, row) => Math.max(latest, row.renewedAt), 0),
  );
}

/** The lease and the token of the opened node, watched by each transaction. */
export class Lease {
  readonly #db: Db;
  readonly #node: string;
  readonly #token: number;
  readonly #version: Statement<[], number>;
  readonly #writer: Statement<[string], number>;
  #seen = -1;
  /** By the clock, which may go back. What the table has is not known to a new connection. */
  #renewed = Number.NEGATIVE_INFINITY;

  constructor(db: Db, node: string, token: number) {
    this.#db = db;
    this.#node = node;
    this.#token = token;
    this.#version = db.prepare<[], number>('pragma data_version').pluck();
    this.#writer = db.prepare<[string], number>('select writer from nodes where id = ?').pluck();
  }

  /** True where another connection has written since the last call. Throws for good where this writer has a successor. */
  foreignWrite(ts: number): boolean {
    const version = this.#version.get() as number;
    if (version === this.#seen) return false;
    const writer = this.#writer.get(this.#node);
    // Another node took this one for dead while it was stopped, and swept it.
    if (writer === undefined) {
      write(this.#db, this.#node, this.#token, ts);
      this.#renewed = Number.NEGATIVE_INFINITY; // once more: this transaction may be taken back
    } else if (writer !== this.#token) throw new SupersededError('another writer of this node has taken over');
    this.#seen = version; // not before: a superseded writer stays so
    return true;
  }

  /** Keeps the lease, and sweeps nodes whose lease ran out. `ts`: the clock as it is, which others judge the lease by. */
  renew(ts: number): void {
    if (Math.abs(ts - this.#renewed) < renewMs) return;
    this.#renewed = ts;
    write(this.#db, this.#node, this.#token, ts);
    const dead = nodesOf(this.#db).filter((row) => row.id !== this.#node && !lives(row, ts));
    if (dead.length === 0) return;
    sweep(this.#db, dead);
    endPresence(this.#db, ts);
  }

  /** The last thing a node does. */
  leave(ts: number): void {
    this.#db.prepare('delete from connections where node = ?').run(this.#node);
    this.#db.prepare('delete from nodes where id = ?').run(this.#node);
    endPresence(this.#db, ts);
  }
}

function nodesOf(db: Db): NodeRow[] {
  return db.prepare<[], NodeRow>('select id, host, pid, process, renewed_at as renewedAt, lease_until as leaseUntil from nodes').all();
}

function write(db: Db, node: string, token: number, ts: number): void {
  db.prepare('insert or replace into nodes (id, writer, host, pid, process, renewed_at, lease_until) values (?, ?, ?, ?, ?, ?, ?)').run(
    node,
    token,
    hostname(),
    process.pid,
    performance.timeOrigin,
    ts,
    ts + leaseMs,
  );
}

/** By its lease; on this host also by its process, so that a restart after a crash need not wait for the lease. */
function lives(row: NodeRow, ts: number): boolean {
  // A lease further off than any can be: the clock was wrong when it was written.
  if (row.leaseUntil < ts || row.leaseUntil > ts + 2 * leaseMs) return false;
  if (row.host !== hostname()) return true;
  if (row.pid === process.pid) return row.process === performance.timeOrigin;
  try {
    process.kill(row.pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

function sweep(db: Db, dead: readonly NodeRow[]): void {
  const connections = db.prepare('delete from connections where node = ?');
  const node = db.prepare('delete from nodes where id = ?');
  for (const { id } of dead) {
    connections.run(id);
    node.run(id);
  }
}

/** Nobody is present without a connection; the time is the last at which somebody can have been. */
function endPresence(db: Db, ts: number): void {
  db.prepare(
    'update presence set status = 2, last_seen = max(last_seen, ?) where status <> 2 and not exists (select 1 from connections c where c.user = presence.user and c.closing is null)',
  ).run(ts);
}
