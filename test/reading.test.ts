/** Whatever comes in whatever pieces, a connection whose plain frames are read beside `ws` says and does what `ws` alone would. */
import { once } from 'node:events';
import type { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import { Duplex } from 'node:stream';
import { setImmediate as turn } from 'node:timers/promises';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type ServerOptions, WebSocket, WebSocketServer } from 'ws';
import { pongFrame } from '../src/gateway/frame.ts';
import { type Owner, Peer } from '../src/gateway/peer.ts';
import { ReadBuffer } from '../src/gateway/read-buffer.ts';
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
  /** The peer takes nothing. */
  stuck = false;
  override _read(): void {}
  override _write(bytes: Buffer, _encoding: string, done: () => void): void {
    this.written.push(bytes);
    if (!this.stuck) done();
  }
  setTimeout(): void {}
  setNoDelay(): void {}
}

type Told = Partial<Omit<Owner<null>, 'options'>>;

/** A peer at the other end of the pipe, and what it tells. */
function peerOn(pipe: Pipe, told: Told, closeTimeout = 30_000): Peer<null> {
  const options = { ...limits, maxPayload: told.payloadMax ?? longest, autoPong: false, closeTimeout };
  const silent = { message: () => {}, ping: () => {}, hasEnough: () => false, closing: () => {}, failed: () => {}, closed: () => {} };
  const peer = new Peer<null>(pipe as unknown as Socket, { ...silent, payloadMax: longest, buffer: new ReadBuffer(), ...told, options });
  peer.start(null);
  return peer;
}

function wsOn(pipe: Pipe, payloadMax: number): Promise<WebSocket> {
  const headers = { upgrade: 'websocket', connection: 'Upgrade', 'sec-websocket-version': '13', 'sec-websocket-key': 'AAAAAAAAAAAAAAAAAAAAAA==' };
  const server = new WebSocketServer({ ...limits, maxPayload: payloadMax });
  return new Promise((resolve) => server.handleUpgrade({ method: 'GET', headers } as unknown as IncomingMessage, pipe, Buffer.alloc(0), resolve));
}

