/**
 * What one page of an inbox, as the store has it, comes to for one connection: pushes in order of n, what was lost in its place,
 * up to an item that is set aside. Nothing here keeps state; the user's inbox moves by what it gets.
 */
import type { StoredInbox } from '../thread/messages.ts';
import { suspectOfItem } from '../thread/suspects.ts';
import type { Suspect } from '../thread/witness.ts';
import type { Pushable } from './actor.ts';

/** Why an inbox does not go on: item `n` comes next, and `by` is set aside. */
export type Stop = { readonly n: number; readonly by: Suspect };
/** `items`: their numbers. `sent`: everything through it is done with. */
export type InboxPage = { pushes: Pushable[]; items: number[]; sent: number; stop: Stop | null };

/** `sent`: what the connection has had. */
export function inboxPage(sent: number, { items, losses }: StoredInbox, bars: (suspect: Suspect) => boolean): InboxPage {
  const page: InboxPage = { pushes: [], items: [], sent, stop: null };
  const last = items.at(-1)?.n ?? Number.POSITIVE_INFINITY; // behind a page's last item, a range could overtake the next page's items
  let at = 0;
  const tellLosses = (below: number): void => {
    for (let loss = losses[at]; loss !== undefined && loss.from < below && loss.from < last; loss = losses[++at]) {
      if (loss.to <= page.sent) continue;
      page.pushes.push(gapAfter(page.sent, loss));
      page.sent = loss.to;
    }
  };
  for (const { n, entry } of items) {
    tellLosses(n);
    if (n <= page.sent) continue; // acked while the page was read
    const by = suspectOfItem(entry);
    if (bars(by)) {
      page.stop = { n, by };
      return page;
    }
    page.pushes.push({ n, stored: entry });
    page.items.push(n);
    page.sent = n;
  }
  tellLosses(Number.POSITIVE_INFINITY);
  return page;
}

export function gapAfter(sent: number, loss: { from: number; to: number; reason: 'dropped' | 'expired' }): Pushable {
  return { op: 'inbox-gap', from: Math.max(loss.from, sent + 1), to: loss.to, reason: loss.reason };
}
