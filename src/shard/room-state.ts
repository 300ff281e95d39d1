/**
 * What the actor of a room knows: the log's head, the settings, the members, who follows it live, and what is on its way.
 * The handlers in `room-*.ts` are steps on this state; nobody else holds one.
 */

import type { FilledOptions } from '../options.ts';
import { type Relation, type RoomKind, reservedKind } from '../protocol/authorize.ts';
import type { CodedError } from '../protocol/codes.ts';
import type { Role, Settings } from '../protocol/commands.ts';
import { dmUsers } from '../protocol/names.ts';
import type { RoomInfo } from '../protocol/pushes.ts';
import type { MessageContent } from '../protocol/validate.ts';
import { FewMap } from '../thread/few.ts';
import type { ConnectionId, EntryRecord, Format, RoomKey, StoredRoom } from '../thread/messages.ts';
import type { Connection, Effects } from './actor.ts';
import { Tail } from './tail.ts';

export type RoomLimits = Pick<
  FilledOptions,
  'roomMembersMax' | 'tailItemsMax' | 'tailBytesMax' | 'pageBytesMax' | 'roomIdleMs' | 'audienceMax' | 'bodyBytesMax'
> & {
  /** Whether a first subscribe or publish makes a public room. */
  autoCreate: boolean;
};

/** Effects that only rooms have. */
export interface RoomEffects extends Effects {
  /** Entries for every live subscriber: each format's frames are built once. */
  deliver(room: RoomState, records: readonly EntryRecord[]): void;
  /** Ephemera for every live subscriber, together so that a socket gets them in one write. */
  shed(room: RoomState, ephemera: readonly Ephemeral[]): void;
  attach(room: RoomState, to: Connection, fromSeq: number, presence: boolean, attachment: number): void;
  detach(room: RoomState, to: Connection): void;
  /** What was sent to a subscriber that is behind has brought it to `seq`. In the same turn as that. */
  reached(room: RoomState, to: Connection, seq: number): void;
  /** A page of dense entries: ends the turn of the connection as `page` does, and is kept a while for others who are behind. */
  replay(room: RoomState, to: Connection, records: readonly EntryRecord[]): void;
  /** The same from `seq` on, as far as it was sent to somebody lately; the last seq that was sent, or null for none, and the turn goes on. */
  replayAgain(room: RoomState, to: Connection, seq: number): number | null;
  /** An `ok` with these fields and `entries`. */
  replyEntries(to: Connection, id: number | undefined, fields: object, entries: readonly EntryRecord[]): void;
  /** The room has something to flush at the end of this turn. */
  touched(room: RoomState): void;
  /** A fresh UUIDv7 for an entry whose sender gave none. */
  mid(): string;
  readonly epoch: string;
}

/** `except`: the sender's connection, where it wants no echo. */
export type Ephemeral = { from: string | null; content: MessageContent; except: Connection | null };
export type CaughtUp = (error: CodedError | null) => void;
export type MemberState = { role: Role; sinceSeq: number; sinceTs: number; received: number; read: number };
export type Subscriber = {
  readonly connection: Connection;
  presence: boolean;
  /** `live`: the gateway's slot has it, by that attachment. `behind`: it has everything through `position` and is fed pages from there. */
  state: { is: 'live'; attachment: number } | { is: 'behind'; position: number };
};

/** Kept by room-audience.ts, for `listeners`: subscribers who asked. */
export type RoomAudience = {
  readonly listeners: FewMap<ConnectionId, Connection>;
  /** Users following live, with how many connections each; who joined and left since the last push. */
  readonly users: Map<string, number>;
  readonly joined: Set<string>;
  readonly left: Set<string>;
  /** Listeners were last told only a number. */
  large: boolean;
  /** Some of them know nothing of who is there. */
  anew: boolean;
};

export class RoomState {
  readonly name: string;
  readonly key: RoomKey;
  readonly limits: RoomLimits;
  readonly reserved: 'dm' | 'all' | null;
  /** The two users of a DM, one of a DM with oneself; nobody of other rooms. */
  readonly pair: readonly string[];
  readonly tail: Tail;
  readonly members = new FewMap<string, MemberState>();
  readonly subscribers = new Map<ConnectionId, Subscriber>();
  /** How many there were: what the gateway says of one must not count for a later one. */
  attachments = 0;
  /** Subscribers by encoding, so that only frames somebody reads are built. */
  readonly formats: Record<Format, number> = { json: 0, msgpack: 0 };
  /** Null: nobody asked to know who follows it live, as in most rooms. */
  audience: RoomAudience | null = null;

