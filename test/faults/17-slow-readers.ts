/**
 * Readers of a busy room who take too little: none of it at all, a trickle, or everything but never an ack. They cost a bounded
 * amount of memory, nobody else notices, who takes nothing is cut off, and whoever comes back misses nothing.
 */
import type { HubProcess } from '../../src/testing/hub-process.ts';
import { RawClient } from '../kit/raw-client.ts';
import { frame, RawSocket } from '../kit/raw-socket.ts';
import { passed } from './app.ts';
import { percentile, rounded } from './percentile.ts';
import { residentKiB, withoutProc } from './processes.ts';
import { type FaultKit, type FaultReport, type FaultRow, violationsOf } from './row.ts';

type Size = { crowds: number; messages: number; paceMs: number; slowMs: number; trickleSeconds: number; items: number };

const room = 'busy';
const crowdSizes = [1, 10, 100];
const followers = 5;
const bodyBytes = 48 * 1024;
const outboxBytesMax = 256 * 1024;
const perReaderTargetMiB = 1.5;
const cutTargetMs = 10_000;
const noticedTarget = 1.2;
/** What a machine that is busy elsewhere adds. */
const slackMs = 20;
const trickleBytes = 1_024;
const pollMs = 50;
/** Readers that are found later than so long after they should be are left. */
const cutMsMax = 30_000;
const backAtOnce = 5;
const MiB = 1024 * 1024;

export const row: FaultRow<Size> = {
  test: 17,
  title: 'F7 F2 I2 I3 readers who take nothing, a trickle, or never ack cost bounded memory and nobody else’s time, and miss nothing when they come back',
  target: `≤ ${perReaderTargetMiB} MiB each; cut within ${cutTargetMs / 1_000} s; p99 of others up by ≤ 20 %; 0 missing after resume`,
  gate: { crowds: 2, messages: 20, paceMs: 1, slowMs: 300, trickleSeconds: 0.5, items: 20 },
  full: { crowds: 3, messages: 300, paceMs: 8, slowMs: 8_000, trickleSeconds: 20, items: 1_000 },
  needs: withoutProc,

  async run({ crowds, messages, paceMs, slowMs, trickleSeconds, items }, kit): Promise<FaultReport> {
    const options = { outboxSoftBytes: 64 * 1024, outboxLowBytes: 16 * 1024, outboxBytesMax, slowMs, acceptPerSecond: 0 };
    const hub = await kit.hub({ ...options, inboxItemsMax: items });
    const writer = await RawClient.connect(hub.url, { user: 'writer' });
    const others: RawClient[] = [];
    for (let i = 0; i < followers; i++) others.push(await follow(hub, `other-${i}`));
    const calm = await write(writer, messages, paceMs);

    const rounds: Round[] = [];
    for (const count of crowdSizes.slice(0, crowds)) {
      const round = await stall({ hub, writer, paceMs, kit }, count, slowMs);
      rounds.push(round);
      kit.say(`${count} who take nothing: ${rounded(round.mibEach)} MiB each, cut after ${Math.round(round.cutMs)} ms, ${round.missing} missing`);
    }
    const trickle = await drip({ hub, writer, paceMs, kit }, trickleSeconds);
    kit.say(`${trickleBytes} bytes a second: ${rounded(trickle.mib)} MiB, ${trickle.missing} missing`);
    const silent = await neverAck(hub, writer, items);
    const { position } = await writer.ok('subscribe', { room });
    await Promise.all(others.map((other) => other.until(() => (other.entries(room).at(-1)?.seq ?? 0) >= position.seq)));

    const calmP99 = percentile(calm, 0.99);
    const worstP99 = percentile(
      rounds.flatMap(({ ackMs }) => ackMs),
      0.99,
    );
    const cutMs = Math.max(...rounds.map((round) => round.cutMs));
    // Of a small crowd the resident memory is mostly something else.
    const residentMibEach = (rounds.at(-1)?.residentMibEach ?? 0) * (crowds === crowdSizes.length ? 1 : 0);
    const mibEach = Math.max(...rounds.map((round) => round.mibEach), trickle.mib, residentMibEach);
    const missing = rounds.reduce((sum, round) => sum + round.missing, trickle.missing);
    return {
      figures: {
        slowReaders: crowdSizes.slice(0, crowds).join(' + '),
        mibPerSlowReader: rounded(mibEach),
        cutMaxMs: Math.round(cutMs),
        othersAckP99MsCalm: rounded(calmP99),
        othersAckP99MsBesides: rounded(worstP99),
        missingAfterResume: missing,
        itemsSentUnacked: silent.sent,
        itemsAgainAfterHello: silent.again,
      },
      violations: violationsOf({
        'whoever came back missed nothing': missing === 0,
        'every reader who took nothing was cut off': rounds.every(({ left }) => left === 0),
        'everybody else was kept': others.every(({ ended }) => ended === null),
        'everybody else got 1, 2, 3, …': others.every((other) => other.entries(room).every(({ seq }, i, all) => seq === (all[0]?.seq ?? 0) + i)),
        'who never acks is sent no more than an inbox holds': silent.sent <= items,
        'what was not acked comes again, what was dropped is told': silent.complete,
      }),
      missed: [
        ...(mibEach > perReaderTargetMiB ? [`${rounded(mibEach)} MiB for each slow reader`] : []),
        ...(cutMs > cutTargetMs ? [`cut after ${Math.round(cutMs)} ms`] : []),
        ...(worstP99 > Math.max(calmP99 * noticedTarget, calmP99 + slackMs) ? [`p99 of others from ${rounded(calmP99)} to ${rounded(worstP99)} ms`] : []),
      ],
    };
  },
};

