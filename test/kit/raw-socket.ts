/**
 * A TCP socket that speaks as much WebSocket as a test wants, right or wrong: hostile frames need a sender that does not
 * correct them. It reads the hub's frames only as far as closing needs.
 */
import { randomBytes } from 'node:crypto';
import { connect, type Socket } from 'node:net';

export type WireFrame = { opcode: number; payload: Buffer };
export type FrameOptions = {
  opcode?: number;
  fin?: boolean;
  /** The three reserved bits, as a number from 0 to 7. */
  reserved?: number;
  masked?: boolean;
  /** Declares another length than the payload's, in 64 bits. */
  declared?: bigint;
};

const open = new Set<RawSocket>();

export function closeAllSockets(): void {
  for (const socket of open) socket.destroy();
  open.clear();
}

export class RawSocket {
  readonly socket: Socket;
  /** The HTTP answer, head and body, as far as it came. */
  head = '';
  readonly frames: WireFrame[] = [];
  /** The code of the hub's close frame, or null where the socket ended without one. */
  readonly closed: Promise<number | null>;
  #buffered: Buffer = Buffer.alloc(0);
  #upgraded = false;
  #waiters: (() => boolean)[] = [];

  /** Opens the TCP connection and nothing else. */
  static async open(port: number): Promise<RawSocket> {
    const raw = new RawSocket(connect(port, '127.0.0.1'));
    await new Promise<void>((resolve, reject) => raw.socket.once('connect', resolve).once('error', reject));
    return raw;
  }

  /** Opens it and shakes hands; resolves to it when the hub switched protocols. */
  static async upgrade(port: number, protocol = 'hubbub.v1.json'): Promise<RawSocket> {
    const raw = await RawSocket.open(port);
    raw.write(upgradeRequest(port, { 'Sec-WebSocket-Protocol': protocol }));
    await raw.until(() => raw.head.includes('\r\n\r\n'));
    if (!raw.head.startsWith('HTTP/1.1 101')) throw new Error(raw.head);
    return raw;
  }

  private constructor(socket: Socket) {
    this.socket = socket;
    open.add(this);
    socket.on('error', () => {}); // what it ends in is `close`
    socket.on('data', (bytes) => {
      this.#receive(bytes as Buffer);
      this.#waiters = this.#waiters.filter((seek) => !seek());
    });
    this.closed = new Promise((resolve) => {
      socket.once('close', () => {
        open.delete(this);
        const last = this.frames.find((frame) => frame.opcode === 8);
        resolve(last && last.payload.length >= 2 ? last.payload.readUInt16BE(0) : null);
      });
    });
  }

  write(bytes: string | Uint8Array): void {
    this.socket.write(bytes);
  }

  text(message: unknown): void {
    this.write(frame(JSON.stringify(message)));
  }

  /** Resolves when `condition` holds; asked after every read. Rejects when the socket ends before. */
  until(condition: () => boolean): Promise<void> {
    return new Promise((resolve, reject) => {
      const seek = (): boolean => {
        if (!condition()) return false;
        resolve();
        return true;
      };
      if (seek()) return;
      this.#waiters.push(seek);
      void this.closed.then((code) => reject(new Error(`the socket ended (${code}) after ${this.head.slice(0, 200)}`)));
    });
  }

  destroy(): void {
    this.socket.destroy();
  }

  #receive(bytes: Buffer): void {
    this.#buffered = this.#buffered.length === 0 ? bytes : Buffer.concat([this.#buffered, bytes]);
    if (!this.#upgraded) {
      const end = this.#buffered.indexOf('\r\n\r\n');
      if (end < 0 || !this.#buffered.subarray(0, 12).equals(Buffer.from('HTTP/1.1 101'))) {
        this.head = this.#buffered.toString('latin1');
        return;
      }
      this.head = this.#buffered.subarray(0, end + 4).toString('latin1');
      this.#buffered = this.#buffered.subarray(end + 4);
      this.#upgraded = true;
    }
    for (;;) {
      const next = readFrame(this.#buffered);
      if (next === null) return;
      this.frames.push(next.frame);
      this.#buffered = this.#buffered.subarray(next.bytes);
      // No answer to it: the hub's patience with a socket that does not close is not what these tests are about.
      if (next.frame.opcode === 8) this.socket.destroy();
    }
  }
}

/** A handshake; `headers` replace or (undefined) remove the usual ones. */
export function upgradeRequest(port: number, headers: Record<string, string | undefined> = {}, path = '/'): string {
  const all: Record<string, string | undefined> = {
    Host: `127.0.0.1:${port}`,
    Connection: 'Upgrade',
    Upgrade: 'websocket',
    'Sec-WebSocket-Version': '13',
    'Sec-WebSocket-Key': randomBytes(16).toString('base64'),
    ...headers,
  };
  const lines = Object.entries(all).flatMap(([name, value]) => (value === undefined ? [] : [`${name}: ${value}`]));
  return `GET ${path} HTTP/1.1\r\n${lines.join('\r\n')}\r\n\r\n`;
}

/** One frame of a client, valid unless `options` say otherwise. */
export function frame(payload: string | Uint8Array, options: FrameOptions = {}): Buffer {
  const bytes = Buffer.from(payload as Uint8Array);
  const { opcode = 1, fin = true, reserved = 0, masked = true, declared } = options;
  const size = declared !== undefined || bytes.length > 65_535 ? 8 : bytes.length > 125 ? 2 : 0;
  const head = Buffer.alloc(2 + size);
  head[0] = (fin ? 0x80 : 0) | (reserved << 4) | opcode;
  head[1] = (masked ? 0x80 : 0) | (size === 8 ? 127 : size === 2 ? 126 : bytes.length);
  if (size === 2) head.writeUInt16BE(bytes.length, 2);
  if (size === 8) head.writeBigUInt64BE(declared ?? BigInt(bytes.length), 2);
  if (!masked) return Buffer.concat([head, bytes]);
  const mask = randomBytes(4);
  return Buffer.concat([head, mask, bytes.map((byte, i) => byte ^ (mask[i % 4] as number))]);
}

function readFrame(bytes: Buffer): { frame: WireFrame; bytes: number } | null {
  if (bytes.length < 2) return null;
  const short = (bytes[1] as number) & 0x7f;
  const start = short === 127 ? 10 : short === 126 ? 4 : 2;
  if (bytes.length < start) return null;
  const length = short === 127 ? Number(bytes.readBigUInt64BE(2)) : short === 126 ? bytes.readUInt16BE(2) : short;
  if (bytes.length < start + length) return null;
  return { frame: { opcode: (bytes[0] as number) & 0x0f, payload: bytes.subarray(start, start + length) }, bytes: start + length };
}