  /** What waited for the room is being worked off: the store has just been asked for it. */
  loading = false;
  exists = false;
  visibility: 'public' | 'private' = 'public';
  settings: Settings = {};
  createdAt: number | null = null;
  headSeq = 0;
  firstSeq = 1;
  authSeq = 0;
  /** Applied, not yet handed to the gateway. */
  undelivered: EntryRecord[] = [];
  ephemera: Ephemeral[] = [];
  /** Committed entries above head + 1 that wait for the ones in between. */
  readonly ahead = new FewMap<number, EntryRecord>();
  /** While the store is read above the head: who waits for the next read. */
  catching: CaughtUp[] | null = null;
  /** The last read of what lies above the head failed: the tick tries again, as nothing else might. */
  missing = false;
  /** Pages that the store is asked for, each with those who wait for it. */
  readonly paging: { readonly from: number; readonly waiting: Subscriber[] }[] = [];
  /** Connections whose position the store is asked about, each with what ends that wait because a later command replaces it. */
  readonly locating = new FewMap<ConnectionId, () => void>();
  /** The head that other nodes were last told. */
  announcedSeq = 0;
  /** Appends and reads on their way whose answer changes this state. */
  pending = 0;
  /** Monotonic ms. */
  lastUsed = 0;

  constructor(name: string, key: RoomKey, limits: RoomLimits) {
    this.name = name;
    this.key = key;
    this.limits = limits;
    this.reserved = reservedKind(name);
    this.pair = [...new Set(this.reserved === 'dm' ? dmUsers(name) : [])];
    this.tail = new Tail(limits.tailItemsMax, limits.tailBytesMax);
  }

  load(stored: StoredRoom): void {
    this.exists = stored.exists;
    this.visibility = stored.visibility;
    this.settings = stored.settings;
    this.createdAt = stored.createdAt;
    this.headSeq = stored.headSeq;
    this.firstSeq = stored.firstSeq;
    this.authSeq = stored.authSeq;
    this.members.clear();
    for (const { user, ...member } of stored.members) this.members.set(user, member);
    this.tail.clear();
  }

  get kind(): RoomKind {
    if (this.reserved !== null) return this.reserved;
    if (this.exists) return this.visibility;
    return this.limits.autoCreate ? 'open' : 'absent';
  }

  relation(connection: Connection): Relation {
    if (connection.service) return 'service';
    if (this.reserved === 'all') return connection.scopes.includes('broadcast') ? 'broadcaster' : 'stranger';
    return this.relationOf(connection.user);
  }

  relationOf(user: string): Relation {
    if (this.reserved === 'dm') return this.pair.includes(user) ? 'member' : 'stranger';
    return this.members.get(user)?.role ?? 'stranger';
  }

  /** Only for its members. */
  get closed(): boolean {
    return this.visibility === 'private';
  }

  get membersMax(): number {
    return this.settings.membersMax ?? this.limits.roomMembersMax;
  }

  get history(): 'all' | 'sinceJoin' {
    return this.settings.history ?? (this.visibility === 'private' && this.reserved === null ? 'sinceJoin' : 'all');
  }

  /** The lowest seq `connection` may read: the trimmed prefix is gone, and what was before his time may not be his. */
  floor(connection: Connection): { first: number; reason: 'trimmed' | 'forbidden' } {
    const since = this.history === 'sinceJoin' && !connection.service ? (this.members.get(connection.user)?.sinceSeq ?? 0) : 0;
    return since > this.firstSeq ? { first: since, reason: 'forbidden' } : { first: this.firstSeq, reason: 'trimmed' };
  }

  info(connection: Connection, epoch: string): RoomInfo {
    return {
      room: this.name,
      visibility: this.visibility,
      listed: this.settings.listed ?? this.visibility === 'public',
      title: this.settings.title ?? null,
      membersMax: this.membersMax,
      history: this.history,
      createdAt: this.createdAt,
      members: this.members.size,
      subscribers: this.subscribers.size,
      role: this.members.get(connection.user)?.role ?? null,
      position: { epoch, seq: this.headSeq },
      firstSeq: this.firstSeq,
    };
  }
}
