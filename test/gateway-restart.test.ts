/** A shard's thread dies and another takes over: no socket closes, commands are answered, rooms are followed from where the writes ended. */
import { afterEach, describe, expect, it } from 'vitest';
import { placeOf } from '../src/thread/placement.ts';
import { type Stand, stand } from './gateway-harness.ts';

let hub: Stand;
afterEach(() => hub.close());

describe('a shard that dies', () => {
  it('R7 has its open commands answered: restarted where they can be repeated, unknown where they cannot', async () => {
    hub = await stand();
    const { client } = await hub.join();
    const mid = '01990000-0000-7000-8000-000000000000';
    const answers = [
      client.command('publish', { room: 'a', body: 1, mid }),
      client.command('publish', { room: 'a', body: { mid } }),
      client.command('info', { room: 'a' }),
      client.command('who', { users: ['bob'] }),
      client.command('subscribe', { room: 'a' }),
    ];
    const service = hub.gateway.command({ user: 'app', scopes: [] }, { op: 'info', room: 'a' });
    await hub.shard.command('subscribe');
    hub.gateway.detachShard(0);
    const got = await Promise.all(answers);
    expect(got.map(({ code, retry }) => [code, retry])).toEqual([
      ['restarted', true],
      ['unknown', false],
      ['restarted', true],
      ['restarted', true],
      ['restarted', true],
    ]);
    expect(got.map(({ of }) => of)).toEqual(['publish', 'publish', 'info', 'who', 'subscribe']);
    expect(await service).toMatchObject({ op: 'error', code: 'restarted' });
    expect(client.ended).toBeNull();
    expect(hub.gateway.stats().commandsOpen).toBe(0);
  });

  it('is noticed by its link, too', async () => {
    hub = await stand();
    const { client } = await hub.join();
    const answer = client.command('info', { room: 'a' });
    await hub.shard.command('info');
    hub.shard.die();
    expect((await answer).code).toBe('restarted');
    expect(await client.refused('info', { room: 'a' })).toBe('busy');
  });

  it('its successor is told of every connection again, with the positions that were written', async () => {
    hub = await stand();
    const { client, number } = await hub.join({ device: 'phone' });
    hub.shard.room(1, 'general');
    hub.shard.room(2, 'all:');
    hub.shard.attach(1, number, 5, true);
    hub.shard.attach(2, number, 4);
    hub.shard.deliver(1, 'general', 5, 7);
    const watched = client.ok('watch', { users: ['bob', 'eve'] });
    const { command } = await hub.shard.command('watch');
    hub.shard.link.push({ t: 'part', connection: number, id: command.id as number, part: { users: [] } });
    await watched;
    await client.until(() => client.entries('general').length === 3);
    hub.gateway.detachShard(0);
    const next = hub.attach(0);
    await next.next('alive');
    expect(next.received).toEqual([
      { t: 'open', connection: number, user: 'alice', device: 'phone', format: 'json', service: false, scopes: ['broadcast'] },
      { t: 'hello', connection: number, again: true, issuedAt: Number.POSITIVE_INFINITY },
      { t: 'follow', connection: number, room: 'all:', position: { epoch: 'e1', seq: 3 }, presence: false },
      { t: 'follow', connection: number, room: 'general', position: { epoch: 'e1', seq: 7 }, presence: true },
      { t: 'watch', connection: number, users: ['bob', 'eve'] },
      { t: 'alive', through: number, connections: [number] },
    ]);
    // The successor's own numbers, and nothing twice.
    next.room(9, 'general');
    next.attach(9, number, 8);
    next.deliver(9, 'general', 8, 8);
    await client.until(() => client.entries('general').length === 4);
    expect(client.entries('general').map(({ seq }) => seq)).toEqual([5, 6, 7, 8]);
    expect(client.ended).toBeNull();
    next.room(1, 'other'); // the dead one's number names another room now
    next.deliver(1, 'other', 1, 1);
    await client.settled();
    expect(client.entries('other')).toEqual([]);
  });

  it('F3 goes on where the pages ended that it had sent, of which none is sent again', async () => {
    hub = await stand();
    const { client, number } = await hub.join();
    hub.shard.room(1, 'general');
    hub.shard.attach(1, number, 5);
    client.pause();
    const body = 'x'.repeat(256 * 1024);
    for (let seq = 5; seq <= 60; seq++) hub.shard.deliver(1, 'general', seq, seq, body);
    const { lastSeq, attachment } = await hub.shard.next('behind');
    expect(attachment).toBe(1);
    client.resume();
    hub.shard.page(number, [{ op: 'entry', room: 'general', seq: lastSeq + 1, kind: 'message', body: 1 }], true);
    hub.shard.reached(1, number, lastSeq + 1);
    hub.shard.page(number, [{ op: 'entry', room: 'general', seq: lastSeq + 2, kind: 'message', body: 1 }], true);
    hub.shard.reached(1, number, lastSeq + 2);
    await client.until(() => client.entries('general').at(-1)?.seq === lastSeq + 2);
    const position = async (): Promise<unknown> => {
      hub.gateway.detachShard(0);
      return (await hub.attach(0).next('follow', ({ room }) => room === 'general')).position;
    };
    expect(await position()).toEqual({ epoch: 'e1', seq: lastSeq + 2 });
    // Its successor dies as well, after a page of its own.
    hub.shard.room(7, 'general');
    hub.shard.page(number, [{ op: 'entry', room: 'general', seq: lastSeq + 3, kind: 'message', body: 1 }], true);
    hub.shard.reached(7, number, lastSeq + 3);
    await client.until(() => client.entries('general').at(-1)?.seq === lastSeq + 3);
    expect(await position()).toEqual({ epoch: 'e1', seq: lastSeq + 3 });
  });

  it('a subscription that was granted and not fed yet ends with a notice, since only the client knows its position', async () => {
    hub = await stand();
    const { client, number } = await hub.join();
    const granted = client.ok('subscribe', { room: 'general', position: { epoch: 'e1', seq: 4 } });
    const { command } = await hub.shard.command('subscribe');
    hub.shard.reply(number, command.id as number, { room: 'general' });
    await granted;
    hub.gateway.detachShard(0);
    expect(await client.next('unsubscribed')).toEqual({ op: 'unsubscribed', room: 'general', reason: 'restarted' });
    const next = hub.attach(0);
    await next.next('follow', ({ room }) => room === 'all:');
    client.send({ op: 'subscribe', room: 'general' });
    await next.command('subscribe');
    expect(next.received.filter((message) => message.t === 'follow' && message.room === 'general')).toEqual([]);
  });

  it('a live subscription that was being renewed is not lost between its end and its new beginning', async () => {
    hub = await stand();
    const { client, number } = await hub.join();
    hub.shard.room(1, 'general');
    hub.shard.attach(1, number, 5);
    const renewed = client.ok('subscribe', { room: 'general', position: { epoch: 'e1', seq: 2 } });
    const { command } = await hub.shard.command('subscribe');
    hub.shard.detach(1, number);
    hub.shard.reply(number, command.id as number, { room: 'general' });
    await renewed;
    hub.gateway.detachShard(0);
    expect((await client.next('unsubscribed')).room).toBe('general');
  });

  it('a room that a resume had begun to follow ends with a notice, though other parts of the resume are under way', async () => {
    hub = await stand({ shards: 2 });
    const roomOf = (shard: number): string => ['a', 'b', 'c', 'd', 'e', 'f'].find((name) => placeOf(name, 2) === shard) ?? '';
    const { client, number } = await hub.join();
    const answer = client.ok('resume', { epoch: 'e1', rooms: { [roomOf(0)]: 1, [roomOf(1)]: 1 } });
    const [zero, one] = hub.shards as [Stand['shard'], Stand['shard']];
    const { command } = await zero.command('resume');
    await one.command('resume');
    zero.link.push({ t: 'part', connection: number, id: command.id as number, part: { rooms: [roomOf(0)] } });
    zero.page(number, [{ op: 'gap', room: roomOf(0) }], false);
    await client.next('gap');
    hub.gateway.detachShard(0);
    expect((await client.next('unsubscribed')).room).toBe(roomOf(0));
    one.link.push({ t: 'part', connection: number, id: command.id as number, part: { rooms: [roomOf(1)] } });
    expect((await answer).rooms).toBe(2);
  });

  it('F6 a resume whose shard dies leaves no room that was resumed and is not followed: each is told of, and the others are counted', async () => {
    hub = await stand();
    const { client, number } = await hub.join();
    const answer = client.ok('resume', { epoch: 'e1', rooms: { a: 1, b: 1 } });
    const { command } = await hub.shard.command('resume');
    const resumed = { op: 'resumed', id: command.id, room: 'a', position: { epoch: 'e1', seq: 9 }, recovered: true };
    hub.shard.page(number, [resumed, { op: 'entry', room: 'a', seq: 2, kind: 'message', body: 1 }], false);
    await client.next('resumed');
    hub.gateway.detachShard(0);
    expect(await client.next('unsubscribed')).toEqual({ op: 'unsubscribed', room: 'a', reason: 'restarted' });
    expect(await client.next('unsubscribed')).toEqual({ op: 'unsubscribed', room: 'b', reason: 'restarted' });
    expect((await answer).rooms).toBe(0);
    expect(hub.gateway.stats().commandsOpen).toBe(0);
  });

  it('a room that was left is not followed again', async () => {
    hub = await stand();
    const { client, number } = await hub.join();
    hub.shard.room(1, 'live');
    hub.shard.attach(1, number, 1);
    client.send({ op: 'subscribe', room: 'asked' });
    client.send({ op: 'unsubscribe', room: 'asked' });
    client.send({ op: 'unsubscribe', room: 'live' });
    await hub.shard.command('unsubscribe');
    await hub.shard.command('unsubscribe');
    hub.shard.detach(1, number);
    hub.shard.page(number, [{ op: 'gap', room: 'live' }], false);
    await client.next('gap');
    hub.gateway.detachShard(0);
    const next = hub.attach(0);
    await next.next('follow');
    await client.settled();
    expect(next.kinds(number)).toEqual(['open', 'hello', 'follow']);
    expect(client.pushes.map(({ op }) => op)).toEqual(['gap']);
  });

  it('only its own connections, rooms and commands are concerned', async () => {
    hub = await stand({ shards: 2 });
    const roomOf = (shard: number): string => ['a', 'b', 'c', 'd', 'e', 'f'].find((name) => placeOf(name, 2) === shard) ?? '';
    const { client, number } = await hub.join();
    const [zero, one] = hub.shards as [Stand['shard'], Stand['shard']];
    zero.room(1, roomOf(0));
    zero.attach(1, number, 1);
    const kept = client.command('info', { room: roomOf(0) });
    const lost = client.command('info', { room: roomOf(1) });
    const { command } = await zero.command('info');
    await one.command('info');
    hub.gateway.detachShard(1);
    expect((await lost).code).toBe('restarted');
    zero.reply(number, command.id as number, { room: roomOf(0) });
    expect((await kept).op).toBe('ok');
    zero.deliver(1, roomOf(0), 1, 1);
    await client.next('entry');
  });

  it('a hello that it did not answer is said to its successor', async () => {
    hub = await stand();
    hub.shard.welcomes = false;
    const client = await hub.connect({ hello: false });
    const welcome = client.ask({ op: 'hello', user: 'alice' });
    await hub.shard.next('hello');
    hub.gateway.detachShard(0);
    hub.attach(0);
    expect((await welcome).op).toBe('welcome');
  });
});

