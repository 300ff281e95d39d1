/**
 * What is not WebSocket, or is not as the standard has it: each case whole and one byte at a time, over bare TCP, then senders that
 * want the hub's memory. Whatever comes, it has its answer or its close code, and nobody else notices.
 */
import { RawClient } from '../kit/raw-client.ts';
import { frame, RawSocket } from '../kit/raw-socket.ts';
import { passed } from './app.ts';
import { type FrameCase, frameBytesMax, frameCases } from './garbage-frames.ts';
import { type Handshake, handshakes } from './garbage-handshakes.ts';
import { rounded } from './percentile.ts';
import { residentKiB } from './processes.ts';
import { type FaultRow, violationsOf } from './row.ts';

type Size = { attackers: number; floodMs: number };
/** Sockets at once. */
const lanes = 24;
/** A case that has come to nothing by then is wrong; none takes long. */
const patienceMs = 5_000;
/** What is left of a long case goes in one piece: by then its head is read. */
const choppedMax = 300;
const pieceBytes = 64 * 1024;
const attackerMiBMax = 2;

export const row: FaultRow<Size> = {
  test: 14,
  title: 'V1 V2 C1 C2 C6 X1 what is not as RFC 6455 has it, whole and byte by byte, has its right end',
  target: '≥ 350 cases, each twice, 0 wrong; memory per attacker ≤ 2 MB',
  gate: { attackers: 10, floodMs: 200 },
  full: { attackers: 50, floodMs: 5_000 },

  async run({ attackers, floodMs }, kit) {
    const hub = await kit.hub({ acceptPerSecond: 0, frameBytesMax });
    const { port, pid } = hub;
    const alice = await RawClient.connect(hub.url, { user: 'alice' });
    kit.defer(() => alice.terminate());
    await alice.ok('subscribe', { room: 'calm' });

    const wrong: string[] = [];
    const run = async (what: string, outcome: Promise<string | null>): Promise<void> => {
      const fault = await outcome;
      if (fault !== null) wrong.push(`${what}: ${fault}`);
    };
    const all = [true, false].flatMap((whole) => {
      const how = whole ? '' : ', byte by byte';
      return [
        ...handshakes.map((one) => () => run(`${one.what}${how}`, shake(port, one, whole))),
        ...frameCases.map((one) => () => run(`${one.what}${how}`, send(port, one, whole))),
      ];
    });
    let next = 0;
    const lane = async (): Promise<void> => {
      for (let job = all[next++]; job !== undefined; job = all[next++]) await job();
    };
    await Promise.all([...Array.from({ length: lanes }, lane), ...Array.from({ length: 20 }, (_, body) => alice.ok('publish', { room: 'calm', body }))]);
    kit.say(`${all.length} cases, ${wrong.length} wrong`);

    const taken: Record<string, number> = {};
    for (const [name, attack] of Object.entries(attacks)) {
      const sockets = await Promise.all(Array.from({ length: attackers }, () => RawSocket.upgrade(port)));
      const before = residentKiB(pid);
      let most = before;
      const watch = setInterval(() => (most = Math.max(most, residentKiB(pid))), 20);
      const until = performance.now() + floodMs;
      await Promise.all(sockets.map((socket) => attack(socket, until)));
      await alice.ok('publish', { room: 'calm', body: name });
      clearInterval(watch);
      most = Math.max(most, residentKiB(pid));
      for (const socket of sockets) socket.destroy();
      taken[`${name}MiB`] = rounded((most - before) / 1_024 / attackers);
    }
    await alice.settled();
    return {
      figures: { cases: all.length / 2, deliveries: all.length, wrong: wrong.length, attackers, ...taken },
      violations: [
        ...wrong.slice(0, 20),
        ...violationsOf({
          'there are at least 350 cases': all.length / 2 >= 350,
          'the hub is the same process': hub.pid === pid,
          'nothing of it was a fault of the hub': !/\berror\b/i.test(hub.stdout) && hub.stderr === '',
          'a bystander is served': alice.ended === null && alice.entries('calm').length === 20 + Object.keys(attacks).length,
        }),
      ],
      missed: Object.entries(taken).flatMap(([name, mib]) => (mib <= attackerMiBMax ? [] : [`${name} ${mib} per attacker`])),
    };
  },
};

