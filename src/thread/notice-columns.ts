/**
 * What a commit did to inboxes, on its way from persistence to a shard: items as columns, as entries are, for the same
 * reason. Losses are few, and keep their places between the items.
 */
import { type EntryColumns, fromColumns, toColumns } from './entry-columns.ts';
import type { EntryRecord, InboxItem, InboxLoss } from './messages.ts';

export type NoticeColumns = {
  user: string[];
  n: number[];
  origin: (string | null)[];
  entries: EntryColumns;
  /** `at`: how many items come before it. */
  losses: { at: number; loss: InboxLoss }[];
};

export function toNoticeColumns(notices: readonly (InboxItem | InboxLoss)[]): NoticeColumns {
  const entries: EntryRecord[] = [];
  const columns: Omit<NoticeColumns, 'entries'> = { user: [], n: [], origin: [], losses: [] };
  for (const notice of notices) {
    if (notice.t === 'inbox-loss') {
      columns.losses.push({ at: entries.length, loss: notice });
      continue;
    }
    columns.user.push(notice.user);
    columns.n.push(notice.n);
    columns.origin.push(notice.origin);
    entries.push(notice.entry);
  }
  return { ...columns, entries: toColumns(entries) };
}

export function fromNoticeColumns({ user, n, origin, entries, losses }: NoticeColumns): (InboxItem | InboxLoss)[] {
  const notices: (InboxItem | InboxLoss)[] = fromColumns(entries).map((entry, i) => ({
    t: 'inbox',
    user: user[i] as string,
    n: n[i] as number,
    entry,
    origin: origin[i] as string | null,
  }));
  // From the last on, so that the places of those before it stay right.
  for (const { at, loss } of losses.toReversed()) notices.splice(at, 0, loss);
  return notices;
}
