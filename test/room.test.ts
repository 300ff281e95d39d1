/** The actor of a room, stepped: what each command does, what waits for what, and who gets which entries. */
import { describe, expect, it } from 'vitest';
import { type Client, PaperStore, publish, RoomNode } from './room-world.ts';

function world(options?: ConstructorParameters<typeof RoomNode>[2]): { store: PaperStore; node: RoomNode; alice: Client; bob: Client } {
  const store = new PaperStore();
  const node = new RoomNode(store, 'r', options);
  return { store, node, alice: node.client('alice'), bob: node.client('bob') };
}

describe('a room', () => {
  it('answers a publish with its seq after the commit, and delivers it to every subscriber in order', () => {
    const { node, alice, bob } = world();
    node.send(alice, { op: 'subscribe' });
    node.send(bob, { op: 'subscribe' });
    const id = node.send(alice, publish(1), true);
    expect([alice.answers.has(id), alice.seqs]).toEqual([false, []]);
    node.run();
    expect(alice.answers.get(id)).toMatchObject({ seq: 1 });
    node.ask(bob, publish(2));
    expect([alice.seqs, bob.seqs]).toEqual([
      [1, 2],
      [1, 2],
    ]);
  });

  it('answers the same mid of the same sender with the first seq, and that of another with conflict', () => {
    const { node, alice, bob } = world();
    const mid = '01900000-0000-7000-8000-000000000001';
    node.send(alice, { op: 'subscribe' });
    expect(node.ask(alice, { ...publish(1), mid })).toEqual({ seq: 1 });
    node.ask(bob, publish(2));
    expect(node.ask(alice, { ...publish('other'), mid })).toEqual({ seq: 1, duplicate: true });
    expect(node.ask(bob, { ...publish(3), mid })).toBe('conflict');
    expect(alice.seqs).toEqual([1, 2]);
  });

  it('replays exactly what was missed, from the tail and from the store, and goes on live without a hole', () => {
    const { node, alice, bob } = world();
    for (let n = 1; n <= 60; n++) node.ask(alice, publish(n));
    expect(node.ask(bob, { op: 'subscribe', position: { epoch: 'e1', seq: 55 } })).toMatchObject({ recovered: true, position: { epoch: 'e1', seq: 60 } });
    expect(bob.seqs).toEqual([56, 57, 58, 59, 60]);
    const carol = node.client('carol');
    node.ask(carol, { op: 'subscribe', position: { epoch: 'e1', seq: 3 } });
    node.ask(alice, publish(61));
    expect(carol.seqs).toEqual(Array.from({ length: 58 }, (_, i) => i + 4));
    expect(bob.seqs.at(-1)).toBe(61);
  });

  it('a position above the head or of an unknown epoch is not recovered: that client alone is told epoch', () => {
    const { node, alice, bob } = world();
    node.ask(alice, publish(1));
    for (const position of [
      { epoch: 'e1', seq: 9 },
      { epoch: 'lost', seq: 1 },
    ]) {
      expect(node.ask(bob, { op: 'subscribe', position })).toMatchObject({ recovered: false, gaps: [{ room: 'r', from: 1, to: 1, reason: 'epoch' }] });
      expect(bob.live).toBe(true);
      expect(bob.seqs).toEqual([]);
    }
  });

  it('a connection that falls behind is fed pages from there and attached at the head, however much comes meanwhile', () => {
    const { node, alice, bob } = world({ tailItemsMax: 16, bodyBytesMax: 100_000 });
    node.send(bob, { op: 'subscribe' });
    node.ask(alice, publish(1));
    const heard = node.clog(bob);
    for (let n = 2; n <= 8; n++) node.ask(alice, publish('x'.repeat(90_000)));
    heard();
    for (let n = 9; n <= 40; n++) {
      node.send(alice, publish('x'.repeat(90_000)), true);
      node.step(0);
    }
    expect(bob.live).toBe(false);
    expect(bob.seqs.length).toBeLessThan(40);
    node.run();
    expect(bob.live).toBe(true);
    node.ask(alice, publish(41));
    expect(bob.seqs).toEqual(Array.from({ length: 41 }, (_, i) => i + 1));
  });

  it('an ephemeral has no seq, is not stored, and can leave out its sender', () => {
    const { store, node, alice, bob } = world();
    node.send(alice, { op: 'subscribe' });
    node.send(bob, { op: 'subscribe' });
    expect(node.ask(alice, { ...publish('typing'), ephemeral: true, echo: false })).toEqual({});
    expect(bob.pushes).toEqual([{ op: 'ephemeral', from: 'alice', body: 'typing' }]);
    expect([alice.pushes, store.log]).toEqual([[], []]);
    expect(node.ask(alice, { ...publish('x'), echo: false })).toBe('bad-request');
  });

  it('what a connection sends after a change of its membership is judged by what the change left', () => {
    const { node, alice, bob } = world();
    node.ask(alice, { op: 'create', visibility: 'private' });
    expect(node.ask(bob, publish(0))).toBe('not-found');
    const added = node.send(alice, { op: 'setMember', user: 'bob', role: 'member' }, true);
    const allowed = node.send(bob, publish(1), true);
    const removed = node.send(alice, { op: 'removeMember', user: 'bob' }, true);
    const refused = node.send(bob, publish(2), true);
    node.run();
    expect(alice.answers.get(added)).toEqual({ room: 'r', seq: 2 });
    expect(bob.answers.get(allowed)).toMatchObject({ seq: 3 });
    expect(alice.answers.get(removed)).toEqual({ room: 'r', seq: 4 });
    expect(bob.answers.get(refused)).toBe('not-found');
  });

  it('nothing at or above a revocation reaches the one whose right it ends, not even from a page on its way', () => {
    const { node, alice, bob } = world();
    node.ask(alice, { op: 'create', visibility: 'private' });
    node.ask(alice, { op: 'setMember', user: 'bob', role: 'member' });
    node.send(bob, { op: 'subscribe' });
    node.ask(alice, publish(3));
    const heard = node.clog(bob);
    for (let n = 4; n <= 30; n++) node.ask(alice, publish(n));
    heard(); // his page is asked for of the store …
    node.send(alice, { op: 'removeMember', user: 'bob' }, true);
    expect(node.reads).toHaveLength(1);
    while (node.step(0)); // … and comes after he was removed
    node.ask(alice, publish(32));
    expect(bob.seqs.every((seq) => seq < 31)).toBe(true);
    expect(bob.live).toBe(false);
    expect(bob.pushes).toContainEqual({ op: 'unsubscribed', room: 'r', reason: 'not-found' });
    expect(node.ask(bob, { op: 'history' })).toBe('not-found');
  });

  it('concurrent joins never exceed the size limit; a join of a member is no second entry', () => {
    const { store, node, alice } = world();
    node.ask(alice, { op: 'create', membersMax: 10 });
    const clients = Array.from({ length: 50 }, (_, i) => node.client(`user${i}`));
    const ids = clients.map((client) => node.send(client, { op: 'join' }, true));
    node.run();
    const answers = clients.map((client, i) => client.answers.get(ids[i] as number));
    expect(answers.filter((answer) => answer === 'room-full')).toHaveLength(41);
    expect(answers.filter((answer) => typeof answer === 'object')).toHaveLength(9);
    expect(store.stored.members).toHaveLength(10);
    const member = clients[answers.findIndex((answer) => typeof answer === 'object')] as Client;
    const before = store.log.length;
    expect(node.ask(member, { op: 'join' })).toMatchObject({ room: 'r' });
    expect(store.log).toHaveLength(before);
  });

  it('the last owner stays while there are others, and a deleted room ends every subscription but goes on counting', () => {
    const { node, alice, bob } = world();
    node.ask(alice, { op: 'create' });
    node.ask(bob, { op: 'join' });
    node.send(bob, { op: 'subscribe' });
    expect(node.ask(alice, { op: 'leave' })).toBe('forbidden');
    expect(node.ask(bob, { op: 'delete' })).toBe('forbidden');
    expect(node.ask(alice, { op: 'delete' })).toEqual({ room: 'r', seq: 3 });
    expect(bob.pushes).toContainEqual({ op: 'unsubscribed', room: 'r', reason: 'not-found' });
    expect(node.ask(bob, { op: 'create' })).toEqual({ room: 'r', seq: 4 });
    expect(node.ask(bob, { op: 'subscribe', position: { epoch: 'e1', seq: 1 } })).toMatchObject({
      recovered: false,
      gaps: [{ from: 2, to: 2, reason: 'trimmed' }],
    });
  });

  it('history since joining is the default of private rooms: older entries are a gap, and not in history', () => {
    const { node, alice, bob } = world();
    node.ask(alice, { op: 'create', visibility: 'private' });
    for (let n = 2; n <= 5; n++) node.ask(alice, publish(n));
    node.ask(alice, { op: 'setMember', user: 'bob', role: 'member' });
    node.ask(alice, publish(7));
    expect(node.ask(bob, { op: 'subscribe', position: { epoch: 'e1', seq: 1 } })).toMatchObject({
      recovered: false,
      gaps: [{ from: 2, to: 5, reason: 'forbidden' }],
    });
    expect(bob.seqs).toEqual([6, 7]);
    expect(node.ask(bob, { op: 'history' })).toMatchObject({ entries: [7], more: false });
    expect(node.ask(alice, { op: 'history' })).toMatchObject({ entries: [2, 3, 4, 5, 7] });
  });

  it('history pages before, after and around, oldest first', () => {
    const { node, alice } = world();
    for (let n = 1; n <= 20; n++) node.ask(alice, publish(n));
    expect(node.ask(alice, { op: 'history', limit: 3 })).toMatchObject({ entries: [18, 19, 20], more: true, asOf: { epoch: 'e1', seq: 20 } });
    expect(node.ask(alice, { op: 'history', before: 4, limit: 5 })).toMatchObject({ entries: [1, 2, 3], more: false });
    expect(node.ask(alice, { op: 'history', after: 15, limit: 3 })).toMatchObject({ entries: [16, 17, 18], more: true });
    expect(node.ask(alice, { op: 'history', around: 10, limit: 4 })).toMatchObject({ entries: [8, 9, 10, 11], more: true });
    expect(node.ask(alice, { op: 'history', before: 4, after: 2 })).toBe('bad-request');
  });

  it('who follows is told to those who ask: all of them once, then changes; only a number above the limit', () => {
    const { node, alice } = world();
    expect(node.ask(alice, { op: 'subscribe', presence: true })).toMatchObject({ audience: { count: 1, users: ['alice'] } });
    alice.pushes = [];
    const others = ['b', 'c', 'd', 'e'].map((user) => node.client(user));
    for (const other of others) node.send(other, { op: 'subscribe' });
    expect(alice.pushes.at(-1)).toEqual({ op: 'audience', room: 'r', count: 5, joined: ['e'] });
    const sixth = node.client('f');
    node.send(sixth, { op: 'subscribe' });
    node.actor.tick(node);
    expect(alice.pushes.at(-1)).toEqual({ op: 'audience', room: 'r', count: 6 });
    node.leave(sixth);
    expect(alice.pushes.at(-1)).toEqual({ op: 'audience', room: 'r', count: 5, users: ['alice', 'b', 'c', 'd', 'e'] });
    node.leave(others[0] as Client);
    expect(alice.pushes.at(-1)).toEqual({ op: 'audience', room: 'r', count: 4, left: ['b'] });
  });

  it('who asks when others follow already is told of all of them, and anew where nobody asked in between', () => {
    const { node, alice } = world();
    const [first, second, third] = ['b', 'b', 'c'].map((user) => node.client(user)) as [Client, Client, Client];
    for (const other of [first, second, third]) node.send(other, { op: 'subscribe' });
    expect(node.ask(alice, { op: 'subscribe', presence: true })).toMatchObject({ audience: { count: 3, users: ['b', 'c', 'alice'] } });
    alice.pushes = [];
    node.leave(first); // the user is still there
    expect(alice.pushes).toEqual([]);
    const late = node.client('d');
    node.send(late, { op: 'subscribe' });
    expect(alice.pushes.at(-1)).toEqual({ op: 'audience', room: 'r', count: 4, joined: ['d'] });
    node.ask(alice, { op: 'unsubscribe' });
    node.leave(third);
    expect(node.ask(alice, { op: 'subscribe', presence: true })).toMatchObject({ audience: { count: 3, users: ['b', 'd', 'alice'] } });
    node.leave(second);
    expect(alice.pushes.at(-1)).toEqual({ op: 'audience', room: 'r', count: 2, left: ['b'] });
  });

  it('P3 who comes and goes, or subscribes again, within a turn is no news', () => {
    const { node, alice, bob } = world();
    node.ask(bob, { op: 'subscribe' });
    node.ask(alice, { op: 'subscribe', presence: true });
    alice.pushes = [];
    node.ask(bob, { op: 'subscribe' });
    const carol = node.client('carol');
    node.actor.command(carol.connection, { op: 'subscribe', room: 'r', id: 1 }, node);
    node.leave(carol);
    expect(alice.pushes).toEqual([]);
    node.leave(bob);
    expect(alice.pushes).toEqual([{ op: 'audience', room: 'r', count: 1, left: ['bob'] }]);
  });

  it('P3 who asked is told of everybody anew where a restart of the shard has taken the rooms apart, once for all who asked', () => {
    const node = new RoomNode(new PaperStore());
    const [alice, phone, bob, carol] = ['alice', 'alice', 'bob', 'carol'].map((user) => node.client(user)) as [Client, Client, Client, Client];
    const follow = (client: Client, presence: boolean) => node.actor.follow(client.connection, { epoch: 'e1', seq: 0 }, presence, node);
    follow(bob, false);
    follow(alice, true);
    follow(carol, true);
    node.run();
    const all = { op: 'audience', room: 'r', count: 3, users: ['bob', 'alice', 'carol'] };
    expect([alice.pushes, carol.pushes, bob.pushes]).toEqual([[all], [all], []]);
    follow(phone, true); // later, and of a user who is there: nobody has come, and still it knows of nobody
    node.turn();
    expect(phone.pushes).toEqual([all]);
    node.leave(bob);
    expect(phone.pushes.at(-1)).toEqual({ op: 'audience', room: 'r', count: 2, left: ['bob'] });
  });

  it('a full shard refuses with busy, and a store that refuses is storage: nothing is delivered', () => {
    const { node, alice } = world();
    node.send(alice, { op: 'subscribe' });
    node.full = true;
    expect(node.ask(alice, publish(1))).toBe('busy');
    node.full = false;
    const id = node.send(alice, publish(2), true);
    node.commits.shift()?.settled({ code: 'storage', message: 'disk full' }, 0);
    node.run();
    expect([alice.answers.get(id), alice.seqs]).toEqual(['storage', []]);
  });

  it('only an API key acts for others, and it follows nothing', () => {
    const { node, alice } = world();
    const service = node.client('api:shop', { service: true });
    node.send(alice, { op: 'subscribe' });
    expect(node.ask(alice, { ...publish(1), as: 'bob' })).toBe('forbidden');
    expect(node.ask(service, { ...publish(1), as: 'bob' })).toMatchObject({ seq: 1 });
    expect(node.ask(service, { op: 'subscribe' })).toBe('forbidden');
  });

  it('an idle room without subscribers may be forgotten, one with anything left may not', () => {
    const { node, alice, bob } = world();
    node.send(alice, publish(0)); // a name without a room is not kept at all
    node.send(alice, { op: 'subscribe' });
    node.advance(61_000);
    expect(node.actor.tick(node)).toBe(false);
    node.leave(alice);
    expect(node.actor.tick(node)).toBe(false);
    node.send(bob, publish(1), true);
    node.advance(61_000);
    expect(node.actor.tick(node)).toBe(false);
    node.run();
    node.advance(61_000);
    expect(node.actor.tick(node)).toBe(true);
  });
});
