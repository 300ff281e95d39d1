/** The loop of the persistence thread: group commit, the order of answers, incarnations, upkeep, stopping. */
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import type { Store } from '../src/persistence/store.ts';
import { placeOf } from '../src/thread/placement.ts';
import { commandKey } from '../src/thread/quarantine.ts';
import { defaults, direct, message, startTs } from './store-contract.ts';
import { arrived, gate, HeldStore, writerOn } from './writer-harness.ts';

describe('the writer', () => {
  const modelled = () => new HeldStore(defaults, startTs);

  it('lets a shard in with the epoch, and answers each operation of a batch in order', async () => {
    const store = modelled();
    const shard = await writerOn(store, 1).shard(0);
    shard.send(7, message('r', 'x'), message('nowhere', 'x', { auto: 0 }), message('r', 'x'));
    expect(await shard.received(2)).toEqual([
      { t: 'opened', epoch: store.epoch },
      { t: 'result', batch: 7, ts: startTs, outcomes: [1, { code: 'not-found' }, 2] },
    ]);
  });

  it('commits as one what all shards have sent while a commit was under way', async () => {
    const store = modelled();
    const { shard, writer } = writerOn(store, 3);
    const shards = [await shard(0), await shard(1), await shard(2)];
    const held = gate();
    store.hold = held.wait;
    const started = store.called();
    shards[0]?.send(1, message('a', 'x'));
    await started;
    shards[1]?.send(1, message('b', 'x'), message('b', 'x'));
    shards[2]?.send(1, message('a', 'x'));
    await arrived();
    expect(writer.stats()).toMatchObject({ queuedBatches: 2, queuedOperations: 3, commits: 0, shards: 3 });
    held.open();
    for (const end of shards) await end.received(2);
    expect(store.batches).toEqual([1, 3]);
    expect(shards.map(({ got }) => (got[1] as { outcomes: unknown }).outcomes)).toEqual([[1], [1, 2], [2]]);
    expect(writer.stats()).toMatchObject({ commits: 2, operations: 4, entries: 4, batchLast: 3, queuedBatches: 0 });
  });

  it('tells the shard of a user what came into the inbox, after the results', async () => {
    const { shard } = writerOn(modelled(), 2);
    const shards = [await shard(0), await shard(1)];
    const bob = ['bob', 'bill', 'ben', 'bart'].find((name) => placeOf(name, 2) === 1) as string;
    shards[0]?.send(1, direct('alice', bob), message('r', 'x'));
    expect((await shards[0]?.received(2))?.map(({ t }) => t)).toEqual(['opened', 'result']);
    expect(await shards[1]?.received(2)).toMatchObject([{ t: 'opened' }, { t: 'notices', notices: [{ t: 'inbox', user: bob, n: 1 }] }]);
    shards[1]?.send(1, direct('alice', bob), direct('alice', bob));
    const got = await shards[1]?.received(4);
    expect(got?.map(({ t }) => t)).toEqual(['opened', 'notices', 'result', 'notices']);
    expect(got?.[3]).toMatchObject({ notices: [{ n: 2 }, { n: 3 }] });
  });

  it('tells a shard nothing before its introduction is answered: it reads what came before', async () => {
    const store = modelled();
    const { shard, link } = writerOn(store, 2);
    const bob = ['bob', 'bill', 'ben', 'bart'].find((name) => placeOf(name, 2) === 1) as string;
    const first = await shard(0);
    const held = gate();
    store.hold = held.wait;
    const started = store.called();
    first.send(1, direct('alice', bob));
    await started;
    const second = link();
    second.open(1);
    await arrived();
    held.open();
    await second.received(1);
    second.send(1, message('r', 'x'));
    expect((await second.received(2)).map(({ t }) => t)).toEqual(['opened', 'result']);
  });

  it('R7 a batch that two writers died with is carried out one by one, each under its name, without what is set aside', async () => {
    const store = modelled();
    const [sound, poison] = [message('r', 'x'), message('r', 'x', { mid: '01990000-0000-7000-8000-000000000001' })];
    const { shard, named } = writerOn(store, 1, 1_000_000, { rooms: [], commands: [commandKey('append', 'r', poison[2], 'x') as string] });
    const end = await shard(0);
    end.sendAgain(1, 7, sound);
    end.sendAgain(2, 8, message('r', 'x'), poison, message('other', 'x'));
    await end.received(3);
    expect(store.batches).toEqual([1, 1, 1]);
    // Once it is carried out, nothing is named any more: it is not what a later crash is about.
    expect(named.map((name) => (name === '' ? null : JSON.parse(name).room))).toEqual(['r', null, 'other', null]);
    expect(end.got.slice(1)).toMatchObject([{ outcomes: [1] }, { outcomes: [2, { code: 'storage', message: 'quarantined' }, 1] }]);
  });

  it('R7 what is set aside is not carried out either where it is asked for anew: what shards owe the store they send again and again', async () => {
    const store = modelled();
    const { shard } = writerOn(store, 1, 1_000_000, { rooms: ['cursed'], commands: [commandKey('sent', null, null, 'bob') as string] });
    const end = await shard(0);
    end.send(1, { type: 'sent', user: 'alice', through: 1 }, { type: 'sent', user: 'bob', through: 1 }, message('cursed', 'x'), message('r', 'x'));
    await end.received(2);
    end.send(2, message('r', 'x'), message('r', 'x'));
    await end.received(3);
    const refused = { code: 'storage', message: 'quarantined' };
    expect(end.got.slice(1)).toMatchObject([{ outcomes: [{ code: 'done' }, refused, refused, 1] }, { outcomes: [2, 3] }]);
    expect([store.rooms.has('cursed'), store.batches.at(-1)]).toEqual([false, 2]);
  });

  it('lets a successor in after the running batch of its predecessor, and drops what that had waiting', async () => {
    const store = modelled();
    const { shard, link } = writerOn(store, 2);
    const [old, other] = [await shard(0), await shard(1)];
    const held = gate();
    store.hold = held.wait;
    const started = store.called();
    old.send(1, message('r', 'running'));
    await started;
    old.send(2, message('r', 'dropped'));
    other.send(1, message('r', 'other'));
    await arrived();
    const successor = link();
    successor.open(0, 2);
    await arrived();
    old.send(3, message('r', 'late'));
    await arrived();
    expect(successor.got).toEqual([]);
    held.open();
    await successor.received(1);
    successor.send(1, message('r', 'next'));
    await successor.received(2);
    await other.received(2);
    expect(store.rooms.get('r')?.entries.map(({ from }) => from)).toEqual(['running', 'other', 'next']);
  });

  it('an introduction of an older incarnation than the one that is in comes too late', async () => {
    const store = modelled();
    const { link } = writerOn(store, 1);
    const [late, current] = [link(), link()];
    current.open(0, 2);
    await current.received(1);
    const closed = new Promise((resolve) => late.port.once('close', resolve));
    late.open(0, 1);
    await closed;
    current.send(1, message('r', 'x'));
    expect(await current.received(2)).toMatchObject([{ t: 'opened' }, { outcomes: [1] }]);
  });

  it('a batch that is too large for a transaction is committed in parts and answered as one', async () => {
    const store = modelled();
    const shard = await writerOn(store, 1).shard(0);
    shard.send(1, ...Array.from({ length: 10_000 }, (_, i) => message(`r${i % 7}`, 'x')));
    const [, result] = await shard.received(2);
    expect(store.batches).toEqual([4_096, 4_096, 1_808]);
    expect(result).toMatchObject({ t: 'result', batch: 1 });
    expect((result as { outcomes: unknown[] }).outcomes).toHaveLength(10_000);
    expect((result as { outcomes: unknown[] }).outcomes.at(-1)).toBe(store.rooms.get('r3')?.head);
  });

  it('upkeep gets its turn however much there is to commit', async () => {
    vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] });
    onTestFinished(() => {
      vi.useRealTimers();
    });
    const store = modelled();
    const end = await writerOn(store, 1, 1_000).shard(0);
    const held = gate();
    store.hold = held.wait;
    const started = store.called();
    end.send(1, message('r', 'x'));
    await started;
    for (let batch = 2; batch <= 30; batch++) end.sendAgain(2, batch, message('r', 'x')); // each is committed alone
    await arrived();
    vi.advanceTimersByTime(1_000);
    held.open();
    await end.received(31);
    expect(store.maintained[0]).toBeGreaterThan(1);
    expect(store.maintained[0]).toBeLessThan(15);
  });

  it('upkeep tells users what they have lost', async () => {
    const store = new HeldStore({ ...defaults, inboxAgeMs: 0 }, startTs);
    await store.commit([direct('a', 'b')], startTs - 10);
    const end = await writerOn({ ...bound(store), maintain: () => store.maintain(startTs + 10) }, 1, 1).shard(0);
    expect(await end.received(2)).toMatchObject([
      { t: 'opened' },
      { t: 'notices', notices: [{ t: 'inbox-loss', user: 'b', from: 1, to: 1, reason: 'expired' }] },
    ]);
  });

  it('stopping commits and answers what has arrived', async () => {
    const store = modelled();
    const { writer, shard } = writerOn(store, 2);
    const [a, b] = [await shard(0), await shard(1)];
    const held = gate();
    store.hold = held.wait;
    const started = store.called();
    a.send(1, message('r', 'x'));
    await started;
    b.send(1, message('r', 'y'));
    await arrived();
    const stopped = new Promise<void>((resolve) => writer.stop(resolve));
    held.open();
    await stopped;
    expect(await a.received(2)).toMatchObject([{}, { outcomes: [1] }]);
    expect(await b.received(2)).toMatchObject([{}, { outcomes: [2] }]);
  });

  it('stopping does not wait for upkeep that has more to do', async () => {
    const store = modelled();
    const held = gate();
    const upkeep = gate();
    const maintain: Store['maintain'] = async () => {
      upkeep.open();
      await held.wait;
      return { notices: [], more: true };
    };
    const { writer } = writerOn({ ...bound(store), maintain }, 1, 1);
    await upkeep.wait;
    const stopped = new Promise<void>((resolve) => writer.stop(resolve));
    held.open();
    await stopped;
  });

  it('a store of no more use ends the thread', async () => {
    const store = modelled();
    const { shard, failing, failures } = writerOn(store, 1);
    const end = await shard(0);
    store.broken = new Error('gone');
    end.send(1, message('r', 'x'));
    await failing;
    expect(failures).toEqual([store.broken]);
    expect(end.got).toHaveLength(1);
  });
});

function bound(store: Store): Store {
  return { epoch: store.epoch, commit: (operations, ts) => store.commit(operations, ts), maintain: (ts) => store.maintain(ts), close: () => store.close() };
}
