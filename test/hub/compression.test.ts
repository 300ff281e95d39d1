/** Compression is not spoken: an offer of it is not taken up, and a frame that is compressed all the same ends its connection. */

import { readFileSync } from 'node:fs';
import { constants, deflateRawSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { startHub } from '../kit/hub.ts';
import { RawClient } from '../kit/raw-client.ts';
import { frame, RawSocket, upgradeRequest } from '../kit/raw-socket.ts';

const hub = await startHub({ acceptPerSecond: 0 });
const offers = ['permessage-deflate', 'permessage-deflate; client_max_window_bits; server_no_context_takeover', 'x-webkit-deflate-frame, permessage-deflate'];
/** As RFC 7692 has it: without the last four bytes of the flush. 92 kB that become 94 MB. */
const bomb = deflateRawSync(Buffer.alloc(94_000_000, 0x20), { finishFlush: constants.Z_SYNC_FLUSH }).subarray(0, -4);
const residentBytes = (): number => Number(/^VmHWM:\s+(\d+)/m.exec(readFileSync(`/proc/${hub.pid}/status`, 'utf8'))?.[1]) * 1024;

async function offering(extensions: string): Promise<RawSocket> {
  const socket = await RawSocket.open(hub.port);
  socket.write(upgradeRequest(hub.port, { 'Sec-WebSocket-Protocol': 'hubbub.v1.json', 'Sec-WebSocket-Extensions': extensions }));
  await socket.until(() => socket.head.includes('\r\n\r\n'));
  return socket;
}

describe('C6 compression', () => {
  it.each(offers)('C6 is not taken up when offered as %s', async (extensions) => {
    const { head } = await offering(extensions);
    expect(head).toMatch(/^HTTP\/1\.1 101/);
    expect(head).not.toMatch(/sec-websocket-extensions/i);
  });

  it('C6 is a protocol error before hello and after it, and no byte of it is unpacked', async () => {
    const witness = await RawClient.connect(hub.url, { user: 'witness' });
    const peak = residentBytes();
    expect(bomb.length).toBeLessThan(256 * 1024);
    for (let i = 0; i < 20; i++) {
      const socket = await offering('permessage-deflate');
      if (i % 2 === 1) {
        socket.text({ op: 'hello', id: 1, user: 'bomber' });
        await socket.until(() => socket.frames.some(({ payload }) => payload.includes('"welcome"')));
      }
      socket.write(frame(bomb, { reserved: 4 }));
      expect([1002, null]).toContain(await socket.closed);
      await witness.settled();
    }
    expect(residentBytes() - peak).toBeLessThan(64_000_000);
  });

  it('C6 is not guessed: a bomb without the bit is malformed text', async () => {
    const socket = await offering('permessage-deflate');
    socket.write(frame(bomb));
    expect([1007, null]).toContain(await socket.closed);
  });
});
