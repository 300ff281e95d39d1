/** The in-process bus, by the contract and by its bound. */
import { expect, it } from 'vitest';
import { LocalBus } from '../src/cluster/local.ts';
import { busContract } from './bus-contract.ts';

busContract('in-process', async () => {
  const bus = new LocalBus();
  return [bus.join(), bus.join()];
});

it('what a member has waiting is bounded, and its publisher is told that a message was shed', async () => {
  const bus = new LocalBus();
  const [a, b] = [bus.join(), bus.join()];
  await b.subscribe('t');
  let shed = 0;
  for (let i = 0; i < 10_050; i++) if (!a.publish('t', Uint8Array.of(1))) shed++;
  expect(shed).toBe(50);
});
