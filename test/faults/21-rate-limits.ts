/**
 * One who asks for too much, from every side: one user over fifty sockets, one who comes back for a full bucket, a cheap message that
 * goes to many, many users from one address, forged addresses with and without a trusted proxy. Others go on as before.
 */
import { randomBytes } from 'node:crypto';
import { connect } from 'node:net';
import { Flood, type FloodResult } from '../kit/flood.ts';
import { RawClient } from '../kit/raw-client.ts';
import { upgradeRequest } from '../kit/raw-socket.ts';
import { Bystander } from './bystander.ts';
import { percentile, rounded } from './percentile.ts';
import { type FaultKit, type FaultReport, type FaultRow, violationsOf } from './row.ts';

type Size = { sockets: number; seconds: number; followers: number; addresses: number; probes: number };
/** What was accepted, and how much the limits allow for the time it took. */
type Taken = { accepted: number; allowed: number };

const commands = { rateLimit: 2_000, rateBurst: 2_000, userRateLimit: 400, userRateBurst: 400, refusalsMax: 1_000_000 };
const cost = { costLimit: 500_000, costBurst: 500_000, userCostLimit: 0 };
const windowMs = 60_000;
const handshakesMax = 20;
const proxyAddress = '127.0.0.2';
const over = 1.1;
const noticedTarget = 1.2;
/** What a machine that is busy elsewhere adds. */
const slackMs = 20;

export const row: FaultRow<Size> = {
  test: 21,
  title: 'R8 C4 limits hold per user over all sockets, over reconnects, by cost, and per address whatever headers say; others do not notice',
  target: 'accepted ≤ limit × 1.1; p99 of others up by ≤ 20 %; every refusal says when to try again',
  gate: { sockets: 50, seconds: 0.5, followers: 30, addresses: 5, probes: 20 },
  full: { sockets: 50, seconds: 10, followers: 1_000, addresses: 300, probes: 500 },

  async run({ sockets, seconds, followers, addresses, probes }, kit): Promise<FaultReport> {
    const hub = await kit.hub({ ...commands, ...cost, connectionsPerUserMax: sockets + 10, acceptPerSecond: 0 });
    const bystander = new Bystander(hub.url, kit);
    const calm = await bystander.acks(probes);

    const flood = await Flood.open(hub.port, { connections: sockets, user: () => 'greedy', room: (i) => `room-${i % 5}` });
    kit.defer(() => flood.close());
    const began = performance.now();
    const [flooded, beside] = await Promise.all([flood.run(commands.userRateLimit * 10, seconds * 1_000), bystander.acks(probes)]);
    // The sockets' hellos are commands too, and the time of opening them counts.
    const overSockets: Taken = { accepted: flooded.ok, allowed: allowedOf(commands.userRateBurst, commands.userRateLimit, began) };
    kit.say(`${sockets} sockets of one user: ${overSockets.accepted} of at most ${Math.round(overSockets.allowed)}`);
    flood.close();

    const back = await comeBack(hub.port, seconds, kit);
    kit.say(`one who comes back ${back.times} times: ${back.accepted} of at most ${Math.round(back.allowed)}`);
    const wide = await toMany(hub.url, hub.port, followers, seconds, kit);
    kit.say(`to ${followers} followers: ${wide.accepted} of at most ${Math.round(wide.allowed)} messages`);

    const { strange, trusted } = await fromAddresses(addresses, kit);
    kit.say(
      `forged addresses: ${strange.accepted} of at most ${Math.round(strange.allowed)}; through a trusted proxy: ${trusted.accepted} of at most ${trusted.allowed}`,
    );

    const taken = { overSockets, back, wide, strange, trusted };
    const [calmP99, besideP99] = [percentile(calm, 0.99), percentile(beside, 0.99)];
    const floods = [flooded, ...back.results, wide.result];
    return {
      figures: {
        ...Object.fromEntries(Object.entries(taken).map(([name, { accepted, allowed }]) => [`${name}PercentOfLimit`, rounded((accepted / allowed) * 100)])),
        refused: floods.reduce((sum, { refused }) => sum + Object.values(refused).reduce((all, one) => all + one, 0), 0),
        comebacks: back.times,
        othersAckP99MsCalm: rounded(calmP99),
        othersAckP99MsBesides: rounded(besideP99),
      },
      violations: violationsOf({
        'one user over many sockets keeps to his limit': holds(overSockets),
        'coming back fills no bucket': holds(back),
        'what goes to many counts for many': holds(wide),
        'no header of a stranger makes another address': holds(strange),
        'behind a trusted proxy every client has his own limit, and no other by what he writes himself': holds(trusted) && trusted.accepted >= trusted.allowed,
        'every refusal was `rate-limited` and said when to try again': floods.every(
          ({ refused, hopeless }) => hopeless === 0 && Object.keys(refused).every((code) => code === 'rate-limited'),
        ),
        'the limits were met': floods.every(({ refused }) => Object.keys(refused).length > 0),
      }),
      missed: besideP99 > Math.max(calmP99 * noticedTarget, calmP99 + slackMs) ? [`p99 of others from ${rounded(calmP99)} to ${rounded(besideP99)} ms`] : [],
    };
  },
};

