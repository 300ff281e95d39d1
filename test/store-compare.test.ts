/** SQLite against the model: any sequence of operations, upkeep and restarts has the same outcomes and leaves the same data. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { SqliteStore } from '../src/persistence/sqlite.ts';
import { check } from '../src/persistence/sqlite-check.ts';
import { type Db, type OpenDatabase, openDatabase } from '../src/persistence/sqlite-open.ts';
import { SqliteReader } from '../src/persistence/sqlite-reader.ts';
import type { StoreOptions, StoreReader } from '../src/persistence/store.ts';
import type { Change, MessageAppend, Operation, ReadQuery } from '../src/thread/messages.ts';
import { nearBorder, silent, steppedClock } from './sqlite-setup.ts';
import { changing, connect, day, defaults, direct, message, mid, shortDirect, startTs } from './store-contract.ts';
import { StoreModel } from './store-model.ts';

/** An operation whose `authSeq` is the room's (or, where it is to be stale, is not) by the time it is sent. */
type Late = (authSeqOf: (room: string) => number) => MessageAppend | Operation;
type Step = { is: 'batch'; operations: Late[] } | { is: 'maintain' } | { is: 'wait'; ms: number } | { is: 'reopen' } | { is: 'border'; left: number };

const users = ['a', 'b', 'c'];
const rooms = ['r', 's', 'dm:a:b', 'all:'];
const user = fc.constantFrom(...users);
const room = fc.constantFrom('r', 's');
const device = fc.constantFrom('phone', 'tablet', 'watch');
const anyMid = fc.option(fc.integer({ min: 1, max: 8 }).map(mid), { nil: null });
const body = fc.integer({ min: 2, max: 60 }).map((length) => JSON.stringify('x'.repeat(length - 2)));
const small = fc.integer({ min: 0, max: 12 });
const off = fc.constantFrom(0, 0, 0, 0, 1);

const change: fc.Arbitrary<Change> = fc.oneof(
  fc.record({
    type: fc.constant('create' as const),
    settings: fc.record({ title: fc.constantFrom('T', 'U'), visibility: fc.constantFrom('public' as const, 'private' as const) }, { requiredKeys: [] }),
    owner: fc.option(user, { nil: null }),
  }),
  fc.record({ type: fc.constant('settings' as const), settings: fc.record({ title: fc.constant('V'), listed: fc.boolean() }, { requiredKeys: [] }) }),
  fc.record({ type: fc.constant('delete' as const) }),
  fc.record({
    type: fc.constant('join' as const),
    user,
    role: fc.constantFrom('member' as const, 'admin' as const, 'banned' as const),
    membersMax: fc.integer({ min: 1, max: 3 }),
  }),
  fc.record({ type: fc.constant('role' as const), user, role: fc.constantFrom('member' as const, 'owner' as const) }),
  fc.record({ type: fc.constant('leave' as const), user }),
);