type Round = { mibEach: number; residentMibEach: number; cutMs: number; left: number; missing: number; ackMs: number[] };
type World = { hub: HubProcess; writer: RawClient; paceMs: number; kit: FaultKit };
type Joined = { socket: RawSocket; user: string; head: number; epoch: string };

async function follow(hub: HubProcess, user: string): Promise<RawClient> {
  const client = await RawClient.connect(hub.url, { user });
  await client.ok('subscribe', { room });
  return client;
}

/** Writes into the room at a pace; how long each ack took. */
async function write(writer: RawClient, messages: number, paceMs: number): Promise<number[]> {
  const took: number[] = [];
  const body = 'x'.repeat(bodyBytes);
  for (let i = 0; i < messages; i++) {
    const began = performance.now();
    await writer.ok('publish', { room, body });
    took.push(performance.now() - began);
    await passed(paceMs);
  }
  return took;
}

/** A reader by bare socket, in the room from its head on; nothing beyond that is looked at. */
async function joinBare({ hub, kit }: World, user: string): Promise<Joined> {
  const socket = await RawSocket.upgrade(hub.port);
  kit.defer(() => socket.destroy());
  socket.write(frame(JSON.stringify({ op: 'hello', id: 1, user })));
  socket.write(frame(JSON.stringify({ op: 'subscribe', id: 2, room })));
  await socket.until(() => socket.frames.length >= 2);
  const said = socket.frames.map(({ payload }) => JSON.parse(payload.toString()) as { epoch?: string; position?: { seq: number; epoch: string } });
  const position = said.find((one) => one.position !== undefined)?.position;
  if (position === undefined) throw new Error('a subscribe was not answered with a position');
  socket.socket.pause();
  return { socket, user, head: position.seq, epoch: position.epoch };
}

