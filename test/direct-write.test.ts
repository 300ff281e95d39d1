/** What is written past the stream arrives as if the stream had written it: all of it, in order, waited for, ended and failed alike. */
import { once } from 'node:events';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { setImmediate as turn } from 'node:timers/promises';
import { TLSSocket } from 'node:tls';
import fc from 'fast-check';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { DirectWrite } from '../src/gateway/direct-write.ts';
import { ReadBuffer } from '../src/gateway/read-buffer.ts';

/** More than two sockets of one machine keep for a reader who does not read. */
const tooMuch = 64 * 1024 * 1024;

let server: Server;
const open: Socket[] = [];
beforeAll(async () => {
  server = createServer({ allowHalfOpen: true, noDelay: true }).listen(0, '127.0.0.1');
  await once(server, 'listening');
});
afterEach(() => {
  for (const socket of open.splice(0)) socket.destroy();
});
afterAll(() => void server.close());

/** `near` writes; `far` reads nothing before it is told to. */
async function pair(): Promise<{ near: Socket; far: Socket }> {
  const { port } = server.address() as { port: number };
  const far = connect(port, '127.0.0.1');
  far.on('error', () => {});
  const [near] = (await once(server, 'connection')) as [Socket];
  open.push(near, far);
  return { near, far };
}

async function readToEnd(far: Socket): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of far) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}

/** How often the stream itself is asked to write from now on. */
function streamWrites(socket: Socket): { count: number } {
  const seen = { count: 0 };
  const write = socket.write.bind(socket) as (...of: unknown[]) => boolean;
  socket.write = ((...of: unknown[]) => {
    seen.count++;
    return write(...of);
  }) as typeof socket.write;
  return seen;
}

