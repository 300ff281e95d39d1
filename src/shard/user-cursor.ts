/**
 * How far one device of a user has acked its inbox; shared by the connections that named this device (or named none). The
 * inbox calls it with acks it has checked. One `ack` operation is on its way at a time, and what comes meanwhile goes as
 * one, so a client may ack every item without costing a commit each.
 */
import { CodedError } from '../protocol/codes.ts';
import type { Command } from '../protocol/commands.ts';
import type { Connection, Effects } from './actor.ts';
import { failure } from './kept.ts';

type Waiter = { readonly connection: Connection; readonly id: number | undefined; through: number };

/** `moved`: called after `acked` went up, before the ack is answered. */
type Owner = { moved(cursor: UserCursor, effects: Effects): void };

export class UserCursor {
  readonly device: string;
  /** As the store has it. */
  acked: number;
  /** Connections of this node that share it. */
  readers = 0;
  readonly #user: string;
  readonly #owner: Owner;
  #flying = false;
  /** Null: nobody, as with most. */
  #waiting: Waiter[] | null = null;

  constructor(user: string, device: string, acked: number, owner: Owner) {
    this.#user = user;
    this.device = device;
    this.acked = acked;
    this.#owner = owner;
  }

  ack(connection: Connection, { id, through }: Command<'ack'>, effects: Effects): void {
    if (through <= this.acked) {
      effects.reply(connection, id, { through });
      return;
    }
    this.#waiting ??= [];
    // Without an id there is nothing to answer, so only the newest of a connection matters.
    const silent = id === undefined ? this.#waiting.find((waiter) => waiter.id === undefined && waiter.connection === connection) : undefined;
    if (silent === undefined) this.#waiting.push({ connection, id, through });
    else silent.through = Math.max(silent.through, through);
    if (!this.#flying) this.#save(effects);
  }

  #save(effects: Effects): void {
    const waiters = this.#waiting ?? [];
    const through = waiters.reduce((highest, waiter) => Math.max(highest, waiter.through), 0);
    this.#waiting = null;
    this.#flying = true;
    const accepted = effects.commit({ type: 'ack', user: this.#user, device: this.device, through }, (outcome) => {
      this.#flying = false;
      const error = failure(outcome);
      if (error === null && through > this.acked) {
        this.acked = through;
        this.#owner.moved(this, effects);
      }
      for (const waiter of waiters) {
        if (error === null) effects.reply(waiter.connection, waiter.id, { through: waiter.through });
        else effects.refuse(waiter.connection, waiter.id, 'ack', error);
      }
      if (this.#waiting !== null) this.#save(effects);
    });
    if (accepted) return;
    this.#flying = false;
    for (const waiter of waiters) effects.refuse(waiter.connection, waiter.id, 'ack', new CodedError('busy'));
  }
}
