/** `who`, `watch` and `unwatch`: what is answered, what it costs, and what is left when watchers go. */
import { expect, test } from 'vitest';
import { CodedError } from '../src/protocol/codes.ts';
import { watchAgain } from '../src/shard/presence-command.ts';
import { startPresence } from './presence-harness.ts';

test('who answers from actors where they know, from the store in one query where they do not', () => {
  const { connect, ask, effects, users } = startPresence();
  connect('bob');
  const alice = effects.connection('alice');
  ask(alice, 'who', 'carol', 'bob', 'dave', 'carol');
  expect(effects.take(alice)).toEqual([]);
  const query = effects.answer('presence', { users: [{ user: 'carol', status: 'offline', lastSeen: 5 }] });
  expect(query.users).toEqual(['carol', 'dave']);
  expect(effects.take(alice)).toEqual([
    {
      to: alice.id,
      id: 1,
      part: {
        users: [
          { user: 'carol', status: 'offline', lastSeen: 5 },
          { user: 'bob', status: 'online', lastSeen: effects.now },
          { user: 'dave', status: 'offline', lastSeen: null },
        ],
      },
    },
  ]);
  expect(users.size).toBe(1);
  ask(alice, 'who', 'bob');
  expect(effects.reads).toEqual([]);
  expect(effects.take(alice)).toMatchObject([{ part: { users: [{ user: 'bob', status: 'online' }] } }]);
});

test('what an actor learns while the store is asked is newer than the answer', () => {
  const { connect, ask, effects } = startPresence();
  const alice = effects.connection('alice');
  ask(alice, 'watch', 'bob');
  connect('bob');
  effects.answer('presence', { users: [{ user: 'bob', status: 'offline', lastSeen: 5 }] });
  // The change is told by the answer alone, not by a push before it.
  expect(effects.take(alice)).toMatchObject([{ part: { users: [{ user: 'bob', status: 'online' }] } }]);
});

test('P2 the answer to watch says when each was last there, also to who asks when that was read already', () => {
  const { ask, effects } = startPresence();
  const [alice, carol] = [effects.connection('alice'), effects.connection('carol')];
  const bob = { user: 'bob', status: 'offline' as const, lastSeen: 5 };
  ask(alice, 'watch', 'bob');
  effects.answer('presence', { users: [bob] });
  ask(carol, 'watch', 'bob');
  for (const watcher of [alice, carol]) expect(effects.take(watcher)).toMatchObject([{ part: { users: [bob] } }]);
  expect(effects.reads).toEqual([]);
});

test('one connection watches at most watchesMax users; a list that would pass it adds none of its users', () => {
  const { ask, effects, users } = startPresence();
  const alice = effects.connection('alice');
  ask(alice, 'watch', 'a', 'b');
  effects.answer('presence', { users: [] });
  effects.take(alice);
  ask(alice, 'watch', 'b', 'c', 'd');
  expect(effects.take(alice)).toMatchObject([{ refuse: 'limit', of: 'watch' }]);
  expect(users.size).toBe(2);
  ask(alice, 'unwatch', 'a', 'never');
  expect(effects.take(alice)).toEqual([{ to: alice.id, id: 1, part: { users: ['a', 'never'] } }]);
  ask(alice, 'watch', 'b', 'c', 'd');
  effects.answer('presence', { users: [] });
  expect(effects.take(alice)).toMatchObject([{ part: { users: [{ user: 'b' }, { user: 'c' }, { user: 'd' }] } }]);
});

test('P2 who watches somebody once more gets the change that his answer says pushed as well: a push on its way to him may be taken for newer', () => {
  const { connect, ask, say, tick, watcherOf, effects } = startPresence();
  const watcher = watcherOf('bob');
  const bob = connect('bob');
  tick(2_000);
  say(bob, 'away');
  say(bob, 'online'); // held back: a status is pushed at most once per second
  expect(effects.statuses(watcher)).toEqual(['bob online', 'bob away']);
  ask(watcher, 'watch', 'bob');
  expect(effects.take(watcher)).toMatchObject([{ part: { users: [{ user: 'bob', status: 'online' }] } }]);
  tick(2_000);
  expect(effects.statuses(watcher)).toEqual(['bob online']);
});

test('P2 who watches somebody once more while a change is held back gets the next push, also when it is what he was pushed last', () => {
  const { connect, ask, say, tick, watcherOf, effects } = startPresence();
  const watcher = watcherOf('bob');
  const bob = connect('bob');
  expect(effects.statuses(watcher)).toEqual(['bob online']);
  say(bob, 'away'); // held back: a status is pushed at most once per second
  for (const time of ['second', 'third']) {
    ask(watcher, 'watch', 'bob');
    expect(effects.take(watcher), time).toMatchObject([{ part: { users: [{ user: 'bob', status: 'away' }] } }]);
  }
  say(bob, 'online');
  tick(2_000);
  expect(effects.statuses(watcher)).toEqual(['bob online']);
  say(bob, 'online');
  tick(2_000);
  expect(effects.statuses(watcher)).toEqual([]);
});

