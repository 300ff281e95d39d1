/** How many connections there may be, which of them gives way, and which are put out because nobody is there any more. */
import { describe, expect, it } from 'vitest';
import { type Hub, startHub } from '../kit/hub.ts';
import { type Closed, RawClient } from '../kit/raw-client.ts';
import { frame, RawSocket, upgradeRequest } from '../kit/raw-socket.ts';

async function turnedAway(hub: Hub, user: string, device?: string): Promise<Closed> {
  const client = await RawClient.connect(hub.url, { hello: false });
  client.send({ op: 'hello', id: 1, user, device });
  return await client.closed;
}

describe('the connections of a user', () => {
  it('H7 are limited: the next is turned away for good', async () => {
    const hub = await startHub({ connectionsPerUserMax: 2 });
    const kept = [await RawClient.connect(hub.url, { user: 'alice', device: '1' }), await RawClient.connect(hub.url, { user: 'alice', device: '2' })];
    expect((await turnedAway(hub, 'alice', '3')).code).toBe(4501);
    await RawClient.connect(hub.url, { user: 'bob' });
    for (const client of kept) await client.settled();
    await kept[0]?.close();
    await (await RawClient.connect(hub.url, { user: 'alice', device: '3' })).settled();
  });

  it('H7 are limited: the oldest gives way where the policy is so', async () => {
    const hub = await startHub({ connectionsPerUserMax: 2, connectionPolicy: 'evict-oldest' });
    const [first, second] = [
      await RawClient.connect(hub.url, { user: 'alice', device: '1' }),
      await RawClient.connect(hub.url, { user: 'alice', device: '2' }),
    ];
    const third = await RawClient.connect(hub.url, { user: 'alice', device: '3' });
    expect((await first.closed).code).toBe(4502);
    await second.settled();
    await third.settled();
  });

  it('H7 are never more than allowed, however many come at once', async () => {
    const hub = await startHub({ connectionsPerUserMax: 5 });
    const outcomes = await Promise.all(
      Array.from({ length: 30 }, async (_, i) => {
        const client = await RawClient.connect(hub.url, { hello: false });
        return await client.ok('hello', { user: 'alice', device: `${i}` }).then(
          () => 'in',
          () => 'out',
        );
      }),
    );
    expect(outcomes.filter((outcome) => outcome === 'in')).toHaveLength(5);
  });

  it('H6 of one device are one: the new one replaces its ghost', async () => {
    const hub = await startHub({ connectionsPerUserMax: 1 });
    const ghost = await RawClient.connect(hub.url, { user: 'alice', device: 'phone' });
    const back = await RawClient.connect(hub.url, { user: 'alice', device: 'phone' });
    expect((await ghost.closed).code).toBe(4503);
    await back.settled();
  });

  it('H6 without a device stand beside each other', async () => {
    const hub = await startHub();
    const clients = [await RawClient.connect(hub.url, { user: 'alice' }), await RawClient.connect(hub.url, { user: 'alice' })];
    for (const client of clients) await client.settled();
  });

  it('X3 H7 are forgotten with a kill of the hub: nobody is kept out by his own ghosts', async () => {
    const hub = await startHub({ connectionsPerUserMax: 1 });
    await RawClient.connect(hub.url, { user: 'alice', device: '1' });
    await hub.restart('SIGKILL');
    await (await RawClient.connect(hub.url, { user: 'alice', device: '2' })).settled();
  });
});

describe('the connections of a hub', () => {
  const answerTo = async (hub: Hub): Promise<string> => {
    const socket = await RawSocket.open(hub.port);
    socket.write(upgradeRequest(hub.port, { 'Sec-WebSocket-Protocol': 'hubbub.v1.json' }));
    await socket.until(() => socket.head.includes('\r\n\r\n'));
    return socket.head;
  };

  it('C4 are limited: the next gets HTTP 503 and a time to come back', async () => {
    const hub = await startHub({ connectionsMax: 3 });
    const [one] = await Promise.all(['a', 'b', 'c'].map((user) => RawClient.connect(hub.url, { user })));
    const head = await answerTo(hub);
    expect(head).toMatch(/^HTTP\/1\.1 503/);
    expect(head).toMatch(/^Retry-After: \d+\r$/im);
    await one?.close();
    expect(await answerTo(hub)).toMatch(/^HTTP\/1\.1 101/);
  });

  it('C4 come at a limited rate: beyond it the handshake gets HTTP 503 and a time to come back', async () => {
    const hub = await startHub({ acceptPerSecond: 5 });
    const heads = await Promise.all(Array.from({ length: 40 }, () => answerTo(hub)));
    const refused = heads.filter((head) => head.startsWith('HTTP/1.1 503'));
    expect(refused.length).toBeGreaterThan(20);
    for (const head of refused) expect(head).toMatch(/^Retry-After: \d+\r$/im);
    expect(heads.filter((head) => head.startsWith('HTTP/1.1 101')).length).toBeGreaterThan(0);
  });
});

