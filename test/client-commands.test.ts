/** Commands, presence and what bounds them: answers, refusals, signals, time limits, repetition. */
import { expect, test } from 'vitest';
import { HubError } from '../src/client/index.ts';
import { type Frame, scene, settle } from './kit/fake-hub.ts';

test('a command resolves with the fields of its ok, or rejects with the code, the field and whether a retry helps', async () => {
  const { hub, open } = scene();
  const socket = await open();
  const created = hub.command('create', { room: 'ops', visibility: 'private' });
  await settle();
  const frame = socket.take('create');
  expect(frame).toMatchObject({ room: 'ops', visibility: 'private' });
  socket.ok(frame, { room: 'ops', seq: 1 });
  expect(await created).toEqual({ room: 'ops', seq: 1 });
  const refused = hub.command('update', { room: 'ops', membersMax: -1 });
  await settle();
  socket.refuse(socket.take('update'), 'bad-request', { field: 'membersMax', message: 'too small' });
  const error = await refused.then(
    () => null,
    (thrown: unknown) => thrown,
  );
  expect(error).toBeInstanceOf(HubError);
  expect(error).toMatchObject({ code: 'bad-request', field: 'membersMax', message: 'too small', retry: false, of: 'update' });
});

test('answers may interleave: each goes to its own command', async () => {
  const { hub, open } = scene();
  const socket = await open();
  const both = [hub.command('info', { room: 'a' }), hub.command('info', { room: 'b' })];
  await settle();
  const [a, b] = socket.takeAll('info');
  socket
    .ok(b ?? { op: '' }, { room: 'b' })
    .ok(a ?? { op: '' }, { room: 'a' })
    .ok(a ?? { op: '' }, { room: 'twice' });
  expect(await Promise.all(both)).toEqual([{ room: 'a' }, { room: 'b' }]);
});

test('a command waits for a connection, but no longer than its time limit', async () => {
  const { hub, open, clock } = scene({ timeoutMs: 2_000 });
  const patient = hub.command('info', { room: 'r' });
  const hasty = hub.command('info', { room: 'q' }, { timeoutMs: 100 });
  const failed = expect(hasty).rejects.toMatchObject({ code: 'timeout', of: 'info' });
  await clock.advance(100);
  await failed;
  const socket = await open();
  const [frame, ...others] = socket.takeAll('info');
  expect(others).toEqual([]);
  socket.ok(frame ?? { op: '' }, { room: 'r' });
  await patient;
});

test('the default time limit ends a command that nobody answers; a late answer is ignored', async () => {
  const { hub, open, clock } = scene({ timeoutMs: 2_000 });
  const socket = await open();
  const promise = hub.command('info', { room: 'r' });
  const failed = expect(promise).rejects.toMatchObject({ code: 'timeout' });
  await clock.advance(2_000);
  await failed;
  socket.ok(socket.take('info'), { room: 'r' });
  expect(hub.state.is).toBe('open');
});

test('a signal ends a command with its reason, before or after it is sent', async () => {
  const { hub, open } = scene();
  const socket = await open();
  const controller = new AbortController();
  const promise = hub.command('info', { room: 'r' }, { signal: controller.signal });
  await settle();
  socket.take('info');
  controller.abort(new Error('left the page'));
  await expect(promise).rejects.toThrow('left the page');
  await expect(hub.command('info', { room: 'r' }, { signal: controller.signal })).rejects.toThrow('left the page');
  await settle();
  expect(socket.untaken).toEqual([]);
});

test('reads are repeated after a lost connection and after errors that a retry helps; what changes something is not', async () => {
  const { hub, open, reopen, clock } = scene();
  const socket = await open();
  const read = hub.command('history', { room: 'r', limit: 5 });
  const change = hub.command('create', { room: 'r' });
  const failed = expect(change).rejects.toMatchObject({ code: 'disconnected', retry: true });
  await settle();
  socket.take('history');
  socket.take('create');
  const next = await reopen();
  await failed;
  expect(next.takeAll('create')).toEqual([]);
  next.refuse(next.take('history'), 'busy', { retry: true, retryAfterMs: 60 });
  await clock.advance(59);
  expect(next.takeAll('history')).toEqual([]);
  await clock.advance(1);
  next.ok(next.take('history'), { room: 'r', entries: [], more: false });
  expect(await read).toEqual({ room: 'r', entries: [], more: false });
  const refused = hub.command('join', { room: 'r' });
  await settle();
  next.refuse(next.take('join'), 'busy', { retry: true, retryAfterMs: 60 });
  await expect(refused).rejects.toMatchObject({ code: 'busy', retry: true, retryAfterMs: 60 });
});