describe('writing past the stream', () => {
  it('is how a socket of this Node is written to while nothing waits, and not one of TLS', async () => {
    const direct = new DirectWrite();
    const { near, far } = await pair();
    const seen = streamWrites(near);
    for (let i = 0; i < 3; i++) direct.write(near, Buffer.from(`${i}`));
    expect([seen.count, near.writableLength, near.bytesWritten]).toEqual([0, 0, 3]);
    near.end();
    expect((await readToEnd(far)).toString()).toBe('012');

    const secure = new TLSSocket((await pair()).near);
    secure.on('error', () => {});
    const asked: Buffer[] = [];
    // It does not go on: so what its handle is asked for, it is asked past the stream.
    secure.write = ((bytes: Buffer) => asked.push(bytes) > 0) as typeof secure.write;
    const past = vi.spyOn((secure as unknown as { _handle: { writeBuffer(): number } })._handle, 'writeBuffer').mockReturnValue(0);
    direct.write(secure, Buffer.from('secret'));
    expect([asked.map(String), past.mock.calls.length]).toEqual([['secret'], 0]);
    secure.destroy();
  });

  it('leaves to the stream what must wait: it counts there, drains there, and is followed by the rest', async () => {
    const direct = new DirectWrite();
    const { near, far } = await pair();
    const first = Buffer.alloc(tooMuch, 'a');
    direct.write(near, first);
    expect(near.writableLength).toBe(tooMuch);
    expect(near.writableNeedDrain).toBe(true);
    direct.write(near, Buffer.from('b'));
    expect(near.writableLength).toBe(tooMuch + 1);
    const drained = once(near, 'drain');
    const all = readToEnd(far);
    await drained;
    expect(near.writableLength).toBe(0);
    const seen = streamWrites(near);
    direct.write(near, Buffer.from('c'));
    expect(seen.count).toBe(0);
    near.end();
    const got = await all;
    expect(got.length).toBe(tooMuch + 2);
    expect(got.subarray(0, tooMuch).equals(first)).toBe(true);
    expect(got.subarray(tooMuch).toString()).toBe('bc');
  });

  it('keeps the order of what is written in all ways, however much the reader takes in between', async () => {
    const direct = new DirectWrite();
    const step = fc.record({
      how: fc.constantFrom('direct', 'direct', 'direct', 'stream', 'corked'),
      size: fc.oneof(fc.nat(300), fc.constantFrom(0, 70_000, 3_000_000)),
      reads: fc.boolean(),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 12 }), async (steps) => {
        const { near, far } = await pair();
        const sent: Buffer[] = [];
        const got: Buffer[] = [];
        far.on('data', (chunk) => got.push(chunk)).pause();
        for (const [i, { how, size, reads }] of steps.entries()) {
          const bytes = Buffer.alloc(size, i);
          sent.push(bytes);
          if (how === 'stream') near.write(bytes);
          else direct.write(near, bytes);
          if (how === 'corked') {
            const more = Buffer.alloc(5, i);
            sent.push(more);
            near.cork();
            direct.write(near, more);
            near.uncork();
          }
          if (reads) {
            far.resume();
            await turn();
            far.pause();
          }
        }
        near.end();
        far.resume();
        await once(far, 'end');
        expect(Buffer.concat(got).equals(Buffer.concat(sent))).toBe(true);
      }),
      { numRuns: 60 },
    );
  });

  it('has any number of sockets with something that waits', async () => {
    const direct = new DirectWrite();
    const pairs = [await pair(), await pair(), await pair()];
    for (const [i, { near }] of pairs.entries()) direct.write(near, Buffer.alloc(tooMuch, i));
    expect(pairs.map(({ near }) => near.writableLength)).toEqual([tooMuch, tooMuch, tooMuch]);
    for (const [i, { near, far }] of pairs.entries()) {
      near.end();
      expect((await readToEnd(far)).equals(Buffer.alloc(tooMuch, i))).toBe(true);
    }
  });

  it('ends behind what waits, and tells nobody of what a destroyed socket did not send', async () => {
    const direct = new DirectWrite();
    const ending = await pair();
    direct.write(ending.near, Buffer.alloc(tooMuch));
    ending.near.end();
    expect((await readToEnd(ending.far)).length).toBe(tooMuch);

    const { near } = await pair();
    const errors: Error[] = [];
    near.on('error', (error) => errors.push(error));
    direct.write(near, Buffer.alloc(tooMuch));
    near.destroy();
    await once(near, 'close');
    direct.write(near, Buffer.from('late'));
    await turn();
    expect(errors.map((error) => (error as NodeJS.ErrnoException).code)).toEqual([]);
  });

  it('fails where nothing is read and so nothing else would tell: what waited is not taken for sent', async () => {
    const seen: unknown[] = [];
    for (const write of [(socket: Socket, bytes: Buffer) => new DirectWrite().write(socket, bytes), (socket: Socket, bytes: Buffer) => socket.write(bytes)]) {
      const { near, far } = await pair();
      const failed = once(near, 'error') as Promise<[NodeJS.ErrnoException]>;
      new ReadBuffer().lend(near, () => true);
      near.pause();
      write(near, Buffer.alloc(tooMuch));
      far.resetAndDestroy();
      const [{ message, code, errno, syscall }] = await failed;
      seen.push({ message, code, errno, syscall, destroyed: near.destroyed });
    }
    expect(seen[0]).toEqual(seen[1]);
  });

  it('fails as the stream fails: by its error and its close, when the reader is gone', async () => {
    const direct = new DirectWrite();
    for (const size of [1, tooMuch]) {
      const { near, far } = await pair();
      const failed = once(near, 'error') as Promise<[NodeJS.ErrnoException]>;
      const closed = new Promise((resolve) => near.once('close', resolve));
      if (size === tooMuch) direct.write(near, Buffer.alloc(size));
      far.resetAndDestroy();
      await once(far, 'close');
      // The reset is read, or met by a write, whichever comes first.
      for (let i = 0; i < 10_000 && !near.destroyed; i++) {
        direct.write(near, Buffer.alloc(1));
        await turn();
      }
      expect((await failed)[0].code).toMatch(/^(ECONNRESET|EPIPE)$/);
      await closed;
    }
  });
});
