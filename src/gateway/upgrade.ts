/**
 * Admission: which handshakes become connections. Everything that can be refused is refused here, in plain HTTP, before a
 * connection has any state; what is left goes to `ws`, which checks the handshake itself.
 */
import { type IncomingMessage, STATUS_CODES } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { type ServerOptions, type WebSocket, WebSocketServer } from 'ws';
import type { FilledOptions } from '../options.ts';
import { subprotocols } from '../protocol/codec.ts';
import { tokenMax } from '../protocol/limits.ts';
import { isLoopbackHost, isLoopbackOrigin, notLocal } from '../protocol/loopback.ts';
import { Bucket, type Rate } from '../thread/bucket.ts';
import type { Clock } from '../thread/clock.ts';
import type { Log } from '../thread/log.ts';
import { Mids } from '../thread/mids.ts';
import { Addresses } from './addresses.ts';
import { Connection, type Fields } from './connection.ts';
import type { Counters, Rejection } from './counters.ts';
import type { Inbound } from './inbound.ts';
import type { Limits } from './limits.ts';
import type { Outbox } from './outbox.ts';
import { type Owner, Peer } from './peer.ts';
import type { Pool } from './pool.ts';
import { ReadBuffer } from './read-buffer.ts';

/** Of WebSocket: that of RFC 6455. */
const version = '13';
const paths: ReadonlySet<string> = new Set(['/', '/ws']);
/** Where a token would end up in the logs of every proxy on the way. */
const tokenParameters: readonly string[] = ['token', 'access_token', 'jwt'];
/** Pieces of a few bytes each must not hold memory by their number (FAULTS A.6): so many bytes of what a frame may have are allowed one more fragment, and one more read. */
const bytesPerFragment = 4 * 1_024;
/** A slow network brings packets one by one. */
const bytesPerRead = 1_024;
const fragmentsMin = 64;
const readsMin = 1_024;
/** How long the peer has to answer a close frame, or to take a refusal. */
const closeTimeoutMs = 5_000;
/** An address that is full is told to ask again after so long. */
const addressFullMs = 1_000;

export type UpgradeDeps = {
  options: FilledOptions;
  clock: Clock;
  log: Log;
  counters: Counters;
  pool: Pool;
  outbox: Outbox;
  inbound: Inbound;
  limits: Limits;
  shards: number;
  time: { readonly now: number };
  nextNumber(): number;
};

/** Why, the status, its text, and further headers. */
type Refusal = [Rejection, number, string, string?];

/** What `ws` makes of a handshake: all that is left of it is what was agreed on. */
class Handshake {
  /** Filled in by ws: the subprotocol. */
  readonly _protocol: string = '';

  /** `head`: what came behind the request. */
  setSocket(socket: Duplex, head: Buffer): void {
    if (head.length > 0) socket.unshift(head);
  }
}

export class Upgrade {
  readonly #deps: UpgradeDeps;
  readonly #server: WebSocketServer;
  readonly #ids: Mids;
  readonly #send: (to: Connection, fields: Fields) => void;
  readonly #pace: Rate;
  readonly #paced: Bucket;
  readonly #addresses: Addresses;
  readonly #owner: Owner<Connection>;
  /** No more are taken: the hub is stopping. */
  draining = false;

