/** How connections end at the edge: whatever the peer does and does not, the socket goes away and the hub stays. */
import { afterEach, describe, expect, it } from 'vitest';
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
});
