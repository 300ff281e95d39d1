/**
 * Connections that cost and never log in: silent, trickling, half-way through a handshake, or upgraded and nothing more. Each is
 * closed at its deadline, and those who do log in meanwhile do not wait for it.
 */
import { hasOpenssl, makeCertificate } from '../kit/certificate.ts';
import { frame, RawSocket } from '../kit/raw-socket.ts';
import { passed } from './app.ts';
import { Bystander } from './bystander.ts';
import { percentile, rounded } from './percentile.ts';
import { filesMax, openFiles, withoutProc } from './processes.ts';
import { type FaultKit, type FaultRow, violationsOf } from './row.ts';

type Size = { ofEachKind: number; handshakeMs: number; helloTimeoutMs: number; trickleMs: number };
const openingAtOnce = 64;
/** Node looks once a second, the hub sweeps; a machine that is busy takes its time too. */
const slackMs = 5_000;
/** What the store and the reader opened meanwhile stays; sockets do not. */
const keptMax = 20;
const settleMsMax = 10_000;
const calmSeconds = 0.5;
/** Between one who logs in and the next. */
const loginPauseMs = 20;

type Attack = { readonly port: number; readonly securePort: number; readonly trickleMs: number };

export const row: FaultRow<Size> = {
  test: 20,
  title: 'C7 H1 connections that never log in are closed at their deadline, all kinds at once, while others log in and talk',
  target: 'closed ≤ 10 s (and the interval of the check) after opening; legitimate connect p99 ≤ 300 ms; descriptors back to the base',
  gate: { ofEachKind: 60, handshakeMs: 1_000, helloTimeoutMs: 1_000, trickleMs: 50 },
  full: { ofEachKind: 700, handshakeMs: 5_000, helloTimeoutMs: 10_000, trickleMs: 1_000 },
  needs: () =>
    withoutProc() ?? (hasOpenssl ? null : 'there is no openssl here') ?? (filesMax() >= 12_000 ? null : `this process may open ${filesMax()} files only`),

  async run({ ofEachKind, handshakeMs, helloTimeoutMs, trickleMs }, kit) {
    const options = { acceptPerSecond: 0, handshakeMs, helloTimeoutMs };
    const hub = await kit.hub(options);
    const pair = makeCertificate(kit.folder(), 'slow');
    const secure = await kit.hub({ ...options, tlsCert: pair.cert, tlsKey: pair.key });
    const guests = new Bystander(hub.url, kit);
    await guests.loginsDuring(passed(calmSeconds * 500), 0); // warm
    const calmMs = await guests.loginsDuring(passed(calmSeconds * 1_000), loginPauseMs);
    const before = [openFiles(hub.pid), openFiles(secure.pid)] as const;

    const attack: Attack = { port: hub.port, securePort: secure.port, trickleMs };
    const lives: number[] = [];
    const connectMs = await guests.loginsDuring(openAll(kit, attack, ofEachKind, lives), loginPauseMs);
    const kept = await settled(() => Math.max(openFiles(hub.pid) - before[0], openFiles(secure.pid) - before[1]));

    const p99 = percentile(connectMs, 0.99);
    const slowest = percentile(lives, 1);
    const deadline = Math.max(handshakeMs, helloTimeoutMs);
    return {
      figures: {
        connections: lives.length,
        kinds: Object.keys(kinds).length,
        closedAfterMaxMs: Math.round(slowest),
        closedAfterP50Ms: Math.round(percentile(lives, 0.5)),
        logins: connectMs.length,
        connectP99MsCalm: rounded(percentile(calmMs, 0.99)),
        connectP50Ms: rounded(percentile(connectMs, 0.5)),
        connectP99Ms: rounded(p99),
        descriptorsKept: kept,
      },
      violations: violationsOf({
        'all were closed': lives.length === ofEachKind * Object.keys(kinds).length,
        'others logged in and talked': connectMs.length > 0,
        'descriptors are back': kept < keptMax,
      }),
      missed: [
        ...(slowest <= deadline + slackMs ? [] : [`one stayed for ${Math.round(slowest)} ms`]),
        ...(p99 <= 300 ? [] : [`connect p99 ${rounded(p99)} ms`]),
      ],
    };
  },
};

/** How a connection never logs in. */
const kinds: Readonly<Record<string, (attack: Attack) => Promise<RawSocket>>> = {
  'silent from the start': ({ port }) => RawSocket.open(port),
  'a header one byte at a time': async ({ port, trickleMs }) => {
    const socket = await RawSocket.open(port);
    socket.write('GET /ws HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: ');
    const timer = setInterval(() => socket.write('x'), trickleMs);
    void socket.closed.then(() => clearInterval(timer));
    return socket;
  },
  'half a greeting of TLS': async ({ securePort }) => {
    const socket = await RawSocket.open(securePort);
    // A record that declares 512 bytes and brings a few.
    socket.write(Buffer.from('160301020001000001fc0303', 'hex'));
    return socket;
  },
  'upgraded, without a hello': ({ port }) => upgraded(port, Buffer.alloc(0)),
  'upgraded, with a frame that never ends': ({ port }) => upgraded(port, frame('{"op":"hello","id":1,"user":"slow"}').subarray(0, 12)),
  'upgraded, with fragments that never end': ({ port }) => upgraded(port, frame('{"op":', { fin: false })),
  'upgraded, with commands but no hello': ({ port }) => upgraded(port, frame('{"op":"ping","id":1}')),
};

async function upgraded(port: number, bytes: Uint8Array): Promise<RawSocket> {
  const socket = await RawSocket.upgrade(port);
  socket.write(bytes);
  return socket;
}

/** Resolves when the last of them is closed; `lives` gets how long each was open. */
async function openAll(kit: FaultKit, attack: Attack, ofEachKind: number, lives: number[]): Promise<void> {
  const all = Array.from({ length: ofEachKind }, () => Object.values(kinds)).flat();
  let next = 0;
  const closings: Promise<unknown>[] = [];
  const lane = async (): Promise<void> => {
    for (let open = all[next++]; open !== undefined; open = all[next++]) {
      const began = performance.now();
      const socket = await open(attack);
      kit.defer(() => socket.destroy());
      closings.push(socket.closed.then(() => lives.push(performance.now() - began)));
    }
  };
  await Promise.all(Array.from({ length: openingAtOnce }, lane));
  kit.say(`${all.length} connections that never log in are open`);
  await Promise.all(closings);
}

/** What is left when it is little, or after a while. */
async function settled(left: () => number): Promise<number> {
  const deadline = performance.now() + settleMsMax;
  while (left() >= keptMax && performance.now() < deadline) await passed(50);
  return left();
}
