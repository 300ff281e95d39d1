/** The shard's loop and the gateway under interleavings that once went wrong: a writer that comes back, sockets that are slow, names without rooms. */
import { MessageChannel, type MessagePort } from 'node:worker_threads';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { fillOptions } from '../src/options.ts';
import type { Connection } from '../src/shard/actor.ts';
import { Commits } from '../src/shard/commits.ts';
import { Feed } from '../src/shard/feed.ts';
import { Reads } from '../src/shard/reads.ts';
import { Rooms } from '../src/shard/rooms.ts';
import { Shard } from '../src/shard/shard.ts';
import { UserDirectory } from '../src/shard/user-directory.ts';
import { Link } from '../src/thread/link.ts';
import type { Batch, ToGateway, ToPersistence, ToShard } from '../src/thread/messages.ts';
import { type Barred, Barrier, commandKey } from '../src/thread/quarantine.ts';
import { makeWitness, Witness, WitnessReader } from '../src/thread/witness.ts';
import { EffectsRecorder } from './effects-recorder.ts';
import { type Stand, stand } from './gateway-harness.ts';
import { PaperStore, RoomNode } from './room-world.ts';

let hub: Stand | null = null;
const closing: MessagePort[] = [];
const nothing: Barred = { rooms: [], commands: [] };
afterEach(async () => {
  for (const port of closing.splice(0)) port.close();
  await hub?.close();
  hub = null;
});

describe('Commits', () => {
  it('what collected while there was no writer goes to the new one once', async () => {
    const { port1, port2 } = new MessageChannel();
    const batches: Batch[] = [];
    // The turn in which the shard hears of the new writer ends with a flush.
    const commits = new Commits(100, 1e6, { opened: () => commits.flush(), notices: () => {}, settled: (settle) => settle(), about: () => {} });
    const answered = new Promise<void>((resolve) => {
      port2.on('message', (message: ToPersistence) => {
        if ('t' in message) port2.postMessage({ t: 'opened', epoch: 'e1' });
        else {
          batches.push(message);
          // An empty look-around of the loop: a second copy would be here by now.
          setImmediate(() => port2.postMessage({ t: 'result', batch: message.batch, ts: 1, outcomes: [{ code: 'done' }] }));
        }
      });
      commits.add({ type: 'disconnect', user: 'alice', connection: 1 }, () => resolve());
    });
    commits.connect(port1, 0, 1);
    await answered;
    expect(batches).toHaveLength(1);
    commits.close();
    port2.close();
  });
});

describe('Reads', () => {
  it('R9 as many as may wait do, the next is busy at once, and there is room again for each that is answered', async () => {
    const { port1, port2 } = new MessageChannel();
    closing.push(port1, port2);
    let answered: () => void = () => {};
    const reads = new Reads((_room, answer) => {
      answer();
      answered();
    }, new Barrier(nothing));
    reads.connect(0, port1);
    const refused: string[] = [];
    const ask = () =>
      reads.read(
        { read: 'standing', user: 'alice' },
        () => {},
        ({ code }) => refused.push(code),
      );
    for (let n = 0; n < 10_000; n++) ask();
    expect([reads.waiting, refused]).toEqual([10_000, []]);
    ask();
    expect([reads.waiting, refused]).toEqual([10_000, ['busy']]);
    const one = new Promise<void>((done) => (answered = done));
    port2.postMessage({ request: 1, reply: { disabled: false } });
    await one;
    ask();
    expect([reads.waiting, refused]).toEqual([10_000, ['busy']]);
  });
});

/** A shard with the connection 1 of alice's, which gets these frames and messages. */
function shardWith(barred: Barred, ...items: (Buffer | ToShard)[]) {
  const memory = makeWitness(1_024);
  const [gateway, persistence] = [new MessageChannel(), new MessageChannel()];
  closing.push(gateway.port1, persistence.port1);
  const died = new Promise<unknown>((failed) => {
    const options = fillOptions({ dev: true });
    const bus = { alone: true, publish: () => true, subscribe: async () => {}, unsubscribe: async () => {}, onMessage: () => {} };
    const clock = { now: () => 0, tick: () => 0, random: () => 0 };
    const shard = new Shard({ index: 0, incarnation: 1, shards: 1, options, clock, log: () => {}, bus, witness: new Witness(memory), barred, failed });
    shard.connect('gateway', 0, gateway.port2);
    shard.connect('persistence', 0, persistence.port2);
  });
  persistence.port1.on('message', () => persistence.port1.postMessage({ t: 'opened', epoch: 'e1' }));
  const answered = new Promise<string>((resolve) => {
    const link = new Link<ToShard, ToGateway>(gateway.port1, { batch: (_list, arena) => resolve(arena.toString()) });
    link.push({ t: 'open', connection: 1, user: 'alice', device: '', format: 'json', service: false, scopes: [] });
    for (const item of items) {
      if ('t' in item) link.push(item);
      else link.frame(1, item);
    }
  });
  return { died, answered, suspect: () => new WitnessReader(memory).suspect(() => 'alice') };
}

