/**
 * The WebSocket that is there: the caller's, the browser's, Node's own from 22 on, or the `ws` package. What is used of it is
 * written down in `WebSocketLike`, so that any of them (and the tests' double) fits.
 */

export type WebSocketLike = {
  binaryType: string;
  readonly bufferedAmount: number;
  onopen: ((event: never) => void) | null;
  onmessage: ((event: never) => void) | null;
  onclose: ((event: never) => void) | null;
  onerror: ((event: never) => void) | null;
  send(data: string | Uint8Array<ArrayBuffer>): void;
  close(code?: number, reason?: string): void;
  /** `ws` only: drops the connection without a closing handshake. */
  terminate?(): void;
};
export type WebSocketClass = new (url: string, protocols: string[]) => WebSocketLike;

export async function findWebSocket(given: WebSocketClass | undefined): Promise<WebSocketClass> {
  const found = given ?? (globalThis as { WebSocket?: WebSocketClass }).WebSocket;
  if (found !== undefined) return found;
  // Never reached in a browser, and left alone by bundlers: only Node 20 needs it.
  try {
    const module = (await import(/* webpackIgnore: true */ /* @vite-ignore */ 'ws')) as unknown as { WebSocket: WebSocketClass };
    return module.WebSocket;
  } catch (error) {
    throw new Error('this runtime has no WebSocket: install the package ws, or pass a class as `webSocket`', { cause: error });
  }
}
