/** Rate limits in stepped time: of connections, of users over all their connections, by cost; and that coming back fills no bucket. */
import { beforeEach, describe, expect, it } from 'vitest';
import type { Connection } from '../src/gateway/connection.ts';
import { type LimitOptions, Limits, type RateError } from '../src/gateway/limits.ts';
import { Shards } from '../src/gateway/shards.ts';
import type { Header } from '../src/protocol/header.ts';
import { Bucket, Keyed } from '../src/thread/bucket.ts';

let tick = 0;
const clock = { now: () => 0, tick: () => tick, random: () => 0 };
const shards = new Shards(1);
const off = { perSecond: 0, burst: 1 };
const given: LimitOptions = {
  rateLimit: 100,
  rateBurst: 100,
  userRateLimit: off.perSecond,
  userRateBurst: off.burst,
  costLimit: off.perSecond,
  costBurst: off.burst,
  userCostLimit: off.perSecond,
  userCostBurst: off.burst,
  refusalsMax: 10,
};
const publish: Header = { op: 'publish', id: 1, room: 'r', to: undefined, as: undefined, mid: undefined };

let limits: Limits;
/** Starts anew with these options. */
function use(options: Partial<LimitOptions>): void {
  limits = new Limits({ ...given, ...options }, clock, shards);
}
function join(user: string): Connection {
  return { user, own: null, shared: null, refusals: null } as unknown as Connection;
}
function accepts(connection: Connection, bytes = 100, header = publish): boolean {
  return limits.refuses(connection, header, bytes) === null;
}
/** What is accepted of these connections when each tries as often as it can for so long. */
function flood(connections: readonly Connection[], ms: number, bytes?: number): number {
  let accepted = 0;
  for (const end = tick + ms; tick < end; tick += 10) for (const connection of connections) while (accepts(connection, bytes)) accepted++;
  return accepted;
}
/** So many live followers of the room. */
function followers(count: number): void {
  const list = new Array<Connection>(count).fill({} as Connection);
  shards.get(0).named.set('r', { roomKey: 1, room: 'r', shard: 0, lastSeq: 0, lists: [list, []] });
}

beforeEach(() => {
  tick = 0;
  followers(0);
  use({});
});