describe('a connection', () => {
  it('C5 that answers no heartbeat is closed, one that does is not', async () => {
    const hub = await startHub({ heartbeatMs: 200, heartbeatGraceMs: 200 });
    const honest = await RawClient.connect(hub.url, { user: 'honest' });
    let beats = 0;
    const lived = new Promise<void>((resolve) => honest.socket.on('ping', () => ++beats === 4 && resolve()));
    const silent = await RawSocket.upgrade(hub.port);
    silent.text({ op: 'hello', id: 1, user: 'silent' });
    expect([4002, null]).toContain(await silent.closed);
    await lived;
    await honest.settled();
    expect((await honest.ok('who', { users: ['silent'] })).users[0]?.user).toBe('silent');
  });

  it('that sends nothing but pongs is closed as idle where a limit is set', async () => {
    const hub = await startHub({ idleMs: 300, heartbeatMs: 100 });
    const client = await RawClient.connect(hub.url, { user: 'idle' });
    expect((await client.closed).code).toBe(4006);
  });

  it('H1 that never finishes a frame does not outlive the time for hello', async () => {
    const hub = await startHub({ helloTimeoutMs: 300 });
    const socket = await RawSocket.upgrade(hub.port);
    socket.write(frame('{"op":"hello","id":1,"user":"slow"}').subarray(0, 10));
    expect([4001, null]).toContain(await socket.closed);
  });

  it('that sends half a handshake is closed too', async () => {
    const hub = await startHub({ helloTimeoutMs: 300 });
    const socket = await RawSocket.open(hub.port);
    socket.write('GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n');
    await socket.closed;
    expect(socket.head).toMatch(/^(?:HTTP\/1\.1 408|$)/);
  });

  it('R5 may have only so many commands without an answer', async () => {
    const hub = await startHub({ openCommandsMax: 8, rateLimit: 0 });
    const client = await RawClient.connect(hub.url, { user: 'eager' });
    expect(client.welcome?.limits.openCommandsMax).toBe(8);
    const answers = await Promise.all(Array.from({ length: 200 }, (_, i) => client.command('publish', { room: 'r', body: i })));
    const codes = new Set(answers.flatMap(({ op, code }) => (op === 'error' ? [code] : [])));
    expect([...codes].filter((code) => code !== 'limit')).toEqual([]);
    const { entries } = await client.ok('history', { room: 'r', limit: 200 });
    expect(entries).toHaveLength(answers.filter(({ op }) => op === 'ok').length);
  });

  it('X3 leaves nothing behind: after a thousand of them the hub is as before', async () => {
    const hub = await startHub({ presenceGraceMs: 0, acceptPerSecond: 0 });
    for (let round = 0; round < 10; round++) {
      const clients = await Promise.all(Array.from({ length: 100 }, (_, i) => RawClient.connect(hub.url, { user: `guest-${i}`, device: `${round}` })));
      await Promise.all(clients.map((client) => client.ok('subscribe', { room: roomOf(client), presence: true })));
      await Promise.all(clients.map(async (client, n) => (n % 2 ? await client.close() : client.terminate())));
      await Promise.all(clients.map((client) => client.closed));
    }
    const last = await RawClient.connect(hub.url, { user: 'last' });
    for (let n = 0; n < 7; n++) {
      while ((await last.ok('info', { room: `room-${n}` })).subscribers > 0);
    }
    const users = Array.from({ length: 100 }, (_, n) => `guest-${n}`);
    while ((await last.ok('who', { users })).users.some(({ status }) => status !== 'offline'));
  });
});

function roomOf(client: RawClient): string {
  return `room-${Number(client.user.split('-')[1]) % 7}`;
}