const operation: fc.Arbitrary<Late> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc
      .record({
        name: fc.constantFrom('r', 's', 'all:'),
        from: fc.option(user, { nil: null }),
        id: anyMid,
        text: body,
        auto: fc.constantFrom(0, 1, 1),
        wrong: off,
      })
      .map(
        ({ name, from, id, text, auto, wrong }): Late =>
          (authSeqOf) =>
            message(name, from, { mid: id, body: text, authSeq: authSeqOf(name) + wrong, auto: name === 'all:' ? 3 : (auto as 0 | 1) }),
      ),
  },
  {
    weight: 4,
    arbitrary: fc
      .record({ pair: fc.constantFrom(['a', 'b'], ['b', 'a'], ['a', 'a'], ['c', 'a']), label: device, text: body, id: anyMid, short: fc.boolean() })
      .map(
        ({ pair: [from, to], label, text, id, short }): Late =>
          () =>
            (short ? shortDirect : direct)(from as string, to as string, { device: label, body: text, ...(id === null ? {} : { mid: id }) }),
      ),
  },
  {
    weight: 3,
    arbitrary: fc.record({ name: room, what: change, id: anyMid, wrong: off, told: fc.option(user, { nil: null }) }).map(
      ({ name, what, id, wrong, told }): Late =>
        (authSeqOf) =>
          changing(name, authSeqOf(name) + wrong, what, { mid: id, inbox: told === null ? null : [told] }),
    ),
  },
  {
    weight: 3,
    arbitrary: fc
      .record({
        who: user,
        label: device,
        number: fc.integer({ min: 0, max: 4 }),
        named: fc.boolean(),
        again: fc.constantFrom(false, false, true),
        perUserMax: fc.integer({ min: 1, max: 3 }),
        policy: fc.constantFrom('reject' as const, 'evict-oldest' as const),
        devicesMax: fc.integer({ min: 1, max: 3 }),
        jti: fc.constantFrom(undefined, undefined, 'x', 'y'),
      })
      .map(
        ({ who, label, number, ...rest }): Late =>
          () =>
            connect(who, users.indexOf(who) * 10 + number, { device: label, ...rest }),
      ),
  },
  {
    weight: 1,
    arbitrary: fc.record({ who: user, disabled: fc.constantFrom(null, true, false) }).map(
      ({ who, disabled }): Late =>
        () => ({ type: 'revoke', user: who, disabled }),
    ),
  },
  fc.record({ who: user, jti: fc.constantFrom('x', 'y'), until: fc.constantFrom(null, startTs, startTs + 10 * day) }).map(
    ({ who, jti, until }): Late =>
      () => ({ type: 'revokeToken', user: who, jti, until }),
  ),
  {
    weight: 2,
    arbitrary: fc.record({ who: user, number: fc.integer({ min: 0, max: 4 }) }).map(
      ({ who, number }): Late =>
        () => ({ type: 'disconnect', user: who, connection: users.indexOf(who) * 10 + number }),
    ),
  },
  {
    weight: 1,
    arbitrary: fc
      .record({ shard: fc.constantFrom(0, 1), through: fc.integer({ min: 0, max: 25 }), alive: fc.uniqueArray(fc.integer({ min: 0, max: 25 })) })
      .map(
        ({ shard, through, alive }): Late =>
          () => ({ type: 'prune', shard, shards: 2, through, alive }),
      ),
  },
  {
    weight: 3,
    arbitrary: fc.record({ who: user, label: device, through: small }).map(
      ({ who, label, through }): Late =>
        () => ({ type: 'ack', user: who, device: label, through }),
    ),
  },
  fc.record({ who: user, through: small }).map(
    ({ who, through }): Late =>
      () => ({ type: 'sent', user: who, through }),
  ),
  fc.record({ who: user, name: fc.constantFrom(...rooms), received: small, read: small }).map(
    ({ who, name, received, read }): Late =>
      () => ({ type: 'mark', room: name, user: who, received, read }),
  ),
  fc.record({ who: user, status: fc.constantFrom('online' as const, 'away' as const, 'offline' as const) }).map(
    ({ who, status }): Late =>
      () => ({ type: 'presence', user: who, status, lastSeen: startTs }),
  ),
);

/** Most messages: several of them are stored by one statement, unless one is stale or its mid is in use. */
const plain: fc.Arbitrary<Late> = fc
  .record({
    name: room,
    from: fc.option(user, { nil: null }),
    id: fc.option(fc.integer({ min: 1, max: 30 }).map(mid), { nil: null }),
    text: body,
    wrong: fc.integer({ min: 0, max: 20 }).map((chance) => Number(chance === 20)),
  })
  .map(
    ({ name, from, id, text, wrong }): Late =>
      (authSeqOf) =>
        message(name, from, { mid: id, body: text, authSeq: authSeqOf(name) + wrong, auto: 1 }),
  );

const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 4, arbitrary: fc.array(plain, { minLength: 8, maxLength: 20, size: 'max' }).map((operations): Step => ({ is: 'batch', operations })) },
  { weight: 12, arbitrary: fc.array(operation, { minLength: 1, maxLength: 8 }).map((operations): Step => ({ is: 'batch', operations })) },
  { weight: 2, arbitrary: fc.constant<Step>({ is: 'maintain' }) },
  { weight: 2, arbitrary: fc.constantFrom(1_000, 10 * day, 31 * day, -day).map((ms): Step => ({ is: 'wait', ms })) },
  { weight: 1, arbitrary: fc.constant<Step>({ is: 'reopen' }) },
  { weight: 3, arbitrary: fc.integer({ min: 0, max: 20 }).map((left): Step => ({ is: 'border', left })) },
);