function holds({ accepted, allowed }: Taken): boolean {
  return accepted > 0 && accepted <= allowed * over;
}

function allowedOf(burst: number, perSecond: number, began: number): number {
  return burst + (perSecond * (performance.now() - began)) / 1_000;
}

/** A user takes all he gets, leaves, and comes back at once, again and again. */
async function comeBack(port: number, seconds: number, kit: FaultKit): Promise<Taken & { times: number; results: FloodResult[] }> {
  const began = performance.now();
  const results: FloodResult[] = [];
  while (performance.now() - began < seconds * 1_000) {
    const flood = await Flood.open(port, { connections: 1, user: () => 'restless', room: () => 'room-0' });
    kit.defer(() => flood.close());
    results.push(await flood.run(10_000, 100));
    flood.close();
  }
  return {
    accepted: results.reduce((sum, { ok }) => sum + ok, 0),
    allowed: allowedOf(commands.userRateBurst, commands.userRateLimit, began),
    times: results.length,
    results,
  };
}

/** Small messages to a room that many follow: what they cost is what they cause. */
async function toMany(url: string, port: number, followers: number, seconds: number, kit: FaultKit): Promise<Taken & { result: FloodResult }> {
  for (let i = 0; i < followers; i++) {
    const follower = await RawClient.connect(url, { user: `follower-${i}` });
    await follower.ok('subscribe', { room: 'wide' });
    // What it is sent is of no interest, and this process has better things to do.
    follower.socket.removeAllListeners('message');
    kit.defer(() => follower.terminate());
  }
  const bytes = 400;
  const flood = await Flood.open(port, { connections: 1, user: () => 'loud', room: () => 'wide', bytes });
  kit.defer(() => flood.close());
  const began = performance.now();
  const result = await flood.run(commands.userRateLimit, seconds * 1_000);
  // The one that overdraws is let through.
  const allowed = 1 + allowedOf(cost.costBurst, cost.costLimit, began) / (bytes * followers);
  flood.close();
  return { accepted: result.ok, allowed, result };
}

/** A hub that trusts one proxy; behind it and elsewhere are clients who name each another address, and forge one more in front of it. */
async function fromAddresses(addresses: number, kit: FaultKit): Promise<{ strange: Taken; trusted: Taken }> {
  const hub = await kit.hub({
    production: true,
    origins: ['https://chat.example'],
    jwtSecrets: [`k1:${randomBytes(32).toString('hex')}`],
    trustedProxies: [proxyAddress],
    connectsPerAddressMax: handshakesMax,
    connectsWindowMs: windowMs,
    acceptPerSecond: 0,
  });
  const accepted = async (from: string): Promise<number> => {
    let count = 0;
    for (let address = 0; address < addresses; address++) {
      const own = `198.51.${100 + Math.floor(address / 250)}.${1 + (address % 250)}`;
      const tries = Array.from({ length: handshakesMax + 5 }, (_, i) => handshake(hub.port, from, `203.0.113.${1 + i}, ${own}`));
      count += (await Promise.all(tries)).filter((status) => status === 101).length;
    }
    return count;
  };
  const began = performance.now();
  const strange = { accepted: await accepted('127.0.0.1'), allowed: allowedOf(handshakesMax, (handshakesMax * 1_000) / windowMs, began) };
  return { strange, trusted: { accepted: await accepted(proxyAddress), allowed: addresses * handshakesMax } };
}

/** The status of the answer to one handshake through something that names a client's address. */
function handshake(port: number, localAddress: string, forwardedFor: string): Promise<number> {
  return new Promise((resolve, reject) => {
    const socket = connect({ port, host: '127.0.0.1', localAddress });
    socket.once('error', reject);
    socket.once('data', (bytes) => {
      socket.destroy();
      resolve(Number(bytes.toString('latin1').split(' ')[1]));
    });
    socket.write(upgradeRequest(port, { Host: 'chat.example', 'X-Forwarded-For': forwardedFor }));
  });
}
