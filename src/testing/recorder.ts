/**
 * The history of a test: what every client sent, what it was told and when its connection ended, in the order of this
 * process. `checker.ts` reads it; nothing here judges.
 */
import type { EntryKind, Gap, MemberBody } from '../protocol/pushes.ts';
import { standingOf } from './standing.ts';

/** An entry of a room's log as far as the checker cares. */
export type LogEntry = { seq: number; mid: string | null; kind: EntryKind; from: string | null; member?: MemberBody };
/** The same as a client is given it. */
export type LoggedEntry = Omit<LogEntry, 'member'> & { body?: unknown };
/** Who may see a room's entries: everybody, members from their join on, or members everything up to their leaving. */
export type Entitlement = 'public' | 'sinceJoin' | 'all';

export type HistoryEvent =
  | { t: 'welcome'; client: string; user: string; epoch: string }
  | { t: 'op'; client: string; id: number; op: string; room?: string; mid?: string }
  | { t: 'ok'; client: string; id: number; room?: string; mid?: string; seq?: number }
  | { t: 'error'; client: string; id: number; code: string }
  | { t: 'closed'; client: string; code: number }
  /** From here on the client follows the room: after `seq`, or (null) from wherever its mark stood. */
  | { t: 'follow'; client: string; room: string; seq: number | null; gaps: { from: number; to: number }[] }
  | { t: 'gap'; client: string; room: string; from: number; to: number }
  | { t: 'unfollow'; client: string; room: string }
  | { t: 'entry'; client: string; user: string; room: string; seq: number; mid: string | null }
  /** The item of an inbox. */
  | { t: 'item'; client: string; user: string; room: string; seq: number; mid: string | null }
  /** The hub says that the user has received and read so far. */
  | { t: 'mark'; user: string; room: string; received: number; read: number }
  /** What a client believes about a room in the end, in any form that can be compared. */
  | { t: 'state'; client: string; room: string; state: string }
  /** The whole log as the hub gives it to a fresh reader. */
  | { t: 'log'; room: string; epoch: string; entitlement: Entitlement; head: number; entries: LogEntry[] };

type Command = { op: string; room?: string; mid?: string; position?: { seq: number } | 'mark'; rooms?: Record<string, number> };
type Told = { op: string; id?: number; room?: string; seq?: number; mid?: string | null; code?: string; position?: { seq: number }; gaps?: Gap[] };

export class Recorder {
  readonly events: HistoryEvent[] = [];
  #clients = 0;
  readonly #users = new Map<string, string>();
  readonly #open = new Map<string, Map<number, Command>>();

  /** A name for one more connection of the user. */
  client(user: string): string {
    const name = `${user}#${++this.#clients}`;
    this.#users.set(name, user);
    this.#open.set(name, new Map());
    return name;
  }

  welcomed(client: string, epoch: string): void {
    this.events.push({ t: 'welcome', client, user: this.#user(client), epoch });
    this.events.push({ t: 'follow', client, room: 'all:', seq: null, gaps: [] }); // every connection follows it, without asking
  }

  /** A command without an id has no answer to wait for and leaves no trace. */
  sent(client: string, frame: Record<string, unknown>): void {
    if (frame.id === undefined) return;
    const command = frame as Command;
    const id = frame.id as number;
    this.#open.get(client)?.set(id, command);
    this.events.push({ t: 'op', client, id, op: command.op, room: command.room, mid: command.mid });
  }

  received(client: string, frame: Record<string, unknown>): void {
    const told = frame as Told;
    const user = this.#user(client);
    const room = told.room ?? '';
    switch (told.op) {
      case 'welcome':
      case 'ok':
        this.#ok(client, told);
        return;
      case 'error':
        if (told.id === undefined) return;
        this.#open.get(client)?.delete(told.id);
        this.events.push({ t: 'error', client, id: told.id, code: told.code ?? '' });
        return;
      case 'resumed':
        this.#follow(client, told, told.id === undefined ? undefined : this.#open.get(client)?.get(told.id)?.rooms?.[room]);
        return;
      case 'entry':
        this.events.push({ t: 'entry', client, user, room, seq: told.seq ?? 0, mid: told.mid ?? null });
        return;
      case 'inbox':
        this.events.push({ t: 'item', client, user, room, seq: told.seq ?? 0, mid: told.mid ?? null });
        return;
      case 'gap':
        for (const { from, to } of told.gaps ?? []) this.events.push({ t: 'gap', client, room, from, to });
        return;
      case 'unsubscribed':
        this.events.push({ t: 'unfollow', client, room });
    }
  }

  closed(client: string, code: number): void {
    this.events.push({ t: 'closed', client, code });
    this.#users.delete(client);
    this.#open.delete(client);
  }

  mark(user: string, room: string, received: number, read: number): void {
    this.events.push({ t: 'mark', user, room, received, read });
  }

  state(client: string, room: string, state: string): void {
    this.events.push({ t: 'state', client, room, state });
  }

  log(room: string, epoch: string, head: number, entries: readonly LoggedEntry[], entitlement: Entitlement = 'public'): void {
    const kept = entries.map(({ seq, mid, kind, from, body }) => ({ seq, mid, kind, from, ...(kind === 'member' ? { member: body as MemberBody } : {}) }));
    this.events.push({ t: 'log', room, epoch, entitlement, head, entries: kept });
  }

  /** Forgets what was checked, for tests of hours: goes on with where everybody stands, once the logs were read and nothing is under way. */
  goOn(): void {
    const standing = standingOf(this.events);
    this.events.length = 0;
    for (const event of standing) this.events.push(event); // as many as connections and rooms: too many for arguments
  }

  #ok(client: string, told: Told): void {
    const id = told.id ?? 0;
    const command = this.#open.get(client)?.get(id);
    const room = told.room ?? command?.room;
    this.events.push({ t: 'ok', client, id, room, mid: command?.mid ?? told.mid ?? undefined, seq: told.seq });
    if (command?.op !== 'resume') this.#open.get(client)?.delete(id); // its rooms are answered one by one
    if (command?.op === 'unsubscribe') this.events.push({ t: 'unfollow', client, room: room ?? '' });
    if (command?.op !== 'subscribe') return;
    if (command.position === 'mark') this.#follow(client, told, null);
    else this.#follow(client, told, command.position?.seq ?? told.position?.seq);
  }

  #follow(client: string, told: Told, seq: number | null | undefined): void {
    const gaps = (told.gaps ?? []).map(({ from, to }) => ({ from, to }));
    // A position of another epoch is worth nothing: the stream begins at the head.
    const anew = told.gaps?.some(({ reason }) => reason === 'epoch') === true;
    this.events.push({ t: 'follow', client, room: told.room ?? '', seq: (anew ? told.position?.seq : seq) ?? null, gaps: anew ? [] : gaps });
  }

  #user(client: string): string {
    return this.#users.get(client) ?? '';
  }
}
