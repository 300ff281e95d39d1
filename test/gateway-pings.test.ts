/** Pings that clients send: all are answered, and all count. Those of the hub are in gateway-sweep.test.ts. */
import { afterEach, describe, expect, it, vi } from 'vitest';
import { type Stand, stand } from './gateway-harness.ts';
import { frame, RawSocket } from './kit/raw-socket.ts';

let hub: Stand;
afterEach(() => hub.close());

const pings = (count: number): Buffer => Buffer.concat(Array.from({ length: count }, (_, i) => frame(`${i}`, { opcode: 9 })));
const pongs = (socket: RawSocket): string[] => socket.frames.filter(({ opcode }) => opcode === 10).map(({ payload }) => payload.toString());
const counted = (count: number): string[] => Array.from({ length: count }, (_, i) => `${i}`);

describe('a ping of a client', () => {
  it('C8 is answered with its payload, before hello too, however many come at once', async () => {
    hub = await stand();
    const socket = await RawSocket.upgrade(hub.port);
    socket.write(pings(500));
    await socket.until(() => pongs(socket).length === 500);
    expect(pongs(socket)).toEqual(counted(500));
  });

  it('C8 who reads late gets every pong, the last one before the answer to his close frame', async () => {
    hub = await stand({ options: { rateLimit: 0 } });
    const socket = await RawSocket.upgrade(hub.port);
    socket.socket.pause();
    const some = Buffer.concat(Array.from({ length: 2_000 }, () => frame('x'.repeat(125), { opcode: 9 })));
    let count = 0;
    const more = async (last: Buffer = Buffer.alloc(0)): Promise<void> => {
      socket.write(Buffer.concat([some, last]));
      count += 2_000;
      await vi.waitUntil(() => hub.gateway.stats().framesOut === count, { timeout: 10_000, interval: 1 });
    };
    while (hub.gateway.stats().backed === 0) await more();
    await more(frame('', { opcode: 8 }));
    socket.socket.resume();
    await socket.closed;
    expect(socket.frames.length).toBe(count + 1);
    expect(socket.frames.at(-1)?.opcode).toBe(8);
  });

  it('C8 R8 beyond the rates is answered too, but going on with it is abuse', async () => {
    hub = await stand({ options: { rateLimit: 10, rateBurst: 10, refusalsMax: 50 } });
    const socket = await RawSocket.upgrade(hub.port);
    socket.write(pings(40));
    await socket.until(() => pongs(socket).length === 40);
    socket.write(pings(200));
    expect(await socket.closed).toBe(4505);
    expect(pongs(socket).slice(0, 50)).toEqual([...counted(40), ...counted(10)]);
  });
});