describe('what a shard dies of', () => {
  it('R7 is laid to the frame that it was about to decode, and once that is barred it is refused undecoded', async () => {
    // Spelled so that it has to be decoded.
    const frame = Buffer.from('{"op":"publish","id":7,"room":"a","mid":"01990000-0000-7000-8000-000000000001","body":1.0}');
    const { parse } = JSON;
    // What the decoder throws is a refusal: this breaks right behind it.
    const unreadable = {
      get op(): string {
        throw new TypeError('not even to be looked at');
      },
    };
    const broken = vi.spyOn(JSON, 'parse').mockImplementation((text, reviver) => (text === frame.toString() ? unreadable : parse(text, reviver)));
    const { died, suspect } = shardWith(nothing, frame);
    expect(await died).toBeInstanceOf(TypeError);
    const mid = '01990000-0000-7000-8000-000000000001';
    expect(suspect()).toEqual({ op: 'publish', room: 'a', mid, user: 'alice' });
    const key = commandKey('publish', 'a', mid, 'alice') as string;
    expect(await shardWith({ rooms: [], commands: [key] }, frame).answered).toMatch(/"id":7,"of":"publish","code":"quarantined"/);
    broken.mockRestore();
  });

  it('R7 is not laid to the command before it in the same batch', async () => {
    const { died, suspect } = shardWith(
      nothing,
      Buffer.from('{"op":"who","id":1,"users":["bob"]}'),
      { t: 'watch', connection: 1, users: null as never }, // what breaks it
    );
    expect(await died).toBeInstanceOf(TypeError);
    expect(suspect()).toBeNull();
  });
});

describe('after the death of a shard', () => {
  it('R7 its successor hears which connections are left, after everything that is about them', async () => {
    hub = await stand();
    const { number } = await hub.join({ user: 'alice' });
    const other = await hub.join({ user: 'bob' });
    hub.gateway.detachShard(0);
    await other.client.close();
    const successor = hub.attach(0);
    const alive = await successor.next('alive');
    expect(alive).toEqual({ t: 'alive', through: other.number, connections: [number] });
    expect(successor.received.at(-1)).toBe(alive);
    expect(successor.received.filter(({ t }) => t === 'hello')).toHaveLength(1);
  });

  it.each(['live', 'fed'])('F1 who subscribed twice at once hears that it ended, the first having been %s', async (first) => {
    hub = await stand();
    const { client, number } = await hub.join();
    hub.shard.room(1, 'general');
    const answers = [client.ok('subscribe', { room: 'general' }), client.ok('subscribe', { room: 'general' })];
    const ids = [await hub.shard.command('subscribe'), await hub.shard.command('subscribe')].map(({ command }) => command.id as number);
    hub.shard.reply(number, ids[0] as number, { room: 'general' });
    if (first === 'live') hub.shard.attach(1, number, 1);
    hub.shard.detach(1, number);
    hub.shard.reply(number, ids[1] as number, { room: 'general' });
    await Promise.all(answers); // the second is granted, and not fed yet
    hub.gateway.detachShard(0);
    expect(await client.next('unsubscribed')).toEqual({ op: 'unsubscribed', room: 'general', reason: 'restarted' });
  });

  it('P1 watchers learn that a user is gone whose end went down with it, and that one who is there is not', () => {
    const effects = new EffectsRecorder();
    const users = new UserDirectory('e1', fillOptions({ dev: true }));
    const [alice, carol] = [effects.connection('alice'), effects.connection('carol')];
    users.hello(alice, { again: true, named: false, issuedAt: 0 }, effects);
    users.watch(carol, ['alice', 'bob']);
    for (const user of ['alice', 'bob']) {
      users.find(user)?.presence.load({ user, status: 'online', lastSeen: 1 });
      users.find(user)?.presence.told(carol.id, 'online');
    }
    effects.full = true;
    users.prune({ type: 'prune', shard: 0, shards: 1, through: 9, alive: [alice.id] }, effects);
    effects.full = false;
    effects.settle('connect', { code: 'connected', victims: [], acked: 0, head: 0, allMark: 0, revokedAt: 0 });
    users.tick(effects); // it was refused, and goes now
    effects.settle('prune', { code: 'storage', message: 'full' });
    users.tick(effects);
    effects.settle('prune', { code: 'pruned', users: ['bob'] });
    users.flush(effects);
    expect(effects.statuses(carol)).toEqual(['bob offline']);
    users.tick(effects); // it is done
    expect(effects.operations).toEqual([]);
  });
});

