/** A room under interleavings that once went wrong: reads that are overtaken, crowds in the mailbox, answers of a writer that died. */
import { describe, expect, it } from 'vitest';
import { CodedError } from '../src/protocol/codes.ts';
import { PaperStore, publish, RoomNode } from './room-world.ts';

/** A position of an epoch before this one: the store must be asked about it. */
const old = (seq: number) => ({ epoch: 'e0', seq });

/** A store that knows positions of every epoch. */
class LongStore extends PaperStore {
  override answer(query: Parameters<PaperStore['answer']>[0]): object {
    return query.read === 'position' ? { reason: null, head: this.log.length } : super.answer(query);
  }
}

function room(): { store: LongStore; node: RoomNode } {
  const store = new LongStore();
  return { store, node: new RoomNode(store) };
}

describe('a subscription whose position the store is asked about', () => {
  it('F8 is refused when the right to it ended before the store answered', () => {
    const { node } = room();
    const alice = node.client('alice');
    const bob = node.client('bob');
    node.ask(alice, { op: 'create', visibility: 'private' });
    node.ask(alice, { op: 'setMember', user: 'bob', role: 'member' });
    const id = node.send(bob, { op: 'subscribe', position: old(1) }, true);
    node.send(alice, { op: 'removeMember', user: 'bob' }, true);
    while (node.step(0)); // the removal is committed and applied; the read is still open
    node.run();
    node.ask(alice, publish('secret'));
    expect(bob.answers.get(id)).toBe('not-found');
    expect([bob.live, bob.seqs]).toEqual([false, []]);
  });

  it('R4 F8 ends with an unsubscribe that was sent behind it', () => {
    const { node } = room();
    const alice = node.client('alice');
    node.ask(alice, publish(1));
    const subscribed = node.send(alice, { op: 'subscribe', position: old(1) }, true);
    const left = node.send(alice, { op: 'unsubscribe' }, true);
    node.run();
    node.ask(alice, publish(2));
    expect(alice.answers.get(subscribed)).toMatchObject({ room: 'r' });
    expect(alice.answers.get(left)).toEqual({ room: 'r' });
    expect([alice.live, alice.seqs]).toEqual([false, []]);
  });

  it('F1 is replaced by one that was sent behind it and found its position at once', () => {
    const { node } = room();
    const alice = node.client('alice');
    for (let n = 1; n <= 3; n++) node.ask(alice, publish(n));
    const first = node.send(alice, { op: 'subscribe', position: old(1) }, true);
    const second = node.send(alice, { op: 'subscribe', position: { epoch: 'e1', seq: 2 } }, true);
    node.run();
    expect(alice.answers.get(first)).toMatchObject({ recovered: false }); // nobody judged its position
    expect(alice.answers.get(second)).toMatchObject({ recovered: true });
    expect(alice.seqs).toEqual([3]);
    expect(alice.live).toBe(true);
  });

  it('F3 F7 is fed and heard once, though word comes late that the subscription which it replaced fell behind', () => {
    const { node } = room();
    const [alice, bob] = [node.client('alice'), node.client('bob')];
    node.send(bob, { op: 'subscribe' });
    for (let n = 1; n <= 3; n++) node.ask(alice, publish(n));
    const heard = node.clog(bob);
    node.ask(alice, publish(4));
    bob.seqs = [];
    node.ask(bob, { op: 'subscribe', position: { epoch: 'e1', seq: 4 } });
    heard();
    node.run();
    node.ask(alice, publish(5));
    expect(bob.seqs).toEqual([5]);
    const again = node.clog(bob);
    node.ask(alice, publish(6));
    again(); // and what is said of the one that counts is heard
    node.run();
    expect(bob.seqs).toEqual([5, 6]);
  });

  it('keeps the room from being put away while the store is asked', () => {
    const { node } = room();
    const alice = node.client('alice');
    node.ask(alice, publish(1));
    node.send(alice, { op: 'subscribe', position: old(1) }, true);
    node.advance(1e9);
    expect(node.actor.tick(node)).toBe(false);
    node.run();
    expect(alice.live).toBe(true);
    node.leave(alice);
    node.advance(1e9);
    expect(node.actor.tick(node)).toBe(true);
  });

  it('X3 is none where its connection has gone meanwhile: nobody follows, and nothing keeps the room', () => {
    const { node } = room();
    const [alice, bob] = [node.client('alice'), node.client('bob')];
    node.ask(alice, publish(1));
    node.send(bob, { op: 'subscribe', position: old(1) }, true);
    node.leave(bob);
    node.run();
    expect(node.ask(alice, { op: 'info' })).toMatchObject({ subscribers: 0 });
    node.advance(1e9);
    expect(node.actor.tick(node)).toBe(true);
  });
});