describe('draining', () => {
  it('X2 C4 takes no more, tells everybody when to come back, waits for what is under way, and closes with a code to reconnect', async () => {
    hub = await stand();
    const { client, number } = await hub.join();
    const other = await hub.join({ user: 'bob' });
    const silent = await hub.connect({ hello: false });
    const open = client.command('publish', { room: 'a', body: 1 });
    const { command } = await hub.shard.command('publish');
    const drained = hub.gateway.drain(5_000);
    const closing = await client.next('closing');
    expect(closing.retryAfterMs).toBeGreaterThanOrEqual(0);
    expect(closing.retryAfterMs).toBeLessThanOrEqual(1_000);
    expect((await silent.closed).code).toBe(4000);
    await expect(hub.connect()).rejects.toThrow('503');
    expect(await other.client.refused('publish', { room: 'a', body: 1 })).toBe('draining');
    expect((await hub.gateway.command({ user: 'app', scopes: [] }, { op: 'info', room: 'a' })).code).toBe('draining');
    hub.shard.reply(number, command.id as number, { seq: 5 });
    expect((await open).seq).toBe(5);
    expect(await client.closed).toEqual({ code: 4000, reason: 'draining' });
    expect((await other.client.closed).code).toBe(4000);
    await drained;
    expect(await hub.shard.next('close', ({ connection }) => connection === number)).toMatchObject({ clean: false });
    expect(hub.gateway.stats().connections).toBe(0);
  });

  it('ends at its time, answered or not, even where a peer does not take its close frame', async () => {
    hub = await stand();
    const { client } = await hub.join();
    client.send({ op: 'info', id: 77, room: 'a' });
    await hub.shard.command('info');
    client.pause();
    await hub.gateway.drain(300);
    expect(hub.gateway.stats().connections).toBe(0);
    client.resume();
    await client.closed;
  });
});
