/** Supervision with real threads (`fixtures/thread.mjs`) that throw, return, hang, fill their heap, or die again and again. */
import { MessageChannel, type MessagePort } from 'node:worker_threads';
import { afterEach, describe, expect, it } from 'vitest';
import type { Clock } from '../src/thread/clock.ts';
import { systemClock } from '../src/thread/clock.ts';
import { Thread } from '../src/thread/supervisor.ts';

const threads: Thread[] = [];
afterEach(async () => {
  await Promise.all(threads.splice(0).map((thread) => thread.stop(2_000)));
});

type Watched = { thread: Thread; deaths: number; logs: string[]; gaveUp: Promise<Error>; started(): Promise<Thread> };

function watch(task: object = {}, clock: Clock = systemClock): Watched {
  let giveUp: (error: Error) => void = () => {};
  const gaveUp = new Promise<Error>((resolve) => (giveUp = resolve));
  const waiting: ((thread: Thread) => void)[] = [];
  const watched: Watched = {
    deaths: 0,
    logs: [],
    gaveUp,
    started: () => new Promise((resolve) => waiting.push(resolve)),
    thread: new Thread(
      {
        role: 'shard',
        index: 3,
        filename: new URL('./fixtures/thread.mjs', import.meta.url).href,
        name: 'run',
        task,
        heapMb: 32,
        started: (thread) => {
          for (const resolve of waiting.splice(0)) resolve(thread);
        },
        died: () => {
          watched.deaths++;
        },
      },
      { clock, log: (_level, message) => watched.logs.push(message), gaveUp: giveUp },
    ),
  };
  threads.push(watched.thread);
  return watched;
}

/** Links a port to the thread; resolves once the thread has said who it is. */
async function order(thread: Thread): Promise<{ port: MessagePort; incarnation: number }> {
  const { port1, port2 } = new MessageChannel();
  const said = new Promise<{ incarnation: number }>((resolve) => port1.once('message', resolve));
  thread.connect('gateway', 0, 0, port2);
  const { incarnation } = await said;
  return { port: port1, incarnation };
}

describe('Thread', () => {
  it('starts, passes its log on, answers beats, and stops when told', async () => {
    const watched = watch();
    await watched.thread.start();
    expect(watched.thread.ready).toBe(true);
    const { incarnation } = await order(watched.thread);
    expect(incarnation).toBe(1);
    expect(watched.logs).toContain('up');
    watched.thread.beat(false);
    await order(watched.thread); // its answer comes behind the beat's
    expect(watched.thread.stats).toEqual({ incarnation: 1 });
    await watched.thread.stop(2_000);
    expect(watched.deaths).toBe(0);
  });

  it('a task that cannot start rejects the start, with its own error', async () => {
    const watched = watch({ failsAtStart: true });
    await expect(watched.thread.start()).rejects.toThrow('no such folder');
  });

  it.each(['throw', 'return', 'fill'])('a task that ends by itself (%s) is run again in a thread of its own, with the next incarnation', async (how) => {
    const watched = watch();
    await watched.thread.start();
    const { port } = await order(watched.thread);
    const again = watched.started();
    port.postMessage(how);
    await again;
    port.close();
    expect(watched.deaths).toBe(1);
    expect((await order(watched.thread)).incarnation).toBe(2);
    expect(watched.thread.restarts).toBe(1);
  });

  it('a task that hangs is replaced once its silence is long, unless the silence is our own', async () => {
    let tick = 0;
    const watched = watch({}, { ...systemClock, tick: () => tick });
    await watched.thread.start();
    const { port } = await order(watched.thread);
    port.postMessage('spin');
    tick += 60_000;
    watched.thread.beat(true); // this turn came late: the thread may have answered and not been heard
    expect(watched.deaths).toBe(0);
    tick += 4_000;
    watched.thread.beat(false);
    expect(watched.deaths).toBe(0);
    const again = watched.started();
    tick += 4_000;
    watched.thread.beat(false);
    await again;
    port.close();
    expect(watched.deaths).toBe(1);
    expect((await order(watched.thread)).incarnation).toBe(2);
  });

  it('a task that dies again and again is given up', async () => {
    const watched = watch();
    await watched.thread.start();
    let next: Promise<unknown> = Promise.resolve();
    let given = false;
    void watched.gaveUp.then(() => {
      given = true;
    });
    for (let i = 0; i < 11; i++) {
      await next;
      const { port } = await order(watched.thread);
      next = Promise.race([watched.started(), watched.gaveUp]);
      port.postMessage('throw');
      await next;
      port.close();
      if (given) break;
    }
    expect((await watched.gaveUp).message).toMatch(/shard 3 died 11 times/);
  });
});