describe('rights', () => {
  it('F8 who follows a name before it is created as a private room is told to leave, and gets nothing of it', () => {
    const { node } = room();
    const alice = node.client('alice');
    const bob = node.client('bob');
    node.ask(bob, { op: 'subscribe' });
    node.ask(alice, { op: 'create', visibility: 'private' });
    node.ask(alice, publish('secret'));
    expect(bob.seqs).toEqual([]);
    expect(bob.live).toBe(false);
    expect(bob.pushes).toContainEqual({ op: 'unsubscribed', room: 'r', reason: 'not-found' });
  });

  it('F9 history around a seq ends where it began to be read, although the room goes on between its two reads', () => {
    const { node } = room();
    const alice = node.client('alice');
    const bob = node.client('bob');
    node.ask(alice, { op: 'create', visibility: 'private', history: 'all' });
    node.ask(alice, { op: 'setMember', user: 'bob', role: 'member' });
    node.ask(alice, publish('a'));
    const id = node.send(bob, { op: 'history', around: 3 }, true);
    node.send(alice, { op: 'removeMember', user: 'bob' }, true);
    node.send(alice, publish('secret'), true);
    while (node.step(0));
    node.run();
    expect(bob.answers.get(id)).toMatchObject({ asOf: { seq: 3 }, entries: [3] });
  });

  it('G7 a DM has both its members from its first message on', () => {
    const node = new RoomNode(new PaperStore(), 'dm:alice:bob');
    const alice = node.client('alice');
    node.ask(alice, { op: 'direct', to: 'bob', body: 'hi' } as never);
    expect(node.ask(alice, { op: 'members' })).toMatchObject({ members: [{ user: 'alice' }, { user: 'bob' }] });
    expect(node.ask(alice, { op: 'info' })).toMatchObject({ visibility: 'private', members: 2 });
  });

  it('G4 joining again is answered with the role one has', () => {
    const { node } = room();
    const alice = node.client('alice');
    node.ask(alice, { op: 'create' });
    expect(node.ask(alice, { op: 'join' })).toMatchObject({ role: 'owner' });
  });
});

describe('a room that was deleted while its actor missed what came before', () => {
  it('G6 R4 ends for who followed it, as far as he was told, and goes on for who comes after', () => {
    const { store, node: here } = room();
    const there = new RoomNode(store, 'r', {}, 1);
    const bob = here.client('bob');
    const alice = there.client('alice');
    here.send(bob, { op: 'subscribe' });
    there.ask(alice, { op: 'create' });
    here.actor.hint(1, here);
    here.run();
    for (let n = 2; n <= 4; n++) there.ask(alice, publish(n));
    there.ask(alice, { op: 'delete' });
    there.ask(alice, { op: 'create' });
    there.ask(alice, publish(7));
    here.actor.hint(7, here);
    here.run();
    expect([bob.live, bob.seqs]).toEqual([false, [1]]);
    expect(bob.pushes.filter((push) => 'op' in push && push.op === 'unsubscribed')).toEqual([{ op: 'unsubscribed', room: 'r', reason: 'not-found' }]);
    expect(here.ask(bob, { op: 'subscribe', position: { epoch: 'e1', seq: 1 } })).toMatchObject({ gaps: [{ from: 2, to: 4, reason: 'trimmed' }] });
    expect(here.ask(bob, publish(8))).toEqual({ seq: 8, mid: expect.any(String) });
    expect(bob.seqs).toEqual([1, 5, 6, 7, 8]);
    expect(here.actor.state.ahead.size).toBe(0);
  });
});

