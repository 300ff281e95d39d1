/** What becomes of one message: stored once for its mid, or passed on and forgotten when it is ephemeral; and how fast one may send. */
import { v7 } from 'uuid';
import { describe, expect, it } from 'vitest';
import { startHub } from '../kit/hub.ts';
import { RawClient } from '../kit/raw-client.ts';

const hub = await startHub();
const connect = (user: string): Promise<RawClient> => RawClient.connect(hub.url, { user });

describe('a message', () => {
  it('M2 M5 comes back to its sender as to everybody, with its mid', async () => {
    const alice = await connect('alice');
    const bob = await connect('bob');
    for (const client of [alice, bob]) await client.ok('subscribe', { room: 'echo' });
    const mid = v7();
    expect(await alice.ok('publish', { room: 'echo', mid, body: 'hi' })).toEqual({ op: 'ok', id: expect.any(Number), seq: 1 });
    const entry = { op: 'entry', room: 'echo', seq: 1, kind: 'message', mid, from: 'alice', ts: expect.any(Number), body: 'hi' };
    expect(await alice.next('entry')).toEqual(entry);
    expect(await bob.next('entry')).toEqual(entry);
  });

  it('M5 without a mid gets one, and the answer says it', async () => {
    const alice = await connect('alice');
    await alice.ok('subscribe', { room: 'unnamed' });
    const { mid } = await alice.ok('publish', { room: 'unnamed', body: 1 });
    expect(mid).toMatch(/^[0-9a-f-]{36}$/);
    expect(await alice.next('entry')).toMatchObject({ mid });
  });

  it('M5 may begin or continue a thread', async () => {
    const alice = await connect('alice');
    await alice.ok('subscribe', { room: 'threads' });
    const thread = v7();
    await alice.ok('publish', { room: 'threads', mid: thread, body: 'begin' });
    await alice.ok('publish', { room: 'threads', body: 'reply', thread });
    expect(await alice.next('entry', ({ body }) => body === 'reply')).toMatchObject({ thread });
  });

  it('F8 is not delivered to who has stopped following', async () => {
    const alice = await connect('alice');
    const bob = await connect('bob');
    await bob.ok('subscribe', { room: 'stop' });
    await alice.ok('publish', { room: 'stop', body: 1 });
    await bob.next('entry');
    await bob.ok('unsubscribe', { room: 'stop' });
    await alice.ok('publish', { room: 'stop', body: 2 });
    await bob.settled();
    expect(bob.entries('stop')).toHaveLength(1);
  });

  it('F1 is delivered once to who subscribed twice', async () => {
    const alice = await connect('alice');
    await alice.ok('subscribe', { room: 'double' });
    await alice.ok('subscribe', { room: 'double' });
    for (const body of [1, 2, 3]) await alice.ok('publish', { room: 'double', body });
    await alice.settled();
    expect(alice.entries('double').map(({ seq }) => seq)).toEqual([1, 2, 3]);
  });
});

describe('a mid', () => {
  it('M3 sent again is answered as the first time, and stored once: the first body wins', async () => {
    const alice = await connect('alice');
    await alice.ok('subscribe', { room: 'again' });
    const mid = v7();
    const { seq } = await alice.ok('publish', { room: 'again', mid, body: 'first' });
    expect(await alice.ok('publish', { room: 'again', mid, body: 'second' })).toMatchObject({ seq, duplicate: true });
    const other = await connect('alice');
    expect(await other.ok('publish', { room: 'again', mid, body: 'third' })).toMatchObject({ seq, duplicate: true });
    await alice.settled();
    expect(alice.entries('again').map(({ body }) => body)).toEqual(['first']);
  });

  it('M3 sent 50 times at once, over two connections, is one message with one seq', async () => {
    const clients = [await connect('alice'), await connect('alice')];
    const mid = v7();
    const answers = await Promise.all(Array.from({ length: 50 }, (_, i) => clients[i % 2]?.ok('publish', { room: 'flight', mid, body: i })));
    expect(new Set(answers.map((answer) => answer?.seq))).toEqual(new Set([1]));
    expect((await clients[0]?.ok('history', { room: 'flight' }))?.entries).toHaveLength(1);
  });

  it('M4 of somebody else in that room is a conflict', async () => {
    const alice = await connect('alice');
    const eve = await connect('eve');
    const mid = v7();
    await alice.ok('publish', { room: 'theft', mid, body: 1 });
    expect(await eve.refused('publish', { room: 'theft', mid, body: 1 })).toBe('conflict');
    const fresh = v7();
    const answers = await Promise.all([alice, eve].map((client) => client.command('publish', { room: 'theft', mid: fresh, body: 1 })));
    expect(answers.map(({ op, code }) => (op === 'ok' ? op : code)).sort()).toEqual(['conflict', 'ok']);
  });

  it('M3 names another message in another room', async () => {
    const alice = await connect('alice');
    const mid = v7();
    expect(await alice.ok('publish', { room: 'here', mid, body: 1 })).toMatchObject({ seq: 1 });
    expect(await alice.ok('publish', { room: 'there', mid, body: 2 })).not.toHaveProperty('duplicate');
  });

  it('M1 M3 M4 is remembered over a kill and a restart', async () => {
    const own = await startHub();
    const mid = v7();
    const { seq } = await (await RawClient.connect(own.url, { user: 'alice' })).ok('publish', { room: 'later', mid, body: 1 });
    await own.restart('SIGKILL');
    const alice = await RawClient.connect(own.url, { user: 'alice' });
    expect(await alice.ok('publish', { room: 'later', mid, body: 1 })).toMatchObject({ seq, duplicate: true });
    const eve = await RawClient.connect(own.url, { user: 'eve' });
    expect(await eve.refused('publish', { room: 'later', mid, body: 1 })).toBe('conflict');
  });
});