describe('Feed', () => {
  it('sockets that do not drain hold their own turns, not everybody else’s', () => {
    const feed = new Feed();
    const connection = (id: number): Connection => ({ id, user: 'u', device: '', format: 'json', service: false, scopes: [], open: true });
    const slow = Array.from({ length: 64 }, (_, i) => connection(i));
    for (const one of slow) feed.ask(one, () => feed.sent(one));
    const healthy = connection(100);
    const turns: string[] = [];
    feed.ask(healthy, () => turns.push('healthy'));
    expect(turns).toEqual([]);
    feed.tick();
    feed.tick();
    expect(turns).toEqual(['healthy']);
    const first = slow[0] as Connection;
    feed.ask(first, () => turns.push('second page of a slow one'));
    feed.tick();
    expect(turns).toEqual(['healthy']);
    feed.done(first);
    expect(turns.at(-1)).toBe('second page of a slow one');
    expect(feed.busy).toBe(2);
  });

  it('a turn that waits for a reader counts, however long', () => {
    const feed = new Feed();
    for (let id = 0; id < 100; id++) feed.ask({ id, user: 'u', device: '', format: 'json', service: false, scopes: [], open: true }, () => {});
    for (let n = 0; n < 5; n++) feed.tick();
    expect(feed.busy).toBe(64);
  });
});

describe('Rooms', () => {
  function some(barrier = new Barrier(nothing)): Rooms {
    const bus = { alone: true, publish: () => true, subscribe: () => Promise.resolve(), unsubscribe: () => Promise.resolve() };
    return new Rooms(fillOptions({ dev: true, autoCreate: 'off' }), bus, { step: () => {}, clear: () => {} }, barrier);
  }

  it('F6 R7 a resume that is set aside ends what the connection followed before: nothing follows an unsubscribed', () => {
    const barrier = new Barrier(nothing);
    const rooms = some(barrier);
    const effects = new RoomNode(new PaperStore());
    const alice = effects.client('alice');
    rooms.command(alice.connection, { op: 'create', room: 'r', id: 1 }, effects, 0);
    rooms.command(alice.connection, { op: 'subscribe', room: 'r', id: 2 }, effects, 0);
    effects.run();
    expect(alice.live).toBe(true);
    barrier.set({ rooms: [], commands: [commandKey('resume', 'r', null, 'alice') as string] });
    rooms.resume(alice.connection, { op: 'resume', id: 3, epoch: 'e1', rooms: { r: 1 } }, effects);
    expect(alice.pushes.at(-1)).toEqual({ op: 'unsubscribed', room: 'r', reason: 'quarantined' });
    expect(effects.take(alice.connection)).toEqual([{ to: alice.connection.id, id: 3, part: { rooms: [] } }]);
    expect(alice.live).toBe(false);
  });

  it('F6 what a resume hears late of a room that was not there ends nothing that was granted since', () => {
    const rooms = some();
    const effects = new RoomNode(new PaperStore());
    const alice = effects.client('alice');
    rooms.command(alice.connection, { op: 'info', room: 'r', id: 1 }, effects, 0);
    effects.run();
    rooms.resume(alice.connection, { op: 'resume', id: 2, epoch: 'e1', rooms: { r: 0 } }, effects);
    const late = effects.reads.splice(0);
    rooms.tick(effects);
    rooms.command(alice.connection, { op: 'create', room: 'r', id: 3 }, effects, 0);
    rooms.command(alice.connection, { op: 'subscribe', room: 'r', id: 4 }, effects, 0);
    effects.run();
    expect(alice.live).toBe(true);
    for (const { done } of late) done({ reason: null, head: 0 } as never);
    expect([alice.live, alice.pushes]).toEqual([true, []]);
  });

  it('names without a room that somebody asked for are not kept, by nobody', () => {
    const rooms = some();
    const effects = new RoomNode(new PaperStore());
    const alice = effects.connection('alice');
    for (let n = 0; n < 50; n++) rooms.command(alice, { op: 'subscribe', room: `nothing-${n}`, id: n + 1 }, effects, 0);
    effects.run();
    expect(rooms.stats()).toMatchObject({ rooms: 50, followed: 50 });
    rooms.tick(effects);
    expect(rooms.stats()).toMatchObject({ rooms: 0, followed: 0 });
  });
});

describe('Delivery', () => {
  it('F7 a burst larger than a socket takes at once makes a healthy connection fall behind, and does not end it', async () => {
    hub = await stand();
    const { client, number } = await hub.join();
    hub.shard.room(1, 'general');
    hub.shard.attach(1, number, 1);
    const body = 'x'.repeat(256 * 1024);
    for (let seq = 1; seq <= 40; seq++) hub.shard.deliver(1, 'general', seq, seq, body);
    const behind = await hub.shard.next('behind');
    expect(behind.lastSeq).toBeGreaterThan(3);
    expect((await client.next('behind')).room).toBe('general');
    await client.until(() => client.entries('general').length === behind.lastSeq);
    await client.settled();
    expect(client.ended).toBeNull();
  });
});
