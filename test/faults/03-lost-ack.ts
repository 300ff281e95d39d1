/**
 * The answer is lost on its way: the message is committed and everybody sees it, but the network (or the hub's death) takes the
 * `ok`, and the client sends again with the same mid. Rounds end in a cut connection, some in the death of the hub.
 */
import { v7 } from 'uuid';
import type { TcpProxy } from '../../src/testing/proxy.ts';
import { RawClient } from '../kit/raw-client.ts';
import { readLogs } from '../kit/reader.ts';
import { type FaultRow, violationsOf } from './row.ts';

type Size = { rounds: number; lanes: number; messages: number; killEvery: number };
/** A sender behind a network of its own, which swallows everything that comes from the hub while `deaf`. */
type Lane = { user: string; room: string; proxy: TcpProxy; deaf: boolean; swallowed: number };

export const row: FaultRow<Size> = {
  test: 3,
  title: 'M3 M1 an ack lost between commit and client: the retry gets the same seq, and the message is there once',
  target: '0 doubles in 10,000 forced retries',
  gate: { rounds: 4, lanes: 10, messages: 10, killEvery: 4 },
  full: { rounds: 52, lanes: 20, messages: 10, killEvery: 4 },

  async run({ rounds, lanes: laneCount, messages, killEvery }, kit) {
    const { random, recorder } = kit;
    const hub = await kit.hub();
    const rooms = ['lost-1', 'lost-2', 'lost-3'];
    const lanes: Lane[] = [];
    for (let i = 0; i < laneCount; i++) {
      const lane: Lane = { user: `sender-${i}`, room: random.pick(rooms), proxy: await kit.proxy(hub), deaf: false, swallowed: 0 };
      lane.proxy.options.inspect = (_link, direction, bytes) => {
        if (direction === 'up' || !lane.deaf) return 'pass';
        lane.swallowed += bytes.length;
        return 'drop';
      };
      lanes.push(lane);
    }
    const stands = new Map<string, number>();
    const observe = async (): Promise<RawClient> => {
      const observer = await RawClient.connect(hub.url, { user: 'observer', recorder });
      observer.onPush = (push) => {
        if (push.op === 'entry' && push.mid !== null) stands.set(push.mid, push.seq);
      };
      for (const room of rooms) await observer.ok('subscribe', { room });
      return observer;
    };
    let observer = await observe();
    let [retries, same, duplicates] = [0, 0, 0];

    for (let round = 1; round <= rounds; round++) {
      const sent = await Promise.all(
        lanes.map(async (lane) => {
          const client = await RawClient.connect(lane.proxy.url, { user: lane.user, device: 'only', recorder, format: random.int(2) ? 'json' : 'msgpack' });
          lane.deaf = true;
          const mids = Array.from({ length: messages }, () => v7());
          for (const mid of mids) void client.command('publish', { room: lane.room, mid, body: { round } }).catch(() => undefined);
          await observer.until(() => mids.every((mid) => stands.has(mid)));
          return { lane, client, mids };
        }),
      );
      if (round % killEvery === 0) {
        await hub.kill('SIGKILL');
        await Promise.all([observer.closed, ...sent.map(({ client }) => client.closed)]);
        await hub.start();
        observer = await observe();
      } else {
        for (const { lane } of sent) lane.proxy.cut(random.int(2) ? 'rst' : 'fin');
        await Promise.all(sent.map(({ client }) => client.closed));
      }
      await Promise.all(
        sent.map(async ({ lane, mids }) => {
          lane.deaf = false;
          const client = await RawClient.connect(lane.proxy.url, { user: lane.user, device: 'only', recorder });
          for (const mid of mids) {
            const answer = await client.ok('publish', { room: lane.room, mid, body: 'again' });
            retries++;
            if (answer.seq === stands.get(mid)) same++;
            if (answer.duplicate === true) duplicates++;
          }
          await client.close();
        }),
      );
    }
    const logs = await readLogs(hub.url, rooms, recorder);
    const kept = [...logs.values()].flat().filter(({ kind }) => kind === 'message');
    observer.terminate();
    await observer.closed;
    return {
      figures: { retries, sameSeq: same, doubles: kept.length - retries, killsOfTheHub: Math.floor(rounds / killEvery) },
      violations: [
        ...(await kit.checkSettled()),
        ...violationsOf({
          'every retry got the seq of the first commit': same === retries,
          'every retry was called a duplicate': duplicates === retries,
          'every message is there once': kept.length === retries && new Set(kept.map(({ mid }) => mid)).size === retries,
          'the first body won': kept.every(({ body }) => body !== 'again'),
          'answers were lost in every lane': lanes.every(({ swallowed }) => swallowed > 0),
        }),
      ],
    };
  },
};
