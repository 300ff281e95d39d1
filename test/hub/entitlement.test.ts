/** Members come and go in a private room while others talk: each sees what was said while he belonged, nothing else, and all agree who belongs. */
import { expect, it } from 'vitest';
import type { MemberBody } from '../../src/protocol/pushes.ts';
import { checkHistory } from '../../src/testing/checker.ts';
import { Recorder } from '../../src/testing/recorder.ts';
import { startHub } from '../kit/hub.ts';
import { RawClient } from '../kit/raw-client.ts';
import { readLogs } from '../kit/reader.ts';
import { seeded } from '../kit/seeded.ts';

const room = 'inner circle';
const steps = 400;
const hub = await startHub({ rateLimit: 0, tailItemsMax: 16 });

it.each(['sinceJoin', 'all'] as const)('F8 F3 G2 G4 G8 with history %s, rights follow the order of the log', async (entitlement) => {
  const random = seeded();
  const recorder = new Recorder();
  const name = `${room} ${entitlement}`;
  const connect = (user: string): Promise<RawClient> => RawClient.connect(hub.url, { user, recorder, format: random.int(2) ? 'json' : 'msgpack' });
  const owner = await connect('owner');
  const fixed = await connect('fixed');
  await owner.ok('create', { room: name, visibility: 'private', history: entitlement });
  await owner.ok('setMember', { room: name, user: 'fixed', role: 'member' });
  for (const client of [owner, fixed]) await client.ok('subscribe', { room: name });
  const epoch = owner.welcome?.epoch;
  const guests = await Promise.all(Array.from({ length: 6 }, (_, i) => connect(`guest-${i}`)));

  // Nobody waits for anybody: refusals are as likely as answers, and every order of arrival is a good one.
  const running: Promise<unknown>[] = [];
  // One subscribe of a guest at a time: of two at once the second replaces the first, whose answer then promises nothing.
  const subscribed = new Map<RawClient, Promise<unknown>>();
  const subscribe = (guest: RawClient, fields: Record<string, unknown>): Promise<unknown> => {
    const turn = (subscribed.get(guest) ?? Promise.resolve()).then(() => guest.command('subscribe', { room: name, ...fields }));
    subscribed.set(guest, turn);
    return turn;
  };
  for (let step = 0; step < steps; step++) {
    const guest = random.pick(guests);
    const acts: (() => Promise<unknown>)[] = [
      () => owner.command('setMember', { room: name, user: guest.user, role: 'member' }),
      () => owner.command('removeMember', { room: name, user: guest.user }),
      () => subscribe(guest, {}),
      () => subscribe(guest, { position: { epoch, seq: random.int(step + 1) } }),
      () => guest.command('leave', { room: name }),
      () => guest.command('publish', { room: name, body: `guest ${step}` }),
      () => guest.command('mark', { room: name, received: guest.entries(name).at(-1)?.seq ?? 0 }),
      () => fixed.command('publish', { room: name, body: `fixed ${step}` }),
      () => owner.command('publish', { room: name, body: `owner ${step}` }),
    ];
    running.push(random.pick(acts)());
    if (random.int(6) === 0) await running.at(-1);
  }
  await Promise.all(running);
  const { members } = await owner.ok('members', { room: name, limit: 200 });
  for (const client of [owner, fixed, ...guests]) await client.settled();

  // Whoever follows in the end gets everything up to the head.
  const { position } = await owner.ok('info', { room: name });
  for (const client of [owner, fixed, ...guests]) {
    const last = recorder.events.findLast((event) => (event.t === 'follow' || event.t === 'unfollow') && event.client === client.name && event.room === name);
    if (last?.t === 'follow' && (last.seq ?? 0) < position.seq) await client.until(() => client.entries(name).at(-1)?.seq === position.seq);
  }
  for (const client of [owner, fixed]) recorder.state(client.name, name, membersBy(client, name));
  recorder.state(
    'the hub',
    name,
    members
      .map(({ user }) => user)
      .sort()
      .join(' '),
  );
  for (const guest of guests) {
    const mine = (await guest.ok('rooms', {})).rooms.find((one) => one.room === name);
    if (mine) recorder.mark(guest.user, name, mine.received ?? 0, mine.read ?? 0);
  }
  const log = (await readLogs(hub.url, [name], recorder, { user: 'owner', entitlement })).get(name) ?? [];
  expect(log.length).toBeGreaterThan(steps / 4);
  expect(checkHistory(recorder.events)).toEqual([]);
});

/** Who belongs, as told by the entries that this client saw: all but the first two. */
function membersBy(client: RawClient, name: string): string {
  const members = new Set(['owner', 'fixed']);
  for (const { kind, body } of client.entries(name)) {
    if (kind !== 'member') continue;
    const { user, role } = body as MemberBody;
    if (role === null) members.delete(user);
    else members.add(user);
  }
  return [...members].sort().join(' ');
}
