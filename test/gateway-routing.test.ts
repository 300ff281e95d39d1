/** Where commands go, how they are answered, and what is refused on the way; the same for sockets and for the backend API. */
import { afterEach, describe, expect, it } from 'vitest';
import { dmName } from '../src/protocol/names.ts';
import { placeOf } from '../src/thread/placement.ts';
import { type Stand, stand } from './gateway-harness.ts';

let hub: Stand;
afterEach(() => hub.close());

/** Names of which the first goes to shard 0, the second to shard 1, and so on. */
function spread(prefix: string, shards: number): string[] {
  return Array.from({ length: shards }, (_, shard) => {
    for (let i = 0; ; i++) if (placeOf(`${prefix}${i}`, shards) === shard) return `${prefix}${i}`;
  });
}

describe('routing', () => {
  it('a command goes to the shard of its room, of its pair of users, or of its user; the shard hears of the connection first', async () => {
    hub = await stand({ shards: 4 });
    const [r0 = '', r1 = '', r2 = '', r3 = ''] = spread('room', 4);
    const client = await hub.connect({ user: 'alice', format: 'msgpack', device: 'd' });
    for (const [shard, room] of [r0, r1, r2, r3].entries()) {
      const answer = client.ok('publish', { room, body: { n: shard } });
      const { connection, command } = await (hub.shards[shard] as (typeof hub.shards)[0]).command('publish');
      expect(command.body).toEqual({ n: shard });
      expect(hub.shards[shard]?.kinds(connection)[0]).toBe('open');
      hub.shards[shard]?.reply(connection, command.id as number, { seq: 9 });
      expect((await answer).seq).toBe(9);
    }
    client.send({ op: 'direct', to: 'bob', body: 1 });
    await hub.shards[placeOf(dmName('alice', 'bob'), 4)]?.command('direct');
    client.send({ op: 'ack', through: 1 });
    await hub.shards[placeOf('alice', 4)]?.command('ack');
    for (const shard of hub.shards) expect(shard.received.filter(({ t }) => t === 'open').length).toBeLessThanOrEqual(1);
  });

  it('R4 order holds per connection and target', async () => {
    hub = await stand();
    const client = await hub.connect();
    for (let n = 1; n <= 500; n++) client.send({ op: 'publish', room: 'general', body: n });
    for (let n = 1; n <= 500; n++) expect((await hub.shard.command('publish')).command.body).toBe(n);
  });

  it('R1 R6 what the gateway refuses names the field, and reaches no shard', async () => {
    hub = await stand();
    const client = await hub.connect();
    const before = hub.shard.received.length;
    expect(await client.ask({ op: 'publish', body: 1 })).toMatchObject({ code: 'bad-request', field: 'room' });
    expect(await client.ask({ op: 'direct', body: 1 })).toMatchObject({ code: 'bad-request', field: 'to' });
    expect(await client.ask({ op: 'frobnicate' })).toMatchObject({ code: 'unknown-op', field: 'op', of: 'frobnicate' });
    expect(await client.ask({ op: 'publish', room: 'x', as: 'bob', body: 1 })).toMatchObject({ code: 'forbidden', field: 'as' });
    expect(await client.ask({ op: 'who', users: [] })).toMatchObject({ code: 'bad-request', field: 'users' });
    client.send({ op: 'who', users: 'bob' });
    expect(await client.next('error')).toMatchObject({ code: 'bad-request', of: 'who' });
    await client.settled();
    expect(hub.shard.received.slice(before).filter(({ t }) => t !== 'follow')).toEqual([]);
  });

  it('R2 R5 an id in use, and too many open commands, are refused', async () => {
    hub = await stand({ options: { openCommandsMax: 2 } });
    const { client, number } = await hub.join();
    client.send({ op: 'info', room: 'a', id: 50 });
    client.send({ op: 'info', room: 'a', id: 50 });
    expect(await client.next('error')).toMatchObject({ id: 50, code: 'bad-request', field: 'id' });
    client.send({ op: 'ping', id: 50 });
    expect(await client.next('error')).toMatchObject({ id: 50, of: 'ping', field: 'id' });
    client.send({ op: 'info', room: 'a', id: 51 });
    client.send({ op: 'info', room: 'a', id: 52 });
    expect(await client.next('error')).toMatchObject({ id: 52, code: 'limit' });
    await hub.shard.command('info');
    hub.shard.reply(number, 50);
    hub.shard.reply(number, 50); // a second answer of the same command is nobody's
    hub.shard.reply(number, 51);
    await client.until(() => client.pushes.filter(({ op }) => (op as string) === 'ok').length === 2);
    expect(await client.refused('publish')).toBe('bad-request');
    expect(client.pushes.map((push) => [push.op, 'id' in push ? push.id : 0])).toEqual([
      ['error', 50],
      ['error', 50],
      ['error', 52],
      ['ok', 50],
      ['ok', 51],
    ]);
  });

  it('rooms a connection follows or has asked to follow count against its limit, the broadcast room does not', async () => {
    hub = await stand({ options: { subscriptionsMax: 2 } });
    const { client, number } = await hub.join();
    hub.shard.room(1, 'a');
    const first = client.ok('subscribe', { room: 'a' });
    const { command } = await hub.shard.command('subscribe');
    hub.shard.reply(number, command.id as number, { room: 'a' });
    hub.shard.attach(1, number, 1);
    await first;
    const second = client.command('subscribe', { room: 'b' });
    expect(await client.refused('subscribe', { room: 'c' })).toBe('limit');
    expect(await client.refused('resume', { epoch: 'e1', rooms: { a: 1, b: 1, c: 1 } })).toBe('limit');
    // A refused one no longer counts.
    const refused = await hub.shard.command('subscribe');
    hub.shard.reply(number, refused.command.id as number, { op: 'error', code: 'forbidden', retry: false, message: '' });
    expect((await second).code).toBe('forbidden');
    const third = client.command('subscribe', { room: 'c' });
    await hub.shard.command('subscribe');
    expect(await client.refused('subscribe', { room: 'd' })).toBe('limit');
    // Nor does one that was left.
    const left = client.ok('unsubscribe', { room: 'a' });
    const leaving = await hub.shard.command('unsubscribe');
    hub.shard.detach(1, number);
    hub.shard.reply(number, leaving.command.id as number);
    await left;
    client.send({ op: 'subscribe', room: 'e' });
    expect((await hub.shard.command('subscribe')).command.room).toBe('e');
    void third.catch(() => null);
  });

  it('who is split by shard, and answered once when every part is there', async () => {
    hub = await stand({ shards: 3 });
    const users = spread('user', 3);
    const client = await hub.connect({ format: 'msgpack', device: 'd' });
    const answer = client.ok('who', { users: [...users, users[0]] });
    const parts = await Promise.all(hub.shards.map((shard) => shard.command('who')));
    expect(parts.map(({ command }) => command.users)).toEqual(users.map((user) => [user]));
    const id = parts[0]?.command.id as number;
    for (const [index, shard] of hub.shards.entries()) {
      expect(parts[index]?.command.id).toBe(id);
      shard.link.push({ t: 'part', connection: parts[index]?.connection ?? 0, id, part: { users: [{ user: users[index], status: 'online', lastSeen: 1 }] } });
    }
    expect((await answer).users.map(({ user }) => user).sort()).toEqual([...users].sort());
    expect(hub.gateway.stats().commandsOpen).toBe(0);
  });

  it('a refused part refuses the whole, once', async () => {
    hub = await stand({ shards: 2 });
    const users = spread('user', 2);
    const client = await hub.connect();
    const answer = client.command('watch', { users });
    const parts = await Promise.all(hub.shards.map((shard) => shard.command('watch')));
    const { connection, command } = parts[0] as (typeof parts)[0];
    const id = command.id as number;
    hub.shards[0]?.reply(connection, id, { op: 'error', code: 'limit', message: '', retry: false });
    expect((await answer).code).toBe('limit');
    hub.shards[1]?.link.push({ t: 'part', connection, id, part: { users: [] } });
    await client.settled();
    expect(client.pushes).toEqual([]);
  });

  it('P2 a refused watch forgets nobody that was watched before: its successor is told of him', async () => {
    hub = await stand();
    const { client, number } = await hub.join();
    const first = client.ok('watch', { users: ['bob'] });
    const granted = await hub.shard.command('watch');
    hub.shard.link.push({ t: 'part', connection: number, id: granted.command.id as number, part: { users: [] } });
    await first;
    const second = client.command('watch', { users: ['bob', 'eve'] });
    const failed = await hub.shard.command('watch');
    hub.shard.reply(number, failed.command.id as number, { op: 'error', code: 'busy', message: '', retry: true });
    expect((await second).code).toBe('busy');
    hub.gateway.detachShard(0);
    expect(await hub.attach(0).next('watch')).toMatchObject({ connection: number, users: ['bob'] });
  });

  it('P2 a watch that is granted after an unwatch of the same users leaves them unwatched: a successor is not told of them', async () => {
    hub = await stand();
    const { client, number } = await hub.join();
    const watched = client.ok('watch', { users: ['bob', 'eve'] });
    const { command: watch } = await hub.shard.command('watch');
    const left = client.ok('unwatch', { users: ['bob'] });
    const { command: unwatch } = await hub.shard.command('unwatch');
    for (const { id } of [unwatch, watch]) hub.shard.link.push({ t: 'part', connection: number, id: id as number, part: { users: [] } });
    await Promise.all([watched, left]);
    hub.gateway.detachShard(0);
    expect(await hub.attach(0).next('watch')).toMatchObject({ connection: number, users: ['eve'] });
  });

  it('resume is split by shard and answered with the number of rooms that are followed; without id it is carried out and not answered', async () => {
    hub = await stand({ shards: 2 });
    const [r0 = '', r1 = ''] = spread('room', 2);
    const client = await hub.connect();
    const answer = client.ok('resume', { epoch: 'e1', rooms: { [r0]: 4, [r1]: 5 } });
    const parts = await Promise.all(hub.shards.map((shard) => shard.command('resume')));
    expect(parts.map(({ command }) => command.rooms)).toEqual([{ [r0]: 4 }, { [r1]: 5 }]);
    const { connection, command } = parts[0] as (typeof parts)[0];
    hub.shards[0]?.link.push({ t: 'part', connection, id: command.id as number, part: { rooms: [r0] } });
    hub.shards[1]?.link.push({ t: 'part', connection, id: command.id as number, part: { rooms: [] } });
    expect((await answer).rooms).toBe(1);
    expect(hub.gateway.connectionsOf('alice')[0]?.subscriptions).toBe(2); // the room and the broadcast room
    expect((await client.ok('resume', { epoch: 'e1', rooms: {} })).rooms).toBe(0);
    client.send({ op: 'resume', epoch: 'e1', rooms: { [r1]: 5 } });
    expect((await hub.shards[1]?.command('resume'))?.command.id).toBeUndefined();
    await client.settled();
    expect(client.pushes).toEqual([]);
  });

  it('a shard without a thread is busy, the others go on', async () => {
    hub = await stand({ shards: 2 });
    const [r0 = '', r1 = ''] = spread('room', 2);
    const client = await hub.connect();
    hub.gateway.detachShard(1);
    expect(await client.command('publish', { room: r1, body: 1 })).toMatchObject({ code: 'busy', retry: true, retryAfterMs: 250 });
    expect(await client.refused('who', { users: spread('user', 2) })).toBe('busy');
    client.send({ op: 'publish', room: r0, body: 1 });
    await hub.shards[0]?.command('publish');
  });

  it('a goodbye of the peer is a clean close, anything else is not', async () => {
    hub = await stand();
    const closes = [];
    for (const end of [
      (socket: { close(code?: number): void }) => socket.close(1000),
      (socket: { close(code?: number): void }) => socket.close(),
      (socket: { terminate(): void }) => socket.terminate(),
    ]) {
      const { client, number } = await hub.join();
      end(client.socket);
      closes.push((await hub.shard.next('close', ({ connection }) => connection === number)).clean);
    }
    expect(closes).toEqual([true, true, false]);
    expect(hub.gateway.stats()).toMatchObject({ connections: 0, users: 0 });
  });

  it('silence is told to the home shard, and the command that ends it', async () => {
    hub = await stand({ options: { awayAfterMs: 60, heartbeatMs: 100 } });
    const { client, number } = await hub.join();
    expect(await hub.shard.next('idle')).toEqual({ t: 'idle', connection: number, idle: true });
    await client.settled(); // a ping of the library is no sign of its user
    client.send({ op: 'publish', room: 'general', body: 1 });
    expect(await hub.shard.next('idle')).toMatchObject({ idle: false });
  });
});

