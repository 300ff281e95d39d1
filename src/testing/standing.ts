/** What of a history is still needed once it has been checked: where everybody stands. So a test of hours keeps minutes of it. */
import type { HistoryEvent } from './recorder.ts';

type Kind<T extends HistoryEvent['t']> = Extract<HistoryEvent, { t: T }>;
/** Of a connection that is open. */
type Standing = { welcome: Kind<'welcome'> | null; streams: Map<string, Kind<'follow'>>; commands: Map<number, Kind<'op'>> };

/** Stands for everybody who was there before; no connection is called so. */
const earlier = 'earlier';

/**
 * A history that ends where `events` ends and goes on as it does: what the checker finds in it and all that follows is what it would
 * find in the whole, beyond what it found until now. Messages without an answer and logs are not taken over: read the logs anew, from where they ended.
 */
export function standingOf(events: readonly HistoryEvent[]): HistoryEvent[] {
  const open = new Map<string, Standing>();
  const got = new Map<string, Kind<'item'>>();
  const heads = new Map<string, { seq: number; epoch: string }>();
  let epoch = '';
  for (const event of events) {
    if (event.t === 'log') heads.set(event.room, { seq: event.head, epoch: event.epoch });
    if ('client' in event && event.client === earlier) {
      if (event.t === 'welcome') epoch = event.epoch;
      if (event.t === 'ok') heads.set(event.room ?? '', { seq: event.seq ?? 0, epoch });
      continue;
    }
    if (event.t === 'closed') open.delete(event.client);
    if (event.t === 'entry' || event.t === 'item') {
      const key = `${event.user} ${event.room}`;
      if (event.seq >= (got.get(key)?.seq ?? 0)) got.set(key, { ...event, t: 'item' });
    }
    if ('client' in event && event.t !== 'closed' && event.t !== 'state') note(event, open);
  }
  return [
    ...[...heads].flatMap(([room, { seq, epoch }]): HistoryEvent[] => [
      { t: 'welcome', client: earlier, user: '', epoch },
      { t: 'ok', client: earlier, id: 0, room, seq },
    ]),
    ...got.values(),
    ...[...open.values()].flatMap(({ welcome, streams, commands }) => [...(welcome === null ? [] : [welcome]), ...streams.values(), ...commands.values()]),
  ];
}

function note(event: Extract<HistoryEvent, { client: string }>, open: Map<string, Standing>): void {
  const standing: Standing = open.get(event.client) ?? { welcome: null, streams: new Map(), commands: new Map() };
  open.set(event.client, standing);
  const { streams, commands } = standing;
  switch (event.t) {
    case 'welcome':
      standing.welcome = event;
      return;
    case 'op':
      commands.set(event.id, event);
      return;
    case 'ok':
    case 'error':
      commands.delete(event.id);
      return;
    case 'follow':
      streams.set(event.room, { ...event, gaps: [...event.gaps] });
      return;
    case 'unfollow':
      streams.delete(event.room);
      return;
    case 'gap':
      streams.get(event.room)?.gaps.push({ from: event.from, to: event.to });
      return;
    case 'entry': {
      const stream = streams.get(event.room);
      if (stream === undefined) return;
      stream.seq = event.seq;
      stream.gaps = stream.gaps.filter(({ to }) => to > event.seq);
    }
  }
}