/** Senders that want memory: each until it is closed, or the time is over. */
const attacks: Readonly<Record<string, (socket: RawSocket, until: number) => Promise<void>>> = {
  frameWithoutEnd: (socket) => piecewise(socket, frame('x'.repeat(frameBytesMax)).subarray(0, -1)),
  fragmentsOfOneByte: (socket) => {
    const part = frame('x', { opcode: 0, fin: false });
    return piecewise(socket, Buffer.concat([frame('{', { fin: false }), ...Array.from({ length: 200_000 }, () => part)]));
  },
  fragmentsWithoutEnd: (socket) => {
    const parts = Array.from({ length: 60 }, (_, i) => frame('x'.repeat(4_000), { opcode: i === 0 ? 1 : 0, fin: false }));
    return piecewise(socket, Buffer.concat(parts));
  },
  pingsWithoutReading: flood(Buffer.concat(Array.from({ length: 500 }, () => frame('x'.repeat(125), { opcode: 9 })))),
  commandsWithoutHello: flood(Buffer.concat(Array.from({ length: 500 }, (_, i) => frame(`{"op":"publish","room":"r","id":${i + 1},"body":${i}}`)))),
  answersNotRead: flood(Buffer.concat(Array.from({ length: 15 }, (_, i) => frame(`{"op":"hello","id":${i + 1},"token":"x"}`)))),
};

/** Sends it over and over without ever reading. */
function flood(bytes: Buffer): (socket: RawSocket, until: number) => Promise<void> {
  return async (socket, until) => {
    socket.socket.pause();
    while (performance.now() < until && !socket.socket.destroyed) {
      if (socket.socket.writableLength < pieceBytes) socket.write(bytes);
      await passed(5);
    }
  };
}

async function piecewise(socket: RawSocket, bytes: Buffer): Promise<void> {
  for (let at = 0; at < bytes.length && !socket.socket.destroyed; at += pieceBytes) await written(socket, bytes.subarray(at, at + pieceBytes));
  await Promise.race([socket.closed, passed(50)]);
}

/** Null: as it should be. */
async function shake(port: number, { bytes, answers, says, never }: Handshake, whole: boolean): Promise<string | null> {
  const socket = await RawSocket.open(port);
  try {
    const answered = socket.until(() => socket.head.includes('\r\n\r\n')).catch(() => {});
    await deliver(socket, Buffer.from(bytes, 'latin1'), whole);
    if (!(await inTime(answered))) return 'no answer and no end';
    const status = Number(/^HTTP\/1\.1 (\d{3})/.exec(socket.head)?.[1] ?? 0);
    const head = socket.head.toLowerCase();
    if (!answers.includes(status)) return `answered ${status}`;
    if (status === 101 && says !== undefined && !head.includes(says)) return `the answer does not say ${says}`;
    if (status !== 101 && answers.length === 1 && says !== undefined && !head.includes(says)) return `the refusal does not say ${says}`;
    return never !== undefined && head.includes(never) ? `the answer says ${never}` : null;
  } finally {
    socket.destroy();
  }
}

async function send(port: number, { bytes, end, protocol }: FrameCase, whole: boolean): Promise<string | null> {
  const socket = await RawSocket.upgrade(port, protocol);
  try {
    await deliver(socket, bytes, whole);
    if ('closes' in end) {
      if (!(await inTime(socket.closed))) return 'not closed';
      const code = await socket.closed;
      return end.closes.includes(code) ? null : `closed with ${code}`;
    }
    socket.write(frame('still here', { opcode: 9 }));
    const alive = (): boolean => socket.frames.some(({ opcode, payload }) => opcode === 10 && payload.toString() === 'still here');
    const done = (): boolean => alive() && (end.sends === null || matching(socket, end.sends) > 0);
    if (!(await inTime(socket.until(done))))
      return `it sent ${socket.frames.map(({ opcode, payload }) => `${opcode} ${payload.toString()}`).join(', ') || 'nothing'}`;
    const pongs = socket.frames.filter(({ opcode }) => opcode === 10).length - 1;
    return pongs === (end.pongs ?? 0) ? null : `${pongs} pongs`;
  } catch (error) {
    return String(error);
  } finally {
    socket.destroy();
  }
}

function matching(socket: RawSocket, pattern: RegExp): number {
  return socket.frames.filter(({ opcode, payload }) => opcode < 8 && pattern.test(payload.toString('latin1'))).length;
}

/** Byte by byte: each is on its way before the next one is written. */
async function deliver(socket: RawSocket, bytes: Buffer, whole: boolean): Promise<void> {
  socket.socket.setNoDelay(true);
  const chopped = whole ? 0 : Math.min(bytes.length, choppedMax);
  for (let at = 0; at < chopped && !socket.socket.destroyed; at++) await written(socket, bytes.subarray(at, at + 1));
  if (chopped < bytes.length && !socket.socket.destroyed) socket.write(bytes.subarray(chopped));
}

/** Resolves when the system has it, or the socket has ended. */
function written(socket: RawSocket, bytes: Buffer): Promise<void> {
  return new Promise((resolve) => {
    socket.socket.write(bytes, () => resolve());
  });
}

/** Whether it settles well in time. */
async function inTime(what: Promise<unknown>): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<boolean>((resolve) => (timer = setTimeout(resolve, patienceMs, false)));
  const settled = what.then(
    () => true,
    () => false,
  );
  const first = await Promise.race([settled, late]);
  clearTimeout(timer);
  return first;
}