describe('the backend API', () => {
  const app = { user: 'app', scopes: ['broadcast'] };

  it('sends its commands as a service, and gets their answers', async () => {
    hub = await stand();
    const answer = hub.gateway.command(app, { op: 'publish', room: 'general', body: 'hi', as: 'alice' });
    expect(await hub.shard.next('open')).toMatchObject({ user: 'app', service: true, format: 'json', scopes: ['broadcast'] });
    const { connection, command } = await hub.shard.command('publish');
    expect(command).toMatchObject({ as: 'alice', body: 'hi' });
    hub.shard.reply(connection, command.id as number, { seq: 12 });
    expect(await answer).toMatchObject({ op: 'ok', seq: 12 });
    const refused = hub.gateway.command(app, { op: 'info', room: 'x' });
    const second = await hub.shard.command('info');
    hub.shard.reply(second.connection, second.command.id as number, { op: 'error', code: 'not-found' });
    expect(await refused).toMatchObject({ op: 'error', code: 'not-found' });
    expect(second.connection).toBe(connection);
  });

  it('bad commands resolve to errors', async () => {
    hub = await stand();
    expect(await hub.gateway.command(app, { op: 'nonsense' })).toMatchObject({ op: 'error', code: 'unknown-op' });
    expect(await hub.gateway.command(app, { op: 'publish', body: 1 })).toMatchObject({ code: 'bad-request', field: 'room' });
    expect(await hub.gateway.command(app, { op: 'hello', user: 'x' })).toMatchObject({ code: 'bad-request' });
    expect(await hub.gateway.command(app, {})).toMatchObject({ code: 'bad-request', field: 'op' });
  });

  it('a call whose answer does not come ends: busy where it can be repeated, unknown where it cannot', async () => {
    let tick = 0;
    hub = await stand({ clock: { now: () => 0, tick: () => tick, random: () => 0 }, options: { heartbeatMs: 100 } });
    const mid = '01990000-0000-7000-8000-000000000000';
    const calls = [
      hub.gateway.command(app, { op: 'info', room: 'a' }),
      hub.gateway.command(app, { op: 'publish', room: 'a', body: 1, mid }),
      hub.gateway.command(app, { op: 'publish', room: 'a', body: 1 }),
    ];
    await hub.shard.command('info');
    tick = 10_000;
    expect((await Promise.all(calls)).map(({ code }) => code)).toEqual(['busy', 'busy', 'unknown']);
    expect(hub.gateway.stats().commandsOpen).toBe(0);
  });

  it('lists and closes the connections of a user', async () => {
    hub = await stand();
    const one = await hub.connect({ user: 'bob', device: 'one' });
    const two = await hub.connect({ user: 'bob', device: 'two', format: 'msgpack' });
    await hub.connect({ user: 'eve' });
    const listed = hub.gateway.connectionsOf('bob');
    expect(listed.map(({ device, format, state }) => ({ device, format, state }))).toEqual([
      { device: 'one', format: 'json', state: 'open' },
      { device: 'two', format: 'msgpack', state: 'open' },
    ]);
    expect(listed[0]?.connection).toBe(one.welcome?.connection);
    expect(hub.gateway.disconnect('bob', two.welcome?.connection)).toBe(1);
    expect(await two.closed).toEqual({ code: 4504, reason: 'disconnected' });
    expect(hub.gateway.disconnect('bob', 'no such')).toBe(0);
    expect(hub.gateway.disconnect('bob')).toBe(1);
    expect((await one.closed).code).toBe(4504);
    expect(hub.gateway.disconnect('bob')).toBe(0);
    expect(hub.gateway.stats()).toMatchObject({ users: 1, perUserPeak: 2, connectionsPeak: 3, accepted: 3 });
  });
});
