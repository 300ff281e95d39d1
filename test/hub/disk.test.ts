/** A disk without space: writes are refused and nobody sees them, everything else goes on, and with space writes do too. */
import { v7 } from 'uuid';
import { expect, it } from 'vitest';
import { checkHistory } from '../../src/testing/checker.ts';
import { Recorder } from '../../src/testing/recorder.ts';
import { startHub } from '../kit/hub.ts';
import { RawClient } from '../kit/raw-client.ts';
import { readLogs } from '../kit/reader.ts';

const MiB = 1024 * 1024;

it('M7 M1 a full disk refuses with `storage`, shows nobody what it refused, and recovers without a restart', async () => {
  const hub = await startHub({ fileBytesMax: 4 * MiB, rateLimit: 0 });
  const recorder = new Recorder();
  const alice = await RawClient.connect(hub.url, { user: 'alice', recorder });
  const bob = await RawClient.connect(hub.url, { user: 'bob', recorder });
  await bob.ok('subscribe', { room: 'full' });

  const stored = new Set<string>();
  const refused = new Set<string>();
  const publish = async (body = 'x'.repeat(50_000)): Promise<boolean> => {
    const mid = v7();
    const answer = await alice.command('publish', { room: 'full', mid, body });
    if (answer.op === 'ok') stored.add(mid);
    else {
      expect(answer).toMatchObject({ code: 'storage', retry: true });
      refused.add(mid);
    }
    return answer.op === 'ok';
  };
  while (refused.size === 0) await Promise.all(Array.from({ length: 8 }, () => publish()));
  expect(stored.size).toBeGreaterThan(5);

  // What needs no disk goes on.
  expect((await bob.ok('history', { room: 'full', limit: 200 })).entries).not.toHaveLength(0);
  await alice.ok('publish', { room: 'full', body: 'still live', ephemeral: true });
  expect(await bob.next('ephemeral')).toMatchObject({ body: 'still live' });
  expect((await alice.ok('who', { users: ['bob'] })).users[0]?.status).toBe('online');

  // A hello has to be stored too: with nothing left at all nobody new is let in, whoever is there stays. (Upkeep may make some room between the two.)
  for (let refusal = ''; refusal !== 'busy'; ) {
    while (await publish('x'));
    const carol = await RawClient.connect(hub.url, { hello: false });
    const answer = await carol.command('hello', { user: 'carol' });
    if (answer.op === 'error') {
      refusal = answer.code;
      expect({ refusal, closed: (await carol.closed).code }).toEqual({ refusal: 'busy', closed: 4004 });
    } else carol.socket.close();
  }

  hub.unlimitFiles();
  const [again = ''] = refused;
  while ((await alice.command('publish', { room: 'full', mid: again, body: 'now' })).op !== 'ok');
  stored.add(again);
  await publish();
  await bob.until(() => bob.entries('full').length >= stored.size);
  await bob.settled();
  expect(new Set(bob.entries('full').map(({ mid }) => mid))).toEqual(stored);
  await readLogs(hub.url, ['full'], recorder);
  await hub.restart('SIGKILL', { fileBytesMax: undefined });
  await readLogs(hub.url, ['full'], recorder);
  expect(checkHistory(recorder.events)).toEqual([]);
});