test('commands above what the hub has open at once wait for answers, in order', async () => {
  const { hub, open } = scene();
  const limits = { frameBytesMax: 10_000, bodyBytesMax: 5_000, subscriptionsMax: 10, openCommandsMax: 2 };
  const socket = await open({ limits });
  const all = ['a', 'b', 'c', 'd'].map((room) => hub.command('info', { room }));
  await settle();
  const first = socket.takeAll('info');
  expect(first.map((frame) => frame.room)).toEqual(['a', 'b']);
  for (const frame of first) socket.ok(frame, { room: frame.room });
  const second = socket.takeAll('info');
  expect(second.map((frame) => frame.room)).toEqual(['c', 'd']);
  for (const frame of second) socket.ok(frame, { room: frame.room });
  expect((await Promise.all(all)).map(({ room }) => room)).toEqual(['a', 'b', 'c', 'd']);
});

test('commands that wait are bounded', async () => {
  const { hub } = scene();
  const all = Array.from({ length: 2_001 }, () => hub.command('info', { room: 'r' }));
  const settled = Promise.allSettled(all);
  await hub.close();
  const reasons = (await settled).map((one) => (one.status === 'rejected' ? (one.reason as HubError).code : 'fulfilled'));
  expect(reasons.filter((code) => code === 'limit')).toHaveLength(1);
  expect(reasons.filter((code) => code === 'closed')).toHaveLength(2_000);
});

test('close rejects every command that waits', async () => {
  const { hub, open } = scene();
  await open();
  const waiting = expect(hub.command('info', { room: 'r' })).rejects.toMatchObject({ code: 'closed' });
  await settle();
  void hub.close();
  await waiting;
  await expect(hub.command('info', { room: 'r' })).rejects.toMatchObject({ code: 'closed' });
});

test('P2 a presence that was pushed before the answer to watch is newer than what the answer says', async () => {
  const { hub, open } = scene();
  const socket = await open();
  const watch = hub.watch(['bob']);
  await settle();
  const now = { user: 'bob', status: 'online', lastSeen: null };
  socket.say({ op: 'presence', ...now }).ok(socket.take('watch'), { users: [{ user: 'bob', status: 'offline', lastSeen: 1 }] });
  expect(await watch).toEqual([now]);
});

test('who answers with presences; what is watched is watched again after a reconnect, and its present state told', async () => {
  const { hub, open, reopen } = scene();
  const socket = await open();
  const seen: unknown[] = [];
  hub.on('presence', (presence) => seen.push(presence));
  const bob = { user: 'bob', status: 'away', lastSeen: 7 };
  const who = hub.who(['bob']);
  const watch = hub.watch(['bob', 'eve']);
  await settle();
  socket.ok(socket.take('who'), { users: [bob] }).ok(socket.take('watch'), { users: [bob] });
  expect(await who).toEqual([bob]);
  expect(await watch).toEqual([bob]);
  socket.say({ op: 'presence', user: 'bob', status: 'online', lastSeen: null });
  expect(seen).toEqual([{ user: 'bob', status: 'online', lastSeen: null }]);
  const next = await reopen();
  const again = next.take('watch');
  expect(again.users).toEqual(['bob', 'eve']);
  next.ok(again, { users: [bob] });
  await settle();
  expect(seen).toHaveLength(2);
  const unwatch = hub.unwatch(['bob', 'eve']);
  await settle();
  next.ok(next.take('unwatch'), { users: [] });
  await unwatch;
  expect((await reopen()).takeAll('watch')).toEqual([]);
});

test('P2 what is unwatched before its watch is answered, the first or that of a reconnect, is not watched again', async () => {
  const { hub, open, reopen } = scene();
  const socket = await open();
  const both = [hub.watch(['bob', 'eve', 'ann']), hub.unwatch(['bob'])];
  await settle();
  socket.ok(socket.take('watch'), { users: [] }).ok(socket.take('unwatch'), { users: [] });
  await Promise.all(both);
  const next = await reopen();
  const again = next.take('watch');
  expect(again.users).toEqual(['eve', 'ann']);
  const left = hub.unwatch(['eve']);
  await settle();
  next.ok(again, { users: [] }).ok(next.take('unwatch'), { users: [] });
  await left;
  expect((await reopen()).take('watch').users).toEqual(['ann']);
});

