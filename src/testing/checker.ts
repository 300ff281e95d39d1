/**
 * Reads a history and says what in it no hub may do. One function per invariant, each told apart by a forged history in
 * `test/checker.test.ts`. A history without a `log` event of a room says nothing about what that room kept.
 */
import type { Entitlement, HistoryEvent, LogEntry } from './recorder.ts';

type Kind<T extends HistoryEvent['t']> = Extract<HistoryEvent, { t: T }>;
export type Violation = string;

/** Every violation of every invariant; empty is the only good answer. */
export function checkHistory(events: readonly HistoryEvent[]): Violation[] {
  return Object.values(invariants).flatMap((invariant) => invariant(events));
}

/** I1: each acknowledged message is in its room's log exactly once, at the seq of its acknowledgement. */
export function ackedIsKept(events: readonly HistoryEvent[]): Violation[] {
  const places = new Map([...finalLogs(events)].map(([room, log]) => [room, placesOf(log.entries)]));
  return of(events, 'ok').flatMap((ok) => {
    const log = ok.room === undefined ? undefined : places.get(ok.room);
    if (log === undefined || ok.mid === undefined || ok.seq === undefined) return [];
    const found = log.get(ok.mid) ?? [];
    if (found.length === 1 && found[0] === ok.seq) return [];
    return [`I1 ${ok.room}: ${ok.mid} was acknowledged to ${ok.client} as ${ok.seq} and stands at [${found}]`];
  });
}

/** I2: a message that was sent and not acknowledged is in the log at most once. */
export function unackedAtMostOnce(events: readonly HistoryEvent[]): Violation[] {
  const acked = new Set(of(events, 'ok').map((ok) => `${ok.room} ${ok.mid}`));
  const sent = new Set(of(events, 'op').map((op) => `${op.room} ${op.mid}`));
  return [...finalLogs(events).values()].flatMap((log) =>
    repeated(log.entries.map((entry) => entry.mid))
      .filter((mid) => sent.has(`${log.room} ${mid}`) && !acked.has(`${log.room} ${mid}`))
      .map((mid) => `I2 ${log.room}: ${mid} was never acknowledged and stands there more than once`),
  );
}

/** I3: the seqs of a room are 1, 2, 3, … to its head. */
export function seqsAreDense(events: readonly HistoryEvent[]): Violation[] {
  return [...finalLogs(events).values()].flatMap((log) => {
    const wrong = log.entries.findIndex((entry, i) => entry.seq !== (log.entries[0]?.seq ?? 1) + i);
    if (wrong >= 0) return [`I3 ${log.room}: ${log.entries[wrong]?.seq} follows ${log.entries[wrong - 1]?.seq}`];
    const last = log.entries.at(-1);
    return last && last.seq !== log.head ? [`I3 ${log.room}: the head is ${log.head} and the last entry ${last.seq}`] : [];
  });
}

/** I4: everybody saw the same message at the same seq, and it is the one in the log. */
export function seqMeansOneEntry(events: readonly HistoryEvent[]): Violation[] {
  const meaning = new Map<string, string | null>();
  for (const log of finalLogs(events).values()) for (const entry of log.entries) meaning.set(`${log.room} ${entry.seq}`, entry.mid);
  return events.flatMap((event) => {
    if (event.t !== 'entry' && event.t !== 'item') return [];
    const key = `${event.room} ${event.seq}`;
    const known = meaning.get(key);
    if (known === undefined) meaning.set(key, event.mid);
    return known === undefined || known === event.mid ? [] : [`I4 ${key}: ${event.client} saw ${event.mid}, others ${known}`];
  });
}

/** I5: what a connection gets of a room begins right behind its position and has no hole, double or step back; stated gaps count. */
export function streamsAreContiguous(events: readonly HistoryEvent[]): Violation[] {
  const streams = new Map<string, { last: number | null; gaps: { from: number; to: number }[] }>();
  return events.flatMap((event) => {
    if (event.t !== 'entry' && event.t !== 'follow' && event.t !== 'unfollow' && event.t !== 'gap') return [];
    const key = `${event.client} ${event.room}`;
    if (event.t === 'follow') streams.set(key, { last: event.seq, gaps: [...event.gaps] });
    if (event.t === 'unfollow') streams.delete(key);
    const stream = streams.get(key);
    if (event.t === 'gap') stream?.gaps.push({ from: event.from, to: event.to });
    if (event.t !== 'entry') return [];
    if (stream === undefined) return [`I5 ${key}: entry ${event.seq} without a subscription`];
    const last = stream.last;
    stream.last = event.seq;
    if (last === null) return [];
    if (event.seq <= last) return [`I5 ${key}: ${event.seq} after ${last}`];
    let expected = last + 1;
    for (const gap of stream.gaps) if (gap.from <= expected && gap.to >= expected) expected = gap.to + 1;
    return event.seq > expected ? [`I5 ${key}: ${event.seq} follows ${last} and no gap was stated`] : [];
  });
}

/** I6: nothing reached a user who was not entitled to it. */
export function onlyTheEntitledSee(events: readonly HistoryEvent[]): Violation[] {
  const logs = finalLogs(events);
  const stays = new Map([...logs].map(([room, log]) => [room, staysOf(log.entries)]));
  return events.flatMap((event) => {
    if (event.t !== 'entry' && event.t !== 'item') return [];
    const entitlement = logs.get(event.room)?.entitlement ?? 'public';
    if (entitlement === 'public' || mayHave(event.seq, entitlement, stays.get(event.room)?.get(event.user) ?? [])) return [];
    return [`I6 ${event.room}: ${event.user} got ${event.seq} and was not entitled to it`];
  });
}

