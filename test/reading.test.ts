/** Whatever comes in whatever pieces, a connection whose plain frames are read beside `ws` says and does what `ws` alone would. */
import type { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import { Duplex } from 'node:stream';
import { setImmediate as turn } from 'node:timers/promises';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type ServerOptions, WebSocketServer } from 'ws';
import { startReading } from '../src/gateway/reading.ts';
import { frame } from './kit/raw-socket.ts';

/** Low, so that the frames of a test reach them. */
const longest = 70_000;
const limits: ServerOptions = {
  noServer: true,
  clientTracking: false,
  perMessageDeflate: false,
  maxFragments: 4,
  maxBufferedChunks: 40,
};

/** Both ends of a socket without a network: what is written to it is kept. */
class Pipe extends Duplex {
  readonly written: Buffer[] = [];
  override _read(): void {}
  override _write(bytes: Buffer, _encoding: string, done: () => void): void {
    this.written.push(bytes);
    done();
  }
}

/** What the connection told its owner and its peer, in order, while it got these pieces. */
async function heard(pieces: readonly Buffer[], beside: boolean, payloadMax = longest): Promise<string[]> {
  const said: string[] = [];
  const pipe = new Pipe();
  const headers = { upgrade: 'websocket', connection: 'Upgrade', 'sec-websocket-version': '13', 'sec-websocket-key': 'AAAAAAAAAAAAAAAAAAAAAA==' };
  const server = new WebSocketServer({ ...limits, maxPayload: payloadMax });
  server.handleUpgrade({ method: 'GET', headers } as unknown as IncomingMessage, pipe, Buffer.alloc(0), (ws) => {
    const message = (payload: Buffer, binary: boolean): unknown => said.push(`${binary ? 'binary' : 'text'} ${payload.toString('hex')}`);
    if (beside)
      startReading(ws, pipe as unknown as Socket, payloadMax, null, { message: (_of, payload, binary) => message(payload, binary), hasEnough: () => false });
    else ws.on('message', (payload, binary) => message(payload as Buffer, binary));
    ws.on('error', (error) => said.push(`error ${error.message}`));
    ws.on('ping', (payload) => said.push(`ping ${payload.toString('hex')}`));
    ws.on('pong', (payload) => said.push(`pong ${payload.toString('hex')}`));
    ws.on('close', (code) => said.push(`close ${code}`));
  });
  await turn();
  pipe.written.length = 0; // the handshake
  for (const piece of pieces) {
    pipe.push(Buffer.from(piece)); // its own copy: what is received is unmasked in place
    await turn();
  }
  pipe.push(null);
  await turn();
  pipe.destroy();
  await turn();
  return [...said, `wrote ${Buffer.concat(pipe.written).toString('hex')}`];
}

function cut(bytes: Buffer, places: readonly number[]): Buffer[] {
  const at = [...new Set(places.map((place) => place % bytes.length))].sort((a, b) => a - b);
  return [0, ...at].map((from, i) => bytes.subarray(from, at[i] ?? bytes.length)).filter((piece) => piece.length > 0);
}

const ascii = fc.string({ maxLength: 40, unit: 'binary-ascii' }).map((string) => Buffer.from(string));
const payload = fc.oneof(
  { weight: 4, arbitrary: ascii },
  { weight: 2, arbitrary: fc.string({ maxLength: 40, unit: 'binary' }).map((string) => Buffer.from(string)) },
  { weight: 2, arbitrary: fc.uint8Array({ maxLength: 40 }).map((bytes) => Buffer.from(bytes)) },
  {
    weight: 2,
    arbitrary: fc.constantFrom(0, 124, 125, 126, 127, 300, 65_534, 65_535, 65_536, longest, longest + 1).map((size) => Buffer.alloc(size, 'x')),
  },
);
const plain = fc.record({ payload, opcode: fc.constantFrom(1, 2) }).map(({ payload: bytes, opcode }) => frame(bytes, { opcode }));
const control = fc.record({ payload: ascii, opcode: fc.constantFrom(9, 10) }).map(({ payload: bytes, opcode }) => frame(bytes, { opcode }));
const fragments = fc
  .record({ parts: fc.array(ascii, { minLength: 2, maxLength: 5 }), opcode: fc.constantFrom(1, 2) })
  .map(({ parts, opcode }) => Buffer.concat(parts.map((part, i) => frame(part, { opcode: i === 0 ? opcode : 0, fin: i === parts.length - 1 }))));
