/** Entries and notices as columns: what a shard gets is what a reader, or the writer, had. */
import { MessageChannel, receiveMessageOnPort } from 'node:worker_threads';
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { fromColumns, toColumns } from '../src/thread/entry-columns.ts';
import type { EntryRecord, InboxItem, InboxLoss } from '../src/thread/messages.ts';
import { fromNoticeColumns, toNoticeColumns } from '../src/thread/notice-columns.ts';

const text = fc.option(fc.string({ maxLength: 4 }), { nil: null });
const entry: fc.Arbitrary<EntryRecord> = fc.record({
  room: fc.string({ maxLength: 3 }),
  seq: fc.nat(),
  kind: fc.constantFrom('message', 'created', 'member', 'settings', 'deleted'),
  mid: text,
  from: text,
  ts: fc.nat(),
  thread: text,
  body: fc.oneof(text, fc.uint8Array({ maxLength: 3 })),
});

const notice: fc.Arbitrary<InboxItem | InboxLoss> = fc.oneof(
  fc.record({ t: fc.constant('inbox' as const), user: fc.string({ maxLength: 2 }), n: fc.nat(), entry, origin: text }),
  fc.record({
    t: fc.constant('inbox-loss' as const),
    user: fc.string({ maxLength: 2 }),
    from: fc.nat(),
    to: fc.nat(),
    reason: fc.constantFrom('dropped' as const, 'expired' as const),
  }),
);

it('what a commit did to inboxes comes out in the order it went in', () => {
  fc.assert(
    fc.property(fc.array(notice, { maxLength: 8 }), (notices) => {
      expect(fromNoticeColumns(toNoticeColumns(notices))).toEqual(notices);
    }),
    { numRuns: 200 },
  );
});

it('entries come out as they went in, whatever their names and however they repeat', () => {
  const { port1, port2 } = new MessageChannel();
  fc.assert(
    fc.property(fc.array(entry, { maxLength: 8 }), (entries) => {
      port1.postMessage(toColumns(entries));
      expect(fromColumns(receiveMessageOnPort(port2)?.message)).toEqual(entries);
    }),
    { numRuns: 200 },
  );
  port1.close();
});