describe('an ephemeral', () => {
  it('M6 reaches who is there, has no seq, and is in no log', async () => {
    const alice = await connect('alice');
    const bob = await connect('bob');
    for (const client of [alice, bob]) await client.ok('subscribe', { room: 'typing' });
    const answer = await alice.ok('publish', { room: 'typing', body: 'typing…', ephemeral: true });
    expect(answer).not.toHaveProperty('seq');
    for (const client of [alice, bob]) {
      expect(await client.next('ephemeral')).toEqual({ op: 'ephemeral', room: 'typing', from: 'alice', ts: expect.any(Number), body: 'typing…' });
    }
    expect(await alice.ok('publish', { room: 'typing', body: 'done' })).toMatchObject({ seq: 1 });
    expect((await alice.ok('history', { room: 'typing' })).entries.map(({ body }) => body)).toEqual(['done']);
  });

  it('M6 leaves its sender out where he asks so, but not his other connection', async () => {
    const alice = await connect('alice');
    const laptop = await connect('alice');
    for (const client of [alice, laptop]) await client.ok('subscribe', { room: 'cursor' });
    await alice.ok('publish', { room: 'cursor', body: 1, ephemeral: true, echo: false });
    await laptop.next('ephemeral');
    await alice.ok('publish', { room: 'cursor', body: 2, ephemeral: true });
    expect(await alice.next('ephemeral')).toMatchObject({ body: 2 });
  });

  it('M6 alone can leave its sender out', async () => {
    const alice = await connect('alice');
    expect(await alice.command('publish', { room: 'cursor', body: 1, echo: false })).toMatchObject({ op: 'error', code: 'bad-request', field: 'echo' });
  });
});

describe('the rate of commands', () => {
  it('R5 is limited per connection; what is too much is refused with a time to wait, nobody else is', async () => {
    const own = await startHub({ rateLimit: 5, rateBurst: 20 });
    const fast = await RawClient.connect(own.url, { user: 'fast' });
    const calm = await RawClient.connect(own.url, { user: 'calm' });
    const answers = await Promise.all(Array.from({ length: 60 }, (_, i) => fast.command('publish', { room: 'flood', body: i })));
    const refused = answers.filter(({ op }) => op === 'error');
    expect(refused.length).toBeGreaterThan(20);
    for (const answer of refused) expect(answer).toMatchObject({ code: 'rate-limited', retry: true, retryAfterMs: expect.any(Number) });
    await calm.ok('publish', { room: 'flood', body: 'calm' });
    const { entries } = await calm.ok('history', { room: 'flood', limit: 200 });
    expect(entries).toHaveLength(answers.length - refused.length + 1);
  });

  it('R8 is limited per user too: many sockets and new sockets get no more than one', async () => {
    const own = await startHub({ rateLimit: 10_000, userRateLimit: 100, userRateBurst: 100, connectionsPerUserMax: 50 });
    const begun = performance.now();
    let accepted = 0;
    for (let round = 0; round < 3; round++) {
      const sockets = await Promise.all(Array.from({ length: 10 }, () => RawClient.connect(own.url, { user: 'fast' })));
      const answers = await Promise.all(
        sockets.flatMap((socket) => Array.from({ length: 20 }, (_, i) => socket.command('publish', { room: 'flood', body: i }))),
      );
      accepted += sockets.length + answers.filter(({ op }) => op === 'ok').length; // a hello that was said before its user was known is free
      for (const socket of sockets) socket.terminate();
    }
    const seconds = (performance.now() - begun) / 1_000;
    expect(accepted - 30).toBeLessThanOrEqual((100 + 100 * seconds) * 1.1);
    expect(accepted).toBeGreaterThan(100);
  });
});

describe('more than the store can take', () => {
  it('R9 is refused as busy with a time to wait, and taken when it is sent again: each once, none lost', async () => {
    const own = await startHub({ rateLimit: 0, pendingBytesMax: 65_536 });
    const client = await RawClient.connect(own.url, { user: 'alice' });
    const body = 'x'.repeat(10_000);
    const sent = new Set<string>();
    let refused: string[] = [];
    // In one go, so that they wait for the store together.
    while (refused.length === 0) {
      const mids = Array.from({ length: 50 }, () => v7());
      for (const mid of mids) sent.add(mid);
      const answers = await Promise.all(mids.map((mid) => client.command('publish', { room: 'large', mid, body })));
      refused = mids.filter((_, i) => answers[i]?.op === 'error');
      for (const answer of answers) if (answer.op === 'error') expect(answer).toMatchObject({ code: 'busy', retry: true, retryAfterMs: expect.any(Number) });
    }
    for (const mid of refused) await client.ok('publish', { room: 'large', mid, body });
    const { position } = await client.ok('subscribe', { room: 'large', position: { epoch: client.welcome?.epoch, seq: 0 } });
    await client.until(() => (client.entries('large').at(-1)?.seq ?? 0) === position.seq);
    const stored = client.entries('large').flatMap(({ kind, mid }) => (kind === 'message' ? [mid] : []));
    expect(stored).toHaveLength(sent.size);
    expect(new Set(stored)).toEqual(sent);
  });
});
