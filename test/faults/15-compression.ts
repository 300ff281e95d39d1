/**
 * Frames that become a thousand times as much when they are unpacked, and frames over the limit, before hello and after it. No
 * compression is spoken, so nothing is unpacked; the sender is closed, and the hub's loop and memory do not notice.
 */
import { constants, deflateRawSync } from 'node:zlib';
import type { HubProcess } from '../../src/testing/hub-process.ts';
import { RawClient } from '../kit/raw-client.ts';
import { frame, RawSocket, upgradeRequest } from '../kit/raw-socket.ts';
import { passed } from './app.ts';
import { percentile, rounded } from './percentile.ts';
import { residentKiB, withoutProc } from './processes.ts';
import { type FaultRow, violationsOf } from './row.ts';

type Size = { ofEachKind: number; calmSeconds: number };
const frameBytesMax = 256 * 1024;
const atOnce = 8;
const probeEveryMs = 2;
const offers = ['permessage-deflate', 'permessage-deflate; client_max_window_bits; server_no_context_takeover', 'x-webkit-deflate-frame, permessage-deflate'];
const unpackedBytes = 94_000_000;
/** As RFC 7692 has it: without the last four bytes of the flush. 92 kB that become 94 MB. */
const bomb = deflateRawSync(Buffer.alloc(unpackedBytes, 0x20), { finishFlush: constants.Z_SYNC_FLUSH }).subarray(0, -4);
const mib = 2 ** 20;
/**
 * What the engine leaves lying of buffers that nobody holds, before it collects them: that much comes and goes under any load. So
 * memory is judged by what each attack leaves behind, and by its peak only beyond this.
 */
const uncollectedMiB = 64;
const leftBehindKiBMax = 16;
/** With fewer attacks what comes and goes is more than what they could leave. */
const enough = 1_000;

/** What is sent, and the codes that may come of it; null: cut while it was still sending. */
const kinds: Readonly<Record<string, { bytes: Buffer; codes: readonly (number | null)[] }>> = {
  'a bomb': { bytes: frame(bomb, { reserved: 4 }), codes: [1002, null] },
  'a bomb in fragments': {
    bytes: Buffer.concat([frame(bomb.subarray(0, 50_000), { reserved: 4, fin: false }), frame(bomb.subarray(50_000), { opcode: 0 })]),
    codes: [1002, null],
  },
  'a bomb without the bit': { bytes: frame(bomb), codes: [1007, null] },
  'a frame over the limit': { bytes: frame(Buffer.alloc(frameBytesMax + 1, 0x20)), codes: [1009, null] },
  'a frame of 2 MiB': { bytes: frame(Buffer.alloc(2 * mib, 0x20)), codes: [1009, null] },
  'fragments of 2 MB': {
    bytes: Buffer.concat(Array.from({ length: 10 }, (_, i) => frame(Buffer.alloc(200_000, 0x20), { opcode: i === 0 ? 1 : 0, fin: false }))),
    codes: [1009, null],
  },
  'a length of 2^40': { bytes: frame('x', { declared: 2n ** 40n }), codes: [1009] },
};

