/** What the simulated cluster found, each as its shortest story: answers of a writer's successor, rights across nodes, what a new thread must hear again. */
import { MessageChannel } from 'node:worker_threads';
import { afterEach, describe, expect, it } from 'vitest';
import { CodedError } from '../src/protocol/codes.ts';
import { Commits } from '../src/shard/commits.ts';
import { revoke } from '../src/shard/revoke.ts';
import { UserDirectory } from '../src/shard/user-directory.ts';
import type { Outcome, ToPersistence } from '../src/thread/messages.ts';
import { EffectsRecorder } from './effects-recorder.ts';
import { type Stand, stand } from './gateway-harness.ts';
import { PaperStore, publish, RoomNode } from './room-world.ts';

let hub: Stand | null = null;
afterEach(async () => {
  await hub?.close();
  hub = null;
});

const full: Outcome & object = { code: 'storage', message: 'disk full' };
const limits = { connectionsPerUserMax: 3, connectionPolicy: 'reject', devicesMax: 10, presenceGraceMs: 10_000, watchesMax: 10, inboxItemsMax: 100 } as const;

describe('a writer that dies after its commit, and a successor that cannot write', () => {
  it('a batch that was sent twice and refused may have been stored the first time', async () => {
    const commits = new Commits(100, 1e6, { opened: () => {}, notices: () => {}, settled: (settle) => settle(), about: () => {} });
    const outcome = new Promise<Outcome>((resolve) => commits.add({ type: 'disconnect', user: 'alice', connection: 1 }, resolve));
    const writer = (answers: boolean): Promise<void> => {
      const { port1, port2 } = new MessageChannel();
      commits.connect(port1, 0, 1);
      return new Promise((resolve) => {
        port2.on('message', (message: ToPersistence) => {
          if ('t' in message) port2.postMessage({ t: 'opened', epoch: 'e1' });
          else if (answers) port2.postMessage({ t: 'result', batch: message.batch, ts: 1, outcomes: [full] });
          if (!('t' in message)) resolve();
        });
      });
    };
    await writer(false);
    await writer(true);
    expect(await outcome).toEqual({ ...full, unsure: true });
    commits.close();
  });

  it('a connection that may have been let in and is refused leaves neither itself nor an online status in the store', () => {
    const effects = new EffectsRecorder();
    const users = new UserDirectory('epoch-1', limits);
    const [resent, told] = [effects.connection('alice'), effects.connection('bob')];
    users.hello(resent, { again: false, named: false, issuedAt: 0 }, effects);
    effects.settle('connect', { ...full, unsure: true });
    users.hello(told, { again: false, named: false, issuedAt: 0, told: true }, effects); // by a thread that died since
    effects.settle('disconnect');
    effects.settle('connect', full);
    users.flush(effects);
    expect(effects.told.map((message) => message.t)).toEqual(['refuse', 'refuse']);
    expect(effects.operations).toMatchObject([
      { type: 'disconnect', connection: told.id },
      { type: 'presence', user: 'alice', status: 'offline' },
      { type: 'presence', user: 'bob', status: 'offline' },
    ]);
  });

  it('H8 who may have been revoked is closed, and the operator is told to ask again', () => {
    const effects = new EffectsRecorder();
    const users = new UserDirectory('epoch-1', limits);
    const alice = effects.connection('alice');
    users.hello(alice, { again: false, named: false, issuedAt: 1 }, effects);
    effects.settle('connect', { code: 'connected', victims: [], acked: 0, head: 0, allMark: 0, revokedAt: 0 });
    const backend = effects.connection('backend', '', true);
    revoke(users, backend, { op: 'revoke', id: 1, users: ['alice'] }, effects);
    effects.settle('revoke', full);
    expect(effects.told.filter(({ t }) => t === 'evict')).toEqual([]);
    revoke(users, backend, { op: 'revoke', id: 2, users: ['alice'] }, effects);
    effects.settle('revoke', { ...full, unsure: true });
    expect(effects.told.filter(({ t }) => t === 'evict')).toEqual([{ t: 'evict', connections: [alice.id], close: 'revoked' }]);
    expect(effects.sent.filter(({ to }) => to === backend.id)).toMatchObject([{ refuse: 'storage' }, { refuse: 'restarted' }]);
  });

  it('H7 H8 a connection that may have been let in before its token was revoked, or before others took the places, is not left in the store', () => {
    for (const [code, close] of [['revoked', 'revoked'] as const, ['rejected', 'connection-limit'] as const]) {
      const effects = new EffectsRecorder();
      const users = new UserDirectory('epoch-1', limits);
      const [resent, told, sure] = [effects.connection('alice'), effects.connection('bob'), effects.connection('cy')];
      users.hello(resent, { again: false, named: false, issuedAt: 0 }, effects);
      effects.settle('connect', { code, unsure: true });
      users.hello(told, { again: false, named: false, issuedAt: 0, told: true }, effects); // by a thread that died since
      effects.settle('disconnect');
      effects.settle('connect', { code });
      users.hello(sure, { again: false, named: false, issuedAt: 0 }, effects);
      effects.settle('disconnect');
      effects.settle('connect', { code });
      users.flush(effects);
      expect(effects.told).toEqual([resent, told, sure].map(({ id }) => ({ t: 'refuse', connection: id, close })));
      expect(effects.operations).toMatchObject([
        { type: 'presence', user: 'alice', status: 'offline' },
        { type: 'presence', user: 'bob', status: 'offline' },
      ]);
    }
  });

  it('R7 a message without a mid is answered unknown, one with a mid as before', () => {
    const node = new RoomNode(new PaperStore());
    const alice = node.client('alice');
    node.ask(alice, publish(1));
    const mid = '01990000-0000-7000-8000-000000000000';
    const [without, with_] = [node.send(alice, publish(2), true), node.send(alice, { ...publish(3), mid }, true)];
    for (const { settled } of node.commits.splice(0)) settled({ ...full, unsure: true }, node.now);
    expect([alice.answers.get(without), alice.answers.get(with_)]).toEqual(['unknown', 'storage']);
  });
});

