/** What a shard keeps for the store while that is busy: bounded in operations and in bytes, counted until they are answered. */
import { MessageChannel } from 'node:worker_threads';
import { expect, it, onTestFinished } from 'vitest';
import { Commits } from '../src/shard/commits.ts';
import type { Batch, FromPersistence, Operation, Outcome, ToPersistence } from '../src/thread/messages.ts';

const disconnect: Operation = { type: 'disconnect', user: 'alice', connection: 1 };
/** What each counts for beside its body. */
const operationBytes = 200;

/** Commits whose store answers when the test says so. */
async function stand(pendingMax: number, pendingBytesMax: number) {
  const { port1, port2 } = new MessageChannel();
  const batches: Batch[] = [];
  let settledBatches = 0;
  let opened = false;
  let changed = (): void => {};
  const commits = new Commits(pendingMax, pendingBytesMax, {
    opened: () => {
      opened = true;
      changed();
    },
    notices: () => {},
    about: () => {},
    settled: (settle) => {
      settle();
      settledBatches++;
      changed();
    },
  });
  const until = (condition: () => boolean): Promise<void> =>
    new Promise((resolve) => {
      changed = () => condition() && resolve();
      changed();
    });
  port2.on('message', (message: ToPersistence) => {
    if ('t' in message) port2.postMessage({ t: 'opened', epoch: 'e1' } satisfies FromPersistence);
    else batches.push(message);
    changed();
  });
  onTestFinished(() => {
    commits.close();
    port2.close();
  });
  commits.connect(port1, 0, 1);
  await until(() => opened);
  const answer = async (): Promise<void> => {
    const number = settledBatches + 1;
    await until(() => batches.length >= number);
    const { batch, operations } = batches[number - 1] as Batch;
    port2.postMessage({ t: 'result', batch, ts: 1, outcomes: operations.map(() => ({ code: 'done' })) } satisfies FromPersistence);
    await until(() => settledBatches >= number);
  };
  /** How many it takes until it takes no more. */
  const fill = (operation: Operation, most = 1_000): number => {
    let taken = 0;
    while (taken < most && commits.add(operation, () => {})) taken++;
    return taken;
  };
  const say = (batch: number, outcome: Outcome) => port2.postMessage({ t: 'result', batch, ts: 1, outcomes: [outcome] } satisfies FromPersistence);
  return { commits, answer, fill, say };
}

it('pendingMax: takes so many operations, those at the store among them, and more once they are answered', async () => {
  const { commits, answer, fill } = await stand(10, 1e9);
  expect(fill(disconnect, 4)).toBe(4);
  commits.flush(); // these are at the store now
  expect(fill(disconnect)).toBe(6);
  expect(commits.pending).toBe(10);
  await answer(); // which sends the six
  expect(fill(disconnect)).toBe(4);
  await answer();
  expect(fill(disconnect)).toBe(6);
});

it('pendingBytesMax: takes so many bytes, those at the store among them, and more once they are answered', async () => {
  const { commits, answer, fill } = await stand(1_000_000, 10 * operationBytes);
  expect(fill(disconnect, 7)).toBe(7);
  commits.flush();
  expect(fill(disconnect)).toBe(3);
  await answer();
  expect(fill(disconnect)).toBe(7);
  await answer();
  await answer();
  expect(fill(disconnect)).toBe(10);
});

it('M1 an answer that comes twice, from a writer and its successor, decides nothing of the batch behind it', async () => {
  const { commits, answer, say } = await stand(10, 1e9);
  commits.add(disconnect, () => {});
  commits.flush();
  await answer();
  const outcomes: Outcome[] = [];
  const decided = new Promise<void>((done) => {
    commits.add(disconnect, (outcome) => {
      outcomes.push(outcome);
      done();
    });
  });
  commits.flush();
  say(1, { code: 'storage', message: 'of the batch before' });
  say(2, { code: 'done' });
  await decided;
  expect(outcomes).toEqual([{ code: 'done' }]);
});
