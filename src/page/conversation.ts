/**
 * One conversation as the page knows it: entries by seq (whatever brought them: history, the live room, the inbox), messages
 * on their way, who types, and what is unread. No DOM and no hub, so that the order in which things arrive cannot matter.
 */
import type { Entry, MemberBody, Room, RoomSummary } from '../client/index.ts';

/** One line of the message list. */
export type Line = {
  key: string;
  kind: 'message' | 'notice';
  state: 'sending' | 'sent' | 'failed';
  from: string | null;
  /** Null while it is on its way. */
  ts: number | null;
  seq: number | null;
  text: string;
  /** Follows a message of the same user closely: no need to name him again. */
  grouped: boolean;
};
type Pending = { mid: string; text: string; state: Line['state'] };

/** Entries kept as new ones come, beside those that were asked for; older ones can be loaded again. */
const entriesMax = 1_000;
const groupMs = 300_000;

export class Conversation {
  readonly name: string;
  /** The other user of a direct conversation; null in a room. */
  readonly other: string | null;
  readonly me: string;
  room: Room | null = null;
  /** Whether the page has asked for its history, and whether there is more of it. */
  loaded = false;
  more = false;
  readonly typing = new Map<string, ReturnType<typeof setTimeout>>();
  readonly #entries = new Map<number, Entry>();
  readonly #pending = new Map<string, Pending>();
  #read = 0;
  /** What the hub counted as unread up to `listedHead`. */
  #listedUnread = 0;
  #listedHead = 0;

  constructor(name: string, other: string | null, me: string) {
    this.name = name;
    this.other = other;
    this.me = me;
  }

  get title(): string {
    return this.other ?? this.name;
  }

  get head(): number {
    return Math.max(0, ...this.#entries.keys());
  }

  get firstSeq(): number {
    return this.#entries.size === 0 ? 0 : Math.min(...this.#entries.keys());
  }

  get unread(): number {
    let unread = this.#read >= this.#listedHead ? 0 : this.#listedUnread;
    for (const { seq, kind, from } of this.#entries.values())
      if (kind === 'message' && from !== this.me && seq > this.#listedHead && seq > this.#read) unread++;
    return unread;
  }

  /** What the hub says of it in a list of rooms. */
  listed(summary: RoomSummary): void {
    this.#listedHead = summary.head;
    this.#listedUnread = summary.unread ?? 0;
    this.#read = Math.max(this.#read, summary.read ?? 0);
  }

  add(entry: Entry): void {
    this.#entries.set(entry.seq, entry);
    if (entry.mid !== null) this.#pending.delete(entry.mid);
    if (entry.from !== null) this.stopTyping(entry.from);
    if (this.#entries.size <= entriesMax || entry.seq < this.head) return;
    this.#entries.delete(this.firstSeq);
    this.more = true;
  }

  /** The user has seen everything there is. Returns the seq to tell the hub, or null where it knows. */
  readAll(): number | null {
    const head = Math.max(this.head, this.#listedHead);
    if (head <= this.#read) return null;
    this.#read = head;
    return head;
  }

  sending(mid: string, text: string): void {
    this.#pending.set(mid, { mid, text, state: 'sending' });
  }

  /** `sent`: stored, though its entry may still be on its way. */
  settle(mid: string, state: 'sent' | 'failed'): void {
    const pending = this.#pending.get(mid);
    if (pending !== undefined) pending.state = state;
  }

  stopTyping(user: string): void {
    clearTimeout(this.typing.get(user));
    this.typing.delete(user);
  }

  lines(): Line[] {
    const lines: Line[] = [];
    for (const entry of [...this.#entries.values()].sort((a, b) => a.seq - b.seq)) {
      const { seq, from, ts, mid } = entry;
      const last = lines.at(-1);
      const kind = entry.kind === 'message' ? 'message' : 'notice';
      const grouped = kind === 'message' && last?.kind === 'message' && last.from === from && last.ts !== null && ts - last.ts < groupMs;
      lines.push({ key: mid ?? String(seq), kind, state: 'sent', from, ts, seq, text: textOf(entry), grouped });
    }
    for (const { mid, text, state } of this.#pending.values()) {
      const last = lines.at(-1);
      const grouped = last?.kind === 'message' && last.from === this.me;
      lines.push({ key: mid, kind: 'message', state, from: this.me, ts: null, seq: null, text, grouped });
    }
    return lines;
  }
}

function textOf({ kind, body, bin, from }: Entry): string {
  const who = from ?? 'The hub';
  switch (kind) {
    case 'message':
      if (bin !== undefined) return `(binary, ${bin.length} bytes)`;
      return typeof body === 'string' ? body : JSON.stringify(body);
    case 'created':
      return `${who} created the room`;
    case 'settings':
      return `${who} changed the settings of the room`;
    case 'deleted':
      return `${who} deleted the room`;
    case 'member': {
      const { user, change, role } = body as MemberBody;
      if (change === 'role') return `${who} made ${user} ${role}`;
      return change === 'joined' || change === 'left' ? `${user} ${change}` : `${who} ${change} ${user}`;
    }
  }
}