describe('rooms', () => {
  it('a message that one node authorized for a room to come into being finds it created as a private one by another', () => {
    const store = new PaperStore();
    const [one, other] = [new RoomNode(store, 'r', {}, 1), new RoomNode(store, 'r', {}, 2)];
    const [stranger, owner] = [one.client('stranger'), other.client('owner')];
    const id = one.send(stranger, publish(1), true);
    one.step(1); // loaded, judged as a room that its first message makes
    other.ask(owner, { op: 'create', visibility: 'private' });
    one.run();
    expect(stranger.answers.get(id)).toBe('not-found');
    expect(store.log.map(({ kind }) => kind)).toEqual(['created']);
  });

  it('G8 a mark of who fell behind does not go above what he was sent', () => {
    const node = new RoomNode(new PaperStore());
    const [alice, bob] = [node.client('alice'), node.client('bob')];
    node.ask(alice, { op: 'create' });
    node.ask(bob, { op: 'join' });
    node.ask(bob, { op: 'subscribe' });
    node.ask(alice, publish(3));
    const behind = node.clog(bob);
    for (let n = 4; n <= 23; n++) node.ask(alice, publish(n));
    behind(); // its first page is asked of the store
    const ids = [4, 3].map((read) => node.send(bob, { op: 'mark', read }, true));
    node.run();
    expect(ids.map((id) => bob.answers.get(id))).toEqual(['bad-request', { room: 'r', received: 3, read: 3 }]);
    expect(node.ask(bob, { op: 'mark', read: 23 })).toMatchObject({ read: 23 });
  });

  it('R9 a message that is overtaken by changes again and again is busy in the end', () => {
    const node = new RoomNode(new PaperStore());
    const alice = node.client('alice');
    node.ask(alice, publish(1));
    const id = node.send(alice, publish(2), true);
    for (let times = 0; times < 20 && node.commits.length > 0; times++) {
      node.commits.shift()?.settled({ code: 'stale' }, node.now);
      while (node.step(1));
    }
    expect(alice.answers.get(id)).toBe('busy');
  });

  it('a resume that could not be judged ends what the connection followed before: nothing follows an unsubscribed', () => {
    const node = new RoomNode(new PaperStore());
    const [alice, bob] = [node.client('alice'), node.client('bob')];
    node.ask(alice, publish(1));
    node.ask(bob, { op: 'subscribe' });
    node.actor.resume(bob.connection, 9, { epoch: 'e0', seq: 1 }, node, () => {});
    node.fail('position', new CodedError('storage'));
    node.ask(alice, publish(2));
    expect(bob.pushes).toContainEqual({ op: 'unsubscribed', room: 'r', reason: 'storage' });
    expect([bob.live, bob.seqs]).toEqual([false, []]);
  });
});

it('P1 who said that he is away is away after a restart of his shard, too', async () => {
  hub = await stand();
  const { client, number } = await hub.join();
  void client.command('status', { status: 'away' }).catch(() => undefined);
  await hub.shard.command('status');
  hub.gateway.detachShard(0);
  const successor = hub.attach(0);
  successor.formats.set(number, 'json');
  expect((await successor.command('status')).command).toEqual({ op: 'status', status: 'away' });
  expect(successor.kinds(number).slice(0, 3)).toEqual(['open', 'hello', 'status']);
});
