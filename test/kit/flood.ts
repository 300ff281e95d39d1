/**
 * Many connections that send at a stated rate whether or not they are answered (an open loop), over plain sockets so that
 * the load costs little beside the hub. Counts what became of each message and how long its answer took. A connection with
 * too much unanswered, or whose socket takes no more, withholds: what a real client's library would do.
 */
import { connect, type Socket } from 'node:net';

export type FloodOptions = { connections: number; user?: (index: number) => string; room?: (index: number) => string; bytes?: number; headers?: string };
export type FloodResult = {
  seconds: number;
  offered: number;
  sent: number;
  /** Not sent, because the hub took no more of this connection. */
  withheld: number;
  ok: number;
  /** Refusals by code. */
  refused: Record<string, number>;
  /** Refusals without `retryAfterMs`. */
  hopeless: number;
  okPerSecond: number;
  p50Ms: number;
  p99Ms: number;
};

const unansweredMax = 1_000;
const unsentMax = 64 * 1024;
const turnMs = 5;

export class Flood {
  readonly lines: readonly Line[];
  #next = 0;

  static async open(port: number, options: FloodOptions): Promise<Flood> {
    const lines: Line[] = [];
    for (let index = 0; index < options.connections; index++) lines.push(await Line.open(port, index, options));
    return new Flood(lines);
  }

  private constructor(lines: readonly Line[]) {
    this.lines = lines;
  }

  /** Offers `perSecond` messages for so long, then waits for the answers of what was sent, at most `patienceMs`. */
  async run(perSecond: number, ms: number, patienceMs = 10_000): Promise<FloodResult> {
    const waits: number[] = [];
    const result = { seconds: ms / 1_000, offered: 0, sent: 0, withheld: 0, ok: 0, refused: {} as Record<string, number>, hopeless: 0 };
    for (const line of this.lines) {
      line.answered = (answer, waitedMs) => {
        if (answer.op === 'ok') {
          result.ok++;
          waits.push(waitedMs);
        } else {
          result.refused[answer.code] = (result.refused[answer.code] ?? 0) + 1;
          if (!answer.wait) result.hopeless++;
        }
      };
    }
    const begun = performance.now();
    let inTime = 0;
    await new Promise<void>((resolve) => {
      const timer = setInterval(() => {
        const elapsed = performance.now() - begun;
        for (const due = (Math.min(elapsed, ms) * perSecond) / 1_000; result.offered < due; result.offered++) {
          const line = this.lines[this.#next++ % this.lines.length];
          if (line?.publish()) result.sent++;
          else result.withheld++;
        }
        if (elapsed < ms) {
          inTime = result.ok;
          return;
        }
        if (elapsed < ms + patienceMs && this.lines.some((line) => line.unanswered > 0 && !line.ended)) return;
        clearInterval(timer);
        resolve();
      }, turnMs);
    });
    waits.sort((a, b) => a - b);
    const at = (share: number): number => Math.round(waits[Math.min(waits.length - 1, Math.floor(waits.length * share))] ?? 0);
    return { ...result, okPerSecond: Math.round((inTime * 1_000) / ms), p50Ms: at(0.5), p99Ms: at(0.99) };
  }

  close(): void {
    for (const line of this.lines) line.end();
  }
}

type Heard = { op: 'ok' } | { op: 'error'; code: string; wait: boolean };

class Line {
  answered: (answer: Heard, waitedMs: number) => void = () => {};
  ended = false;
  readonly #socket: Socket;
  readonly #sentAt = new Map<number, number>();
  readonly #room: string;
  readonly #body: string;
  #left: Buffer = Buffer.alloc(0);
  #lastId = 1;

  static open(
    port: number,
    index: number,
    { user = (i) => `flood-${i}`, room = (i) => `flood-${i % 20}`, bytes = 100, headers = '' }: FloodOptions,
  ): Promise<Line> {
    return new Promise((resolve, reject) => {
      const socket = connect(port, '127.0.0.1');
      let head = '';
      const shake = (chunk: Buffer): void => {
        head += chunk.toString('latin1');
        const end = head.indexOf('\r\n\r\n');
        if (end < 0) return;
        socket.off('data', shake);
        if (!head.startsWith('HTTP/1.1 101')) return reject(new Error(head.slice(0, end)));
        const line = new Line(socket, room(index), 'x'.repeat(bytes));
        line.answered = () => resolve(line);
        line.hello(user(index));
      };
      socket.on('data', shake);
      socket.once('error', reject);
      socket.write(
        `GET /ws HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n` +
          `Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: hubbub.v1.json\r\n${headers}\r\n`,
      );
    });
  }

  private constructor(socket: Socket, room: string, body: string) {
    this.#socket = socket;
    this.#room = room;
    this.#body = body;
    socket.on('data', (chunk) => this.#receive(chunk));
    socket.on('error', () => {});
    socket.on('close', () => {
      this.ended = true;
    });
  }

  get unanswered(): number {
    return this.#sentAt.size;
  }

  hello(user: string): void {
    this.#sentAt.set(1, performance.now());
    this.#send(JSON.stringify({ op: 'hello', id: 1, user }));
  }

  /** False: withheld. */
  publish(): boolean {
    if (this.ended || this.#sentAt.size >= unansweredMax || this.#socket.writableLength > unsentMax) return false;
    const id = ++this.#lastId;
    this.#sentAt.set(id, performance.now());
    this.#send(`{"op":"publish","id":${id},"room":"${this.#room}","body":"${this.#body}"}`);
    return true;
  }

  end(): void {
    this.#socket.destroy();
  }

  /** Masked with zeros: the mask is the client's to choose. */
  #send(text: string): void {
    const long = text.length > 125;
    const frame = Buffer.alloc((long ? 8 : 6) + text.length);
    frame[0] = 0x81;
    frame[1] = 0x80 | (long ? 126 : text.length);
    if (long) frame.writeUInt16BE(text.length, 2);
    frame.write(text, long ? 8 : 6, 'latin1');
    this.#socket.write(frame);
  }

  #receive(chunk: Buffer): void {
    const bytes = this.#left.length === 0 ? chunk : Buffer.concat([this.#left, chunk]);
    let at = 0;
    while (bytes.length - at >= 2) {
      const short = (bytes[at + 1] as number) & 127;
      const head = short < 126 ? 2 : short === 126 ? 4 : 10;
      if (bytes.length - at < head) break;
      const length = short < 126 ? short : short === 126 ? bytes.readUInt16BE(at + 2) : Number(bytes.readBigUInt64BE(at + 2));
      if (bytes.length - at < head + length) break;
      if (((bytes[at] as number) & 15) === 1) this.#frame(bytes, at + head, length);
      at += head + length;
    }
    this.#left = bytes.subarray(at);
  }

  #frame(bytes: Buffer, start: number, length: number): void {
    // Entries, by far the most, are told by their first letters.
    const head = bytes.toString('latin1', start, start + Math.min(length, 12));
    if (head.startsWith('{"op":"entry') || head.startsWith('{"op":"ephem')) return;
    const frame = JSON.parse(bytes.toString('utf8', start, start + length)) as { op: string; id?: number; code?: string; retryAfterMs?: number };
    if (frame.id === undefined) return;
    const sentAt = this.#sentAt.get(frame.id);
    if (sentAt === undefined) return;
    this.#sentAt.delete(frame.id);
    const heard: Heard = frame.op === 'error' ? { op: 'error', code: frame.code ?? '', wait: frame.retryAfterMs !== undefined } : { op: 'ok' };
    this.answered(heard, performance.now() - sentAt);
  }
}
