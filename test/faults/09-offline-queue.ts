/**
 * Direct messages to people who are away, with two devices each, while the hub is killed between storing, pushing, acking and
 * reading. Each device gets every message, in order, and nobody is said to have received what he did not.
 */
import { v7 } from 'uuid';
import type { HubProcess } from '../../src/testing/hub-process.ts';
import type { Random } from '../kit/random.ts';
import { RawClient } from '../kit/raw-client.ts';
import { type FaultRow, violationsOf } from './row.ts';

type Size = { rounds: number; people: number; perRound: number };
const devices = ['phone', 'laptop'] as const;
const pageItems = 64;
const ledgerSample = 200;

/** One device over all its connections. What it acked before a crash may come again; what it did not must. */
type Device = { user: string; name: string; got: Map<string, number>; acked: number; faults: string[] };

export const row: FaultRow<Size> = {
  test: 9,
  title: 'I1 I2 I3 I8 D1 an inbox across crashes, two devices: every message reaches each device, none is called received before',
  target: '0 lost and 0 false "received" in 100,000 items',
  gate: { rounds: 2, people: 5, perRound: 200 },
  full: { rounds: 50, people: 20, perRound: 1_200 },

  async run({ rounds, people, perRound }, kit) {
    const { random } = kit;
    const hub = await kit.hub({ inboxItemsMax: 1_000_000, inboxBytesMax: 1_000_000_000, presenceGraceMs: 0 });
    const users = Array.from({ length: people }, (_, i) => `person-${i}`);
    const all = users.flatMap((user) => devices.map((name): Device => ({ user, name, got: new Map(), acked: 0, faults: [] })));
    // A device that was never there has no place in the inbox yet.
    for (const device of all) await visit(hub, device, random, false);
    const sent = new Map<string, Map<string, boolean>>(users.map((user) => [user, new Map()]));
    let falseReceived = 0;
    const violations: string[] = [];

    for (let round = 1; round <= rounds; round++) {
      for (let i = 0; i < perRound; i++) sent.get(random.pick(users))?.set(v7(), false);
      const killed = { now: false };
      const talking = deliver(hub, sent, () => killed.now);
      const visiting = all.map(async (device) => {
        for (let visits = 1 + random.int(3); visits > 0 && !killed.now; visits--) await visit(hub, device, random, true).catch(() => undefined);
      });
      await Promise.race([talking, Promise.all(visiting)]);
      killed.now = true;
      await hub.kill('SIGKILL');
      await Promise.all([talking, ...visiting]);
      await hub.start();
      await deliver(hub, sent, () => false); // the same mids again
      const wrong = await falselyReceived(hub, sent, all, random);
      falseReceived += wrong.length;
      violations.push(...wrong);
      if (round % 10 === 0) kit.say(`${round} kills`);
    }
    for (const device of all) await visit(hub, device, random, true, Number.POSITIVE_INFINITY);

    let items = 0;
    let lost = 0;
    for (const device of all) {
      const wanted = sent.get(device.user) ?? new Map();
      items += wanted.size;
      const missing = [...wanted.keys()].filter((mid) => !device.got.has(mid));
      lost += missing.length;
      if (missing.length > 0) violations.push(`${device.user} ${device.name} never got ${missing.length}, the first ${missing[0]}`);
      const ns = [...device.got.values()];
      if (ns.length !== new Set(ns).size) violations.push(`${device.user} ${device.name} got two messages with the same n`);
      violations.push(...device.faults);
    }
    return {
      figures: { items, lost, falseReceived, kills: rounds },
      violations: [
        ...violations.slice(0, 20),
        ...violationsOf({ 'all of them were sent': [...sent.values()].every((mids) => [...mids.values()].every(Boolean)) }),
      ],
    };
  },
};

/** Sends what was not acked yet. */
async function deliver(hub: HubProcess, sent: Map<string, Map<string, boolean>>, over: () => boolean): Promise<void> {
  const sender = await RawClient.connect(hub.url, { user: 'sender', device: 'only' }).catch(() => null);
  if (sender === null) return;
  const waiting = [...sent].flatMap(([to, mids]) => [...mids].flatMap(([mid, acked]) => (acked ? [] : [{ to, mid }])));
  for (let at = 0; at < waiting.length && !over(); at += pageItems) {
    const page = waiting.slice(at, at + pageItems).map(async ({ to, mid }) => {
      await sender.ok('direct', { to, mid, body: 'are you there?' });
      sent.get(to)?.set(mid, true);
    });
    const done = await Promise.allSettled(page);
    if (done.some(({ status }) => status === 'rejected')) break;
  }
  sender.terminate();
}

/** Comes, takes what is there (or a part of it), acks a part of that, and goes. */
async function visit(hub: HubProcess, device: Device, random: Random, acking: boolean, patience = 1 + random.int(400)): Promise<void> {
  const { user, name } = device;
  const client = await RawClient.connect(hub.url, { user, device: name });
  const inbox = client.welcome?.inbox ?? { head: 0, acked: 0 };
  if (inbox.acked < device.acked) device.faults.push(`${user} ${name} had acked ${device.acked} and the hub knows of ${inbox.acked}`);
  let last = inbox.acked;
  client.onPush = (push) => {
    if (push.op === 'inbox-gap') device.faults.push(`${user} ${name} was told of a gap ${push.from}–${push.to}`);
    if (push.op !== 'inbox') return;
    if (push.n !== last + 1) device.faults.push(`${user} ${name} got ${push.n} after ${last}`);
    last = push.n;
    const known = device.got.get(push.mid ?? '');
    if (known !== undefined && known !== push.n) device.faults.push(`${user} ${name} got ${push.mid} as ${known} and as ${push.n}`);
    device.got.set(push.mid ?? '', push.n);
  };
  // What came together with the welcome was not seen by `onPush`.
  for (const push of client.pushes.slice()) client.onPush(push);
  const enough = Math.min(inbox.head, inbox.acked + patience);
  await client.until(() => last >= enough);
  if (acking && last > inbox.acked) {
    const through = patience === Number.POSITIVE_INFINITY ? last : inbox.acked + 1 + random.int(last - inbox.acked);
    // Before it is known to be stored the ack may or may not have been.
    const answer = await client.ok('ack', { through });
    device.acked = Math.max(device.acked, answer.through);
  }
  client.terminate();
  await client.closed;
}

/** Asks the ledger about some messages: `received` and beyond needs a device that got it. */
async function falselyReceived(hub: HubProcess, sent: Map<string, Map<string, boolean>>, all: readonly Device[], random: Random): Promise<string[]> {
  const sender = await RawClient.connect(hub.url, { user: 'sender', device: 'only' });
  const wrong: string[] = [];
  const users = [...sent.keys()];
  for (let i = 0; i < ledgerSample; i++) {
    const user = random.pick(users);
    const mids = [...(sent.get(user)?.keys() ?? [])];
    if (mids.length === 0) continue;
    const mid = random.pick(mids);
    const { deliveries } = await sender.ok('delivery', { room: `dm:${[user, 'sender'].toSorted().join(':')}`, mid });
    const theirs = all.filter((device) => device.user === user);
    const claimed = deliveries.some((delivery) => delivery.user === user && (delivery.state === 'received' || delivery.state === 'read'));
    if (claimed && !theirs.some((device) => device.got.has(mid))) wrong.push(`${user} is said to have received ${mid} and did not`);
  }
  sender.terminate();
  return wrong;
}
