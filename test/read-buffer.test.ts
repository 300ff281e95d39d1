/** Sockets that are read into one buffer say what those say that are read by Node alone, whoever else is read in between. */
import { once } from 'node:events';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { setImmediate as turn } from 'node:timers/promises';
import { TLSSocket } from 'node:tls';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Owner, Peer } from '../src/gateway/peer.ts';
import { ReadBuffer } from '../src/gateway/read-buffer.ts';
import { frame } from './kit/raw-socket.ts';

const options = { noServer: true, clientTracking: false, perMessageDeflate: false, maxPayload: 100_000, autoPong: false, closeTimeout: 30_000 };

let server: Server;
beforeAll(async () => {
  server = createServer({ allowHalfOpen: true, noDelay: true }).listen(0, '127.0.0.1');
  await once(server, 'listening');
});
afterAll(() => void server.close());

/** Both ends of a connection. One at a time: whose end it is that the server hears of, is not told. */
async function pair(): Promise<{ near: Socket; far: Socket }> {
  const { port } = server.address() as { port: number };
  const far = connect(port, '127.0.0.1');
  far.on('error', () => {});
  const [near] = (await once(server, 'connection')) as [Socket];
  return { near, far };
}

/** Sends a piece, and waits until the system gave it to the other end's process. */
async function sent({ near, far }: { near: Socket; far: Socket }, piece: Buffer): Promise<void> {
  const all = near.bytesRead + piece.length;
  far.write(piece);
  while (near.bytesRead < all && !near.destroyed) await turn();
}

/** A peer that notes what it hears. */
function reading(socket: Socket, buffer: ReadBuffer, hears: Partial<Owner<null>> = {}): { peer: Peer<null>; heard: string[] } {
  const heard: string[] = [];
  const message = (_of: null, payload: Buffer): void => void heard.push(payload.toString());
  const owner: Owner<null> = {
    options,
    payloadMax: 100_000,
    buffer,
    message,
    ping: message,
    hasEnough: () => false,
    closing: () => {},
    failed: (_of, error) => void heard.push(error.message),
    closed: (_of, code) => void heard.push(`closed ${code}`),
    ...hears,
  };
  const peer = new Peer<null>(socket, owner);
  peer.start(null);
  return { peer, heard };
}

const bytes = fc.oneof(fc.constantFrom(0, 125, 126, 70_000), fc.nat(300)).map((size) => Buffer.alloc(size, 'x'));
const frames = fc.array(
  fc.oneof(
    { weight: 6, arbitrary: bytes.map((payload) => frame(payload)) },
    { weight: 2, arbitrary: fc.constant(frame('ping', { opcode: 9 })) },
    { weight: 1, arbitrary: bytes.map((payload) => Buffer.concat([frame(payload, { fin: false }), frame(payload, { opcode: 0 })])) },
    { weight: 1, arbitrary: fc.constant(frame(Buffer.of(0x03, 0xe8), { opcode: 8 })) },
    { weight: 1, arbitrary: fc.constant(frame('odd', { opcode: 5 })) },
  ),
  { minLength: 1, maxLength: 8 },
);

describe('one buffer for all sockets', () => {
  it('is what a socket of this Node is read into, and not one of TLS or of something else', async () => {
    const { near, far } = await pair();
    const buffer = new ReadBuffer();
    expect(buffer.lend(new TLSSocket(near), () => true)).toBe(false);
    expect(buffer.lend({} as Socket, () => true)).toBe(false);
    expect(buffer.lend(near, () => true)).toBe(true);
    near.destroy();
    far.destroy();
  });

  it('V1 gives the same messages, errors and close codes as a buffer for each read, cut anywhere', async () => {
    const without = { lend: () => false } as unknown as ReadBuffer;
    const shared = new ReadBuffer();
    await fc.assert(
      fc.asyncProperty(frames, fc.array(fc.nat(), { maxLength: 6 }), async (several, places) => {
        const all = Buffer.concat(several);
        const cuts = [...new Set([0, ...places.map((place) => place % all.length)])].sort((a, b) => a - b);
        const pieces = cuts.map((from, i) => all.subarray(from, cuts[i + 1] ?? all.length));
        const said: string[][] = [];
        for (const buffer of [shared, without]) {
          const ends = await pair();
          const { heard } = reading(ends.near, buffer);
          const gone = new Promise((resolve) => ends.near.once('close', resolve));
          for (const piece of pieces) await sent(ends, piece);
          ends.far.end();
          ends.far.resume();
          await gone;
          said.push(heard);
        }
        expect(said[0]).toEqual(said[1]);
      }),
      { numRuns: 60 },
    );
  });

  it('keeps what a paused socket is still to get, and what is there of a frame, while others are read', async () => {
    const buffer = new ReadBuffer();
    const [paused, half, other] = [await pair(), await pair(), await pair()];
    const first = reading(paused.near, buffer, { hasEnough: () => paused.near.isPaused(), ping: () => first.peer.pause() });
    const second = reading(half.near, buffer);
    const third = reading(other.near, buffer);
    await sent(paused, Buffer.concat([frame('one'), frame('', { opcode: 9 }), frame('two'), frame('three')]));
    const whole = frame('a whole');
    await sent(half, whole.subarray(0, 9));
    await sent(other, frame('z'.repeat(1_000)));
    await sent(half, whole.subarray(9));
    first.peer.resume();
    while (first.heard.length < 3) await turn();
    expect([first.heard, second.heard, third.heard]).toEqual([['one', 'two', 'three'], ['a whole'], ['z'.repeat(1_000)]]);
    for (const { near, far } of [paused, half, other]) for (const socket of [near, far]) socket.destroy();
  });

  it('reads nothing from a socket that is paused, and in order when it goes on', async () => {
    const [ends, other] = [await pair(), await pair()];
    reading(other.near, new ReadBuffer());
    const { peer, heard } = reading(ends.near, new ReadBuffer(), { hasEnough: () => ends.near.isPaused() });
    await sent(ends, frame('0'));
    for (let round = 0; round < 20; round++) {
      peer.pause();
      for (let i = 0; i < 5; i++) ends.far.write(frame(String(1 + round * 5 + i)));
      // Going on and pausing again at once: what is read in spite of it has to wait too.
      peer.resume();
      peer.pause();
      await sent(other, frame('behind it')); // so what was sent before it could have been read
      expect(heard.length).toBe(1 + round * 5);
      peer.resume();
      while (heard.length < 6 + round * 5) await turn();
    }
    expect(heard).toEqual(Array.from({ length: 101 }, (_, i) => String(i)));
    for (const { near, far } of [ends, other]) for (const socket of [near, far]) socket.destroy();
  });
});
