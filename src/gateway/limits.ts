/**
 * How much a connection, and a user over all his connections, may ask for: commands, and what they cost (bytes times those
 * who get them). Asked by inbound.ts for every frame; what is refused takes nothing from any bucket. A user's buckets
 * outlive his connections for a while, so that coming back does not fill them.
 */
import { CodedError } from '../protocol/codes.ts';
import type { Header } from '../protocol/header.ts';
import type { WireLimits } from '../protocol/limits.ts';
import { dmName } from '../protocol/names.ts';
import { Bucket, Keyed, type Rate, type RateState } from '../thread/bucket.ts';
import type { Clock } from '../thread/clock.ts';
import { placeOf } from '../thread/placement.ts';
import type { Connection, Slot } from './connection.ts';
import type { Shards } from './shards.ts';

/** Users without a connection whose buckets are kept. */
const usersKept = 10_000;
const refusalsWindowMs = 60_000;

export type LimitOptions = {
  rateLimit: number;
  rateBurst: number;
  userRateLimit: number;
  userRateBurst: number;
  costLimit: number;
  costBurst: number;
  userCostLimit: number;
  userCostBurst: number;
  refusalsMax: number;
};

/** The buckets of one connection or one user. */
export class Allowance {
  readonly commands: Bucket;
  readonly cost: Bucket;
  constructor(rates: Rates, now: number) {
    this.commands = new Bucket(rates.commands, now);
    this.cost = new Bucket(rates.cost, now);
  }
}

/** The rates in force, as `welcome` tells them. */
export function ratesOf(options: LimitOptions): Pick<WireLimits, 'rateLimit' | 'userRateLimit' | 'costLimit' | 'userCostLimit'> {
  const { rateLimit, userRateLimit, costLimit, userCostLimit } = options;
  return rateLimit === 0 ? { rateLimit, userRateLimit: 0, costLimit: 0, userCostLimit: 0 } : { rateLimit, userRateLimit, costLimit, userCostLimit };
}

type Rates = { readonly commands: Rate; readonly cost: Rate };

/** Why a command is refused, and how the limit stands that it met. */
export class RateError extends CodedError {
  readonly rate: RateState;
  constructor(message: string, rate: RateState) {
    super('rate-limited', message);
    this.rate = rate;
  }
}

export class Limits {
  readonly #clock: Clock;
  readonly #shards: Shards;
  readonly #on: boolean;
  readonly #ofConnection: Rates;
  readonly #ofUser: Rates;
  readonly #refusals: Rate;
  readonly #users: Keyed<Allowance>;

  constructor(options: LimitOptions, clock: Clock, shards: Shards) {
    this.#clock = clock;
    this.#shards = shards;
    this.#on = options.rateLimit > 0;
    this.#ofConnection = {
      commands: { perSecond: options.rateLimit, burst: options.rateBurst },
      cost: { perSecond: options.costLimit, burst: options.costBurst },
    };
    this.#ofUser = {
      commands: { perSecond: options.userRateLimit, burst: options.userRateBurst },
      cost: { perSecond: options.userCostLimit, burst: options.userCostBurst },
    };
    this.#refusals = { perSecond: (options.refusalsMax * 1_000) / refusalsWindowMs, burst: options.refusalsMax };
    this.#users = new Keyed(() => new Allowance(this.#ofUser, clock.tick()), usersKept);
  }

  left(connection: Connection): void {
    if (connection.shared !== null) this.#users.release(connection.user);
    connection.shared = null;
  }

  /** Of a connection that asks for little, all buckets are full again within moments: they are let go of, for there are many such. */
  rest(connection: Connection): void {
    const { own, shared } = connection;
    if (own === null && shared === null) return;
    const now = this.#clock.tick();
    if (own !== null && isFull(own, this.#ofConnection, now)) connection.own = null;
    if (shared === null || !isFull(shared, this.#ofUser, now)) return;
    connection.shared = null;
    this.#users.release(connection.user, false);
  }

  /** Null: it may go on, and is paid for. */
  refuses(connection: Connection, header: Header, bytes: number): RateError | null {
    if (!this.#on) return null;
    const now = this.#clock.tick();
    connection.own ??= new Allowance(this.#ofConnection, now);
    // Before the welcome nobody's.
    if (connection.user !== '') connection.shared ??= this.#users.hold(connection.user);
    const { own, shared } = connection;
    const refusal = refusedBy(own, this.#ofConnection, now, 'this connection') ?? (shared && refusedBy(shared, this.#ofUser, now, 'this user'));
    if (refusal !== null) return refusal;
    const cost = bytes * this.#audience(connection, header);
    own.commands.tokens--;
    own.cost.tokens -= cost;
    if (shared !== null) {
      shared.commands.tokens--;
      shared.cost.tokens -= cost;
    }
    return null;
  }

  /** One more refusal; true when the connection goes on and on. */
  abused(connection: Connection): boolean {
    const now = this.#clock.tick();
    connection.refusals ??= new Bucket(this.#refusals, now);
    return !connection.refusals.take(this.#refusals, now);
  }

  /** To how many a command's bytes go, as far as this process knows: those who follow the room live here. */
  #audience(connection: Connection, { op, room, to }: Header): number {
    if (op === 'publish' && room !== undefined) return Math.max(1, followers(this.#slot(room)));
    if (op === 'direct' && to !== undefined) return Math.max(2, followers(this.#slot(dmName(connection.user, to))));
    return 1;
  }

  #slot(room: string): Slot | undefined {
    return this.#shards.all[placeOf(room, this.#shards.all.length)]?.named.get(room);
  }
}

function isFull({ commands, cost }: Allowance, rates: Rates, now: number): boolean {
  return commands.isFull(rates.commands, now) && cost.isFull(rates.cost, now);
}

function followers(slot: Slot | undefined): number {
  return slot === undefined ? 0 : slot.lists[0].length + slot.lists[1].length;
}

/** The cost of a command is known only when it is looked at closely, so the last one may overdraw; the debt is waited off. */
function refusedBy({ commands, cost }: Allowance, rates: Rates, now: number, whose: string): RateError | null {
  if (rates.commands.perSecond > 0) {
    commands.fill(rates.commands, now);
    if (commands.tokens < 1) return new RateError(`${whose} may send ${rates.commands.perSecond} commands a second`, commands.state(rates.commands));
  }
  if (rates.cost.perSecond > 0) {
    cost.fill(rates.cost, now);
    if (cost.tokens < 1) return new RateError(`${whose} may cause ${rates.cost.perSecond} bytes of deliveries a second`, cost.state(rates.cost));
  }
  return null;
}