const goodbye = fc.constantFrom(Buffer.alloc(0), Buffer.of(0x03, 0xe8), Buffer.of(0x03, 0xe8, 0xff), Buffer.of(3)).map((bytes) => frame(bytes, { opcode: 8 }));
const odd = fc
  .record({ payload: ascii, opcode: fc.nat(15), fin: fc.boolean(), reserved: fc.nat(7), masked: fc.boolean() })
  .map(({ payload: bytes, ...how }) => frame(bytes, how));
/** A length in more bytes than it needs, and one that is beyond all limits. */
const declared = fc.constantFrom(0n, 5n, 65_535n, 2n ** 32n, 2n ** 53n, 2n ** 63n).map((length) => frame('12345', { declared: length }));
const longPing = fc.constantFrom(9, 10).map((opcode) => frame('x'.repeat(126), { opcode }));
const noise = fc.uint8Array({ minLength: 1, maxLength: 20 }).map((bytes) => Buffer.from(bytes));
const several = fc.array(
  fc.oneof(
    { weight: 30, arbitrary: plain },
    { weight: 6, arbitrary: control },
    { weight: 2, arbitrary: fragments },
    { weight: 1, arbitrary: goodbye },
    { weight: 1, arbitrary: odd },
    { weight: 1, arbitrary: declared },
    { weight: 1, arbitrary: longPing },
    { weight: 1, arbitrary: noise },
  ),
  { minLength: 1, maxLength: 12 },
);

describe('reading beside ws', () => {
  it('V1 gives the same messages, answers and close codes as ws alone, cut anywhere', async () => {
    await fc.assert(
      fc.asyncProperty(several, fc.array(fc.nat(), { maxLength: 12 }), fc.constantFrom(longest, 200), async (frames, places, most) => {
        const pieces = cut(Buffer.concat(frames), places);
        expect(await heard(pieces, true, most)).toEqual(await heard(pieces, false, most));
      }),
      { numRuns: 400 },
    );
  });

  it('V1 gives the same byte by byte', async () => {
    const small = fc.array(fc.oneof({ weight: 6, arbitrary: plain }, control, fragments, goodbye, odd, declared), { minLength: 1, maxLength: 6 });
    await fc.assert(
      fc.asyncProperty(small, async (frames) => {
        const pieces = [...Buffer.concat(frames).subarray(0, 600)].map((byte) => Buffer.of(byte));
        expect(await heard(pieces, true)).toEqual(await heard(pieces, false));
      }),
      { numRuns: 60 },
    );
  });

  it('takes plain frames without ws, and those behind a ping again', async () => {
    const pipe = new Pipe();
    const taken: string[] = [];
    let judged = 0;
    pipe.on('data', (chunk: Buffer) => (judged += chunk.length));
    const ws = { on: () => {} };
    startReading(ws as never, pipe as unknown as Socket, longest, null, { message: (_of, bytes) => taken.push(bytes.toString()), hasEnough: () => false });
    pipe.push(Buffer.concat([frame('one'), frame('two'), frame('', { opcode: 9 }), frame('three')]));
    await turn();
    expect(taken).toEqual(['one', 'two', 'three']);
    expect(judged).toBe(frame('', { opcode: 9 }).length);
  });

  it('who has enough gets not even the next frame of a chunk; what is left of it comes first when reading goes on', async () => {
    const pipe = new Pipe();
    const taken: string[] = [];
    pipe.on('data', () => {});
    const message = (_of: null, bytes: Buffer): void => {
      taken.push(bytes.toString());
      if (bytes.toString() === 'pause') pipe.pause();
    };
    startReading({ on: () => {} } as never, pipe as unknown as Socket, longest, null, { message, hasEnough: () => pipe.isPaused() });
    pipe.push(Buffer.concat(['one', 'pause', 'three', 'pause', 'five'].map((payload) => frame(payload))));
    pipe.push(frame('six'));
    await turn();
    expect(taken).toEqual(['one', 'pause']);
    pipe.resume();
    await turn();
    expect(taken).toEqual(['one', 'pause', 'three', 'pause']);
    pipe.resume();
    await turn();
    expect(taken).toEqual(['one', 'pause', 'three', 'pause', 'five', 'six']);
  });

  it('a ping that is one too many ends the chunk like a message', async () => {
    const pipe = new Pipe();
    let judged = 0;
    pipe.on('data', (chunk: Buffer) => {
      judged += chunk.length;
      pipe.pause();
    });
    startReading({ on: () => {} } as never, pipe as unknown as Socket, longest, null, { message: () => {}, hasEnough: () => pipe.isPaused() });
    const ping = frame('x'.repeat(125), { opcode: 9 });
    pipe.push(Buffer.concat([ping, ping, ping]));
    for (const pings of [1, 2, 3]) {
      await turn();
      expect(judged).toBe(pings * ping.length);
      pipe.resume();
    }
  });
});
