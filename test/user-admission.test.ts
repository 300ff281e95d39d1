/** How connections of a user come and go: admission through the store, refusals, restarts, and what is owed at the end. */
import { expect, test } from 'vitest';
import type { Connection } from '../src/shard/actor.ts';
import { UserDirectory } from '../src/shard/user-directory.ts';
import type { Outcome } from '../src/thread/messages.ts';
import { EffectsRecorder } from './effects-recorder.ts';

const limits = {
  connectionsPerUserMax: 3,
  connectionPolicy: 'reject',
  devicesMax: 10,
  presenceGraceMs: 10_000,
  watchesMax: 10,
  inboxItemsMax: 100,
} as const;
const admitted: Outcome & object = { code: 'connected', victims: [], acked: 0, head: 0, allMark: 4, revokedAt: 0 };

function start() {
  const effects = new EffectsRecorder();
  const users = new UserDirectory('epoch-1', limits);
  const close = (connection: Connection, clean = false) => {
    effects.gone(connection);
    users.close(connection, clean, effects);
    users.flush(effects);
  };
  const tick = (ms: number) => {
    effects.advance(ms);
    users.tick(effects);
    users.flush(effects);
  };
  return { effects, users, close, tick };
}

test('a hello is answered by welcome once the store has admitted the connection, with the epoch and where the inbox stands', () => {
  const { effects, users } = start();
  const alice = effects.connection('alice', 'phone');
  users.hello(alice, { again: false, named: true, issuedAt: 0 }, effects);
  users.flush(effects);
  expect(effects.told).toEqual([]);
  const operation = effects.settle('connect', { ...admitted, acked: 3, head: 3 });
  expect(operation).toEqual({
    type: 'connect',
    user: 'alice',
    device: 'phone',
    named: true,
    connection: alice.id,
    perUserMax: 3,
    policy: 'reject',
    devicesMax: 10,
    again: false,
    issuedAt: 0,
  });
  expect(effects.told).toEqual([{ t: 'welcome', connection: alice.id, epoch: 'epoch-1', inbox: { head: 3, acked: 3 }, allMark: 4, revokedAt: 0 }]);
});

test('a connection above the limit is refused for good, and nothing of it stays', () => {
  const { effects, users } = start();
  const alice = effects.connection('alice');
  users.hello(alice, { again: false, named: false, issuedAt: 0 }, effects);
  effects.settle('connect', { code: 'rejected' });
  users.flush(effects);
  expect(effects.told).toEqual([{ t: 'refuse', connection: alice.id, close: 'connection-limit' }]);
  expect(effects.commits).toEqual([]);
  expect(users.size).toBe(0);
});

test('a hello that the store or the queue cannot take now is refused so that the client comes back', () => {
  const { effects, users } = start();
  const [first, second] = [effects.connection('alice'), effects.connection('alice')];
  users.hello(first, { again: false, named: false, issuedAt: 0 }, effects);
  effects.settle('connect', { code: 'storage', message: 'disk full' });
  effects.full = true;
  users.hello(second, { again: false, named: false, issuedAt: 0 }, effects);
  users.flush(effects);
  expect(effects.told).toEqual([
    { t: 'refuse', connection: first.id, close: 'overloaded' },
    { t: 'refuse', connection: second.id, close: 'overloaded' },
  ]);
  expect(users.size).toBe(0);
});

test('victims are closed with their reason even where the newcomer has gone meanwhile', () => {
  const { effects, users, close } = start();
  const alice = effects.connection('alice', 'phone');
  users.hello(alice, { again: false, named: true, issuedAt: 0 }, effects);
  close(alice);
  effects.settle('connect', {
    ...admitted,
    victims: [
      { connection: 71, close: 'replaced' },
      { connection: 72, close: 'evicted' },
      { connection: 73, close: 'evicted' },
    ],
  });
  expect(effects.told).toEqual([
    { t: 'evict', connections: [71], close: 'replaced' },
    { t: 'evict', connections: [72, 73], close: 'evicted' },
  ]);
});

test('a connection that went while it was admitted leaves neither itself nor an online status in the store', () => {
  const { effects, users, close } = start();
  const alice = effects.connection('alice');
  users.hello(alice, { again: false, named: false, issuedAt: 0 }, effects);
  close(alice);
  effects.settle('connect', admitted);
  users.flush(effects);
  expect(effects.operations).toMatchObject([
    { type: 'disconnect', connection: alice.id },
    { type: 'presence', status: 'offline' },
  ]);
  effects.settle('disconnect');
  effects.settle('presence');
  users.flush(effects);
  expect(users.size).toBe(0);
});

