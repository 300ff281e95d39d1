/** The history checker is worth what it finds: one good history, and one forged history per invariant that only it refuses. */
import { describe, expect, it } from 'vitest';
import { checkHistory, invariants } from '../src/testing/checker.ts';
import type { HistoryEvent, LogEntry } from '../src/testing/recorder.ts';
import { standingOf } from '../src/testing/standing.ts';

const message = (seq: number, mid: string, from = 'alice'): LogEntry => ({ seq, mid, kind: 'message', from });
const log = (entries: LogEntry[], more: Partial<Extract<HistoryEvent, { t: 'log' }>> = {}): HistoryEvent => {
  return { t: 'log', room: 'r', epoch: 'e', entitlement: 'public', head: entries.at(-1)?.seq ?? 0, entries, ...more };
};
const entry = (seq: number, mid: string, client = 'bob#1', user = 'bob'): HistoryEvent => ({ t: 'entry', client, user, room: 'r', seq, mid });
const follow = (seq: number | null, client = 'bob#1'): HistoryEvent => ({ t: 'follow', client, room: 'r', seq, gaps: [] });
const sent = (id: number, mid: string): HistoryEvent => ({ t: 'op', client: 'alice#1', id, op: 'publish', room: 'r', mid });
const acked = (id: number, mid: string, seq: number): HistoryEvent => ({ t: 'ok', client: 'alice#1', id, room: 'r', mid, seq });

const good: HistoryEvent[] = [
  { t: 'welcome', client: 'alice#1', user: 'alice', epoch: 'e' },
  follow(0),
  sent(1, 'a'),
  acked(1, 'a', 1),
  entry(1, 'a'),
  sent(2, 'b'),
  entry(2, 'b'),
  { t: 'closed', client: 'alice#1', code: 1006 },
  { t: 'gap', client: 'bob#1', room: 'r', from: 3, to: 4 },
  entry(5, 'e'),
  { t: 'mark', user: 'bob', room: 'r', received: 5, read: 2 },
  { t: 'state', client: 'bob#1', room: 'r', state: 'x' },
  { t: 'state', client: 'alice#1', room: 'r', state: 'x' },
  log([message(1, 'a'), message(2, 'b'), message(3, 'c'), message(4, 'd'), message(5, 'e')]),
];

const joined: LogEntry = { seq: 3, mid: null, kind: 'member', from: 'bob', member: { user: 'bob', change: 'joined', role: 'member' } };
const left: LogEntry = { seq: 4, mid: null, kind: 'member', from: 'bob', member: { user: 'bob', change: 'left', role: null } };
const created: LogEntry = { seq: 1, mid: null, kind: 'created', from: 'alice' };

const forged: { name: keyof typeof invariants; what: string; events: HistoryEvent[] }[] = [
  { name: 'ackedIsKept', what: 'an acknowledged message is missing', events: [sent(1, 'a'), acked(1, 'a', 1), log([message(1, 'b')])] },
  { name: 'ackedIsKept', what: 'it stands at another seq', events: [sent(1, 'a'), acked(1, 'a', 1), log([message(1, 'b'), message(2, 'a')])] },
  { name: 'ackedIsKept', what: 'it stands there twice', events: [sent(1, 'a'), acked(1, 'a', 1), log([message(1, 'a'), message(2, 'a')])] },
  {
    name: 'unackedAtMostOnce',
    what: 'a message without an answer was stored twice',
    events: [sent(1, 'a'), { t: 'closed', client: 'alice#1', code: 1006 }, log([message(1, 'a'), message(2, 'a')])],
  },
  { name: 'seqsAreDense', what: 'a seq is missing', events: [log([message(1, 'a'), message(3, 'b')])] },
  { name: 'seqsAreDense', what: 'the log ends before its head', events: [log([message(1, 'a')], { head: 2 })] },
  {
    name: 'seqMeansOneEntry',
    what: 'two saw different messages at a seq',
    events: [follow(0), follow(0, 'eve#1'), entry(1, 'a'), entry(1, 'b', 'eve#1', 'eve')],
  },
  { name: 'seqMeansOneEntry', what: 'one saw another message than the log has', events: [follow(0), entry(1, 'a'), log([message(1, 'b')])] },
  { name: 'streamsAreContiguous', what: 'an entry was left out', events: [follow(4), entry(5, 'a'), entry(7, 'c')] },
  { name: 'streamsAreContiguous', what: 'the first entry after the position was left out', events: [follow(4), entry(6, 'b')] },
  { name: 'streamsAreContiguous', what: 'an entry came twice', events: [follow(4), entry(5, 'a'), entry(5, 'a')] },
  { name: 'streamsAreContiguous', what: 'an entry came before its predecessor', events: [follow(null), entry(6, 'b'), entry(5, 'a')] },
  {
    name: 'streamsAreContiguous',
    what: 'an entry came after unsubscribing',
    events: [follow(4), { t: 'unfollow', client: 'bob#1', room: 'r' }, entry(5, 'a')],
  },
  {
    name: 'onlyTheEntitledSee',
    what: 'a stranger saw a private room',
    events: [follow(1, 'eve#1'), entry(2, 'x', 'eve#1', 'eve'), log([created, message(2, 'x')], { entitlement: 'all' })],
  },
  {
    name: 'onlyTheEntitledSee',
    what: 'a member saw what was said before he joined',
    events: [follow(1), entry(2, 'x'), log([created, message(2, 'x'), joined], { entitlement: 'sinceJoin' })],
  },
  {
    name: 'onlyTheEntitledSee',
    what: 'somebody saw what was said after he left',
    events: [follow(4), entry(5, 'y'), log([created, message(2, 'x'), joined, left, message(5, 'y')], { entitlement: 'all' })],
  },
  {
    name: 'statesConverge',
    what: 'two ended in different states',
    events: [
      { t: 'state', client: 'a', room: 'r', state: '1' },
      { t: 'state', client: 'b', room: 'r', state: '2' },
    ],
  },
  {
    name: 'marksAreTrue',
    what: 'received was claimed too early',
    events: [follow(0), entry(1, 'a'), { t: 'mark', user: 'bob', room: 'r', received: 2, read: 0 }],
  },
  {
    name: 'marksAreTrue',
    what: 'read was claimed beyond received',
    events: [follow(0), entry(1, 'a'), { t: 'mark', user: 'bob', room: 'r', received: 0, read: 1 }],
  },
  { name: 'commandsEnd', what: 'a command had no answer', events: [sent(1, 'a')] },
  {
    name: 'shrinkingIsAnnounced',
    what: 'the log was cut and the epoch stayed',
    events: [log([message(1, 'a'), message(2, 'b')]), log([message(1, 'a')])],
  },
  {
    name: 'shrinkingIsAnnounced',
    what: 'the head is below an acknowledged seq',
    events: [{ t: 'welcome', client: 'alice#1', user: 'alice', epoch: 'e' }, { t: 'ok', client: 'alice#1', id: 1, room: 'r', seq: 9 }, log([message(1, 'a')])],
  },
];