/** What the connection told its owner and its peer, in order, while it got these pieces; with `paused`, its reader took a break before the last of them. */
async function heard(pieces: readonly Buffer[], beside: boolean, payloadMax = longest, end: 'end' | 'reset' | 'paused' = 'end'): Promise<string[]> {
  const said: string[] = [];
  const pipe = new Pipe();
  const message = (payload: Buffer, binary: boolean): unknown => said.push(`${binary ? 'binary' : 'text'} ${payload.toString('hex')}`);
  const failed = (error: Error): unknown => said.push(`error ${error.message}`);
  const ping = (payload: Buffer): unknown => said.push(`ping ${payload.toString('hex')}`);
  const closed = (code: number): unknown => said.push(`close ${code}`);
  let socket: Pick<WebSocket, 'pause' | 'readyState'>;
  if (beside) {
    const told: Told = {
      payloadMax,
      message: (_of, payload, binary) => message(payload, binary),
      // ws would answer by itself, and so does the hub.
      ping: (_of, payload) => {
        ping(payload);
        if (peer.readyState === WebSocket.OPEN) pipe.write(pongFrame(payload));
      },
      failed: (_of, error) => failed(error),
      closed: (_of, code) => closed(code),
    };
    const peer = peerOn(pipe, told);
    socket = peer;
  } else {
    const ws = await wsOn(pipe, payloadMax);
    ws.on('message', (payload, binary) => message(payload as Buffer, binary));
    ws.on('error', failed);
    ws.on('ping', ping);
    ws.on('close', closed);
    socket = ws;
  }
  await turn();
  pipe.written.length = 0; // the handshake
  for (const [i, piece] of pieces.entries()) {
    if (end === 'paused' && i === pieces.length - 1) socket.pause();
    pipe.push(Buffer.from(piece)); // its own copy: what is received is unmasked in place
    await turn();
  }
  if (end === 'end') pipe.push(null);
  await turn();
  if (end === 'reset') pipe.destroy(new Error('reset'));
  else pipe.destroy();
  await turn();
  return [...said, `state ${socket.readyState >= WebSocket.CLOSING}`, `wrote ${Buffer.concat(pipe.written).toString('hex')}`];
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
const endings = fc.constantFrom('end', 'reset', 'paused');

describe('reading beside ws', () => {
  it('V1 gives the same messages, answers and close codes as ws alone, cut anywhere', async () => {
    await fc.assert(
      fc.asyncProperty(several, fc.array(fc.nat(), { maxLength: 12 }), fc.constantFrom(longest, 200), endings, async (frames, places, most, end) => {
        const pieces = cut(Buffer.concat(frames), places);
        expect(await heard(pieces, true, most, end)).toEqual(await heard(pieces, false, most, end));
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

  it('takes whole frames, pings and pongs without ws, which comes for one in pieces and owes nothing behind it', async () => {
    const pipe = new Pipe();
    const taken: string[] = [];
    const take = (_of: null, bytes: Buffer): unknown => taken.push(bytes.toString());
    peerOn(pipe, { message: take, ping: take });
    pipe.push(Buffer.concat([frame('one'), frame('ping', { opcode: 9 }), frame('pong', { opcode: 10 }), frame('two')]));
    await turn();
    expect([...taken, hasWs(pipe)]).toEqual(['one', 'ping', 'two', false]);
    for (const piece of cut(Buffer.concat([frame('three'), frame('four')]), [3])) {
      pipe.push(piece);
      await turn();
    }
    expect([...taken, hasWs(pipe)]).toEqual(['one', 'ping', 'two', 'three', 'four', true]);
  });

  it('who has enough gets not even the next frame of a chunk; what is left of it comes first when reading goes on', async () => {
    const pipe = new Pipe();
    const taken: string[] = [];
    const message = (_of: null, bytes: Buffer): void => {
      taken.push(bytes.toString());
      if (bytes.toString() === 'pause') peer.pause();
    };
    const peer = peerOn(pipe, { message, hasEnough: () => pipe.isPaused() });
    pipe.push(Buffer.concat(['one', 'pause', 'three', 'pause', 'five'].map((payload) => frame(payload))));
    pipe.push(frame('six'));
    await turn();
    expect(taken).toEqual(['one', 'pause']);
    peer.resume();
    await turn();
    expect(taken).toEqual(['one', 'pause', 'three', 'pause']);
    peer.resume();
    await turn();
    expect(taken).toEqual(['one', 'pause', 'three', 'pause', 'five', 'six']);
  });

  it('who has enough but is read again, as one that closes, gets the rest of a chunk frame by frame and not each within the last', async () => {
    const pipe = new Pipe();
    let taken = 0;
    peerOn(pipe, { message: () => taken++, hasEnough: () => true });
    await turn();
    const several = Buffer.concat(new Array<Buffer>(20_000).fill(frame('')));
    expect(() => pipe.push(several)).not.toThrow();
    expect(taken).toBe(20_000);
  });

  it('a ping that is one too many ends the chunk like a message', async () => {
    const pipe = new Pipe();
    let pinged = 0;
    const ping = (): void => {
      pinged++;
      peer.pause();
    };
    const peer = peerOn(pipe, { ping, hasEnough: () => pipe.isPaused() });
    pipe.push(Buffer.concat(Array.from({ length: 3 }, () => frame('x'.repeat(125), { opcode: 9 }))));
    for (const pings of [1, 2, 3]) {
      await turn();
      expect(pinged).toBe(pings);
      peer.resume();
    }
  });

  it('reads and drops what still comes of a frame that ws has refused before its end, so that its peer gets to read why', async () => {
    const pipe = new Pipe();
    const told: string[] = [];
    peerOn(pipe, { message: () => told.push('message'), failed: (_of, error) => told.push(error.message) });
    const long = frame('x'.repeat(1_000));
    for (const piece of cut(
      long,
      Array.from({ length: 100 }, (_, i) => i * 10),
    )) {
      pipe.push(piece);
      await turn();
    }
    pipe.push(frame('behind it'));
    await turn();
    expect(told).toEqual(['Too many buffered chunks']);
    expect([pipe.isPaused(), pipe.readableLength]).toEqual([false, 0]);
  });

  it('is gone when the time for an answer to a close frame is over, also where its peer ended before, and takes nothing', async () => {
    for (const how of ['without ws', 'with ws']) {
      const pipe = new Pipe();
      const told: string[] = [];
      const peer = peerOn(pipe, { closed: (_of, code) => told.push(`closed ${code}`) }, 1);
      if (how === 'with ws') peer.pause();
      peer.resume();
      pipe.stuck = true;
      pipe.write('what it does not take');
      pipe.push(null);
      await turn();
      expect([peer.readyState, pipe.destroyed]).toEqual([WebSocket.CLOSING, false]);
      peer.close(4_001, 'why');
      await once(pipe, 'close');
      await turn();
      expect(told).toEqual(['closed 1006']);
    }
  });

  it('closes with a code, cuts, and says so once, with ws or before it', async () => {
    for (const how of ['close', 'terminate', 'close and terminate'] as const) {
      const pipe = new Pipe();
      const told: string[] = [];
      const peer = peerOn(pipe, { closing: () => told.push('closing'), closed: (_of, code) => told.push(`closed ${code}`) });
      await turn();
      if (how !== 'terminate') peer.close(4_001, 'why');
      if (how !== 'close') peer.terminate();
      else pipe.push(frame(Buffer.of(0x0f, 0xa1), { opcode: 8 }));
      expect(peer.readyState).toBe(WebSocket.CLOSING);
      peer.close(4_002, 'again');
      await turn();
      if (how === 'close') pipe.destroy();
      await turn();
      expect(told.filter((one) => one !== 'closing')).toEqual([how === 'close' ? 'closed 4001' : 'closed 1006']);
      expect(told.includes('closing')).toBe(how !== 'terminate');
      const frames = Buffer.concat(pipe.written).toString('latin1');
      expect(frames).toBe(how === 'terminate' ? '' : '\x88\x05\x0f\xa1why');
    }
  });
});

/** ws leaves its mark on a socket it listens to. */
function hasWs(pipe: Pipe): boolean {
  return Object.getOwnPropertySymbols(pipe).some(({ description }) => description === 'websocket');
}
