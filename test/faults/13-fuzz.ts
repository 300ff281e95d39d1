/**
 * Damaged and hostile frames, first through everything that reads a frame (scan, decoder, schemas), then to a hub. Whatever
 * comes: a code, never a fault, never a value that is not plain, never a changed prototype, never a long time.
 */
import { decode } from '../../src/protocol/codec.ts';
import { CodedError } from '../../src/protocol/codes.ts';
import { depthMax } from '../../src/protocol/limits.ts';
import { scan } from '../../src/protocol/scan.ts';
import { contentOf, parseCommand } from '../../src/protocol/validate.ts';
import { checkValue } from '../../src/protocol/values.ts';
import { type DamagedFrame, damagedFrames, hostileFrame } from '../kit/damaged-frames.ts';
import { RawClient } from '../kit/raw-client.ts';
import { RawSocket, frame as wireFrame } from '../kit/raw-socket.ts';
import { percentile, rounded } from './percentile.ts';
import { type FaultKit, type FaultRow, violationsOf } from './row.ts';

type Size = { cases: number; onTheWire: number };
const bodyBytesMax = 64 * 1024;
const reportEvery = 1_000_000;
const framesPerSocket = 15;
const suspectMs = 1;

export const row: FaultRow<Size> = {
  test: 13,
  title: 'V1 V2 V3 V4 V5 fuzzed frames are refused with a code, change nothing and cost little',
  target: '≥ 10,000,000 cases, 0 crashes; slowest case ≤ 5 ms; extra memory ≤ 32 MB',
  gate: { cases: 20_000, onTheWire: 450 },
  full: { cases: 10_000_000, onTheWire: 100_000 },
  fullMsMax: 30 * 60_000,

  async run({ cases, onTheWire }, kit) {
    const { random } = kit;
    const damaged = damagedFrames(random);
    const next = (): DamagedFrame => (random.int(4) === 0 ? hostileFrame(random) : damaged());
    const prototypes = prototypesNow();
    const faults: string[] = [];
    const verdicts = { accepted: 0, refused: 0 };
    for (let i = 0; i < 1_000; i++) judge(next()); // warm
    globalThis.gc?.();
    const memoryBefore = process.memoryUsage.rss();
    let memoryMost = memoryBefore;
    const slow: number[] = [];
    for (let i = 1; i <= cases; i++) {
      const one = next();
      const began = performance.now();
      let verdict = judge(one);
      let took = performance.now() - began;
      // What was slow once was perhaps the machine: what is slow three times is the frame.
      for (let again = 0; again < 2 && took > suspectMs; again++) {
        const from = performance.now();
        verdict = judge(one);
        took = Math.min(took, performance.now() - from);
      }
      slow.push(took);
      if (slow.length > 10_000) slow.splice(0, slow.length, Math.max(...slow));
      if (verdict === 'accepted' || verdict === 'refused') verdicts[verdict]++;
      else if (faults.length < 10) faults.push(`${verdict}: ${one.format} ${one.bytes.subarray(0, 100).toString('hex')}`);
      if (i % 10_000 === 0) {
        globalThis.gc?.(); // the frames themselves are this test's garbage
        memoryMost = Math.max(memoryMost, process.memoryUsage.rss());
      }
      if (i % reportEvery === 0) kit.say(`${i} cases`);
    }
    const wire = await throwAtHub(kit, next, onTheWire);

    const slowest = percentile(slow, 1);
    const extraMiB = (memoryMost - memoryBefore) / 2 ** 20;
    return {
      figures: {
        cases,
        ...verdicts,
        faults: faults.length,
        slowestMs: rounded(slowest),
        extraMemoryMiB: rounded(extraMiB),
        framesToHub: wire.sent,
        socketsClosedByHub: wire.closed,
      },
      violations: [
        ...faults,
        ...wire.violations,
        ...violationsOf({
          'prototypes are as they were': prototypesNow() === prototypes,
          'some were accepted and some refused': verdicts.accepted > cases / 100 && verdicts.refused > cases / 100,
        }),
      ],
      missed: [...(slowest <= 5 ? [] : [`one case took ${rounded(slowest)} ms`]), ...(extraMiB <= 32 ? [] : [`${rounded(extraMiB)} MiB more`])],
    };
  },
};

/** As the hub does: nothing is decoded that was not scanned, nothing is carried out that no schema knows. */
function judge({ bytes, format }: DamagedFrame): string {
  try {
    scan(bytes, format);
    const decoded = decode(bytes, format);
    const { bin, ...rest } = decoded;
    checkValue(rest, 'frame', depthMax);
    const command = parseCommand(decoded);
    if (command.op === 'publish' || command.op === 'direct') contentOf(command, format, bodyBytesMax);
    return bin === undefined || bin instanceof Uint8Array || typeof bin !== 'object' ? 'accepted' : 'a binary that is none';
  } catch (error) {
    return error instanceof CodedError ? 'refused' : String(error);
  }
}

function prototypesNow(): string {
  return [Object, Array, String, Number, Map, Uint8Array].map(({ prototype }) => Object.getOwnPropertyNames(prototype).join()).join(';');
}

/** Sockets that send nothing but this; a hub may close them, and goes on as if nothing had been. */
async function throwAtHub(kit: FaultKit, next: () => DamagedFrame, frames: number): Promise<{ sent: number; closed: number; violations: string[] }> {
  const hub = await kit.hub({ presenceGraceMs: 0 });
  const alice = await RawClient.connect(hub.url, { user: 'alice' });
  await alice.ok('publish', { room: 'quiet', body: 'before' });
  const { pid } = hub;
  let [sent, closed] = [0, 0];
  for (let round = 0; sent < frames; round++) {
    const socket = await RawSocket.upgrade(hub.port, round % 2 ? 'hubbub.v1.json' : 'hubbub.v1.msgpack');
    const format = round % 2 ? 'json' : 'msgpack';
    const hello =
      format === 'json' ? Buffer.from('{"op":"hello","id":1,"user":"mallory"}') : Buffer.from('83a26f70a568656c6c6fa2696401a475736572a76d616c6c6f7279', 'hex');
    const opcode = format === 'json' ? 1 : 2;
    socket.write(wireFrame(hello, { opcode }));
    for (let i = 0; i < framesPerSocket; ) {
      const one = next();
      if (one.format !== format || one.bytes.length > 60_000) continue;
      socket.write(wireFrame(one.bytes, { opcode }));
      sent++;
      i++;
    }
    socket.write(wireFrame('bye', { opcode: 8 }));
    if ((await socket.closed) !== null) closed++;
  }
  await alice.settled();
  const { position } = await alice.ok('info', { room: 'quiet' });
  const violations = violationsOf({
    'the hub is the same process': hub.pid === pid,
    'nothing of it was a fault of the hub': !/\berror\b/i.test(hub.stdout) && hub.stderr === '',
    'a bystander is served, and her room is as it was': position.seq === 1 && alice.ended === null,
  });
  alice.terminate();
  return { sent, closed, violations };
}
