/** A user's status, merged over his connections, as watchers and the store learn of it. */
import { expect, test } from 'vitest';
import { graceMs, startPresence } from './presence-harness.ts';

test('a user is online if any connection is, else away if any is there, else offline', () => {
  const { connect, say, idle, close, tick, watcherOf, effects } = startPresence();
  const watcher = watcherOf('bob');
  const phone = connect('bob');
  const laptop = connect('bob');
  say(phone, 'away');
  tick(2_000);
  idle(laptop, true);
  tick(2_000);
  idle(laptop, false);
  tick(2_000);
  close(laptop, true);
  tick(2_000);
  close(phone, true);
  tick(2_000);
  expect(effects.statuses(watcher)).toEqual(['bob online', 'bob away', 'bob online', 'bob away', 'bob offline']);
});

test('the answer to status is the status merged over the connections', () => {
  const { connect, say, effects } = startPresence();
  const phone = connect('bob');
  say(phone, 'away');
  expect(effects.take(phone)).toMatchObject([{ reply: { status: 'away' } }]);
  const laptop = connect('bob');
  say(phone, 'away');
  expect(effects.take(phone)).toMatchObject([{ reply: { status: 'online' } }]);
  expect(effects.take(laptop)).toEqual([]);
});

test('an unclean drop leaves the user as he was for the grace period, so that a reload does not flicker', () => {
  const { connect, close, tick, watcherOf, effects, stored } = startPresence();
  const watcher = watcherOf('bob');
  const first = connect('bob');
  tick(5_000);
  close(first, false);
  tick(graceMs - 1);
  const second = connect('bob');
  tick(5 * graceMs);
  expect(effects.statuses(watcher)).toEqual(['bob online']);
  close(second, false);
  const closedAt = effects.now;
  tick(graceMs);
  const pushes = effects.take(watcher);
  expect(pushes).toEqual([{ to: watcher.id, push: { op: 'presence', user: 'bob', status: 'offline', lastSeen: closedAt } }]);
  expect(stored.get('bob')).toEqual({ status: 'offline', lastSeen: closedAt });
});

test('a clean goodbye needs no grace', () => {
  const { connect, close, tick, watcherOf, effects, stored } = startPresence();
  const watcher = watcherOf('bob');
  const bob = connect('bob');
  tick(5_000);
  close(bob, true);
  expect(effects.statuses(watcher)).toEqual(['bob online', 'bob offline']);
  expect(stored.get('bob')?.status).toBe('offline');
});

test('a connect on its way keeps the grace of the connection before it open', () => {
  const { connect, close, tick, watcherOf, effects, users, turn } = startPresence();
  const watcher = watcherOf('bob');
  close(connect('bob'), false);
  const next = effects.connection('bob');
  users.hello(next, { again: false, named: false, issuedAt: 0 }, effects);
  effects.advance(2 * graceMs);
  users.tick(effects);
  users.flush(effects);
  turn();
  tick(2_000);
  expect(effects.statuses(watcher)).toEqual(['bob online']);
});

test('flapping costs watchers and the store at most a change per second, and ends in the state that is', () => {
  const { connect, say, tick, watcherOf, effects, saves, stored, statusOf } = startPresence();
  const watcher = watcherOf('bob');
  const bob = connect('bob');
  tick(2_000);
  for (let i = 0; i < 101; i++) {
    say(bob, i % 2 === 0 ? 'away' : 'online');
    expect(statusOf('bob')).toBe(i % 2 === 0 ? 'away' : 'online');
  }
  expect(effects.statuses(watcher)).toEqual(['bob online', 'bob away']);
  for (let i = 0; i < 100; i++) say(bob, i % 2 === 0 ? 'online' : 'away');
  say(bob, 'online');
  tick(1_000);
  expect(effects.statuses(watcher)).toEqual(['bob online']);
  expect(saves).toEqual(['away', 'online']);
  expect(stored.get('bob')?.status).toBe('online');
});

test('a watcher who asked during a change held back hears of the next one', () => {
  const { connect, say, ask, tick, watcherOf, effects } = startPresence();
  watcherOf('bob');
  const bob = connect('bob');
  say(bob, 'away');
  const late = effects.connection('late');
  ask(late, 'watch', 'bob');
  expect(effects.take(late)).toMatchObject([{ part: { users: [{ user: 'bob', status: 'away' }] } }]);
  say(bob, 'online');
  tick(1_000);
  expect(effects.statuses(late)).toEqual(['bob online']);
});

test('a status that the store refused is saved at a later tick', () => {
  const { connect, tick, effects, users, stored } = startPresence();
  const bob = connect('bob');
  tick(2_000);
  users.command(bob, { op: 'status', status: 'away' }, effects);
  users.flush(effects);
  effects.settle('presence', { code: 'storage', message: 'busy' });
  users.flush(effects);
  expect(effects.commits).toEqual([]);
  tick(1_000);
  expect(stored.get('bob')?.status).toBe('away');
});

test('a connection that comes while the last one goes is no change', () => {
  const { connect, tick, effects, users, turn, saves, stored } = startPresence();
  const first = connect('bob');
  tick(2_000);
  effects.gone(first);
  turn(() => {
    users.close(first, true, effects);
    users.hello(effects.connection('bob'), { again: false, named: false, issuedAt: 0 }, effects);
  });
  tick(2_000);
  expect(saves).toEqual([]);
  expect(stored.get('bob')?.status).toBe('online');
});

test('a connection that comes while offline is on its way to the store leaves it online there', () => {
  const { connect, close, tick, effects, users, turn, stored, saves } = startPresence();
  const first = connect('bob');
  tick(2_000);
  effects.gone(first);
  users.close(first, true, effects);
  users.flush(effects);
  const second = effects.connection('bob');
  turn(() => users.hello(second, { again: false, named: false, issuedAt: 0 }, effects));
  tick(2_000);
  expect(stored.get('bob')?.status).toBe('online');
  tick(2_000);
  close(second, true);
  expect(saves).toEqual(['offline', 'offline']);
});

test('a connection that was idle before a restart of the shard is away after it', () => {
  const { effects, users, turn, statusOf } = startPresence();
  const bob = effects.connection('bob');
  turn(() => {
    users.hello(bob, { again: true, named: false, issuedAt: 0 }, effects);
    users.inactive(bob, true, effects);
  });
  expect(statusOf('bob')).toBe('away');
});

test('P1 that the store has found nobody left is no news of who is in his grace, or on his way in', () => {
  const { connect, close, tick, watcherOf, effects, users, turn } = startPresence();
  const watcher = watcherOf('bob');
  const bob = connect('bob');
  tick(5_000);
  close(bob, false);
  const prune = () => users.prune({ type: 'prune', shard: 0, shards: 1, through: 9, alive: [] }, effects);
  turn(() => {
    prune();
    effects.settle('prune', { code: 'pruned', users: ['bob'] });
  });
  tick(5_000);
  expect(effects.statuses(watcher)).toEqual(['bob online']);
  tick(graceMs);
  expect(effects.statuses(watcher)).toEqual(['bob offline']);
  turn(() => {
    // The status of before the restart, which is all that is known of him here.
    prune();
    users.hello(effects.connection('carl'), { again: true, named: false, issuedAt: 0 }, effects);
    users.watch(watcher, ['carl']);
    users.find('carl')?.presence.load({ user: 'carl', status: 'online', lastSeen: 1 });
    users.find('carl')?.presence.told(watcher.id, 'online');
    effects.settle('prune', { code: 'pruned', users: ['carl'] });
  });
  tick(5_000);
  expect(effects.statuses(watcher)).toEqual([]);
});