describe('the history checker', () => {
  it('finds nothing in a good history', () => {
    expect(checkHistory(good)).toEqual([]);
  });

  it('accepts a shorter log with a new epoch', () => {
    expect(checkHistory([log([message(1, 'a'), message(2, 'b')]), log([message(1, 'a')], { epoch: 'f' })])).toEqual([]);
  });

  it('accepts what a member may see', () => {
    const room = log([created, message(2, 'x'), joined], { entitlement: 'all' });
    expect(checkHistory([follow(1), entry(2, 'x'), room])).toEqual([]);
  });

  it('has a forged history for every invariant', () => {
    expect(new Set(forged.map(({ name }) => name))).toEqual(new Set(Object.keys(invariants)));
  });

  it.each(forged)('$name refuses: $what', ({ name, events }) => {
    const found = Object.entries(invariants).filter(([, invariant]) => invariant(events).length > 0);
    expect(found.map(([invariant]) => invariant)).toEqual([name]);
  });
});

describe('a history that goes on where it was checked', () => {
  const before: HistoryEvent[] = [...good, { t: 'welcome', client: 'eve#1', user: 'eve', epoch: 'e' }, { ...sent(9, 'f'), client: 'eve#1' } as HistoryEvent];
  const answered: HistoryEvent = { t: 'closed', client: 'eve#1', code: 1000 };
  const wrong = (...after: HistoryEvent[]): string[] => {
    const events = [...standingOf(before), ...after];
    return Object.entries(invariants).flatMap(([name, invariant]) => (invariant(events).length > 0 ? [name] : []));
  };

  it('is a fraction of it', () => {
    expect(standingOf(before)).toHaveLength(6); // the head and its epoch, what bob has and follows, eve and her command
    expect(standingOf(standingOf(before))).toEqual(standingOf(before));
  });

  it('goes on with the next entry, the next log and what was stated as a gap', () => {
    expect(wrong(answered, entry(6, 'f'), { t: 'mark', user: 'bob', room: 'r', received: 6, read: 0 }, log([message(6, 'f')]))).toEqual([]);
    expect(wrong(answered, { t: 'gap', client: 'bob#1', room: 'r', from: 6, to: 7 }, entry(8, 'h'))).toEqual([]);
  });

  it.each<{ name: keyof typeof invariants; what: string; events: HistoryEvent[] }>([
    { name: 'streamsAreContiguous', what: 'an entry was left out just then', events: [answered, entry(7, 'g')] },
    { name: 'streamsAreContiguous', what: 'the last entry came again', events: [answered, entry(5, 'e')] },
    { name: 'streamsAreContiguous', what: 'somebody who was gone got something', events: [answered, entry(6, 'f', 'alice#1', 'alice')] },
    { name: 'seqMeansOneEntry', what: 'a seq that was seen means something else', events: [answered, follow(4, 'alice#2'), entry(5, 'x', 'alice#2', 'alice')] },
    { name: 'marksAreTrue', what: 'received was claimed too early', events: [answered, { t: 'mark', user: 'bob', room: 'r', received: 6, read: 2 }] },
    { name: 'commandsEnd', what: 'a command that was under way never ended', events: [] },
    { name: 'shrinkingIsAnnounced', what: 'the log became shorter', events: [answered, log([message(4, 'd')])] },
  ])('$name refuses: $what', ({ name, events }) => {
    expect(wrong(...events)).toEqual([name]);
  });
});
