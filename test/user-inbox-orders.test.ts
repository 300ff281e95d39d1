/** The promise of an inbox under arbitrary orders of appends, losses, answers, refusals, acks and slow sockets, and what is set aside. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { CodedError } from '../src/protocol/codes.ts';
import type { StoredInbox } from '../src/thread/messages.ts';
import { entryOf, itemOf, lossOf, startInbox } from './inbox-harness.ts';

/** What the reading of an inbox is called where it is set aside. */
const reading = 'read-inbox';
/** What the world does next, by turns; numbers choose among what is possible. */
const event = fc.oneof(
  { weight: 6, arbitrary: fc.record({ does: fc.constant('append' as const), announced: fc.boolean(), own: fc.boolean() }) },
  { weight: 1, arbitrary: fc.record({ does: fc.constant('lose' as const), length: fc.integer({ min: 1, max: 3 }) }) },
  { weight: 5, arbitrary: fc.record({ does: fc.constant('settle' as const), refused: fc.boolean() }) },
  { weight: 5, arbitrary: fc.record({ does: fc.constant('read' as const), limit: fc.integer({ min: 1, max: 4 }), fails: fc.boolean() }) },
  { weight: 4, arbitrary: fc.record({ does: fc.constant('drain' as const), who: fc.nat(1) }) },
  { weight: 4, arbitrary: fc.record({ does: fc.constant('ack' as const), who: fc.nat(1), share: fc.double({ min: 0, max: 1, noNaN: true }) }) },
  { weight: 1, arbitrary: fc.record({ does: fc.constant('tick' as const) }) },
  { weight: 1, arbitrary: fc.record({ does: fc.constant('recheck' as const) }) },
  { weight: 1, arbitrary: fc.record({ does: fc.constant('bar' as const), ahead: fc.integer({ min: -3, max: 3 }), reading: fc.boolean() }) },
  { weight: 1, arbitrary: fc.record({ does: fc.constant('lift' as const) }) },
);

test('I2 I6 I9 whatever happens in whatever order, every device gets every number once and in order: as an item, as lost, or as its own', () => {
  fc.assert(
    fc.property(fc.array(event, { maxLength: 80, size: 'max' }), (events) => {
      const { effects, users, connect, notice, turn, tick } = startInbox();
      const connections = [connect(0, 0, 'phone'), connect(0, 0, 'laptop')];
      const got: number[][] = [[], []];
      const own = new Set<number>();
      const lost = new Set<number>();
      /** What is set aside: mids, and the reading. */
      const barred = new Set<string>();
      effects.bars = ({ op, mid }) => barred.has(mid ?? op);
      let head = 0;
      const collect = () => {
        connections.forEach((connection, who) => {
          for (const item of effects.inbox(connection)) {
            const [from, to] = typeof item === 'number' ? [item, item] : item;
            if (typeof item === 'number') expect([...barred]).not.toContain(entryOf(item).mid);
            for (let n = from; n <= to; n++) {
              expect(n).toBeGreaterThan(got[who]?.at(-1) ?? 0);
              got[who]?.push(n);
            }
          }
        });
      };
      const read = (limit: number) => {
        const [asked] = effects.reads;
        if (asked === undefined || asked.query.read !== 'inbox') return;
        const { after, limit: most } = asked.query;
        const reply: StoredInbox = { items: [], losses: [], head };
        // The losses of all the rest, though the page ends before: the harder case.
        for (let n = after + 1; n <= head; n++) {
          if (lost.has(n)) reply.losses.push({ from: n, to: n, reason: 'dropped' });
          else if (reply.items.length < Math.min(limit, most)) reply.items.push({ n, entry: entryOf(n) });
        }
        turn(() => {
          effects.answer('inbox', reply);
        });
      };
      const settle = (refused: boolean) => {
        const [commit] = effects.commits.splice(0, 1);
        turn(() => commit?.settled(refused ? { code: 'storage', message: '' } : { code: 'done' }, 0));
      };
      const ack = (who: number, share: number) => {
        const through = Math.floor((got[who]?.at(-1) ?? 0) * share);
        const connection = connections[who];
        if (connection !== undefined) turn(() => users.command(connection, { op: 'ack', through }, effects));
      };
      for (const step of events) {
        switch (step.does) {
          case 'append':
            head++;
            if (step.own) own.add(head);
            if (step.announced) notice(itemOf(head, step.own ? 'phone' : null));
            break;
          case 'lose': {
            const from = head + 1;
            head += step.length;
            for (let n = from; n <= head; n++) lost.add(n);
            notice(lossOf(from, head));
            break;
          }
          case 'settle':
            settle(step.refused);
            break;
          case 'read':
            if (!step.fails && !barred.has(reading)) read(step.limit);
            else if (effects.reads.length > 0) turn(() => effects.fail('inbox', new CodedError(barred.has(reading) ? 'quarantined' : 'busy')));
            break;
          case 'drain':
            turn(() => effects.drained(connections[step.who]));
            break;
          case 'ack':
            ack(step.who, step.share);
            break;
          case 'tick':
            tick();
            break;
          case 'recheck':
            turn(() => users.recheck(effects));
            break;
          case 'bar':
            barred.add(step.reading ? reading : `mid ${head + step.ahead}`);
            break;
          case 'lift':
            barred.clear();
            break;
        }
        collect();
      }
      // Then the world is kind: nothing is set aside, everything is answered, every client acks what it got.
      barred.clear();
      notice(itemOf(++head));
      for (let i = 0; i < head + 20; i++) {
        while (effects.commits.length > 0) settle(false);
        while (effects.reads.length > 0) read(100);
        turn(() => effects.drained());
        collect();
        ack(0, 1);
        ack(1, 1);
        tick();
      }
      const all = Array.from({ length: head }, (_, i) => i + 1);
      expect(got[1]).toEqual(all);
      expect(got[0]).toEqual(all.filter((n) => got[0]?.includes(n) || !own.has(n)));
      expect(effects.commits).toEqual([]);
    }),
    { numRuns: 500 },
  );
});

test('I6 of a lost range that is acked in part while its page is read, only the rest is told', () => {
  const { effects, turn, connect, answer, ack, settle } = startInbox();
  const bob = connect(0, 7, '', true);
  turn(() => effects.settle('presence'));
  ack(bob, 3); // an earlier incarnation of the shard may have sent so much
  settle('ack');
  answer({ items: [{ n: 7, entry: entryOf(7) }], losses: [lossOf(1, 2), lossOf(3, 5)], head: 7 });
  expect(effects.inbox(bob)).toEqual([[4, 5], 7]);
});

test('I2 after a change of writer a read that fails is repeated: what was never announced may be there', () => {
  const { effects, turn, users, connect, answer, tick } = startInbox();
  const bob = connect(3);
  turn(() => users.recheck(effects));
  turn(() => effects.fail('inbox', new CodedError('busy')));
  tick();
  answer({ items: [{ n: 4, entry: entryOf(4) }], losses: [], head: 4 });
  expect(effects.inbox(bob)).toEqual([4]);
});