  constructor(deps: UpgradeDeps) {
    this.#deps = deps;
    this.#ids = new Mids(() => deps.clock.random());
    this.#send = (to, fields) => deps.outbox.send(to, fields);
    const { acceptPerSecond, dev, host, trustedProxies } = deps.options;
    this.#pace = { perSecond: acceptPerSecond, burst: acceptPerSecond };
    this.#paced = new Bucket(this.#pace, deps.clock.tick());
    // In development everybody is this machine; on loopback everybody comes through a proxy, and one that nobody named cannot be told apart from them.
    const alike = dev || (isLoopbackHost(host) && trustedProxies.length === 0);
    this.#addresses = new Addresses(alike ? { ...deps.options, connectionsPerAddressMax: 0, connectsPerAddressMax: 0 } : deps.options);
    const options: ServerOptions & { closeTimeout: number } = {
      WebSocket: Handshake as unknown as typeof WebSocket,
      noServer: true,
      clientTracking: false,
      perMessageDeflate: false,
      // Of itself ws cuts whoever sends more pings at once than it has written answers to, without a word.
      autoPong: false,
      maxPayload: deps.options.frameBytesMax,
      maxFragments: Math.max(fragmentsMin, Math.ceil(deps.options.frameBytesMax / bytesPerFragment)),
      maxBufferedChunks: Math.max(readsMin, Math.ceil(deps.options.frameBytesMax / bytesPerRead)),
      skipUTF8Validation: false,
      closeTimeout: closeTimeoutMs,
      handleProtocols: (offered) => [...offered].find((name) => Object.hasOwn(subprotocols, name)) ?? false,
    };
    this.#server = new WebSocketServer(options);
    this.#owner = ownerFor(deps, this.#addresses, { ...this.#server.options, closeTimeout: closeTimeoutMs });
    // Whoever listens owns the socket: without an answer and an end it would stay (FAULTS A.7).
    this.#server.on('wsClientError', (error, socket, { method, headers }) => {
      if (method !== 'GET') this.#reject(socket, 'handshake', 405, error.message, 'Allow: GET\r\n');
      else if (headers['sec-websocket-version'] !== version) this.#rejectVersion(socket);
      else this.#reject(socket, 'handshake', 400, error.message);
    });
  }

  handle(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    this.#admit(request, socket, head).catch((error: unknown) => {
      socket.destroy();
      this.#deps.log('error', 'a handshake failed', { error });
    });
  }

  /** Order: what needs no state first. */
  async #admit(request: IncomingMessage, socket: Duplex, head: Buffer): Promise<void> {
    const refused = this.#refuses(request);
    if (refused !== null) return this.#reject(socket, ...refused);
    // ws would take 8 too, and whatever else is 13 as a number.
    if (request.method === 'GET' && request.headers['sec-websocket-version'] !== version) return this.#rejectVersion(socket);
    const address = this.#addresses.of(socket as Socket, request.headers);
    const crowded = this.#crowded(address);
    if (crowded !== null) return this.#reject(socket, ...crowded);
    if (this.#addresses.counting) {
      socket.on('error', destroyFailed);
      const waitMs = await this.#addresses.attempt(address);
      // It may have died meanwhile (its error may be yet to come), and others may have taken its place.
      if (!socket.readable || !socket.writable) return void socket.destroy();
      socket.off('error', destroyFailed);
      if (waitMs > 0) return this.#reject(socket, 'address-rate', 429, 'too many connections from this address', retryAfter(waitMs));
      const filled = this.#crowded(address);
      if (filled !== null) return this.#reject(socket, ...filled);
    }
    if (!this.#paced.take(this.#pace, this.#deps.clock.tick())) return this.#reject(socket, 'rate', 503, 'too many handshakes at once');
    this.#server.handleUpgrade(request, socket, head, (made) => {
      const { _protocol: protocol } = made as unknown as Handshake;
      this.#open(protocol, request, socket as Socket, address);
    });
  }

  /** What is wrong with the request itself. */
  #refuses({ url = '/', headers, httpVersion }: IncomingMessage): Refusal | null {
    const { options } = this.#deps;
    // Neither Node nor ws asks this of an upgrade.
    if (httpVersion !== '1.1' || headers.host === undefined) return ['handshake', 400, 'a handshake is HTTP/1.1 with a Host'];
    const [path = '/', query = ''] = url.split('?', 2);
    if (!paths.has(path)) return ['path', 404, 'connect to / or /ws'];
    if (query !== '' && namesToken(query)) return ['token-in-url', 400, 'a token belongs into hello or the Authorization header, never into the URL'];
    const foreign = options.dev ? notLocal(headers) : null;
    if (foreign !== null) return ['host', 403, foreign];
    if (!this.#originAllowed(headers.origin)) return ['origin', 403, 'connections from this origin are not allowed'];
    const offered = headers['sec-websocket-protocol'];
    if (offered !== undefined && !offered.split(',').some((name) => Object.hasOwn(subprotocols, name.trim())))
      return ['protocol', 400, `none of the offered subprotocols is known; there are ${Object.keys(subprotocols).join(' and ')}`];
    return null;
  }

  /** There is no room for one more from there. */
  #crowded(address: string): Refusal | null {
    const { options, pool } = this.#deps;
    if (this.draining) return ['draining', 503, 'the hub is stopping'];
    if (pool.size >= options.connectionsMax) return ['full', 503, 'the hub has as many connections as it may'];
    return this.#addresses.full(address) ? ['address-full', 429, 'too many connections from this address', retryAfter(addressFullMs)] : null;
  }

  /** Browsers always send an Origin; without one it is no browser, and nobody's cookies or network are borrowed. */
  #originAllowed(origin: string | undefined): boolean {
    const { options } = this.#deps;
    if (origin === undefined || options.origins.includes(origin)) return true;
    return options.dev && options.origins.length === 0 && isLoopbackOrigin(origin);
  }

  #open(protocol: string, request: IncomingMessage, socket: Socket, address: string): void {
    const peer = new Peer(socket, this.#owner);
    const { options, clock, counters, pool, shards, time } = this.#deps;
    const connection = new Connection(
      {
        number: this.#deps.nextNumber(),
        id: this.#ids.next(clock.now()),
        format: subprotocols[protocol] ?? 'json',
        shards,
        ws: peer,
        socket,
        address,
        bearer: bearerOf(request.headers.authorization),
        openedAt: clock.now(),
        now: time.now,
        helloTimeoutMs: options.helloTimeoutMs,
        // Not all at once, however they connected.
        pingAfterMs: Math.round(options.heartbeatMs * (0.75 + clock.random() / 4)),
      },
      this.#send,
    );
    counters.accepted++;
    pool.add(connection);
    this.#addresses.opened(address);
    peer.start(connection);
  }

  #rejectVersion(socket: Duplex): void {
    this.#reject(socket, 'handshake', 426, 'version 13 of WebSocket is spoken', `Sec-WebSocket-Version: ${version}\r\n`);
  }

  #reject(socket: Duplex, why: Rejection, status: number, text: string, headers = ''): void {
    this.#deps.counters.rejected[why]++;
    const retry = status === 503 ? `Retry-After: ${1 + Math.floor(this.#deps.clock.random() * 5)}\r\n` : headers;
    answerAndEnd(socket, `${status} ${STATUS_CODES[status] ?? ''}`, text, retry);
  }
}

