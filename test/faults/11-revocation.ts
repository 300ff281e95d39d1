/**
 * Rights that end while their owner is connected and, in half of the rounds, while a backlog is on its way to him: removed, banned,
 * all tokens revoked, disabled, or the room made private. Somebody else writes all the time; what reaches him afterwards is a leak.
 */
import { SignJWT } from 'jose';
import { RawClient } from '../kit/raw-client.ts';
import { percentile, rounded } from './percentile.ts';
import { type FaultRow, violationsOf } from './row.ts';

type Size = { rounds: number; backlog: number };

const ways = ['removed', 'banned', 'revoked', 'disabled', 'made private'] as const;
const secret = 'a secret of forty characters, no less!!!';
const key = 'a key of a backend, long enough to be one';
const bodyUnits = 2_000;
const trafficPerRound = 40;

export const row: FaultRow<Size> = {
  test: 11,
  title: 'F8 H8 nothing of a room or a session reaches who lost his right to it, with a seq or a time after that',
  target: '0 leaked events; time to cut p99 ≤ 1 s',
  gate: { rounds: 5, backlog: 200 },
  full: { rounds: 400, backlog: 1_500 },

  async run({ rounds, backlog }, kit) {
    const { random } = kit;
    const hub = await kit.hub({
      production: true,
      jwtSecrets: [`k:${secret}`],
      apiKeys: [`ops:${key}`],
      origins: ['https://x.example'],
      opsPort: 0,
      openCommandsMax: 5_000,
      tailItemsMax: 16,
    });
    const token = (user: string): Promise<string> => {
      const now = Math.floor(Date.now() / 1_000);
      return new SignJWT({})
        .setProtectedHeader({ alg: 'HS256', kid: 'k' })
        .setSubject(user)
        .setIssuedAt(now - 60)
        .setExpirationTime(now + 3_600)
        .sign(new TextEncoder().encode(secret));
    };
    const connect = async (user: string): Promise<RawClient> =>
      RawClient.connect(hub.url, { token: await token(user), format: random.int(2) ? 'json' : 'msgpack' });
    const operator = async (method: string, path: string, body: object): Promise<number> => {
      const headers = { Authorization: `Bearer ${key}`, 'Content-Type': 'application/json' };
      return (await fetch(`${hub.http}/api/v1${path}`, { method, headers, body: JSON.stringify(body) })).status;
    };
    const owner = await connect('owner');
    const cutMs: number[] = [];
    let [leaked, notFinal, refusedLater, cutMidway] = [0, 0, 0, 0];

    for (let round = 0; round < rounds; round++) {
      const way = ways[round % ways.length] as (typeof ways)[number];
      const [room, user] = [`room ${round}`, `user-${round}`];
      const sessionOnly = way === 'revoked' || way === 'disabled';
      await owner.ok('create', { room, visibility: way === 'made private' ? 'public' : 'private', history: 'all' });
      await Promise.all(Array.from({ length: backlog }, (_, i) => owner.ok('publish', { room, body: `${i} ${'x'.repeat(bodyUnits)}` })));
      if (way !== 'made private') await owner.ok('setMember', { room, user, role: 'member' });
      const victim = await connect(user);
      const behind = random.int(2) === 0;
      await victim.ok('subscribe', { room, ...(behind ? { position: { epoch: victim.welcome?.epoch, seq: 0 } } : {}) });
      const traffic = Array.from({ length: trafficPerRound }, (_, i) => owner.ok('publish', { room, body: `during ${i}` }));
      const ended = (sessionOnly ? victim.closed : victim.next('unsubscribed')).then(() => performance.now());
      let from = Number.MAX_SAFE_INTEGER;
      if (way === 'revoked') await operator('POST', `/users/${user}/revoke`, {});
      else if (way === 'disabled') await operator('PUT', `/users/${user}/disabled`, { disabled: true });
      else if (way === 'removed') from = (await owner.ok('removeMember', { room, user })).seq;
      else if (way === 'banned') from = (await owner.ok('setMember', { room, user, role: 'banned' })).seq;
      else from = (await owner.ok('update', { room, visibility: 'private' })).seq;
      const answeredAt = performance.now();
      await Promise.all(traffic);
      const { seq: after = 0 } = await owner.ok('publish', { room, body: 'after' });
      cutMs.push(Math.max(0, (await ended) - answeredAt));
      if (sessionOnly) {
        const { code } = await victim.closed;
        // A socket with something unsent is cut without a goodbye; its next hello says why.
        if (code !== 4506 && code !== 1006) notFinal++;
        const again = await RawClient.connect(hub.url, { hello: false });
        const refusal = await again.command('hello', { token: await token(user) });
        if (refusal.op === 'error' && (await again.closed).code === 4506) refusedLater++;
      } else {
        await victim.settled();
        if ((await victim.command('publish', { room, body: 'still here' })).op === 'error') refusedLater++;
        victim.terminate();
      }
      leaked += victim.entries(room).filter(({ seq }) => seq >= Math.min(from, after)).length;
      const last = victim.entries(room).at(-1)?.seq ?? 0;
      if (behind && last < backlog) cutMidway++;
      if ((round + 1) % 50 === 0) kit.say(`round ${round + 1} of ${rounds}`);
    }
    const p99 = rounded(percentile(cutMs, 0.99));
    owner.terminate();
    return {
      figures: { rounds, leakedEvents: leaked, cutP50Ms: rounded(percentile(cutMs, 0.5)), cutP99Ms: p99, cutMidwayThroughABacklog: cutMidway },
      violations: violationsOf({
        'no event reached anybody after his right had ended': leaked === 0,
        'every session ended with a final code, or was cut': notFinal === 0,
        'nobody was let in again': refusedLater === rounds,
      }),
      missed: p99 <= 1_000 ? [] : [`time to cut p99 ${p99} ms`],
    };
  },
};
