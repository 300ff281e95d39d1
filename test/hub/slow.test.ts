/**
 * Readers that do not read. Others do not notice, the hub's memory stays bounded, and who reads again gets everything
 * without a hole. Loopback takes some megabytes before the hub queues a byte, so much more than that is sent.
 */
import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { checkHistory } from '../../src/testing/checker.ts';
import { Recorder } from '../../src/testing/recorder.ts';
import { startHub } from '../kit/hub.ts';
import { RawClient } from '../kit/raw-client.ts';

const MiB = 1024 * 1024;
const bodyBytes = 60_000;
const messages = 560; // 32 MiB for each reader
const slowReaders = 8;

const hub = await startHub({ rateLimit: 0, slowMs: 600_000, heartbeatMs: 600_000 });

function residentBytes(): number {
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${hub.pid}/status`, 'utf8'))?.[1] ?? Number.NaN) * 1024;
}

it('F7 costs the others nothing, the hub little, and itself no message', async () => {
  const recorder = new Recorder();
  const slow = await Promise.all(
    Array.from({ length: slowReaders }, (_, i) => RawClient.connect(hub.url, { user: `slow-${i}`, format: i % 2 ? 'json' : 'msgpack', recorder })),
  );
  const fast = await RawClient.connect(hub.url, { user: 'fast', recorder });
  const writer = await RawClient.connect(hub.url, { user: 'writer', recorder });
  for (const client of [...slow, fast]) await client.ok('subscribe', { room: 'heavy' });
  for (const client of slow) client.pause();
  const before = residentBytes();
  let most = before;

  const body = 'x'.repeat(bodyBytes);
  for (let sent = 0; sent < messages; sent += 8) {
    await Promise.all(Array.from({ length: 8 }, () => writer.ok('publish', { room: 'heavy', body })));
    most = Math.max(most, residentBytes());
  }
  await fast.until(() => fast.entries('heavy').length === messages);

  // 256 MiB were not taken; without limits they would be here.
  expect((most - before) / MiB).toBeLessThan(176);
  for (const client of slow) expect(client.entries('heavy').length).toBeLessThan(messages);

  for (const client of slow) client.resume();
  await Promise.all(slow.map((client) => client.until(() => client.entries('heavy').at(-1)?.seq === messages)));
  for (const client of slow) {
    expect(client.entries('heavy').map(({ seq }) => seq)).toEqual(Array.from({ length: messages }, (_, i) => i + 1));
    expect(client.pushes.some(({ op }) => op === 'behind')).toBe(true);
  }
  // Caught up means live again.
  await writer.ok('publish', { room: 'heavy', body: 'light' });
  for (const client of slow) expect((await client.next('entry', (entry) => entry.body === 'light')).seq).toBe(messages + 1);
  expect(checkHistory(recorder.events)).toEqual([]);
});

it('F7 is closed when it takes nothing at all for too long, and resumes where it stood', async () => {
  const impatient = await startHub({ rateLimit: 0, slowMs: 500, heartbeatMs: 600_000 });
  const stuck = await RawClient.connect(impatient.url, { user: 'stuck' });
  const writer = await RawClient.connect(impatient.url, { user: 'writer' });
  await stuck.ok('subscribe', { room: 'heavy' });
  stuck.pause();
  const body = 'x'.repeat(bodyBytes);
  await Promise.all(Array.from({ length: messages }, () => writer.ok('publish', { room: 'heavy', body })));
  const watched = await writer.ok('info', { room: 'heavy' });
  expect(watched.position.seq).toBe(messages);
  while ((await writer.ok('info', { room: 'heavy' })).subscribers > 0);
  stuck.resume();
  expect([4003, 1006]).toContain((await stuck.closed).code);
  const last = stuck.entries('heavy').at(-1)?.seq ?? 0;
  const back = await RawClient.connect(impatient.url, { user: 'stuck' });
  await back.ok('subscribe', { room: 'heavy', position: { epoch: back.welcome?.epoch, seq: last } });
  await back.until(() => back.entries('heavy').at(-1)?.seq === messages);
  expect([...stuck.entries('heavy'), ...back.entries('heavy')].map(({ seq }) => seq)).toEqual(Array.from({ length: messages }, (_, i) => i + 1));
});

it('F7 M6 gets no ephemera while it is behind, and loses nothing else', async () => {
  const slow = await RawClient.connect(hub.url, { user: 'slow' });
  const writer = await RawClient.connect(hub.url, { user: 'writer' });
  await slow.ok('subscribe', { room: 'mixed' });
  slow.pause();
  const body = 'x'.repeat(bodyBytes);
  for (let i = 0; i < 300; i++) {
    await writer.ok('publish', { room: 'mixed', body, ephemeral: true });
    if (i % 3 === 0) await writer.ok('publish', { room: 'mixed', body: i });
  }
  slow.resume();
  await slow.until(() => slow.entries('mixed').at(-1)?.seq === 100);
  expect(slow.entries('mixed').map(({ seq }) => seq)).toEqual(Array.from({ length: 100 }, (_, i) => i + 1));
  expect(slow.pushes.filter(({ op }) => op === 'ephemeral').length).toBeLessThan(300);
});