test('P1 P2 what is said last holds, also where the hub asks to repeat what was said before it', async () => {
  const { hub, open, clock } = scene();
  const socket = await open();
  const later = { retry: true, retryAfterMs: 50 };
  const said = [hub.setStatus('away'), hub.setStatus('online')];
  const watched = [hub.watch(['bob', 'eve']), hub.unwatch(['bob'])];
  await settle();
  const [away, online] = socket.takeAll('status') as [Frame, Frame];
  socket.refuse(away, 'restarted', later).ok(online, { status: 'online' });
  socket.refuse(socket.take('watch'), 'restarted', later).ok(socket.take('unwatch'), { users: [] });
  await clock.advance(50);
  socket.ok(socket.take('status'), { status: 'away' }).ok(socket.take('watch'), { users: [] });
  await Promise.all([...said, ...watched]);
  await settle();
  expect(socket.take('status')).toMatchObject({ status: 'online' });
  const unwatch = socket.take('unwatch');
  expect(unwatch).toMatchObject({ users: ['bob'] });
  socket.ok(unwatch, { users: [] });
  const turned = [hub.unwatch(['eve']), hub.watch(['eve'])];
  await settle();
  socket.refuse(socket.take('unwatch'), 'restarted', later).ok(socket.take('watch'), { users: [] });
  await clock.advance(50);
  socket.ok(socket.take('unwatch'), { users: [] });
  await Promise.all(turned);
  await settle();
  expect(socket.take('watch')).toMatchObject({ users: ['eve'] });
  expect(socket.untaken).toEqual([]);
});

test('P1 P2 what is put right takes back nothing that was said since', async () => {
  const { hub, open, reopen, clock } = scene();
  const socket = await open();
  const later = { retry: true, retryAfterMs: 50 };
  const said = [hub.watch(['bob', 'eve']), hub.unwatch(['bob', 'eve']), hub.watch(['bob']), hub.watch(['eve'])];
  await settle();
  const [first, bob, eve] = socket.takeAll('watch') as [Frame, Frame, Frame];
  socket.refuse(first, 'restarted', later).ok(socket.take('unwatch'), { users: [] }).ok(bob, { users: [] });
  await clock.advance(50);
  socket.ok(socket.take('watch'), { users: [] }).ok(eve, { users: [] });
  const away = hub.setStatus('away');
  await settle();
  socket.ok(socket.take('status'), { status: 'away' });
  await Promise.all([...said, away]);
  expect(socket.untaken).toEqual([]);
  const next = await reopen();
  next.refuse(next.take('status'), 'restarted', later);
  const online = hub.setStatus('online');
  await settle();
  next.ok(next.take('status'), { status: 'online' });
  await online;
  await clock.advance(1_000);
  expect(next.takeAll('status')).toEqual([]);
});

test('away is said again after a reconnect', async () => {
  const { hub, open, reopen } = scene();
  const socket = await open();
  const away = hub.setStatus('away');
  await settle();
  socket.ok(socket.take('status'), { status: 'away' });
  await away;
  expect((await reopen()).take('status')).toMatchObject({ status: 'away' });
  const next = await reopen();
  expect(next.takeAll('status')).toMatchObject([{ status: 'away' }]);
  const back = hub.setStatus('online');
  await settle();
  const online = next.take('status');
  expect(online).toMatchObject({ status: 'online' });
  next.ok(online, { status: 'online' });
  await back;
  expect((await reopen()).takeAll('status')).toEqual([]);
});

test('markRead and history of a room name it', async () => {
  const { hub, open } = scene();
  const socket = await open();
  const promise = hub.subscribe('r');
  await settle();
  socket.ok(socket.take('subscribe'), { room: 'r', position: { epoch: 'e1', seq: 4 }, recovered: true });
  const room = await promise;
  const read = room.markRead(4);
  const history = room.history({ before: 3, limit: 2 });
  const sent = room.publish('hi');
  expect(room.ephemeral('typing')).toBe(true);
  await settle();
  expect(socket.take('history')).toMatchObject({ room: 'r', before: 3, limit: 2 });
  expect(socket.take('mark')).toMatchObject({ room: 'r', read: 4 });
  const publish = socket.take('publish');
  expect(publish).toMatchObject({ room: 'r', body: 'hi' });
  socket.ok(publish, { seq: 5 });
  expect(await sent).toMatchObject({ seq: 5 });
  void hub.close();
  await expect(read).rejects.toMatchObject({ code: 'closed' });
  await expect(history).rejects.toMatchObject({ code: 'closed' });
});
