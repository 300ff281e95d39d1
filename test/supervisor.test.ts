/** Supervision with real threads (`fixtures/thread.mjs`) that throw, return, hang, fill their heap, or die again and again. Time is told by the test. */
import { once } from 'node:events';
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { MessageChannel, type MessagePort } from 'node:worker_threads';
import { afterEach, describe, expect, it, onTestFinished } from 'vitest';
import { systemClock } from '../src/thread/clock.ts';
import { letGo, poolOfOne, Spare } from '../src/thread/spare.ts';
import { StuckError, Thread, type ThreadSpec } from '../src/thread/supervisor.ts';
import { freshFolder } from './sqlite-setup.ts';

const filename = new URL('./fixtures/thread.mjs', import.meta.url).href;
const threads: Thread[] = [];
afterEach(async () => {
  await Promise.all(threads.splice(0).map((thread) => thread.stop(2_000)));
});

type Watched = { thread: Thread; deaths: number; logs: string[]; gaveUp: Promise<Error>; started(): Promise<Thread> };

function watch(task: object = {}, spec: Partial<ThreadSpec> = {}): Watched {
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
        filename,
        name: 'run',
        task: () => task,
        heapMb: 32,
        frameBytesMax: 0,
        hangMs: 1_500,
        callHangMs: 4_000,
        spare: null,
        restartsMax: 10,
        overlap: true,
        started: (thread) => {
          for (const resolve of waiting.splice(0)) resolve(thread);
        },
        died: () => {
          watched.deaths++;
        },
        ...spec,
      },
      { clock: systemClock, log: (_level, message) => watched.logs.push(message), gaveUp: giveUp },
    ),
  };
  threads.push(watched.thread);
  return watched;
}

/** Links a port to the thread; resolves once the thread has said who it is. */
async function order(thread: Thread): Promise<{ port: MessagePort; incarnation: number; loaded: boolean }> {
  const { port1, port2 } = new MessageChannel();
  const said = once(port1, 'message');
  thread.connect('gateway', 0, 0, port2);
  const [{ incarnation, loaded }] = (await said) as [{ incarnation: number; loaded: boolean }];
  return { port: port1, incarnation, loaded };
}

/** Gives an order that ends all life of the thread's loop, and waits until it has begun. */
async function still(thread: Thread, how: string): Promise<void> {
  const { port } = await order(thread);
  const heard = once(port, 'message');
  port.postMessage(how);
  await heard;
  port.close();
  thread.look(0); // what it did before
}

