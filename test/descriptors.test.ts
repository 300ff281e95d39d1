/** How many connections a hub takes, by what the process may open. */
import { expect, it } from 'vitest';
import { socketLimits } from '../src/http/descriptors.ts';

it('keeps descriptors for itself, of whatever the process may open', () => {
  const limits = (soft: string) => () =>
    `Limit   Soft Limit   Hard Limit   Units\nMax open files            ${soft}                4096                 files\n`;
  expect(socketLimits(limits('1024'))).toEqual({ public: 800, operations: 128 });
  expect(socketLimits(limits('1048576'))).toEqual({ public: 1_048_224, operations: 256 });
  expect(socketLimits(limits('10'))).toEqual({ public: 48, operations: 2 });
  expect(socketLimits(limits('unlimited'))).toEqual({ public: 0, operations: 256 });
  expect(
    socketLimits(() => {
      throw new Error('no such file');
    }),
  ).toEqual({ public: 0, operations: 256 });
});
