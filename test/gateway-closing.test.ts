/** How connections end at the edge: whatever the peer does and does not, the socket goes away and the hub stays. */
import type { IncomingMessage } from 'node:http';
import { Duplex } from 'node:stream';
import { setImmediate as turn } from 'node:timers/promises';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { CodedError } from '../src/protocol/codes.ts';
import { type Stand, stand } from './gateway-harness.ts';
import { frame, RawSocket } from './kit/raw-socket.ts';

let hub: Stand;
afterEach(() => hub.close());

describe('the end of a connection', () => {
  it('H4 what came behind a hello that is refused is dropped, however many frames it is, and the hub goes on', async () => {
    const faults: unknown[] = [];
    const fault = (error: unknown): unknown => faults.push(error);
    process.on('uncaughtException', fault);
    hub = await stand({ authenticate: async ({ user }) => Promise.reject(new CodedError('auth-failed', user)) });
    const socket = await RawSocket.upgrade(hub.port);
    // One read: what is beyond the 64 that are held is put back, and comes again when the refusal has the socket read on.
    socket.write(Buffer.concat([frame(JSON.stringify({ op: 'hello', user: 'alice' })), ...new Array<Buffer>(9_000).fill(frame(''))]));
    expect(await socket.closed).toBe(4500);
    const next = await RawSocket.upgrade(hub.port);
    next.text({ op: 'hello', user: 'bob' });
    expect(await next.closed).toBe(4500);
    process.off('uncaughtException', fault);
    expect(faults).toEqual([]);
  });

  it('C7 a handshake that is refused is not kept by who does not take the refusal', async () => {
    hub = await stand();
    vi.useFakeTimers({ toFake: ['setTimeout'] });
    const socket = new Duplex({ read: () => {}, write: () => {} }); // what is written is never taken
    const request = { method: 'GET', url: '/nowhere', httpVersion: '1.1', headers: { host: 'localhost' } };
    hub.gateway.upgrade(request as IncomingMessage, socket, Buffer.alloc(0));
    expect(socket.writableLength).toBeGreaterThan(0);
    expect(socket.destroyed).toBe(false);
    vi.advanceTimersByTime(5_000);
    vi.useRealTimers();
    expect(socket.destroyed).toBe(true);
  });

  it('H8 who is revoked behind what fills his socket in the same batch is cut: none of it reaches him later', async () => {
    const much = 64 * 1024 * 1024;
    hub = await stand({ options: { outboxBytesMax: much, slowMs: 60_000 } });
    const { client, number } = await hub.join();
    client.pause();
    const maps = Array.from({ length: 12 }, () => ({ op: 'inbox', body: 'x'.repeat(1024 * 1024) }));
    hub.shard.page(number, maps, false);
    hub.shard.link.push({ t: 'evict', connections: [number], close: 'revoked' });
    expect((await hub.shard.next('close')).connection).toBe(number);
    client.resume();
    expect((await client.closed).code).toBe(1006);
    expect(client.pushes.length).toBeLessThan(maps.length);
  });

  it('V1 a frame as long as the operator lets it be is taken in pieces as small as networks make them, and in fragments', async () => {
    const most = 1_500 * 1_024;
    hub = await stand({ options: { rateLimit: 0, frameBytesMax: most, bodyBytesMax: most - 1_024 } });
    const socket = await RawSocket.upgrade(hub.port);
    socket.text({ op: 'hello', user: 'alice' });
    await hub.shard.next('hello');
    const text = JSON.stringify({ op: 'publish', room: 'general', body: 'x'.repeat(most - 2_048) });
    for (const piece of cut(frame(text), 1_400)) {
      const before = hub.gateway.connectionsOf('alice')[0]?.bytesIn ?? 0;
      socket.write(piece);
      while (hub.gateway.connectionsOf('alice')[0]?.bytesIn === before) await turn(); // each is a read of its own
    }
    await Promise.race([hub.shard.command('publish'), socket.closed.then((code) => expect(code).toBe('open'))]);
    const parts = cut(Buffer.from(text), 16 * 1024);
    for (const [i, part] of parts.entries()) socket.write(frame(part, { opcode: i === 0 ? 1 : 0, fin: i === parts.length - 1 }));
    await Promise.race([hub.shard.command('publish'), socket.closed.then((code) => expect(code).toBe('open'))]);
  });
});

function cut(bytes: Buffer, size: number): Buffer[] {
  return Array.from({ length: Math.ceil(bytes.length / size) }, (_, i) => bytes.subarray(i * size, (i + 1) * size));
}