test('P2 who watches somebody more than once while a change is held back is pushed that change', () => {
  const { connect, ask, say, tick, watcherOf, effects } = startPresence();
  const watcher = watcherOf('bob');
  const bob = connect('bob');
  say(bob, 'away');
  ask(watcher, 'watch', 'bob');
  ask(watcher, 'watch', 'bob');
  effects.take(watcher);
  tick(2_000);
  expect(effects.statuses(watcher)).toEqual(['bob away']);
});

test('a watch that the store could not answer is refused and leaves nothing behind', () => {
  const { ask, effects, users, turn } = startPresence();
  const alice = effects.connection('alice');
  ask(alice, 'watch', 'bob');
  turn(() => effects.fail('presence', new CodedError('busy')));
  expect(effects.take(alice)).toMatchObject([{ refuse: 'busy', of: 'watch' }]);
  expect(users.size).toBe(0);
});

test('P2 a watch that fails takes back nothing that another one of the same users was answered for', () => {
  for (const order of ['failed first', 'answered first']) {
    const { connect, ask, effects, turn, tick } = startPresence();
    const alice = effects.connection('alice');
    ask(alice, 'watch', 'bob');
    ask(alice, 'watch', 'bob');
    if (order === 'answered first') effects.reads.reverse();
    turn(() => (order === 'failed first' ? effects.fail('presence', new CodedError('busy')) : effects.answer('presence', { users: [] })));
    turn(() => (order === 'failed first' ? effects.answer('presence', { users: [] }) : effects.fail('presence', new CodedError('busy'))));
    effects.take(alice);
    connect('bob');
    tick(2_000);
    expect(effects.statuses(alice), order).toEqual(['bob online']);
  }
});

test('P2 unwatch ends a watch that is not answered yet, and one of after it stands whatever becomes of that', () => {
  for (const first of ['answered', 'failed']) {
    const { connect, ask, effects, turn, tick } = startPresence();
    const alice = effects.connection('alice');
    const end = () => turn(() => (first === 'failed' ? effects.fail('presence', new CodedError('busy')) : effects.answer('presence', { users: [] })));
    ask(alice, 'watch', 'bob', 'carol');
    ask(alice, 'unwatch', 'bob');
    end();
    ask(alice, 'watch', 'dave');
    ask(alice, 'unwatch', 'dave');
    ask(alice, 'watch', 'dave');
    end();
    turn(() => effects.answer('presence', { users: [] }));
    effects.take(alice);
    for (const user of ['bob', 'carol', 'dave']) connect(user);
    tick(2_000);
    expect(effects.statuses(alice), first).toEqual(first === 'failed' ? ['dave online'] : ['carol online', 'dave online']);
  }
});

test('unwatch and the end of the watcher end the pushes, and an actor of nobody is dropped', () => {
  const { connect, close, ask, say, tick, watcherOf, effects, users } = startPresence();
  const first = watcherOf('bob');
  const second = effects.connection('second');
  ask(second, 'watch', 'bob');
  const bob = connect('bob');
  effects.take(first);
  effects.take(second);
  ask(first, 'unwatch', 'bob');
  close(second, true);
  tick(2_000);
  say(bob, 'away');
  expect(effects.statuses(first)).toEqual([]);
  close(bob, true);
  tick(2_000);
  expect(users.size).toBe(0);
});

test('after a restart of the shard watches are taken up again and told how things are', () => {
  const { connect, close, turn, tick, effects, users } = startPresence();
  const alice = effects.connection('alice');
  turn(() => watchAgain(users, alice, ['bob', 'carol'], effects));
  effects.answer('presence', {
    users: [
      { user: 'bob', status: 'online', lastSeen: 7 },
      { user: 'carol', status: 'offline', lastSeen: 6 },
    ],
  });
  expect(effects.statuses(alice)).toEqual(['bob online', 'carol offline']);
  const bob = connect('bob', true);
  tick(2_000);
  expect(effects.statuses(alice)).toEqual([]);
  close(bob, true);
  expect(effects.statuses(alice)).toEqual(['bob offline']);
});

test('a watch taken up again that the store could not answer hears of the next change, whichever it is', () => {
  const { connect, close, turn, tick, effects, users } = startPresence();
  const bob = connect('bob', true);
  const alice = effects.connection('alice');
  turn(() => watchAgain(users, alice, ['bob', 'carol'], effects));
  turn(() => effects.fail('presence', new CodedError('storage')));
  tick(2_000);
  close(bob, true);
  connect('carol');
  expect(effects.statuses(alice)).toEqual(['bob offline', 'carol online']);
});
