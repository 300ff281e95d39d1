/** The main thread standing still, in stepped time. */
import { expect, it, onTestFinished, vi } from 'vitest';
import type { Log } from '../src/thread/log.ts';
import type { Standing } from '../src/thread/main-stack.ts';
import { StallWatch } from '../src/thread/stall-watch.ts';
import { Stalls } from '../src/thread/stalls.ts';

it('a stall is counted by how late the timer came, and told when clients must have noticed', () => {
  let tick = 0;
  const told: unknown[] = [];
  const turns = new Int32Array(1);
  const stalls = new Stalls({ now: () => 0, tick: () => tick, random: () => 0 }, (level, _message, fields) => void told.push([level, fields]), turns);
  onTestFinished(() => stalls.close());
  const pass = (ms: number): void => {
    tick += ms;
    stalls.look();
  };
  for (const ms of [50, 51, 120, 149]) pass(ms);
  expect(stalls.stats()).toEqual({ stalls: 0, stalledMsTotal: 0, stallMsMax: 0 });
  pass(250);
  expect(stalls.stats()).toEqual({ stalls: 1, stalledMsTotal: 200, stallMsMax: 200 });
  expect(told).toEqual([]);
  pass(5_050);
  pass(50);
  expect(stalls.stats()).toEqual({ stalls: 2, stalledMsTotal: 5_200, stallMsMax: 5_000 });
  expect(told).toEqual([['warn', { ms: 5_000 }]]);
  expect(turns[0]).toBe(7);
  stalls.close();
  expect(turns[0]).toBe(0); // whoever watches need not any more
});

/** A watch in time that is stepped from one of its looks to the next. `answer`: what it is told of the stack. */
function watched(answer: () => Promise<Standing | null>) {
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] });
  let tick = 0;
  const turns = new Int32Array(1);
  const told: unknown[] = [];
  const asked: number[] = [];
  const watch = new StallWatch({
    turns,
    clock: { now: () => 0, tick: () => tick, random: () => 0 },
    log: ((level, message, fields) => void told.push([level, message, fields])) satisfies Log,
    stack: (seen, afterMs) => {
      expect(afterMs).toBe(200); // after three looks, so that it has stood for half a second
      asked.push(seen);
      return answer();
    },
    cry: (line) => void told.push(line),
  });
  onTestFinished(async () => {
    vi.useRealTimers();
    await watch.close();
  });
  /** Looks, each so long after the last one; `turning`: the main thread has gone on in between. */
  const look = async (times: number, turning: boolean, ms = 100): Promise<void> => {
    for (let i = 0; i < times; i++) {
      tick += ms;
      if (turning) Atomics.add(turns, 0, 1);
      watch.look();
      await new Promise((resolve) => setImmediate(resolve)); // what was asked is answered
    }
  };
  return { watch, look, told, asked };
}

const here: Standing = { native: false, stack: ['inner (a.js:1:1)', 'outer (b.js:2:2)'] };

it('a watch from another thread has the stack of a main thread that stands still told while it does, and not of one that goes on', async () => {
  const { look, told, asked } = watched(async () => here);
  await look(9, false); // it has not begun yet
  await look(9, true);
  await look(2, false);
  await look(1, true);
  expect(asked).toEqual([]);
  await look(3, false);
  expect(asked).toEqual([10]);
  expect(told).toEqual([['warn', 'where the main thread stood still', { stack: here.stack }]]);
});

it('a watch that stood still itself, as in a process that was stopped, has seen nothing', async () => {
  const { look, asked } = watched(async () => here);
  await look(9, true);
  await look(1, false, 60_000);
  await look(9, true);
  expect(asked).toEqual([]);
});

it('a watch asks at most once in ten seconds, one question at a time, and cries where the log cannot be reached any more', async () => {
  const answers: ((standing: Standing) => void)[] = [];
  const { look, told, asked } = watched(() => new Promise((resolve) => answers.push(resolve)));
  await look(1, true);
  await look(200, false); // so long does it take, and it asks nothing more
  expect(asked).toEqual([1]);
  answers[0]?.(here);
  await look(100, false);
  expect(asked).toEqual([1]);
  await look(2, false);
  answers[1]?.(here);
  await look(1, false);
  expect(asked).toEqual([1, 1]);
  expect(told.slice(1)).toEqual(['where the main thread stood still; it still does, and can log nothing: inner (a.js:1:1) < outer (b.js:2:2)']);
});

it('a main thread that has gone on before its stack was read costs a short rest only', async () => {
  const answers = [null, here];
  const { look, told, asked } = watched(async () => answers.shift() ?? null);
  await look(1, true);
  await look(5, false);
  await look(1, true);
  await look(10, false);
  expect(asked).toEqual([1, 2]);
  expect(told).toHaveLength(1);
});

it('a main thread that stands in native code is told so, whether that returned or not', async () => {
  const answers: Standing[] = [
    { native: true, stack: [] },
    { native: true, stack: here.stack.slice(1) },
  ];
  const { look, told } = watched(async () => answers.shift() ?? null);
  await look(1, true);
  await look(5, false);
  await look(100, true);
  await look(5, false);
  expect(told).toEqual([
    ['warn', 'where the main thread stood still: in native code, which has not returned for seconds', { stack: [] }],
    ['warn', 'where the main thread stood still: in native code; the stack is from when that returned', { stack: ['outer (b.js:2:2)'] }],
  ]);
});

it('where no stack can be read, that is said once, for who looks for it', async () => {
  const { look, told, asked } = watched(() => Promise.reject(new Error('no library')));
  for (let i = 0; i < 3; i++) {
    await look(110, true);
    await look(5, false);
  }
  expect(asked).toHaveLength(3);
  expect(told).toEqual([['debug', 'where the main thread stands still cannot be told', { error: 'Error: no library' }]]);
});

it('a watch is not closed before the thread that looks for it has ended', async () => {
  let answer: (standing: Standing | null) => void = () => {};
  const { watch, look } = watched(
    () =>
      new Promise((resolve) => {
        answer = resolve;
      }),
  );
  await look(1, true);
  await look(5, false);
  let closed = false;
  const closing = watch.close().then(() => {
    closed = true;
  });
  await look(1, false);
  expect(closed).toBe(false);
  answer(null);
  await closing;
});
