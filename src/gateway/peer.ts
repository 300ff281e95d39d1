/**
 * The other end of a connection: its socket, and the WebSocket on it. `ws` has shaken hands, and comes back when there is
 * something to judge or to say: an odd frame, a pause, a close. Most connections never need it, and what it keeps of each is
 * as much again as all that the gateway knows. Made by upgrade.ts; until `start` nothing is read.
 */
import type { Socket } from 'node:net';
import { type RawData, type ServerOptions, WebSocket } from 'ws';
import { type Listener, Reading, type Taker } from './reading.ts';

/** Shared by all peers. */
export type Owner<Of> = Taker<Of> & {
  /** Of ws, for what it judges and how it closes. */
  readonly options: ServerOptions & { readonly closeTimeout: number };
  /** A close frame is about to be written, behind which nothing may follow. */
  closing(of: Of): void;
  /** The peer broke the protocol: ws closes with the code for it. */
  failed(of: Of, error: Error): void;
  /** The socket is gone, with the code of the peer's close frame. */
  closed(of: Of, code: number): void;
};

/** Of a socket that ends without a close frame (RFC 6455). */
const abnormal = 1006;
const nothing = Buffer.alloc(0);

/** Where a socket has its peer, so that one listener serves all. */
const peerOf = Symbol('peer');
type Carrier = { [peerOf]?: Peer<unknown> };

export class Peer<Of> extends Reading<Of> {
  readonly #owner: Owner<Of>;
  #judge: { readonly ws: WebSocket; readonly listener: Listener } | null = null;
  /** While there is no ws. */
  #state: typeof WebSocket.OPEN | typeof WebSocket.CLOSING = WebSocket.OPEN;

  constructor(socket: Socket, owner: Owner<Of>) {
    super(socket, owner);
    this.#owner = owner;
  }

  start(of: Of): void {
    const { socket } = this;
    (socket as Socket & Carrier)[peerOf] = this;
    socket.setTimeout(0);
    socket.setNoDelay();
    socket.on('close', onClose);
    socket.on('end', onEnd);
    socket.on('error', onError);
    this.read(of);
  }

  get readyState(): WebSocket['readyState'] {
    return this.#judge?.ws.readyState ?? this.#state;
  }

  /** Of a socket that is paused and closes, ws takes what is left to read. */
  pause(): void {
    if (this.readyState === WebSocket.OPEN) this.#called().ws.pause();
  }

  resume(): void {
    this.#judge?.ws.resume();
  }

  close(code: number, reason: string): void {
    if (this.readyState === WebSocket.OPEN) return this.#called().ws.close(code, reason);
    // Of a peer that has ended ws would wait until it has taken everything, and there is nobody left who would look whether it does.
    const { socket } = this;
    const timer = setTimeout(() => socket.destroy(), this.#owner.options.closeTimeout);
    socket.once('close', () => clearTimeout(timer));
  }

  terminate(): void {
    if (this.#judge !== null) return this.#judge.ws.terminate();
    this.#state = WebSocket.CLOSING;
    this.socket.destroy();
  }

  protected judge(): Listener {
    return this.#called().listener;
  }

  /** From now on it is ws that hears of the socket's end; what comes in is read here first, as before. */
  #called(): { readonly ws: WebSocket; readonly listener: Listener } {
    if (this.#judge !== null) return this.#judge;
    const { socket } = this;
    const { options } = this.#owner;
    socket.off('close', onClose);
    socket.off('end', onEnd);
    socket.off('error', onError);
    const ws = new TakingJudge(null, undefined, options);
    ws.peer = this as Peer<unknown>;
    const known = socket.listeners('data');
    ws.setSocket(socket, nothing, options);
    const [listener, another] = socket.listeners('data').filter((one) => !known.includes(one));
    if (listener === undefined || another !== undefined) throw new Error('ws does not listen for data in the way that is known');
    socket.off('data', listener as Listener);
    ws.on('message', onMessage);
    ws.on('ping', onPing);
    ws.on('error', onFault);
    ws.on('close', onClosed);
    this.#judge = { ws, listener: listener as Listener };
    return this.#judge;
  }

  // What the socket and ws tell, by the listeners below.

  ended(): void {
    this.#state = WebSocket.CLOSING;
    this.socket.end();
  }

  broken(): void {
    this.#state = WebSocket.CLOSING;
    this.socket.destroy();
  }

  closing(): void {
    this.#owner.closing(this.of);
  }

  pinged(payload: Buffer): void {
    this.#owner.ping(this.of, payload);
  }

  failed(error: Error): void {
    this.stop();
    this.#owner.failed(this.of, error);
  }

  closed(code: number): void {
    this.#state = WebSocket.CLOSING;
    this.#owner.closed(this.of, code);
  }
}

class Judge extends WebSocket {
  peer: Peer<unknown> | null = null;

  /** Called by ws itself too, when the peer closes or breaks the protocol. */
  override close(code?: number, reason?: string | Buffer): void {
    this.peer?.closing();
    super.close(code, reason);
  }
}

type Judged = WebSocket & Partial<Pick<Judge, 'peer'>>;

/** As ws makes one for a socket that has shaken hands, which its types do not tell. */
const TakingJudge = Judge as unknown as new (
  address: null,
  protocols: undefined,
  options: ServerOptions,
) => Judge & { setSocket(socket: Socket, head: Buffer, options: ServerOptions): void };

function onEnd(this: Socket & Carrier): void {
  this[peerOf]?.ended();
}

/** Its close follows. */
function onError(this: Socket & Carrier): void {
  this[peerOf]?.broken();
}

function onClose(this: Socket & Carrier): void {
  this[peerOf]?.closed(abnormal);
}

function onMessage(this: Judged, data: RawData, isBinary: boolean): void {
  this.peer?.joined(data as Buffer, isBinary);
}

function onPing(this: Judged, payload: Buffer): void {
  this.peer?.pinged(payload);
}

function onFault(this: Judged, error: Error): void {
  this.peer?.failed(error);
}

function onClosed(this: Judged, code: number): void {
  this.peer?.closed(code);
}
