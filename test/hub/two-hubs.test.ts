/** Two hubs in one process share nothing: no module of the hub holds state. Started from the build, whose workers are real. */
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { expect, it } from 'vitest';
import type * as HubModule from '../../src/hub.ts';
import { temporaryFolder } from '../kit/hub.ts';
import { root } from '../kit/paths.ts';
import { RawClient } from '../kit/raw-client.ts';

const { startHub }: typeof HubModule = await import(pathToFileURL(join(root, 'dist', 'hub.js')).href);

it('keep apart what they are told, and end one without the other', async () => {
  const start = () => startHub({ dev: true, port: 0, data: temporaryFolder(), presenceGraceMs: 0 }, { log: () => {} });
  const hubs = await Promise.all([start(), start()]);
  const clients = await Promise.all(hubs.map(({ port }) => RawClient.connect(`ws://127.0.0.1:${port}`, { user: 'alice' })));
  const [first, second] = clients;
  if (!first || !second) throw new Error('unreachable');
  expect(first.welcome?.epoch).not.toBe(second.welcome?.epoch);
  for (const client of clients) await client.ok('subscribe', { room: 'same' });
  await first.ok('publish', { room: 'same', body: 'first' });
  await second.ok('publish', { room: 'same', body: 'second' });
  for (const [client, body] of [
    [first, 'first'],
    [second, 'second'],
  ] as const) {
    expect(await client.next('entry')).toMatchObject({ seq: 1, body });
    expect((await client.ok('info', { room: 'same' })).subscribers).toBe(1);
    expect((await client.ok('history', { room: 'same' })).entries).toHaveLength(1);
  }
  await hubs[0]?.close();
  expect((await first.closed).code).toBe(4000);
  expect(await hubs[0]?.closed).toBe(null);
  await second.ok('publish', { room: 'same', body: 'still here' });
  await hubs[1]?.close();
  expect((await second.closed).code).toBe(4000);
});