/** A crowd joins and takes nothing while the room is written to, until all of it is cut off; then it comes back for what it missed. */
async function stall(world: World, count: number, slowMs: number): Promise<Round> {
  const { hub, writer, paceMs } = world;
  const crowd: Joined[] = [];
  for (let i = 0; i < count; i++) crowd.push(await joinBare(world, `stuck-${count}-${i}`));
  const residentBefore = residentKiB(hub.pid);
  const cutBefore = (await gatewayOf(hub)).terminated;
  const began = performance.now();
  let outboxBytes = 0;
  let backedAt: number | null = null;
  let cut = 0;
  const late = (): boolean => performance.now() - (backedAt ?? began) > slowMs + cutMsMax;
  const watching = (async () => {
    while (cut < count && !late()) {
      const { backed, terminated, ...now } = await gatewayOf(hub);
      outboxBytes = Math.max(outboxBytes, now.outboxBytes);
      if (backed > 0) backedAt ??= performance.now();
      cut = terminated - cutBefore;
      await passed(pollMs);
    }
    return performance.now();
  })();
  const ackMs: number[] = [];
  // What the kernel holds for a reader hides him at first, so the room stays busy until all are found.
  while (cut < count && !late()) ackMs.push(...(await write(writer, 10, paceMs)));
  const cutMs = (await watching) - (backedAt ?? began);
  const residentMibEach = (residentKiB(hub.pid) - residentBefore) / 1_024 / count;
  return { mibEach: outboxBytes / count / MiB, residentMibEach, cutMs, left: count - cut, missing: await comeBack(world, crowd), ackMs };
}

/** One reader takes a trickle. Whether the hub finds that enough is up to it; he comes back in any case. */
async function drip(world: World, seconds: number): Promise<{ mib: number; missing: number }> {
  const { hub, writer, paceMs } = world;
  const reader = await joinBare(world, 'trickle');
  const timer = setInterval(() => void reader.socket.socket.read(trickleBytes), 1_000);
  let outboxBytes = 0;
  for (const end = performance.now() + seconds * 1_000; performance.now() < end; ) {
    await write(writer, 10, paceMs);
    outboxBytes = Math.max(outboxBytes, (await gatewayOf(hub)).outboxBytes);
  }
  clearInterval(timer);
  return { mib: outboxBytes / MiB, missing: await comeBack(world, [reader]) };
}

/** They come back on other sockets, each to where it was; how many entries they miss in all. */
async function comeBack({ hub, writer }: World, crowd: readonly Joined[]): Promise<number> {
  const { asOf: end } = await writer.ok('history', { room, limit: 1 });
  let missing = 0;
  const back = async ({ socket, user, head, epoch }: Joined): Promise<void> => {
    socket.destroy();
    const client = await RawClient.connect(hub.url, { user });
    const { recovered } = await client.ok('subscribe', { room, position: { epoch, seq: head } });
    if (recovered) await client.until(() => (client.entries(room).at(-1)?.seq ?? head) >= end.seq);
    const got = new Set(client.entries(room).map(({ seq }) => seq));
    for (let seq = head + 1; seq <= end.seq; seq++) if (!got.has(seq)) missing++;
    client.terminate();
  };
  for (let at = 0; at < crowd.length; at += backAtOnce) await Promise.all(crowd.slice(at, at + backAtOnce).map(back));
  return missing;
}

/** Somebody who takes his direct messages and never acks, and is sent more than his inbox holds. */
async function neverAck(hub: HubProcess, writer: RawClient, items: number): Promise<{ sent: number; again: number; complete: boolean }> {
  const dropped = Math.ceil(items / 4);
  const last = items + dropped;
  const silent = await RawClient.connect(hub.url, { user: 'silent', device: 'phone' });
  for (let i = 0; i < last; i++) await writer.ok('direct', { to: 'silent', body: i });
  await silent.settled();
  const sent = silent.pushes.filter(({ op }) => op === 'inbox').length;
  silent.terminate();
  const again = await RawClient.connect(hub.url, { user: 'silent', device: 'phone' });
  await again.next('inbox', ({ n }) => n === last);
  const numbers = again.pushes.flatMap((push) => (push.op === 'inbox' ? [push.n] : []));
  const gaps = again.pushes.flatMap((push) => (push.op === 'inbox-gap' ? [push.to] : []));
  await again.close();
  const complete = gaps.at(-1) === dropped && numbers.length === items && numbers.every((n, i) => n === dropped + 1 + i);
  return { sent, again: numbers.length, complete };
}

async function gatewayOf(hub: HubProcess): Promise<{ backed: number; terminated: number; outboxBytes: number }> {
  return ((await (await fetch(`${hub.http}/stats`)).json()) as { gateway: { backed: number; terminated: number; outboxBytes: number } }).gateway;
}