const options: fc.Arbitrary<Partial<StoreOptions>> = fc.record({
  inboxItemsMax: fc.integer({ min: 1, max: 4 }),
  inboxBytesMax: fc.integer({ min: 40, max: 200 }),
  inboxOverflow: fc.constantFrom('drop-oldest' as const, 'reject' as const),
  deviceAgeMs: fc.constantFrom(5 * day, 100 * day),
  ledgerAgeMs: fc.constantFrom(5 * day, 100 * day),
});

it('the two agree', { timeout: 60_000 }, async () => {
  await fc.assert(fc.asyncProperty(options, fc.array(step, { maxLength: 30 }), compare), { numRuns: 60 });
});

async function compare(overrides: Partial<StoreOptions>, steps: readonly Step[]): Promise<void> {
  const data = mkdtempSync(join(tmpdir(), 'hubbub-compare-'));
  const filled = { ...defaults, ...overrides, data };
  const model = new StoreModel(filled, startTs);
  const clock = steppedClock(startTs);
  let now = startTs;
  let opened = 0;
  let db: Db | undefined;
  const opening: OpenDatabase = (file, rest) => {
    db = openDatabase(file, rest);
    return db;
  };
  const open = () => SqliteStore.open({ ...filled, node: `node-${++opened}` }, { clock, log: silent, open: opening });
  let store = await open();
  const epochs = [store.epoch];
  try {
    for (const one of steps) {
      switch (one.is) {
        case 'batch': {
          const operations = one.operations.map((late) => late((name) => model.rooms.get(name)?.auth ?? 0));
          expect(await store.commit(operations, now)).toEqual(await model.commit(operations, now));
          break;
        }
        case 'maintain':
          expect(new Set(await maintained(store, now))).toEqual(new Set(await maintained(model, now)));
          break;
        case 'wait':
          now += one.ms;
          clock.wall = now;
          break;
        case 'border': // by the store's own connection: what it knows by heart stays
          nearBorder(db as Db, one.left);
          break;
        case 'reopen':
          await store.close();
          model.restart(now);
          store = await open();
          epochs.push(store.epoch);
          break;
      }
    }
    await maintained(store, now);
    await maintained(model, now);
    const reader = new SqliteReader(data);
    try {
      await compareReads(reader, model.reader(), epochs, model.epochs);
      expect(check(data, clock).problems).toEqual([]);
    } finally {
      await reader.close();
    }
  } finally {
    await store.close();
    rmSync(data, { recursive: true });
  }
}

async function compareReads(sqlite: StoreReader, model: StoreReader, epochs: readonly string[], modelEpochs: readonly string[]): Promise<void> {
  const same = async (query: ReadQuery, ofModel: ReadQuery = query) => {
    expect({ query, reply: await sqlite.read(query as never) }).toEqual({ query, reply: await model.read(ofModel as never) });
  };
  for (const name of rooms) {
    await same({ read: 'room', room: name });
    await same({ read: 'entries', room: name, from: 1, to: 1_000, limit: 1_000, bytesMax: 1_000_000, kind: null, descending: false });
    await same({ read: 'entries', room: name, from: 2, to: 9, limit: 3, bytesMax: 100, kind: 'message', descending: true });
    for (const [i, epoch] of epochs.entries()) {
      for (let seq = 0; seq < 20; seq += 3)
        await same({ read: 'position', room: name, epoch, seq }, { read: 'position', room: name, epoch: modelEpochs[i] as string, seq });
    }
    for (let n = 1; n <= 8; n++) for (const who of [null, 'a', 'b']) await same({ read: 'delivery', room: name, mid: mid(n), user: who });
  }
  await same({ read: 'presence', users });
  for (const who of users) {
    await same({ read: 'standing', user: who });
    for (const after of [0, 2, 5]) {
      await same({ read: 'inbox', user: who, device: null, after, limit: 100, bytesMax: 1_000_000 });
      await same({ read: 'inbox', user: who, device: 'phone', after, limit: 2, bytesMax: 50 });
    }
    for (const scope of ['mine', 'public'] as const) {
      await same({ read: 'rooms', user: who, scope, filter: '', after: '', limit: 2 });
      await same({ read: 'rooms', user: who, scope, filter: 't', after: 'dm:a:b', limit: 10 });
    }
  }
}

async function maintained(store: { maintain(ts: number): Promise<{ notices: unknown[]; more: boolean }> }, ts: number): Promise<unknown[]> {
  const all: unknown[] = [];
  for (let more = true; more; ) {
    const result = await store.maintain(ts);
    all.push(...result.notices);
    more = result.more;
  }
  return all;
}
