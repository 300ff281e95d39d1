/**
 * Bringing a subscriber that is behind to the head, page by page at the pace of its socket. What was sent to another one lately
 * is sent again as it is, and a page that is being read for one is waited for by all who need it: a crowd that falls behind
 * costs the shard and the store about what one follower does.
 */
import type { EntryRecord } from '../thread/messages.ts';
import type { RoomEffects, RoomState, Subscriber } from './room-state.ts';
import { deliverApplied, drop } from './room-subscribers.ts';

const pageEntries = 500;

export function goLive(room: RoomState, subscriber: Subscriber, effects: RoomEffects): void {
  deliverApplied(room, effects); // those who are live already get what was applied in this turn; it was replayed to this one
  const attachment = ++room.attachments;
  subscriber.state = { is: 'live', attachment };
  effects.attach(room, subscriber.connection, room.headSeq + 1, subscriber.presence, attachment);
}

/** One page for a subscriber that is behind: what another one got, else from the tail if it reaches back far enough, else from the store. */
export function turn(room: RoomState, subscriber: Subscriber, effects: RoomEffects): void {
  const { connection, state } = subscriber;
  if (room.subscribers.get(connection.id) !== subscriber || state.is === 'live') return effects.skip(connection);
  if (state.position >= room.headSeq) {
    goLive(room, subscriber, effects);
    return effects.skip(connection);
  }
  const last = effects.replayAgain(room, connection, state.position + 1);
  if (last !== null) return moved(room, subscriber, last, effects);
  const records = room.tail.from(state.position + 1, room.limits.pageBytesMax);
  if (records === null) read(room, subscriber, state.position + 1, effects);
  else sendPage(room, subscriber, records, room.headSeq, effects);
}

function read(room: RoomState, subscriber: Subscriber, from: number, effects: RoomEffects): void {
  const underWay = room.paging.find((page) => page.from <= from && from < page.from + pageEntries);
  if (underWay !== undefined) {
    underWay.waiting.push(subscriber);
    return;
  }
  const page = { from, waiting: [subscriber] };
  const to = room.headSeq;
  room.paging.push(page);
  const ended = () => room.paging.splice(room.paging.indexOf(page), 1);
  effects.read(
    { read: 'entries', room: room.name, from, to, limit: pageEntries, bytesMax: room.limits.pageBytesMax, kind: null, descending: false },
    ({ entries }) => {
      ended();
      // Where the page ends before somebody's position, he needs one of his own.
      const last = entries.at(-1)?.seq ?? to;
      for (const one of page.waiting) {
        if (one.state.is === 'behind' && one.state.position < last) arrived(room, one, entries, last, effects);
        else turn(room, one, effects);
      }
    },
    (error) => {
      ended();
      for (const one of page.waiting) {
        if (room.subscribers.get(one.connection.id) === one) {
          drop(room, one.connection, effects);
          effects.push(one.connection, { op: 'unsubscribed', room: room.name, reason: error.code });
        }
        effects.skip(one.connection);
      }
    },
  );
}

/** What was read for him or for one before him. */
function arrived(room: RoomState, subscriber: Subscriber, entries: readonly EntryRecord[], last: number, effects: RoomEffects): void {
  const { connection, state } = subscriber;
  if (state.is !== 'behind' || room.subscribers.get(connection.id) !== subscriber) return effects.skip(connection);
  const sent = effects.replayAgain(room, connection, state.position + 1);
  if (sent !== null) return moved(room, subscriber, sent, effects);
  const { position } = state;
  sendPage(
    room,
    subscriber,
    entries.filter(({ seq }) => seq > position),
    last,
    effects,
  );
}

/** `through`: nothing that is not among the records is stored up to it. */
function sendPage(room: RoomState, subscriber: Subscriber, records: readonly EntryRecord[], through: number, effects: RoomEffects): void {
  const { connection, state } = subscriber;
  if (state.is === 'live') return effects.skip(connection);
  // Trimmed or deleted while it was being fed: say so, and go on after the hole.
  const to = (records[0]?.seq ?? through + 1) - 1;
  if (to > state.position)
    effects.push(connection, { op: 'gap', room: room.name, gaps: [{ room: room.name, from: state.position + 1, to, reason: 'trimmed' }] });
  if (records.length === 0) effects.skip(connection);
  else effects.replay(room, connection, records);
  moved(room, subscriber, records.at(-1)?.seq ?? through, effects);
}

/** Everything through `seq` is on its way to the subscriber. */
function moved(room: RoomState, subscriber: Subscriber, seq: number, effects: RoomEffects): void {
  const { connection, state } = subscriber;
  if (state.is === 'live') return;
  state.position = seq;
  if (seq >= room.headSeq) return goLive(room, subscriber, effects);
  effects.reached(room, connection, seq);
  effects.feed(connection, () => turn(room, subscriber, effects));
}
