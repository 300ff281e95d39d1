/** A shard's user directory with one user `bob`, whose inbox and store the test plays. Shared by the tests of delivery. */
import type { Connection } from '../src/shard/actor.ts';
import { UserDirectory } from '../src/shard/user-directory.ts';
import type { EntryRecord, InboxItem, InboxLoss, StoredInbox } from '../src/thread/messages.ts';
import { EffectsRecorder } from './effects-recorder.ts';

export const itemsMax = 10;
const limits = {
  connectionsPerUserMax: 10,
  connectionPolicy: 'reject',
  devicesMax: 10,
  presenceGraceMs: 10_000,
  watchesMax: 10,
  inboxItemsMax: itemsMax,
} as const;

export function entryOf(n: number, body = `"${n}"`): EntryRecord {
  return { room: 'dm:alice:bob', seq: n, kind: 'message', mid: `mid ${n}`, from: 'alice', ts: n, thread: null, body };
}
export function itemOf(n: number, origin: string | null = null, body?: string): InboxItem {
  return { t: 'inbox', user: 'bob', n, entry: entryOf(n, body), origin };
}
export function lossOf(from: number, to: number): InboxLoss {
  return { t: 'inbox-loss', user: 'bob', from, to, reason: 'dropped' };
}
/** Items `from` to `to` as a reader answers them. */
export function stored(from: number, to: number, head = to, losses: StoredInbox['losses'] = []): StoredInbox {
  return { items: Array.from({ length: Math.max(0, to - from + 1) }, (_, i) => ({ n: from + i, entry: entryOf(from + i) })), losses, head };
}

export function startInbox() {
  const effects = new EffectsRecorder();
  const users = new UserDirectory('e', limits);
  const turn = (step: () => unknown) => {
    step();
    users.flush(effects);
  };
  const connect = (acked = 0, head = acked, device = '', again = false): Connection => {
    const connection = effects.connection('bob', device);
    turn(() => users.hello(connection, { again: again, named: device !== '', issuedAt: 0 }, effects));
    turn(() => effects.settle('connect', { code: 'connected', victims: [], acked, head, allMark: 0, revokedAt: 0 }));
    return connection;
  };
  const notice = (...notices: (InboxItem | InboxLoss)[]) =>
    turn(() => {
      for (const each of notices) users.notice(each, effects);
    });
  const answer = (reply: StoredInbox) => {
    let query: unknown;
    turn(() => {
      query = effects.answer('inbox', reply);
    });
    return query;
  };
  const ack = (connection: Connection, through: number, id?: number) => turn(() => users.command(connection, { op: 'ack', id, through }, effects));
  const settle = (type: 'ack' | 'sent' | 'disconnect', refused = false) =>
    turn(() => {
      effects.settle(type, refused ? { code: 'storage', message: 'disk full' } : { code: 'done' });
    });
  const tick = () => {
    effects.advance(1_000);
    turn(() => users.tick(effects));
  };
  return { effects, users, turn, connect, notice, answer, ack, settle, tick };
}