describe('the mailbox', () => {
  it('is bounded in bytes as well: while a room loads, what is too much is refused and the rest is carried out', () => {
    const { node } = room();
    const alice = node.client('alice');
    for (let id = 1; id <= 40; id++) node.actor.command(alice.connection, { op: 'publish', room: 'r', id, body: id }, node, 1024 * 1024);
    const refused = [...alice.answers.values()].filter((answer) => answer === 'busy').length;
    expect(refused).toBeGreaterThan(0);
    node.run();
    expect(alice.answers.size).toBe(40);
    expect(node.actor.state.headSeq).toBe(40 - refused);
    node.actor.command(alice.connection, { op: 'publish', room: 'r', id: 41, body: 41 }, node, 1024 * 1024);
    node.run();
    expect(alice.answers.get(41)).toMatchObject({ seq: 41 - refused }); // what left the mailbox counts no more
  });

  it('R9 is emptied where the room could not be read, and the room is read again for who comes next', () => {
    const { node } = room();
    const alice = node.client('alice');
    for (let id = 1; id <= 10; id++) node.actor.command(alice.connection, { op: 'publish', room: 'r', id, body: id }, node, 1024 * 1024);
    node.fail('room', new CodedError('busy'));
    expect([...alice.answers.values()]).toEqual(Array(10).fill('busy'));
    for (let id = 11; id <= 20; id++) node.actor.command(alice.connection, { op: 'publish', room: 'r', id, body: id }, node, 1024 * 1024);
    node.run();
    expect(alice.answers.get(20)).toMatchObject({ seq: 10 });
  });

  it('a crowd of changes that end at once does not become a stack', () => {
    const { node } = room();
    const alice = node.client('alice');
    let last = 0;
    for (let n = 0; n < 19_000; n++) last = node.send(alice, { op: 'leave' }, true);
    node.actor.command(alice.connection, { op: 'create', room: 'r', id: 1e6 }, node);
    expect(() => node.run()).not.toThrow();
    expect(alice.answers.get(last)).toBe('not-found');
    expect(alice.answers.get(1e6)).toMatchObject({ seq: 1 });
  });
});

describe('a batch that a writer had committed before it died', () => {
  /** `count` messages that are in the store already, and answered as duplicates now. */
  function resent(count: number): { node: RoomNode; store: LongStore; alice: ReturnType<RoomNode['client']>; first: number } {
    const { node, store } = room();
    const alice = node.client('alice');
    node.ask(alice, publish('zero'));
    let first = 0;
    for (let n = 1; n <= count; n++) {
      const id = node.send(alice, publish(n), true);
      first ||= id;
    }
    for (const { operation } of node.commits) store.commit(operation, node.now);
    return { node, store, alice, first };
  }

  it('is read once for all of it, not once for each entry', () => {
    const { node, alice, first } = resent(300);
    while (node.step(0));
    expect(node.reads).toHaveLength(1);
    node.run();
    expect(node.actor.state.headSeq).toBe(301);
    expect(alice.answers.get(first)).toMatchObject({ seq: 2, duplicate: true });
  });

  it('R4 has taken effect when it is answered: what was sent behind a create finds the room', () => {
    const store = new PaperStore();
    const node = new RoomNode(store, 'r', { autoCreate: false });
    const alice = node.client('alice');
    node.ask(alice, { op: 'info' });
    const created = node.send(alice, { op: 'create' }, true);
    const published = node.send(alice, publish(1), true);
    for (const { operation } of node.commits) store.commit(operation, node.now);
    node.run();
    expect(alice.answers.get(created)).toMatchObject({ seq: 1 });
    expect(alice.answers.get(published)).toMatchObject({ seq: 2 });
  });

  it('leaves nothing behind in memory that the store brought as well', () => {
    const { node, alice } = resent(700);
    const before = node.commits.splice(0, 300);
    for (let n = 0; n < 400; n++) node.commits[n]?.settled(302 + n, node.now); // early: the entries before them are not applied yet
    node.commits.length = 0;
    for (const { settled } of before) settled({ code: 'duplicate', seq: 2 }, node.now);
    node.turn();
    expect(node.actor.state.ahead.size).toBe(400);
    node.run();
    expect(node.actor.state.headSeq).toBe(701);
    expect(node.actor.state.ahead.size).toBe(0);
    expect(alice.answers.size).toBe(701);
  });

  it('F2 reaches who follows live though the store could not be read just then, and nobody writes any more', () => {
    const { node } = resent(1);
    const bob = node.client('bob');
    node.send(bob, { op: 'subscribe' }, true);
    while (node.step(0));
    node.fail('entries', new CodedError('busy'));
    node.turn();
    node.actor.tick(node);
    node.fail('entries', new CodedError('storage'));
    node.actor.tick(node);
    node.run();
    expect(bob.seqs).toEqual([2]);
    const { asked } = node;
    node.actor.tick(node);
    expect(node.asked).toBe(asked);
  });

  it('a read that fails keeps nobody waiting for the next', () => {
    const { node, alice, first } = resent(2);
    while (node.step(0));
    node.fail('entries', new CodedError('busy'));
    node.run();
    expect(alice.answers.get(first)).toMatchObject({ duplicate: true });
    expect(alice.answers.get(first + 1)).toMatchObject({ duplicate: true });
    expect(node.actor.state.headSeq).toBe(3);
  });
});
