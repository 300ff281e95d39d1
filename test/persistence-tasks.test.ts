/** The two tasks of persistence end to end on a real file: what the supervisor and the shards see of them. */
import { MessageChannel, type MessagePort } from 'node:worker_threads';
import { expect, it, onTestFinished } from 'vitest';
import { runPersistence, runReader } from '../src/persistence/entry.ts';
import { SqliteStore } from '../src/persistence/sqlite.ts';
import { systemClock } from '../src/thread/clock.ts';
import type { Control, FromThread, ReadRequest, ReadResult } from '../src/thread/messages.ts';
import { makeWitness } from '../src/thread/witness.ts';
import { ShardEnd } from './shard-end.ts';
import { freshFolder, silent } from './sqlite-setup.ts';
import { defaults, direct, message, startTs } from './store-contract.ts';

it('a shard writes through one and reads through the other, until they are told to stop', async () => {
  const options = { ...defaults, data: freshFolder() };
  const writing = taskOn((control) =>
    runPersistence({ control, witness: makeWitness(0), options, shards: 1, maintainMs: 1_000_000, diskWarnBytes: 0, barred: { rooms: [], commands: [] } }),
  );
  await writing.until((message) => message.t === 'ready');
  const reading = taskOn((control) => runReader({ control, witness: makeWitness(0), options, watched: null }));
  await reading.until((message) => message.t === 'ready');

  const shard = new ShardEnd(writing.link());
  shard.open(0);
  shard.send(1, message('r', 'x'), direct('a', 'b'));
  const got = await shard.received(3);
  expect(got).toMatchObject([
    { t: 'opened' },
    { t: 'result', outcomes: [1, { code: 'ok', seq: 1 }] },
    { t: 'notices', notices: [{ t: 'inbox', user: 'b', n: 1 }] },
  ]);

  const port = reading.link();
  onTestFinished(() => port.close());
  const answers: ReadResult[] = [];
  const answered = new Promise<void>((resolve) => {
    port.on('message', (result: ReadResult) => {
      if (answers.push(result) === 2) resolve();
    });
  });
  port.postMessage({ request: 1, query: { read: 'room', room: 'r' } } satisfies ReadRequest);
  port.postMessage({ request: 2, query: { read: 'delivery', room: 'r', mid: 'not a uuid', user: null } } satisfies ReadRequest);
  await answered;
  expect(answers).toMatchObject([
    { request: 1, reply: { exists: true, headSeq: 1 } },
    { request: 2, error: 'a mid is a UUID' },
  ]);

  writing.control.postMessage({ t: 'beat', turn: 5 } satisfies Control);
  const beat = await writing.until((message) => message.t === 'beat');
  expect(beat).toMatchObject({ turn: 5, stats: { commits: 1, operations: 2, entries: 2, queuedBatches: 0, lockWaits: 0, shards: 1 } });
  reading.control.postMessage({ t: 'beat', turn: 6 } satisfies Control);
  expect(await reading.until((message) => message.t === 'beat')).toMatchObject({ turn: 6, stats: { reads: 2, failed: 1 } });
  for (const { control, done } of [writing, reading]) {
    control.postMessage({ t: 'stop' } satisfies Control);
    await done;
  }
});

it('a writer that has a successor throws, and leaves the successor its connections', async () => {
  const options = { ...defaults, data: freshFolder() };
  const task = taskOn((control) =>
    runPersistence({ control, witness: makeWitness(0), options, shards: 1, maintainMs: 1_000_000, diskWarnBytes: 0, barred: { rooms: [], commands: [] } }),
  );
  await task.until((message) => message.t === 'ready');
  const successor = await SqliteStore.open(options, { clock: systemClock, log: silent });
  onTestFinished(() => successor.close());
  const shard = new ShardEnd(task.link());
  shard.open(0);
  shard.send(1, message('r', 'x'));
  await expect(task.done).rejects.toThrow('another writer of this node has taken over');
  expect((await successor.commit([message('r', 'x')], startTs)).outcomes).toEqual([1]);
});

it('a folder that cannot be used ends the task with a sentence', async () => {
  const task = taskOn((control) =>
    runPersistence({
      control,
      witness: makeWitness(0),
      options: { ...defaults, data: '/dev/null/data' },
      shards: 1,
      maintainMs: 1_000_000,
      diskWarnBytes: 0,
      barred: { rooms: [], commands: [] },
    }),
  );
  await expect(task.done).rejects.toThrow('the data folder /dev/null/data cannot be used: it is not a folder');
});

/** A task, run on this thread, with the supervisor's end of its control port. */
function taskOn(run: (control: MessagePort) => Promise<void>) {
  const { port1, port2 } = new MessageChannel();
  const got: FromThread[] = [];
  let look = (): void => {};
  port1.on('message', (message: FromThread) => {
    got.push(message);
    look();
  });
  onTestFinished(() => port1.close());
  const done = run(port2);
  done.catch(() => {}); // looked at by the test, perhaps later
  const until = (wanted: (message: FromThread) => boolean): Promise<FromThread> =>
    new Promise((resolve) => {
      look = () => {
        const found = got.find(wanted);
        if (found !== undefined) resolve(found);
      };
      look();
    });
  const link = (): MessagePort => {
    const ends = new MessageChannel();
    port1.postMessage({ t: 'peer', role: 'shard', index: 0, incarnation: 1, port: ends.port1 } satisfies Control, [ends.port1]);
    return ends.port2;
  };
  return { control: port1, done, until, link };
}