export const row: FaultRow<Size> = {
  test: 15,
  title: 'C6 V1 compression bombs and oversize frames, before hello and after it, are closed, and no byte of them is unpacked',
  target: `closed 1002, 1007 or 1009; loop lag ≤ 50 ms, or as without them; at the peak each connection ≤ twice the largest frame; ≤ ${leftBehindKiBMax} KiB left behind by each`,
  gate: { ofEachKind: 2, calmSeconds: 0.2 },
  full: { ofEachKind: 300, calmSeconds: 20 },
  needs: withoutProc,

  async run({ ofEachKind, calmSeconds }, kit) {
    const hub = await kit.hub({ acceptPerSecond: 0, frameBytesMax });
    const witness = await RawClient.connect(hub.url, { user: 'witness' });
    kit.defer(() => witness.terminate());
    const wrong: string[] = [];
    for (const offer of offers) {
      const { head } = await offering(hub, offer);
      if (!head.startsWith('HTTP/1.1 101') || /sec-websocket-extensions/i.test(head)) wrong.push(`the offer ${offer} was answered ${head.split('\r\n', 1)[0]}`);
    }

    const round = Object.entries(kinds).flatMap(([what, kind]) =>
      [false, true].map((welcome) => ({ what: `${what} ${welcome ? 'after' : 'before'} hello`, welcome, ...kind })),
    );
    const jobs = Array.from({ length: ofEachKind }, () => round).flat();
    // What a hub grows by once, under any load, is not what is asked here: nothing is counted of the first quarter.
    const resident: number[][] = [[], [], [], []];
    await loopLagMs(hub); // begins anew
    await passed(calmSeconds * 1_000);
    const calmLagMs = await loopLagMs(hub);
    let attacking = true;
    let next = 0;
    const probing = (async () => {
      const took: number[] = [];
      while (attacking) {
        const began = performance.now();
        await witness.settled();
        took.push(performance.now() - began);
        resident[Math.min(3, Math.floor((next / jobs.length) * 4))]?.push(residentKiB(hub.pid));
        await passed(probeEveryMs);
      }
      return took;
    })();
    const lane = async (): Promise<void> => {
      for (let job = jobs[next++]; job !== undefined; job = jobs[next++]) {
        const code = await thrown(hub, job.bytes, job.welcome);
        if (!job.codes.includes(code)) wrong.push(`${job.what}: closed with ${code}`);
      }
    };
    await Promise.all(Array.from({ length: atOnce }, lane));
    attacking = false;
    const took = await probing;
    const lagMs = await loopLagMs(hub);

    const told = jobs.length >= enough;
    const [, second = [], , last = []] = resident;
    const middle = percentile(second, 0.5);
    const peakMiB = (Math.max(...resident.slice(1).flat()) - middle) / 1_024;
    const leftBehindKiB = (percentile(last, 0.5) - middle) / (jobs.length / 2);
    return {
      figures: {
        attacks: jobs.length,
        bombRatio: Math.round(unpackedBytes / bomb.length),
        wrong: wrong.length,
        loopLagMaxMsCalm: rounded(calmLagMs),
        loopLagMaxMs: rounded(lagMs),
        bystanderP99Ms: rounded(percentile(took, 0.99)),
        peakOfAllMiB: rounded(peakMiB),
        leftBehindByEachKiB: told ? rounded(leftBehindKiB) : 'too few to tell',
      },
      violations: [
        ...wrong.slice(0, 20),
        ...violationsOf({
          'nothing was unpacked': peakMiB * mib < unpackedBytes,
          'a bystander is served': witness.ended === null && took.length > 0,
          'nothing of it is a fault of the hub': !/\berror\b/i.test(hub.stdout) && hub.stderr === '',
        }),
      ],
      missed: [
        ...(lagMs <= Math.max(50, calmLagMs * 1.2) ? [] : [`loop lag ${rounded(lagMs)} ms`]),
        ...(peakMiB * mib <= 2 * atOnce * frameBytesMax + uncollectedMiB * mib ? [] : [`${rounded(peakMiB)} MiB at the peak`]),
        ...(!told || leftBehindKiB <= leftBehindKiBMax ? [] : [`${rounded(leftBehindKiB)} KiB left behind by each attack`]),
      ],
    };
  },
};

async function offering(hub: HubProcess, extensions: string): Promise<RawSocket> {
  const socket = await RawSocket.open(hub.port);
  socket.write(upgradeRequest(hub.port, { 'Sec-WebSocket-Protocol': 'hubbub.v1.json', 'Sec-WebSocket-Extensions': extensions }));
  await socket.until(() => socket.head.includes('\r\n\r\n'));
  return socket;
}

/** The code that these bytes end with. */
async function thrown(hub: HubProcess, bytes: Buffer, welcome: boolean): Promise<number | null> {
  const socket = await offering(hub, 'permessage-deflate');
  if (welcome) {
    socket.text({ op: 'hello', id: 1, user: 'bomber' });
    await socket.until(() => socket.frames.some(({ payload }) => payload.includes('"welcome"') || payload.includes('"limit"')));
  }
  socket.write(bytes);
  return await socket.closed;
}

/** The longest delay of the hub's main loop since the last question. */
async function loopLagMs(hub: HubProcess): Promise<number> {
  const text = await (await fetch(`${hub.http}/metrics`)).text();
  return Number(/^hubbub_event_loop_delay_seconds\{quantile="1"\} (\S+)$/m.exec(text)?.[1]) * 1_000;
}
