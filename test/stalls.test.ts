/** The main thread standing still, in stepped time. */
import { expect, it, onTestFinished } from 'vitest';
import { Stalls } from '../src/thread/stalls.ts';

it('a stall is counted by how late the timer came, and told when clients must have noticed', () => {
  let tick = 0;
  const told: unknown[] = [];
  const stalls = new Stalls({ now: () => 0, tick: () => tick, random: () => 0 }, (level, _message, fields) => void told.push([level, fields]));
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
});