function ownerFor(
  { options, pool, limits, inbound, outbox, counters, log }: UpgradeDeps,
  addresses: Addresses,
  judging: Owner<Connection>['options'],
): Owner<Connection> {
  return {
    options: judging,
    payloadMax: options.frameBytesMax,
    buffer: new ReadBuffer(),
    message: (of, payload, binary) => inbound.message(of, payload, binary),
    ping: (of, payload) => inbound.ping(of, payload),
    hasEnough: ({ paused }) => paused.held || paused.outbox,
    closing: (of) => outbox.last(of),
    failed(of, error) {
      counters.badFrames++;
      if (of.phase.is === 'open') log('info', 'a connection failed', { connection: of.id, error: error.message });
    },
    closed(of, code) {
      pool.gone(of, code);
      limits.left(of);
      addresses.closed(of.address);
    },
  };
}

function destroyFailed(this: Duplex): void {
  this.destroy();
}

function retryAfter(ms: number): string {
  return `Retry-After: ${Math.ceil(ms / 1_000)}\r\n`;
}

function namesToken(query: string): boolean {
  const parameters = new URLSearchParams(query);
  return tokenParameters.some((name) => parameters.has(name));
}

function answerAndEnd(socket: Duplex, status: string, text: string, headers = ''): void {
  socket.on('error', () => socket.destroy());
  if (!socket.writable) {
    socket.destroy();
    return;
  }
  const body = `${text}\n`;
  // Behind answers to earlier requests that the peer does not take it may never be sent.
  const timer = setTimeout(() => socket.destroy(), closeTimeoutMs);
  socket.once('close', () => clearTimeout(timer));
  socket.once('finish', () => socket.destroy());
  socket.end(
    `HTTP/1.1 ${status}\r\n${headers}Connection: close\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
  );
}

function bearerOf(header: string | undefined): string | null {
  const [, token = null] = /^Bearer +(\S+)$/i.exec(header ?? '') ?? [];
  return token !== null && token.length <= tokenMax ? token : null;
}