/** I7: what changes ends in the same state for everybody. */
export function statesConverge(events: readonly HistoryEvent[]): Violation[] {
  const first = new Map<string, Kind<'state'>>();
  return of(events, 'state').flatMap((event) => {
    const other = first.get(event.room) ?? event;
    first.set(event.room, other);
    return other.state === event.state ? [] : [`I7 ${event.room}: ${event.client} ended with ${event.state}, ${other.client} with ${other.state}`];
  });
}

/** I8: the hub never says that a user received what none of his devices got; read is never beyond received. */
export function marksAreTrue(events: readonly HistoryEvent[]): Violation[] {
  const got = new Map<string, number>();
  return events.flatMap((event) => {
    if (event.t === 'entry' || event.t === 'item') {
      const key = `${event.user} ${event.room}`;
      got.set(key, Math.max(got.get(key) ?? 0, event.seq));
    }
    if (event.t !== 'mark') return [];
    const most = got.get(`${event.user} ${event.room}`) ?? 0;
    if (event.received <= most && event.read <= event.received) return [];
    return [`I8 ${event.room}: ${event.user} got ${most} and is said to have received ${event.received}, read ${event.read}`];
  });
}

/** I9: every command ended: in an answer, or in the end of its connection. */
export function commandsEnd(events: readonly HistoryEvent[]): Violation[] {
  const open = new Map<string, Map<number, Kind<'op'>>>();
  for (const event of events) {
    if (event.t === 'op') open.set(event.client, (open.get(event.client) ?? new Map<number, Kind<'op'>>()).set(event.id, event));
    if (event.t === 'ok' || event.t === 'error') open.get(event.client)?.delete(event.id);
    if (event.t === 'closed') open.delete(event.client);
  }
  return [...open.values()].flatMap((ops) => [...ops.values()].map((op) => `I9 ${op.client}: ${op.op} ${op.id} had no end`));
}

/** I10: a history that became shorter than what was acknowledged has a new epoch. */
export function shrinkingIsAnnounced(events: readonly HistoryEvent[]): Violation[] {
  const highest = new Map<string, { seq: number; epoch: string }>();
  const epochs = new Map<string, string>();
  return events.flatMap((event) => {
    if (event.t === 'welcome') epochs.set(event.client, event.epoch);
    if (event.t === 'ok' && event.room !== undefined && event.seq !== undefined) {
      const known = highest.get(event.room);
      if (known === undefined || event.seq > known.seq) highest.set(event.room, { seq: event.seq, epoch: epochs.get(event.client) ?? '' });
    }
    if (event.t !== 'log') return [];
    const known = highest.get(event.room);
    highest.set(event.room, { seq: event.head, epoch: event.epoch });
    if (known === undefined || event.head >= known.seq || event.epoch !== known.epoch) return [];
    return [`I10 ${event.room}: ${known.seq} was acknowledged, the head is ${event.head} and the epoch still ${event.epoch}`];
  });
}

export const invariants = {
  ackedIsKept,
  unackedAtMostOnce,
  seqsAreDense,
  seqMeansOneEntry,
  streamsAreContiguous,
  onlyTheEntitledSee,
  statesConverge,
  marksAreTrue,
  commandsEnd,
  shrinkingIsAnnounced,
};

function of<T extends HistoryEvent['t']>(events: readonly HistoryEvent[], t: T): Kind<T>[] {
  return events.filter((event): event is Kind<T> => event.t === t);
}

/** The last log read of each room. */
function finalLogs(events: readonly HistoryEvent[]): Map<string, Kind<'log'>> {
  return new Map(of(events, 'log').map((log) => [log.room, log]));
}

/** Where each message stands. */
function placesOf(entries: readonly LogEntry[]): Map<string, number[]> {
  const places = new Map<string, number[]>();
  for (const { mid, seq } of entries) {
    if (mid === null) continue;
    const known = places.get(mid);
    if (known === undefined) places.set(mid, [seq]);
    else known.push(seq);
  }
  return places;
}

function repeated(values: readonly (string | null)[]): string[] {
  const seen = new Set<string>();
  return values.filter((value): value is string => value !== null && (seen.has(value) || !seen.add(value)));
}

type Stay = { from: number; until: number };

/** When each user was a member: from the seq that made him one to the one that ended it. */
function staysOf(entries: readonly LogEntry[]): Map<string, Stay[]> {
  const stays = new Map<string, Stay[]>();
  const enter = (user: string, seq: number): void => {
    const list = stays.get(user) ?? [];
    stays.set(user, list);
    if (list.at(-1)?.until !== Number.POSITIVE_INFINITY) list.push({ from: seq, until: Number.POSITIVE_INFINITY });
  };
  for (const { seq, kind, from, member } of entries) {
    if (kind === 'created' && from !== null) enter(from, seq);
    if (member === undefined) continue;
    if (member.role !== null) enter(member.user, seq);
    else for (const stay of stays.get(member.user) ?? []) stay.until = Math.min(stay.until, seq);
  }
  return stays;
}

function mayHave(seq: number, entitlement: Entitlement, stays: readonly Stay[]): boolean {
  return stays.some((stay) => seq < stay.until && (entitlement === 'all' || seq >= stay.from));
}