describe('the rates', () => {
  it('R8 of a connection are kept over a long time, however fast it tries', () => {
    const one = join('alice');
    const accepted = flood([one], 10_000);
    expect(accepted).toBeGreaterThanOrEqual(1_000);
    expect(accepted).toBeLessThanOrEqual((100 + 100 * 10) * 1.1);
    // Silence fills one bucket, not more.
    tick += 3_600_000;
    expect(flood([one], 10)).toBe(100);
  });

  it('R8 of a user hold over fifty sockets', () => {
    use({ userRateLimit: 200, userRateBurst: 200 });
    const sockets = Array.from({ length: 50 }, () => join('alice'));
    expect(flood(sockets, 10_000)).toBeLessThanOrEqual((200 + 200 * 10) * 1.1);
  });

  it('R8 what was used up counts until it is full again, and then takes no memory', () => {
    use({ userRateLimit: 10, userRateBurst: 100 });
    const one = join('alice');
    expect(flood([one], 10)).toBe(100);
    tick += 1_000;
    limits.rest(one);
    expect([one.own, one.shared === null]).toEqual([null, false]); // ten a second fill the user's in ten seconds, not in one
    expect(flood([one], 10)).toBe(10);
    tick += 10_000;
    limits.rest(one);
    expect([one.own, one.shared]).toEqual([null, null]);
    expect(flood([one, join('alice')], 10)).toBe(100);
  });

  it('R8 of a user are not filled by coming back', () => {
    use({ userRateLimit: 10, userRateBurst: 50 });
    let accepted = 0;
    for (let round = 0; round < 100; round++) {
      const connection = join('alice');
      accepted += flood([connection], 10);
      limits.left(connection);
    }
    expect(accepted).toBeLessThanOrEqual((50 + 10) * 1.1);
  });

  it('R8 of a user are nobody else’s', () => {
    use({ userRateLimit: 10, userRateBurst: 10 });
    flood([join('loud')], 1_000);
    expect(flood([join('calm')], 10)).toBe(10);
  });

  it('R8 of cost count the bytes once for everybody who follows the room', () => {
    use({ rateLimit: 1_000_000, rateBurst: 1_000_000, costLimit: 1_000_000, costBurst: 1_000_000 });
    followers(10_000);
    const accepted = flood([join('alice')], 10_000, 100);
    expect(accepted).toBeLessThanOrEqual(11 * 1.1); // each costs 1,000,000
    expect(accepted).toBeGreaterThanOrEqual(10);
    followers(10);
    expect(flood([join('bob')], 1_000, 100)).toBeGreaterThan(1_000);
    // To read costs what was sent.
    expect(accepts(join('carol'), 100, { ...publish, op: 'history' })).toBe(true);
  });

  it('R8 of cost hold for a user over all his connections, what overdraws is waited off', () => {
    use({ userCostLimit: 1_000, userCostBurst: 1_000 });
    followers(1_000);
    expect(accepts(join('alice'), 10)).toBe(true); // 10,000: nine seconds of debt
    const second = join('alice');
    expect(limits.refuses(second, publish, 10)?.rate).toEqual({ limit: 1_000, remaining: 0, resetMs: 10_000, retryAfterMs: 9_001 });
    tick += 9_000;
    expect(accepts(second)).toBe(false);
    tick += 2;
    expect(accepts(second)).toBe(true);
  });

  it('R8 a refusal says how the limit stands and takes nothing', () => {
    use({ userRateLimit: 10, userRateBurst: 20 });
    const connection = join('alice');
    expect(flood([connection], 10)).toBe(20);
    const refusal = limits.refuses(connection, publish, 100) as RateError;
    expect(refusal.code).toBe('rate-limited');
    expect(refusal.rate).toEqual({ limit: 10, remaining: 0, resetMs: 1_990, retryAfterMs: 90 });
    for (let i = 0; i < 1_000; i++) limits.refuses(connection, publish, 100);
    tick += refusal.rate.retryAfterMs;
    expect(accepts(connection)).toBe(true);
  });

  it('R8 refusals on and on are abuse, those of one burst are not', () => {
    const connection = join('alice');
    for (let i = 0; i < 10; i++) expect(limits.abused(connection)).toBe(false);
    expect(limits.abused(connection)).toBe(true);
    tick += 60_000;
    for (let i = 0; i < 10; i++) expect(limits.abused(connection)).toBe(false);
  });

  it('R8 rateLimit 0 ends all of them', () => {
    use({ rateLimit: 0, userRateLimit: 1, costLimit: 1 });
    const connection = join('alice');
    for (let i = 0; i < 1_000; i++) expect(accepts(connection)).toBe(true);
    expect(connection.own).toBeNull();
  });
});

describe('a bucket', () => {
  it('is not filled by a clock that stands or goes back', () => {
    const rate = { perSecond: 1_000, burst: 1 };
    const bucket = new Bucket(rate, 100);
    expect(bucket.take(rate, 100)).toBe(true);
    for (const now of [100, 50, -1_000]) expect(bucket.take(rate, now)).toBe(false);
    expect(bucket.take(rate, 101)).toBe(true);
  });
});

describe('what is kept by key', () => {
  it('stays while it is held, and of the rest so many, the oldest forgotten', () => {
    let made = 0;
    const keyed = new Keyed(() => ({ number: ++made }), 2);
    const passing = (key: string): number => {
      const { number } = keyed.hold(key);
      keyed.release(key);
      return number;
    };
    const held = keyed.hold('a');
    for (const key of ['b', 'c', 'd', 'e']) passing(key);
    expect(keyed.size).toBe(3);
    expect(passing('d')).toBe(4);
    expect(passing('b')).toBe(6);
    expect(keyed.hold('a')).toBe(held);
    keyed.release('a');
    // Still held once: others push it out no more than before.
    for (const key of ['f', 'g', 'h']) passing(key);
    expect(passing('a')).toBe(held.number);
    keyed.release('a');
    keyed.release('a');
    expect(passing('a')).toBe(held.number);
  });
});
