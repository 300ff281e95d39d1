/** The load generator counts what arrived, however the bytes are cut and whoever got the same before. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { blankBody, Carry, Scanner, stampOffset, writeSender, writeTime } from '../bench/load/stamp.js';

type Found = { time: number; sender: number };

/** One frame as a contestant might send it. */
function frameOf({ time, sender }: Found, padding: number): Buffer {
  const frame = Buffer.from(`{"op":"x${'y'.repeat(padding)}","body":"${blankBody}"}`);
  const at = stampOffset(frame);
  writeTime(frame, at, time);
  writeSender(frame, at, sender);
  return frame;
}

const found = fc.record({ time: fc.nat(2 ** 30 - 1), sender: fc.nat(2 ** 15 - 1) });
const batch = fc.record({ markers: fc.array(found, { minLength: 1, maxLength: 30 }), padding: fc.nat(60), cuts: fc.array(fc.nat(), { maxLength: 3 }) });

describe('the scanner of the load generator', () => {
  it('finds each marker once, on every connection that gets the same bytes, cut alike or not', () => {
    fc.assert(
      fc.property(fc.array(batch, { minLength: 1, maxLength: 6 }), fc.boolean(), (batches, alike) => {
        const scanner = new Scanner();
        const connections = [new Carry(), new Carry(), new Carry()];
        for (const { markers, padding, cuts } of batches) {
          const bytes = Buffer.concat(markers.map((marker) => frameOf(marker, padding)));
          for (const [i, carry] of connections.entries()) {
            const places = [0, ...cuts.map((cut) => (alike ? cut : cut + i * 37) % bytes.length)].sort((a, b) => a - b);
            const got: Found[] = [];
            for (const [k, from] of places.entries()) {
              // In a buffer that the next read overwrites, as the client has it.
              const read = Buffer.from(bytes.subarray(from, places[k + 1] ?? bytes.length));
              const count = scanner.scan(carry, read, read.length);
              for (let j = 0; j < count; j++) got.push({ time: scanner.times[j] as number, sender: scanner.senders[j] as number });
              read.fill(0);
            }
            expect(got).toEqual(markers);
          }
        }
      }),
      { numRuns: 300 },
    );
  });
});
