/** The main thread standing still, in stepped time. */
import { expect, it, onTestFinished } from 'vitest';
import type { Log } from '../src/thread/log.ts';
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
});

it('a watch from another thread has the stack of a main thread that stands still told, once, and not of one that goes on', async () => {
  let tick = 0;
  const turns = new Int32Array(1);
  const told: unknown[] = [];
  let asked = 0;
  const stack = async (still: () => boolean): Promise<string[] | null> => {
    asked++;
    return still() ? ['here'] : null;
  };
  const log: Log = (level, _message, fields) => void told.push([level, fields]);
  const watch = new StallWatch({ turns, clock: { now: () => 0, tick: () => tick, random: () => 0 }, log, stack });
  onTestFinished(() => watch.close());
  const pass = (ms: number, turned: boolean): void => {
    tick += ms;
    if (turned) turns[0] = (turns[0] ?? 0) + 1;
    watch.look();
  };
  for (let i = 0; i < 9; i++) pass(250, false); // it has not begun yet
  for (let i = 0; i < 9; i++) pass(250, true);
  pass(250, false);
  pass(5_000, false); // the watch stood still too
  expect(asked).toBe(0);
  for (let i = 0; i < 9; i++) pass(250, false);
  await Promise.resolve();
  expect([asked, told]).toEqual([1, [['warn', { stack: ['here'] }]]]);
});
