/** What every `Bus` promises, run on each adapter. */
import { afterEach, describe, expect, it } from 'vitest';
import type { Bus, BusMessage } from '../src/cluster/bus.ts';

export function busContract(name: string, members: () => Promise<[Bus, Bus]>): void {
  describe(`Bus: ${name}`, () => {
    let open: Bus[] = [];
    afterEach(async () => {
      await Promise.all(open.map((bus) => bus.close()));
      open = [];
    });
    const pair = async (): Promise<[Bus, Bus]> => {
      const both = await members();
      open = both;
      return both;
    };

    it('a message reaches the other members that subscribed, in order, and not its publisher', async () => {
      const [a, b] = await pair();
      const own: BusMessage[] = [];
      a.onMessage((message) => own.push(message));
      await a.subscribe('t');
      await b.subscribe('t');
      const got = collect(b, 3);
      for (const n of [1, 2, 3]) expect(a.publish('t', Uint8Array.of(n))).toBe(true);
      expect((await got).map(({ topic, payload }) => [topic, ...payload])).toEqual([
        ['t', 1],
        ['t', 2],
        ['t', 3],
      ]);
      expect(own).toEqual([]);
    });

    it('other topics, and topics unsubscribed from, do not arrive', async () => {
      const [a, b] = await pair();
      await b.subscribe('kept');
      await b.subscribe('left');
      await b.unsubscribe('left');
      const got = collect(b, 1);
      a.publish('never', Uint8Array.of(1));
      a.publish('left', Uint8Array.of(2));
      a.publish('kept', Uint8Array.of(3));
      expect((await got).map(({ topic }) => topic)).toEqual(['kept']);
    });

    it("a payload is the receiver's own: what the publisher writes afterwards does not show", async () => {
      const [a, b] = await pair();
      await b.subscribe('t');
      const got = collect(b, 1);
      const payload = Uint8Array.of(7);
      a.publish('t', payload);
      payload[0] = 9;
      expect([...((await got)[0] as BusMessage).payload]).toEqual([7]);
    });

    it('subscribe and close may be repeated', async () => {
      const [a, b] = await pair();
      await b.subscribe('t');
      await b.subscribe('t');
      const got = collect(b, 1);
      a.publish('t', Uint8Array.of(1));
      expect(await got).toHaveLength(1);
      await b.close();
      await b.close();
    });
  });
}

function collect(bus: Bus, count: number): Promise<BusMessage[]> {
  const messages: BusMessage[] = [];
  return new Promise((resolve) => {
    bus.onMessage((message) => {
      messages.push(message);
      if (messages.length === count) resolve(messages);
    });
  });
}
