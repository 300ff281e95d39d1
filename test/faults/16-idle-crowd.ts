/** Thousands of sockets that follow rooms and say nothing: what they cost in memory and processor time, and whether others notice. */
import { WebSocket } from 'ws';
import { passed } from './app.ts';
import { Bystander } from './bystander.ts';
import { percentile, rounded } from './percentile.ts';
import { filesMax, processorSeconds, residentKiB, withoutProc } from './processes.ts';
import { type FaultKit, type FaultRow, violationsOf } from './row.ts';

type Size = { sockets: number; rooms: number; holdSeconds: number; heartbeatMs: number; probes: number };
const addresses = ['127.0.0.1', '127.0.0.2', '127.0.0.3', '127.0.0.4'];
const roomsPerSocket = 5;
const openingAtOnce = 64;
/** What counts as no growth: pages of the allocator come and go. */
const flatMiB = 8;
/** What a machine that is busy elsewhere adds. */
const slackMs = 20;

export const row: FaultRow<Size> = {
  test: 16,
  title: 'C5 an idle crowd from four addresses: all stay, all are answered, and a sender notices nothing',
  target:
    '≤ 25 KiB per connection with five rooms; idle processor time ≤ 10 % of a core; memory flat in the second half; 0 closed; ack p99 of a sender up by ≤ 20 %',
  gate: { sockets: 400, rooms: 40, holdSeconds: 2, heartbeatMs: 500, probes: 50 },
  full: { sockets: 10_000, rooms: 1_000, holdSeconds: 1_800, heartbeatMs: 25_000, probes: 2_000 },
  fullMsMax: 40 * 60_000,

  needs: () => withoutProc() ?? (filesMax() >= 12_000 ? null : `this process may open ${filesMax()} files only`),

  async run({ sockets: count, rooms, holdSeconds, heartbeatMs, probes }, kit) {
    const hub = await kit.hub({ heartbeatMs, acceptPerSecond: 0, connectionsMax: count + 10 });
    const sender = new Bystander(hub.url, kit);
    const alone = await sender.acks(probes);
    const before = residentKiB(hub.pid);

    const crowd: Idler[] = [];
    let next = 0;
    const lane = async (): Promise<void> => {
      for (let i = next++; i < count; i = next++) crowd.push(await Idler.open(hub.url, i, rooms, kit));
    };
    await Promise.all(Array.from({ length: openingAtOnce }, lane));
    await passed(heartbeatMs / 4);
    const joined = residentKiB(hub.pid);
    kit.say(`${count} joined, ${rounded((joined - before) / count)} KiB each`);

    const processorBefore = processorSeconds(hub.pid);
    const halves: number[] = [];
    for (const half of [1, 2]) {
      await passed(holdSeconds * 500);
      halves.push(residentKiB(hub.pid));
      kit.say(`after ${(holdSeconds * half) / 2} s: ${Math.round(residentKiB(hub.pid) / 1_024)} MiB`);
    }
    const share = (processorSeconds(hub.pid) - processorBefore) / holdSeconds;
    const [middle = 0, held = 0] = halves;
    const among = await sender.acks(probes);
    const answered = await Promise.all(crowd.map((idler) => idler.answers()));
    const closed = crowd.filter((idler) => idler.closed).length;
    const [aloneP99, amongP99] = [percentile(alone, 0.99), percentile(among, 0.99)];
    const kib = (joined - before) / count;
    const growthMiB = (held - middle) / 1_024;
    const figures = {
      sockets: count,
      kibPerConnection: rounded(kib),
      idleProcessorPercent: rounded(share * 100),
      growthWhileHeldMiB: rounded((held - joined) / 1_024),
      growthInSecondHalfMiB: rounded(growthMiB),
      ackP99AloneMs: rounded(aloneP99),
      ackP99AmongMs: rounded(amongP99),
      closed,
    };
    return {
      figures,
      violations: violationsOf({ 'every socket is still open': closed === 0, 'every socket is answered': answered.every(Boolean) }),
      missed: [
        ...(kib <= 25 ? [] : [`${rounded(kib)} KiB per connection`]),
        ...(share <= 0.1 ? [] : [`${rounded(share * 100)} % of a core when idle`]),
        ...(growthMiB <= flatMiB ? [] : [`memory grew by ${rounded(growthMiB)} MiB in the second half`]),
        ...(amongP99 <= Math.max(aloneP99 * 1.2, aloneP99 + slackMs) ? [] : [`ack p99 from ${rounded(aloneP99)} to ${rounded(amongP99)} ms`]),
      ],
    };
  },
};

/** A socket in its fewest bytes: thousands of full clients would measure this process. */
class Idler {
  closed = false;
  readonly #socket: WebSocket;
  #answered: (id: number) => void = () => undefined;

  static async open(url: string, index: number, rooms: number, kit: FaultKit): Promise<Idler> {
    const localAddress = addresses[index % addresses.length];
    const idler = new Idler(new WebSocket(url, 'hubbub.v1.json', { localAddress, perMessageDeflate: false }));
    kit.defer(() => idler.#socket.terminate());
    await new Promise((resolve, reject) => idler.#socket.once('open', resolve).once('error', reject));
    const joined = new Promise<void>((resolve) => (idler.#answered = (id) => id === roomsPerSocket + 1 && resolve()));
    idler.#socket.send(JSON.stringify({ op: 'hello', id: 1, user: `idler-${index}` }));
    for (let i = 0; i < roomsPerSocket; i++) {
      idler.#socket.send(JSON.stringify({ op: 'subscribe', id: 2 + i, room: `room-${(index * roomsPerSocket + i) % rooms}` }));
    }
    await joined;
    return idler;
  }

  constructor(socket: WebSocket) {
    this.#socket = socket;
    socket.on('close', () => (this.closed = true));
    socket.on('message', (data: Buffer) => {
      const { id, op } = JSON.parse(data.toString()) as { id?: number; op: string };
      if (id !== undefined && op !== 'error') this.#answered(id);
    });
  }

  async answers(): Promise<boolean> {
    if (this.closed) return false;
    const answered = new Promise<boolean>((resolve) => {
      this.#answered = (id) => id === roomsPerSocket + 2 && resolve(true);
      this.#socket.once('close', () => resolve(false));
    });
    this.#socket.send(JSON.stringify({ op: 'ping', id: roomsPerSocket + 2 }));
    return answered;
  }
}
