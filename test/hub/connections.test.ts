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

describe('the connections of a user', async () => {
  const hub = await startHub({ connectionsPerUserMax: 2 });
  const connect = (user: string, device?: string): Promise<RawClient> => RawClient.connect(hub.url, { user, device });

  it('H7 are limited: the next is turned away for good', async () => {
    const kept = [await connect('alice', '1'), await connect('alice', '2')];
    expect((await turnedAway(hub, 'alice', '3')).code).toBe(4501);
    await connect('bob');
    for (const client of kept) await client.settled();
    await kept[0]?.close();
    await (await connect('alice', '3')).settled();
  });

  it('H7 are never more than allowed, however many come at once', async () => {
    const outcomes = await Promise.all(
      Array.from({ length: 30 }, async (_, i) => {
        const client = await RawClient.connect(hub.url, { hello: false });
        return await client.ok('hello', { user: 'crowd', device: `${i}` }).then(
          () => 'in',
          () => 'out',
        );
      }),
    );
    expect(outcomes.filter((outcome) => outcome === 'in')).toHaveLength(2);
  });

  it('H6 of one device are one: the new one replaces its ghost, even where there is no room for another', async () => {
    const ghost = await connect('ghost', 'phone');
    const laptop = await connect('ghost', 'laptop');
    const back = await connect('ghost', 'phone');
    expect((await ghost.closed).code).toBe(4503);
    for (const client of [back, laptop]) await client.settled();
  });

  it('H6 without a device stand beside each other', async () => {
    for (const client of [await connect('nameless'), await connect('nameless')]) await client.settled();
  });

  it('X3 H7 are forgotten with a kill of the hub: nobody is kept out by his own ghosts', async () => {
    await connect('killed', '1');
    await connect('killed', '2');
    await hub.restart('SIGKILL');
    for (const device of ['3', '4']) await (await connect('killed', device)).settled();
  });

  it('H7 are limited: the oldest gives way where the policy is so', async () => {
    const evicting = await startHub({ connectionsPerUserMax: 2, connectionPolicy: 'evict-oldest' });
    const [first, second, third] = [
      await RawClient.connect(evicting.url, { user: 'alice', device: '1' }),
      await RawClient.connect(evicting.url, { user: 'alice', device: '2' }),
      await RawClient.connect(evicting.url, { user: 'alice', device: '3' }),
    ];
    expect((await first.closed).code).toBe(4502);
    for (const client of [second, third]) await client.settled();
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

describe('a connection', async () => {
  const hub = await startHub({
    heartbeatMs: 300,
    heartbeatGraceMs: 1_500, // this process also plays hundreds of clients, and may be late itself
    helloTimeoutMs: 1_000,
    handshakeMs: 500,
    openCommandsMax: 8,
    rateLimit: 0,
    acceptPerSecond: 0,
    presenceGraceMs: 0,
  });

  it('C5 that answers no heartbeat is closed, one that does is not', async () => {
    const honest = await RawClient.connect(hub.url, { user: 'honest' });
    let beats = 0;
    const lived = new Promise<void>((resolve) => {
      honest.socket.on('ping', () => {
        if (++beats === 4) resolve();
      });
    });
    const silent = await RawSocket.upgrade(hub.port);
    silent.text({ op: 'hello', id: 1, user: 'silent' });
    expect([4002, null]).toContain(await silent.closed);
    await lived;
    await honest.settled();
  });

  it('that sends nothing but pongs is closed as idle where a limit is set', async () => {
    const idling = await startHub({ idleMs: 300, heartbeatMs: 100 });
    const client = await RawClient.connect(idling.url, { user: 'idle' });
    expect((await client.closed).code).toBe(4006);
  });

  it('H1 that never finishes a frame does not outlive the time for hello', async () => {
    const socket = await RawSocket.upgrade(hub.port);
    socket.write(frame('{"op":"hello","id":1,"user":"slow"}').subarray(0, 10));
    expect([4001, null]).toContain(await socket.closed);
  });

  it('that sends half a handshake is closed too', async () => {
    const socket = await RawSocket.open(hub.port);
    socket.write('GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n');
    await socket.closed;
    expect(socket.head).toMatch(/^(?:HTTP\/1\.1 408|$)/);
  });

  it('R5 may have only so many commands without an answer', async () => {
    const client = await RawClient.connect(hub.url, { user: 'eager' });
    expect(client.welcome?.limits.openCommandsMax).toBe(8);
    const answers = await Promise.all(Array.from({ length: 200 }, (_, i) => client.command('publish', { room: 'open', body: i })));
    const codes = new Set(answers.flatMap(({ op, code }) => (op === 'error' ? [code] : [])));
    expect([...codes].filter((code) => code !== 'limit')).toEqual([]);
    const { entries } = await client.ok('history', { room: 'open', limit: 200 });
    expect(entries).toHaveLength(answers.filter(({ op }) => op === 'ok').length);
  });

  it('X3 leaves nothing behind: after a thousand of them the hub is as before', async () => {
    const last = await RawClient.connect(hub.url, { user: 'last' });
    for (let n = 0; n < 7; n++) await last.ok('create', { room: `room-${n}` });
    for (let round = 0; round < 10; round++) {
      const clients = await Promise.all(Array.from({ length: 100 }, (_, i) => RawClient.connect(hub.url, { user: `guest-${i}`, device: `${round}` })));
      await Promise.all(clients.map((client) => client.ok('subscribe', { room: roomOf(client), presence: true })));
      await Promise.all(clients.map(async (client, n) => (n % 2 ? await client.close() : client.terminate())));
      await Promise.all(clients.map((client) => client.closed));
    }
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