test('a disconnect that the queue or the store refused is repeated until the store has it', () => {
  const { effects, users, close, tick } = start();
  const alice = effects.connection('alice');
  users.hello(alice, { again: false, named: false, issuedAt: 0 }, effects);
  effects.settle('connect', admitted);
  users.flush(effects);
  effects.full = true;
  close(alice, true);
  expect(effects.commits).toEqual([]);
  tick(1_000);
  effects.full = false;
  tick(1_000);
  expect(effects.operations).toMatchObject([{ type: 'disconnect' }, { type: 'presence', status: 'offline' }]);
  effects.settle('disconnect', { code: 'storage', message: 'busy' });
  effects.settle('presence', { code: 'storage', message: 'busy' });
  users.flush(effects);
  expect(effects.commits).toEqual([]);
  tick(1_000);
  effects.settle('disconnect');
  effects.settle('presence');
  users.flush(effects);
  expect(users.size).toBe(0);
});

test('after a restart of the shard a connection is taken up again without a welcome, as often as it takes', () => {
  const { effects, users, tick } = start();
  const alice = effects.connection('alice');
  effects.full = true;
  users.hello(alice, { again: true, named: false, issuedAt: 0 }, effects);
  users.flush(effects);
  effects.full = false;
  tick(1_000);
  expect(effects.settle('connect', { code: 'storage', message: 'busy' })).toMatchObject({ again: true });
  users.flush(effects);
  tick(1_000);
  effects.settle('connect', admitted);
  users.flush(effects);
  expect(effects.told).toEqual([]);
  users.command(alice, { op: 'status', id: 1, status: 'online' }, effects);
  expect(effects.take(alice)).toEqual([{ to: alice.id, reply: { status: 'online' }, id: 1 }]);
});

test('H8 who was revoked while the shard was away is refused, and leaves neither a connection nor an online status in the store', () => {
  const { effects, users, close, tick } = start();
  const alice = effects.connection('alice');
  users.hello(alice, { again: true, named: false, issuedAt: 0 }, effects);
  effects.settle('connect', { code: 'revoked' });
  expect(effects.told).toEqual([{ t: 'refuse', connection: alice.id, close: 'revoked' }]);
  close(alice);
  users.flush(effects);
  expect(effects.settle('disconnect')).toMatchObject({ connection: alice.id });
  effects.settle('presence'); // the grace of one whose socket was cut
  tick(limits.presenceGraceMs);
  expect(effects.settle('presence')).toMatchObject({ status: 'offline' });
  users.flush(effects);
  expect(users.size).toBe(0);
});

test('H8 who waits to be taken up again after a restart of the shard is closed at once when he is revoked: he is fed by others', () => {
  const { effects, users } = start();
  const alice = effects.connection('alice');
  users.hello(alice, { again: true, named: false, issuedAt: 0 }, effects);
  effects.settle('connect', { code: 'storage', message: 'busy' });
  users.find('alice')?.revoked(undefined, effects);
  expect(effects.told).toEqual([{ t: 'evict', connections: [alice.id], close: 'revoked' }]);
});

test('H9 a token revoked by its id closes who is on it: taken up by hello or by refresh, not who has left it for another', () => {
  const { effects, users } = start();
  const [first, second, third] = [effects.connection('alice'), effects.connection('alice'), effects.connection('alice')];
  const hello = { again: false, named: false, issuedAt: 5 };
  users.hello(first, { ...hello, jti: 'x' }, effects);
  users.hello(second, { ...hello, jti: 'x' }, effects);
  users.hello(third, hello, effects);
  expect(effects.settle('connect', admitted)).toMatchObject({ jti: 'x' });
  effects.settle('connect', admitted);
  effects.settle('connect', admitted);
  users.hello(second, { again: true, named: false, issuedAt: 6, jti: 'y', renews: true }, effects);
  expect(effects.settle('connect', admitted)).toMatchObject({ connection: second.id, again: true, issuedAt: 6, jti: 'y' });
  effects.told = [];
  users.find('alice')?.revoked('x', effects);
  expect(effects.told).toEqual([{ t: 'evict', connections: [first.id], close: 'revoked' }]);
  users.find('alice')?.revoked('y', effects);
  expect(effects.told.at(-1)).toEqual({ t: 'evict', connections: [second.id], close: 'revoked' });
  users.find('alice')?.revoked('z', effects);
  expect(effects.told).toHaveLength(2);
});

