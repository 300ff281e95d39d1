/**
 * Writes to a socket past Node's stream while nothing waits there. The stream makes a request, a state and a callback for every
 * write; the system nearly always takes all bytes at once, and then none of them is needed. What it does not take at once
 * becomes a write of the stream that is under way already, so that what waits, the order, `drain` and errors are the stream's
 * as ever. `socket.setTimeout` alone does not hear of these writes. Rests on a binding of Node's that is public (DEP0111:
 * discouraged) but not documented: where it is not as it is known, for TLS, and on whatever is no plain socket, every write is
 * the stream's.
 */
import { Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import { getSystemErrorName } from 'node:util';

/** What the system has not taken yet; Node calls `oncomplete` when it has, with 0, or with a code below. */
type Request = { buffer?: Buffer; oncomplete?(status: number): void };
type Binding = { readonly WriteWrap: new () => Request; readonly streamBaseState: Int32Array; readonly kLastWriteWasAsync: number };
type Bound = { binding?(name: string): unknown };
/** `writeBuffer` touches the request only if the system did not take everything. */
type Handled = Socket & { readonly _handle?: { writeBuffer?(request: Request, bytes: Buffer): number } | null };

export class DirectWrite {
  readonly #binding = bindingOf(process as unknown as Bound);
  #request = this.#binding === null ? {} : new this.#binding.WriteWrap();

  /** As `socket.write(bytes)`. */
  write(socket: Socket, bytes: Buffer): void {
    const binding = this.#binding;
    const { _handle: handle } = socket as Handled;
    if (
      binding === null ||
      typeof handle?.writeBuffer !== 'function' ||
      socket.writableLength > 0 ||
      socket.writableCorked > 0 ||
      socket.connecting ||
      !socket.writable ||
      bytes.length === 0 ||
      !(socket instanceof Socket) ||
      socket instanceof TLSSocket ||
      // Nothing was written: the stream tries it too, fails, and tells it.
      handle.writeBuffer(this.#request, bytes) !== 0
    ) {
      socket.write(bytes);
    } else if (binding.streamBaseState[binding.kLastWriteWasAsync] !== 0) {
      const request = this.#request;
      this.#request = new binding.WriteWrap();
      underWay(socket, request, bytes);
    }
  }
}

/** Has the stream know of a write that began without it. It is idle, so that it calls `_write` at once. */
function underWay(socket: Socket, request: Request, bytes: Buffer): void {
  // Node has only its address.
  request.buffer = bytes;
  socket._write = (_bytes, _encoding, done) => {
    request.oncomplete = (status) => done(status < 0 && !socket.destroyed ? failure(status) : null);
  };
  socket.write(bytes);
  delete (socket as Partial<Socket>)._write;
}

function failure(errno: number): NodeJS.ErrnoException {
  const code = getSystemErrorName(errno);
  return Object.assign(new Error(`write ${code}`), { errno, code, syscall: 'write' });
}

/** Null if it is not as it is known. */
function bindingOf(node: Bound): Binding | null {
  try {
    const found = node.binding?.('stream_wrap') as Partial<Binding> | undefined;
    const { WriteWrap, streamBaseState, kLastWriteWasAsync } = found ?? {};
    const known = typeof WriteWrap === 'function' && streamBaseState instanceof Int32Array && typeof kLastWriteWasAsync === 'number';
    return known ? { WriteWrap, streamBaseState, kLastWriteWasAsync } : null;
  } catch {
    return null; // Node's permission model denies it
  }
}