describe('Thread', () => {
  it('starts, passes its log on, answers beats, and stops when told', async () => {
    const watched = watch();
    await watched.thread.start();
    expect(watched.thread.ready).toBe(true);
    const { incarnation } = await order(watched.thread);
    expect(incarnation).toBe(1);
    expect(watched.logs).toContain('up');
    watched.thread.look(250);
    watched.thread.look(250);
    await order(watched.thread); // its answer comes behind the beat's
    expect(watched.thread.stats).toEqual({ incarnation: 1 });
    await watched.thread.stop(2_000);
    expect(watched.deaths).toBe(0);
  });

  it('its first life is led by the thread that has loaded its modules', async () => {
    const watched = watch();
    watched.thread.load('load');
    await watched.thread.start();
    expect(await order(watched.thread)).toMatchObject({ incarnation: 1, loaded: true });
    expect(watched.logs).not.toContain('worker error');
  });

  it('what it loads ends with it, where it never starts', async () => {
    const watched = watch();
    watched.thread.load('load');
    await watched.thread.stop(2_000);
    expect(watched.logs).toEqual([]);
  });

  it('a task that cannot start rejects the start, with its own error', async () => {
    const watched = watch({ failsAtStart: true });
    await expect(watched.thread.start()).rejects.toThrow('no such folder');
  });

  it.each(['throw', 'throw outside', 'reject', 'return', 'fill'])(
    'a task that ends by itself (%s) is run again in a thread of its own, with the next incarnation',
    async (how) => {
      const watched = watch();
      await watched.thread.start();
      const { port } = await order(watched.thread);
      const again = watched.started();
      port.on('message', () => {}); // else it would not hear of its end either
      const gone = once(port, 'close'); // with its thread: nothing of the first life goes on in the second
      port.postMessage(how);
      await again;
      await gone;
      expect(watched.deaths).toBe(1);
      expect((await order(watched.thread)).incarnation).toBe(2);
      expect(watched.thread.restarts).toBe(1);
    },
  );

  it('a task that hangs is replaced once its silence is long, unless the silence is our own', async () => {
    const watched = watch();
    await watched.thread.start();
    await still(watched.thread, 'spin');
    watched.thread.look(1_400);
    for (let late = 0; late < 10; late++) watched.thread.look(0); // the process was stopped, or the main thread busy
    expect(watched.thread.silent).toBe(false);
    expect(watched.deaths).toBe(0);
    const again = watched.started();
    watched.thread.look(200);
    await again;
    expect(watched.deaths).toBe(1);
    expect((await order(watched.thread)).incarnation).toBe(2);
  });

  it('a task whose loop does not turn is left alone while its work gets on', async () => {
    const watched = watch();
    await watched.thread.start();
    const { port } = await order(watched.thread);
    port.postMessage('work');
    for (let looks = 0; looks < 10; looks++) {
      await once(port, 'message');
      watched.thread.look(250); // of several that came at once, only the first shows that work got on since the last look
    }
    port.close();
    expect(watched.deaths).toBe(0);
    expect(watched.thread.silent).toBe(false);
    await watched.thread.stop(0);
  });

  it('a call of the database is waited for longer, and said to take long', async () => {
    const watched = watch();
    await watched.thread.start();
    await still(watched.thread, 'call');
    watched.thread.look(3_900);
    expect(watched.thread.silent).toBe(true);
    expect(watched.logs).toContain('a call of the database takes long');
    expect(watched.deaths).toBe(0);
    const again = watched.started();
    watched.thread.look(200);
    await again;
    expect(watched.deaths).toBe(1);
  });

  /** A native call lasts while the file is there. */
  function nativeCall(): { how: string; end(): void } {
    const file = join(freshFolder(), 'busy');
    writeFileSync(file, '');
    const end = (): void => rmSync(file, { force: true });
    onTestFinished(end);
    return { how: `native ${file}`, end };
  }

  it('in a native call that goes on, a successor does not wait for its end where it may overlap', async () => {
    const watched = watch();
    const call = nativeCall();
    await watched.thread.start();
    await still(watched.thread, call.how);
    const again = watched.started();
    watched.thread.look(2_000);
    await again;
    expect((await order(watched.thread)).incarnation).toBe(2);
    call.end();
  });

  it('in a native call that goes on, the writer has no successor before its end, and without one that is fatal', async () => {
    const watched = watch({}, { overlap: false });
    const call = nativeCall();
    await watched.thread.start();
    await still(watched.thread, call.how);
    watched.thread.look(2_000);
    await expect.poll(() => watched.deaths).toBe(1);
    watched.thread.look(9_900);
    expect(watched.thread.incarnation).toBe(1);
    watched.thread.look(200);
    const error = await watched.gaveUp;
    expect(error).toBeInstanceOf(StuckError);
    expect(error.message).toMatch(/shard 3 hangs in a native call/);
    const again = watched.started();
    call.end();
    await again;
    expect(watched.thread.incarnation).toBe(2);
  });

  it('a successor that does not get ready is replaced', async () => {
    const watched = watch({ hangsAtStart: true });
    await watched.thread.start();
    const { port } = await order(watched.thread);
    port.postMessage('throw');
    await expect.poll(() => watched.thread.incarnation).toBe(2);
    watched.thread.look(29_000);
    expect(watched.thread.incarnation).toBe(2);
    const again = watched.started();
    watched.thread.look(2_000);
    await again;
    expect(watched.thread.incarnation).toBe(3);
    expect(watched.deaths).toBe(2);
  });

  it('a successor that does not get as far as its task is replaced much earlier, unless this machine is slow', async () => {
    const spare = new Spare({ loads: [{ filename, name: 'hang' }], heapMb: 32 }, () => {});
    const watched = watch({}, { spare });
    await watched.thread.start();
    spare.keep(0);
    await new Promise((resolve) => setTimeout(resolve)); // behind the spare's own
    const { port } = await order(watched.thread);
    port.postMessage('throw');
    await expect.poll(() => watched.thread.incarnation).toBe(2);
    watched.thread.look(2_900);
    expect(watched.deaths).toBe(1);
    const again = watched.started();
    watched.thread.look(200);
    await again;
    expect(watched.thread.incarnation).toBe(3);
    expect(watched.deaths).toBe(2);
  });

  it('a thread that cannot come up at all fails the start at once, with its cause', async () => {
    const watched = watch({}, { heapMb: 1 });
    await expect(watched.thread.start()).rejects.toThrow(/could not be started.*memory/);
  });

  it('a thread that loads its modules is ended when it has', async () => {
    const pool = poolOfOne(32, () => {});
    const loaded = pool.run(undefined, { filename, name: 'load' });
    await letGo(pool, loaded);
    await expect(loaded).resolves.toBeUndefined();
    expect(pool.threads).toEqual([]);
  });

  it('a successor lives in the spare thread, which had loaded its modules; without one it loads them', async () => {
    const spare = new Spare({ loads: [{ filename, name: 'load' }], heapMb: 32 }, () => {});
    onTestFinished(() => spare.close());
    const watched = watch({}, { spare });
    await watched.thread.start();
    spare.keep(0);
    await new Promise((resolve) => setTimeout(resolve)); // behind the spare's own
    const lives: [number, boolean][] = [];
    for (let life = 0; life < 3; life++) {
      const { port, incarnation, loaded } = await order(watched.thread);
      lives.push([incarnation, loaded]);
      const again = watched.started();
      port.postMessage('throw');
      await again;
      port.close();
    }
    expect(lives).toEqual([
      [1, false],
      [2, true],
      [3, false],
    ]);
  });

  it('a spare thread that cannot be made is told of, and costs no successor', async () => {
    let tell: (line: string) => void = () => {};
    const told = new Promise<string>((resolve) => (tell = resolve));
    const loads = ['load', 'nothing of that name'].map((name) => ({ filename, name }));
    const spare = new Spare({ loads, heapMb: 32 }, (_level, message) => tell(message));
    onTestFinished(() => spare.close());
    spare.keep(0);
    expect(await told).toBe('a spare thread could not be made ready');
    expect(spare.take()).toBeNull();
  });
});