test('H9 a fresh token that was revoked, or cannot be judged now, leaves the connection on its old one', () => {
  const { effects, users } = start();
  const alice = effects.connection('alice');
  users.hello(alice, { again: false, named: false, issuedAt: 5, jti: 'x' }, effects);
  effects.settle('connect', admitted);
  const renew = (outcome: Outcome) => {
    effects.told = [];
    users.hello(alice, { again: true, named: false, issuedAt: 6, jti: 'y', renews: true }, effects);
    if (!effects.full) effects.settle('connect', outcome);
    return effects.told;
  };
  expect(renew({ code: 'revoked' })).toEqual([{ t: 'renewed', connection: alice.id, refused: 'auth-failed' }]);
  expect(renew({ code: 'storage', message: 'disk full' })).toEqual([{ t: 'renewed', connection: alice.id, refused: 'storage' }]);
  effects.full = true;
  expect(renew(admitted)).toEqual([{ t: 'renewed', connection: alice.id, refused: 'busy' }]);
  effects.full = false;
  users.find('alice')?.revoked('y', effects);
  expect(effects.told).toHaveLength(1);
  users.find('alice')?.revoked('x', effects);
  expect(effects.told.at(-1)).toEqual({ t: 'evict', connections: [alice.id], close: 'revoked' });
  // Of one that is gone nobody asks.
  users.hello(effects.connection('alice'), { again: true, named: false, issuedAt: 6, renews: true }, effects);
  expect(effects.commits).toEqual([]);
});

test('commands that overtake a repeated hello wait for it, in order and bounded', () => {
  const { effects, users } = start();
  const alice = effects.connection('alice');
  users.hello(alice, { again: true, named: false, issuedAt: 0 }, effects);
  for (let id = 1; id <= 65; id++) users.command(alice, { op: 'status', id, status: id % 2 === 0 ? 'away' : 'online' }, effects);
  expect(effects.take(alice)).toEqual([{ to: alice.id, refuse: 'busy', field: undefined, of: 'status', id: 65 }]);
  effects.settle('connect', admitted);
  expect(effects.take(alice).map((item) => ('reply' in item ? item.id : item))).toEqual(Array.from({ length: 64 }, (_, i) => i + 1));
});

test('ack and status are of connected users only', () => {
  const { effects, users } = start();
  const nobody = effects.connection('nobody');
  users.command(nobody, { op: 'ack', id: 1, through: 1 }, effects);
  users.command(nobody, { op: 'status', id: 2, status: 'away' }, effects);
  expect(effects.take(nobody)).toMatchObject([{ refuse: 'unauthenticated' }, { refuse: 'unauthenticated' }]);
  expect(users.size).toBe(0);
});

test('rooms come in pages: the cursor of an answer asks for the next one, anything else is refused by its field', () => {
  const { effects, users } = start();
  const alice = effects.connection('alice');
  users.command(alice, { op: 'rooms', id: 1 }, effects);
  const room = { room: 'général', title: null, visibility: 'public' as const, members: 1, head: 9 };
  expect(effects.answer('rooms', { rooms: [room], after: 'général' })).toEqual({
    read: 'rooms',
    user: 'alice',
    scope: 'mine',
    filter: '',
    after: '',
    limit: 50,
  });
  const [answer] = effects.take(alice);
  if (answer === undefined || !('reply' in answer)) throw new Error('no reply');
  const { cursor, rooms } = answer.reply as { cursor: string; rooms: unknown[] };
  expect(rooms).toEqual([room]);
  users.command(alice, { op: 'rooms', id: 2, cursor, scope: 'public', filter: 'g', limit: 7 }, effects);
  expect(effects.answer('rooms', { rooms: [], after: null })).toMatchObject({ scope: 'public', filter: 'g', after: 'général', limit: 7 });
  expect(effects.take(alice)).toEqual([{ to: alice.id, reply: { rooms: [], cursor: null }, id: 2 }]);
  users.command(alice, { op: 'rooms', id: 3, cursor: 'général' }, effects);
  expect(effects.take(alice)).toMatchObject([{ refuse: 'bad-request', field: 'cursor', id: 3 }]);
});
