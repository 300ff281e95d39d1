/** Connections that cost and never log in: each is closed at its deadline, and those who do log in do not notice. */
import { readdirSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { startHub } from '../kit/hub.ts';
import { RawClient } from '../kit/raw-client.ts';
import { frame, RawSocket } from '../kit/raw-socket.ts';

/** Of each kind. */
const crowd = 100;
const trickleMs = 50;
const hub = await startHub({ acceptPerSecond: 0, handshakeMs: 1_000, helloTimeoutMs: 1_000 });
const descriptors = (): number => readdirSync(`/proc/${hub.pid}/fd`).length;

/** One byte of a header that never ends at a time, until the hub has had enough. */
async function trickled(): Promise<RawSocket> {
  const socket = await RawSocket.open(hub.port);
  socket.write('GET /ws HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: ');
  const timer = setInterval(() => socket.write('x'), trickleMs);
  void socket.closed.then(() => clearInterval(timer));
  return socket;
}

async function upgraded(bytes: Uint8Array): Promise<RawSocket> {
  const socket = await RawSocket.upgrade(hub.port);
  socket.write(bytes);
  return socket;
}

const kinds: Readonly<Record<string, () => Promise<RawSocket>>> = {
  'silent from the start': () => RawSocket.open(hub.port),
  'a header one byte at a time': trickled,
  'upgraded, without a hello': () => upgraded(Buffer.alloc(0)),
  'upgraded, with a frame that never ends': () => upgraded(frame('{"op":"hello","id":1,"user":"slow"}').subarray(0, 12)),
  'upgraded, with fragments that never end': () => upgraded(frame('{"op":', { fin: false })),
  'upgraded, with commands but no hello': () => upgraded(frame('{"op":"ping","id":1}')),
};

describe('connections that never log in', () => {
  it('C7 H1 are closed at their deadline, all kinds at once, while others log in and talk', async () => {
    const talker = await RawClient.connect(hub.url, { user: 'talker' });
    await talker.ok('subscribe', { room: 'calm' });
    const before = descriptors();
    const opened = Object.values(kinds).flatMap((open) => Array.from({ length: crowd }, open));
    const attackers = await Promise.all(opened);
    let open = attackers.length;
    const gone = Promise.all(attackers.map((socket) => socket.closed.then(() => open--)));
    let logins = 0;
    while (open > 0) {
      const guest = await RawClient.connect(hub.url, { user: `guest-${++logins}` });
      await talker.ok('publish', { room: 'calm', body: logins });
      await guest.close();
    }
    await gone;
    expect(logins).toBeGreaterThan(0);
    expect(talker.entries('calm')).toHaveLength(logins);
    // What the store and the reader opened meanwhile stays; sockets do not.
    await expect.poll(descriptors, { timeout: 10_000 }).toBeLessThan(before + 20);
    process.stdout.write(`${attackers.length} connections that never logged in were closed; meanwhile ${logins} others logged in and talked\n`);
  });
});
