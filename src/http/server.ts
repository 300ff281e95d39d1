/**
 * The `node:http` server under each fastify instance, with the time-outs and limits that Node leaves wide, and the answer
 * to what is not HTTP. After an upgrade none of this holds any more: the socket is the gateway's then.
 */
import { createServer, type RequestListener, type Server, STATUS_CODES } from 'node:http';
import type { Socket } from 'node:net';

/** A header or a request that takes longer is cut; with Node's own figures a trickled header lives for 90 s. */
const requestTimeoutMs = 5_000;
const checkIntervalMs = 1_000;
const headersMax = 100;
const headerBytesMax = 16 * 1024;

/** `keepAliveMs`: how long a connection may wait for its next request. */
export function httpServer(handler: RequestListener, keepAliveMs: number): Server {
  const server = createServer(
    {
      headersTimeout: requestTimeoutMs,
      requestTimeout: requestTimeoutMs,
      connectionsCheckingInterval: checkIntervalMs,
      keepAliveTimeout: keepAliveMs,
      maxHeaderSize: headerBytesMax,
    },
    handler,
  );
  server.maxHeadersCount = headersMax;
  return server;
}

/** Answers and destroys: whoever listens to `clientError` owns the socket, and one that stays open is leaked. */
export function onClientError(error: Error & { code?: string }, socket: Socket): void {
  if (!socket.writable || error.code === 'ECONNRESET') {
    socket.destroy();
    return;
  }
  const status = error.code === 'ERR_HTTP_REQUEST_TIMEOUT' ? 408 : error.code === 'HPE_HEADER_OVERFLOW' ? 431 : 400;
  const body = JSON.stringify({ error: { code: 'bad-frame', message: STATUS_CODES[status], retry: false } });
  const head = `HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n`;
  socket.end(head + body, () => socket.destroy());
}
