/**
 * The Node server under each fastify instance, with or without TLS, with the time-outs and limits that Node leaves wide, and the
 * answer to what is not HTTP. After an upgrade none of this holds any more: the socket is the gateway's then.
 */
import { createServer, type RequestListener, type Server, STATUS_CODES } from 'node:http';
import { createServer as createSecureServer, type Server as SecureServer } from 'node:https';
import type { Socket } from 'node:net';
import type { Pair } from './tls.ts';

/** How often Node looks for requests that take too long; with its own figures a trickled header lives for 90 s. */
const checkIntervalMs = 1_000;
const headersMax = 100;
const headerBytesMax = 16 * 1024;
/** Of one connection (RFC 9112, 9.3.2). Thousands fit into what is read at once, and nothing else happens until each was begun. */
const unansweredMax = 100;

export type ServerSettings = {
  /** How long a connection may wait for its next request. */
  keepAliveMs: number;
  /** For a TLS handshake, and for a header or a request: what takes longer is cut. */
  handshakeMs: number;
  /** How long a connection may take nothing of its answers, and send nothing. Node itself waits for ever. */
  stalledMs: number;
  /** Connections beyond are closed as they come, before they cost a descriptor that something else needs; 0: no limit. */
  socketsMax: number;
  pair: Pair | null;
  counts: ServerCounts;
};
export type ServerCounts = {
  /** TLS handshakes that failed. */
  tlsFailed: number;
  /** Connections closed because the process has no descriptors to spare. */
  dropped: number;
  /** Connections cut for sending on and on without waiting for answers. */
  pipelined: number;
};

/** Where a socket has the number of its requests that are not answered. */
const unanswered = Symbol('unanswered');
type Counted = Socket & { [unanswered]?: number };

export function httpServer(answer: RequestListener, settings: ServerSettings): Server {
  const handler = answersSome(answer, settings.counts);
  const { keepAliveMs, handshakeMs, stalledMs, socketsMax, pair, counts } = settings;
  const limits = {
    headersTimeout: handshakeMs,
    requestTimeout: handshakeMs,
    connectionsCheckingInterval: checkIntervalMs,
    keepAliveTimeout: keepAliveMs,
    maxHeaderSize: headerBytesMax,
  };
  const server = pair === null ? createServer(limits, handler) : createSecureServer({ ...limits, ...pair.context, handshakeTimeout: handshakeMs }, handler);
  server.maxHeadersCount = headersMax;
  server.timeout = stalledMs;
  if (socketsMax > 0) server.maxConnections = socketsMax;
  server.on('drop', () => {
    counts.dropped++;
  });
  // Before Node's own listener, which would have HTTP answered on a socket that speaks no TLS and so never ends.
  server.prependListener('tlsClientError', (_error: Error, socket: Socket) => {
    counts.tlsFailed++;
    socket.destroy();
  });
  // Of accepting, once it listens (a descriptor that ran out all the same): the next connection is tried as ever.
  server.on('error', () => {
    if (server.listening) counts.dropped++;
  });
  // fastify knows one type of server; the secure one has all that it uses.
  return server as Server;
}

function answersSome(answer: RequestListener, counts: ServerCounts): RequestListener {
  return (request, response) => {
    const socket = request.socket as Counted;
    // What was read with the request that was one too many still comes.
    if (socket.destroyed) return;
    const open = (socket[unanswered] ?? 0) + 1;
    if (open > unansweredMax) {
      counts.pipelined++;
      socket.destroy();
      return;
    }
    socket[unanswered] = open;
    response.once('close', () => {
      socket[unanswered] = (socket[unanswered] ?? 1) - 1;
    });
    answer(request, response);
  };
}

/** New connections get this certificate; those there are keep theirs. */
export function exchangePair(server: Server, pair: Pair): void {
  (server as Server & Partial<Pick<SecureServer, 'setSecureContext'>>).setSecureContext?.(pair.context);
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
