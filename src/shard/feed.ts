/**
 * Turns to send a page. A connection has one turn at a time, which ends when the gateway says that the page has drained; all
 * connections together have a bounded number. So a replay goes at the pace of its socket, and a crowd coming back costs
 * bounded memory and bounded reads (DESIGN 11.11). A page that does not drain within a tick or two goes on without counting,
 * so that slow sockets do not keep the others waiting; the gateway's outboxes bound what they hold.
 */
import type { Connection } from './actor.ts';

const turnsMax = 64;

/** `ticks`: how many have passed since the page was sent; null: none is on its way. `counts`: the turn is one of the bounded number. */
type Queue = { turns: (() => void)[]; busy: boolean; counts: boolean; ticks: number | null };

export class Feed {
  readonly #queues = new Map<Connection, Queue>();
  /** Connections with a turn to take and none under way, in order of arrival. */
  #ready: Connection[] = [];
  #busy = 0;
  #granting = false;

  ask(connection: Connection, turn: () => void): void {
    let queue = this.#queues.get(connection);
    if (queue === undefined) {
      queue = { turns: [], busy: false, counts: false, ticks: null };
      this.#queues.set(connection, queue);
    }
    queue.turns.push(turn);
    if (!queue.busy && queue.turns.length === 1) this.#ready.push(connection);
    this.#grant();
  }

  /** The page of the connection's turn has drained, or the turn was given back unused. */
  done(connection: Connection): void {
    const queue = this.#queues.get(connection);
    if (queue === undefined || !queue.busy) return;
    queue.busy = false;
    this.#uncount(queue);
    if (queue.turns.length > 0) this.#ready.push(connection);
    else this.#queues.delete(connection);
    this.#grant();
  }

  /** The connection is gone: its turns are dropped. */
  drop(connection: Connection): void {
    const queue = this.#queues.get(connection);
    if (queue === undefined) return;
    this.#queues.delete(connection);
    this.#uncount(queue);
    this.#grant();
  }

  /** The page of the connection's turn is on its way. */
  sent(connection: Connection): void {
    const queue = this.#queues.get(connection);
    if (queue?.busy) queue.ticks = 0;
  }

  /** About once a second. */
  tick(): void {
    for (const queue of this.#queues.values()) if (queue.counts && queue.ticks !== null && ++queue.ticks > 1) this.#uncount(queue);
    this.#grant();
  }

  get busy(): number {
    return this.#busy;
  }

  #uncount(queue: Queue): void {
    if (queue.counts) this.#busy--;
    queue.counts = false;
  }

  // A turn may end at once and ask again; the flag keeps that from growing the stack.
  #grant(): void {
    if (this.#granting) return;
    this.#granting = true;
    while (this.#busy < turnsMax && this.#ready.length > 0) {
      const connection = this.#ready.shift() as Connection;
      const queue = this.#queues.get(connection);
      const turn = queue?.turns.shift();
      if (queue === undefined || turn === undefined || queue.busy) continue;
      queue.busy = true;
      queue.counts = true;
      queue.ticks = null;
      this.#busy++;
      turn();
    }
    this.#granting = false;
  }
}
