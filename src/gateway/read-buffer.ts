/**
 * One buffer that all sockets are read into. By itself Node takes 64 KiB for every read and cuts them to what came: for a
 * command of 100 bytes an allocation, an ArrayBuffer and a Buffer, which all are to be collected. The option `onread` of
 * `net.Socket` is there against that, but for who makes the socket, and these were made by the HTTP server. So what the option
 * sets is set on a socket that is there already. Where Node does not keep it in the way that is known, or for TLS, a socket is
 * read as it was.
 */
import { type OnReadOpts, Socket, type SocketConstructorOpts } from 'node:net';
import { TLSSocket } from 'node:tls';

/** As much as Node reads at once. */
const bufferBytes = 64 * 1024;

/** Gets the buffer, good until it returns, and how many bytes of it came; true. False: nothing more is read for now. */
type Reader = (this: Socket, bytes: number, buffer: Buffer) => boolean;
/** By their names: where a socket keeps the buffer, who hears of a read, and who would choose another buffer. */
type Places = { readonly kBuffer: symbol; readonly kBufferCb: symbol; readonly kBufferGen: symbol };
type Handled = Socket & { readonly _handle?: { useUserBuffer?(buffer: Buffer): void } | null; [place: symbol]: unknown };

export class ReadBuffer {
  readonly #buffer = Buffer.allocUnsafeSlow(bufferBytes);
  readonly #places = placesOf({ buffer: this.#buffer, callback: () => true });

  /** From now on the reader gets what the socket receives. False: it does not, and the socket is read as it was. */
  lend(socket: Socket, reader: Reader): boolean {
    if (this.#places === null || !(socket instanceof Socket) || socket instanceof TLSSocket) return false;
    const { _handle: handle } = socket as Handled;
    if (typeof handle?.useUserBuffer !== 'function') return false;
    const { kBuffer, kBufferCb, kBufferGen } = this.#places;
    const fields = socket as Handled;
    fields[kBuffer] = this.#buffer;
    fields[kBufferCb] = reader;
    fields[kBufferGen] = null;
    handle.useUserBuffer(this.#buffer);
    return true;
  }
}

function placesOf(onread: OnReadOpts): Places | null {
  // Its types know the option of `connect` only.
  const options: SocketConstructorOpts & { onread: OnReadOpts } = { onread };
  const found = new Map(Object.getOwnPropertySymbols(new Socket(options)).map((symbol) => [symbol.description, symbol]));
  const [kBuffer, kBufferCb, kBufferGen] = ['kBuffer', 'kBufferCb', 'kBufferGen'].map((name) => found.get(name));
  return kBuffer && kBufferCb && kBufferGen ? { kBuffer, kBufferCb, kBufferGen } : null;
}
