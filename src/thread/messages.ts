/**
 * Everything that crosses between threads, as types with explicit numbers. Nobody but `thread/` may know how it travels;
 * the parts (gateway, shard, persistence, readers) know each other only through this file.
 *
 *   gateway ⇄ shard        ToShard / ToGateway       flat lists: numbers for the hot kinds, one object for the rest
 *   shard ⇄ persistence    Batch / BatchResult        one batch of a shard on its way at a time, answered in order
 *   shard ⇄ reader         ReadRequest / ReadResult
 */
import type { CloseReason, ErrorCode } from '../protocol/codes.ts';
import type { Position, Role, Settings } from '../protocol/commands.ts';
import type { Delivery, DeliveryState, EntryKind, GapReason, Presence, RoomSummary, Status } from '../protocol/pushes.ts';
import type { EntryColumns } from './entry-columns.ts';
import type { NoticeColumns } from './notice-columns.ts';
import type { Barred } from './quarantine.ts';

export type Format = 'json' | 'msgpack';
/** Number of one connection on this node, never reused while the process lives. */
export type ConnectionId = number;
/** Number a shard gives to a room it has active; together with the shard it names a slot of the gateway. */
export type RoomKey = number;

// ---------------------------------------------------------------- gateway → shard

/**
 * A list carries frames as three numbers (connection, offset, length: the undecoded payload in the batch's arena) and
 * everything else as one object. Order in the list is the order of events. `open` precedes anything else of a connection.
 */
export type ToShard =
  /** First message of a connection to this shard. `service`: an API key, which may act for others. */
  | { t: 'open'; connection: ConnectionId; user: string; device: string; format: Format; service: boolean; scopes: string[] }
  /** To the user's home shard only, after `open`. Answered by `welcome` or `refuse`; `again` (after a shard's death) by nothing. */
  /** `told`: an earlier thread of the shard may have heard it, and connected it, without having been able to say so. */
  /** `jti`: the id of its token, where that has one. `renews`: a known connection asks whether it may go on with this token; answered by `renewed`. */
  | { t: 'hello'; connection: ConnectionId; again: boolean; issuedAt: number; jti?: string; told?: true; renews?: true }
  /** Follow `room` without a command: the broadcast room at hello, and every subscription after a shard's death. */
  | { t: 'follow'; connection: ConnectionId; room: string; position: Position | 'mark'; presence: boolean }
  /** A refreshed token gave the connection other scopes: to every shard that has it open. */
  | { t: 'scopes'; connection: ConnectionId; scopes: string[] }
  /** To the home shard: the connection has sent no command for `awayAfterMs` (and, where it was so, after a `hello` again), or has sent one after that. */
  | { t: 'idle'; connection: ConnectionId; idle: boolean }
  /** After a shard's death, to the shards of `users`: what the connection watched. Answered by `presence` pushes. */
  | { t: 'watch'; connection: ConnectionId; users: string[] }
  /** After a shard's death and everything above: of the connections numbered so far, through `through`, these are left. */
  | { t: 'alive'; through: ConnectionId; connections: ConnectionId[] }
  /** Travels with the frames; answered by `probed` once all that came before it is stored and answered. */
  | { t: 'probe' }
  /** The outbox of the connection is below its low-water mark: its next page may be sent. Follows every PAGE. */
  | { t: 'drained'; connection: ConnectionId }
  /** The outbox passed the hard mark: the gateway has taken the connection out of the room's slot after `lastSeq`, where `attachment` had put it. */
  | { t: 'behind'; connection: ConnectionId; roomKey: RoomKey; attachment: number; lastSeq: number }
  /** The socket is gone. `clean`: the client said goodbye, so presence needs no grace. Last message of a connection. */
  | { t: 'close'; connection: ConnectionId; clean: boolean };

// ---------------------------------------------------------------- shard → gateway

/** First number of a record in a list of a shard; the numbers that follow are named in `strides`. */
export const toGateway = {
  /** roomKey, format, firstSeq, lastSeq, offset, length: durable entries, ready frames, for every live subscriber of that format. */
  deliver: 1,
  /** roomKey, format, except (a connection or 0), offset, length: ephemeral, the first to be shed. */
  shed: 2,
  /** connection, id (0: none), offset, length: the one answer to a command. */
  reply: 3,
  /** connection, offset, length, paced (1: answer `drained` when the outbox is below its low-water mark): ready frames for one connection. */
  page: 4,
  /** roomKey, connection, fromSeq, presence (0/1), attachment (the room's number of it): from here on the connection gets what `deliver` brings to the slot. */
  attach: 5,
  /** roomKey, connection: no more of it. */
  detach: 6,
  /** roomKey, connection, seq: what was sent before has brought a connection that is fed pages there; to be followed on from there should the shard die. */
  reached: 7,
} as const;
/** Numbers in a record, its kind included. */
export const strides = { 1: 7, 2: 6, 3: 5, 4: 5, 5: 6, 6: 3, 7: 4 } as const;
/** How `Format` travels as a number. */
export const formats: readonly Format[] = ['json', 'msgpack'];

export type ToGateway =
  /** Names a room key, before its first use. */
  | { t: 'room'; roomKey: RoomKey; room: string }
  | { t: 'probed' }
  /** The room's actor is put away; no subscriber is left. */
  | { t: 'forget'; roomKey: RoomKey }
  | { t: 'welcome'; connection: ConnectionId; epoch: string; inbox: { head: number; acked: number }; allMark: number; revokedAt: number }
  | { t: 'refuse'; connection: ConnectionId; close: CloseReason }
  /** To a `hello` that renews: null, or why it may not and stays as it was. */
  | { t: 'renewed'; connection: ConnectionId; refused: ErrorCode | null }
  /** Close these connections of this node: victims of a limit, of the same device, or of a revocation. */
  | { t: 'evict'; connections: ConnectionId[]; close: CloseReason }
  /** One shard's part of a command that was split by shard; lists of the same field are concatenated. */
  | { t: 'part'; connection: ConnectionId; id: number; part: Record<string, unknown[]>; error?: { code: ErrorCode; message: string } };

/**
 * One posted batch of either direction: the list; batches of the other direction that were worked off; whether the sender has no credit left, so that it waits
 * for the answer; and the bytes that the list's offsets point into, owned by the receiver. An array, since names of properties would be written and looked up
 * again for each of a thousand small batches a second.
 */
export type WireBatch<T> = [list: (number | T)[], credit: number, last: boolean, bytes: ArrayBuffer | Uint8Array | null];

// ---------------------------------------------------------------- shard ⇄ persistence

/** A stored body: JSON text, or the bytes of a binary body. */
export type StoredBody = string | Uint8Array | null;

/** An entry as the store keeps it and as actors know it. `mid`: lower-case UUID text. */
export type EntryRecord = {
  room: string;
  seq: number;
  kind: EntryKind;
  mid: string | null;
  from: string | null;
  ts: number;
  thread: string | null;
  body: StoredBody;
};

/** What an entry changes besides being one: applied in its transaction, with what must hold for it. */
export type Change =
  /** Create the room (conflict: `exists`), `owner` its first member. A deleted room's seq goes on. */
  | { type: 'create'; settings: Settings; owner: string | null }
  | { type: 'settings'; settings: Settings }
  /** Remove the room: members gone, first_seq = this entry's seq, older entries removed later in chunks. */
  | { type: 'delete' }
  /** Insert a member if absent and below `membersMax` (`room-full`); present already: `duplicate` without an entry. `restricts`: it takes a right away. */
  | { type: 'join'; user: string; role: Role; membersMax: number; restricts?: true }
  | { type: 'role'; user: string; role: Role }
  | { type: 'leave'; user: string };

/**
 * One entry to append. Preconditions, checked inside the transaction: `authSeq` equals the room's (`stale`), `mid` is unused
 * in the room (same sender: the first answer, `duplicate`; another: `conflict`). `autoCreate`: a missing room comes into
 * being with `defaults`; otherwise `not-found`. Changes that may take a right from somebody move the room's authSeq to this seq:
 * all but a `join` that does not restrict and the `create` of a public room (to a private one's name anybody could publish before).
 */
export type Append = {
  type: 'append';
  room: string;
  authSeq: number;
  autoCreate: 'public' | 'dm' | 'all' | null;
  mid: string | null;
  kind: EntryKind;
  from: string | null;
  thread: string | null;
  body: StoredBody;
  change: Change | null;
  /** Users whose inbox gets this entry, in the same transaction; `origin` is the device that needs no copy. */
  inbox: string[] | null;
  origin: { user: string; device: string } | null;
};
/**
 * The common append, as a tuple because it is the hot one: room, authSeq, mid, from, thread, body, autoCreate (0 none, 1 public, 2 dm, 3 all).
 * With `origin` it is a direct message: the room is a DM, and both its users get it in their inboxes, but for the device of
 * `from` that is named (null: nobody's).
 */
export type MessageAppend = [
  room: string,
  authSeq: number,
  mid: string | null,
  from: string | null,
  thread: string | null,
  body: StoredBody,
  autoCreate: 0 | 1 | 2 | 3,
  origin?: string | null,
];
export const autoCreates: readonly Append['autoCreate'][] = [null, 'public', 'dm', 'all'];

export type Operation =
  | Append
  /** Check the limits, insert the connection, mark victims, note the device, set the user online: one transaction (DESIGN 11.21). `again`: only make sure it is there. */
  | {
      type: 'connect';
      user: string;
      device: string;
      named: boolean;
      connection: ConnectionId;
      perUserMax: number;
      policy: 'reject' | 'evict-oldest';
      devicesMax: number;
      again: boolean;
      /** When the token was issued, ms; 0: it does not say. Nobody who is disabled, and no token of before a revocation, is admitted (`revoked`). */
      issuedAt: number;
      /** Nor is a token that was revoked by it. */
      jti?: string;
    }
  /**
   * Tokens of the user that were issued until now are refused from now on, and his connections are victims. `disabled`: all of them, until it is
   * `false` again, which revokes nothing; null: as it was.
   */
  | { type: 'revoke'; user: string; disabled: boolean | null }
  /** One token of the user is refused from now on; `until`: when it ends by itself, null: nobody said. Who is connected with it is closed by the shard. */
  | { type: 'revokeToken'; user: string; jti: string; until: number | null }
  | { type: 'disconnect'; user: string; connection: ConnectionId }
  /**
   * After a shard's death, for the users placed in it: this node's connections through the number `through` that are not
   * `alive` are gone, their ends may never have been told; and who has no connection left is offline.
   */
  | { type: 'prune'; shard: number; shards: number; through: ConnectionId; alive: ConnectionId[] }
  /** `lastSeen`: when the user was last connected; while he is, when his status last changed. */
  | { type: 'presence'; user: string; status: Status; lastSeen: number }
  /** Items through `n` were pushed to a device of the user (for the ledger). */
  | { type: 'sent'; user: string; through: number }
  | { type: 'ack'; user: string; device: string; through: number }
  | { type: 'mark'; room: string; user: string; received: number; read: number };

/** A number is the seq of a `MessageAppend` that was stored. Codes as in `Append`; `storage`: nothing of it was stored. */
export type Outcome =
  | number
  | { code: 'ok'; seq: number }
  | { code: 'duplicate'; seq: number }
  | { code: 'stale' | 'conflict' | 'exists' | 'not-found' | 'room-full' | 'inbox-full' }
  /** `unsure` (of a shard's own making): its batch was sent to two writers, and the one that died may have carried it out. */
  | { code: 'storage'; message: string; unsure?: true }
  /** To `connect`: victims to close on this node, the device's inbox cursor, the highest n, the user's mark in `all:`, and until when tokens are revoked. */
  | { code: 'connected'; victims: { connection: ConnectionId; close: CloseReason }[]; acked: number; head: number; allMark: number; revokedAt: number }
  | { code: 'rejected' | 'revoked'; unsure?: true }
  /** To `prune`: who went offline by it. */
  | { code: 'pruned'; users: string[] }
  | { code: 'done' };

/** `again`: how many writers have died that had it. */
export type Batch = { batch: number; operations: (MessageAppend | Operation)[]; again: number };
/** `outcomes[i]` answers `operations[i]`; `ts`: the hub's clock (ms) that every entry of the batch got. */
export type BatchResult = { t: 'result'; batch: number; ts: number; outcomes: Outcome[] };
/** One item of an inbox, as committed: to the shard of its user. */
export type InboxItem = { t: 'inbox'; user: string; n: number; entry: EntryRecord; origin: string | null };
/** Items were dropped or expired: told to the user, range by range. */
export type InboxLoss = { t: 'inbox-loss'; user: string; from: number; to: number; reason: 'dropped' | 'expired' };
/** First answer on a link, after batches of older incarnations are out of the way (DESIGN 11.4). */
export type Opened = { t: 'opened'; epoch: string };
/** The other direction's first message. */
export type OpenShard = { t: 'open'; shard: number; incarnation: number };
export type ToPersistence = OpenShard | Batch;
/** What one commit did to inboxes of the shard's users: after the results, in the order of each user's n. */
export type InboxNotices = { t: 'notices'; notices: NoticeColumns };
export type FromPersistence = Opened | BatchResult | InboxNotices;

// ---------------------------------------------------------------- shard ⇄ reader

export type StoredRoom = {
  exists: boolean;
  visibility: 'public' | 'private';
  settings: Settings;
  createdAt: number | null;
  headSeq: number;
  firstSeq: number;
  authSeq: number;
  /** Empty for `all:`, whose members are everybody. */
  members: { user: string; role: Role; sinceSeq: number; sinceTs: number; received: number; read: number }[];
};
export type StoredInbox = {
  /** In order of n. Missing and lost numbers between `after` and the last item are `losses`. */
  items: { n: number; entry: EntryRecord }[];
  losses: { from: number; to: number; reason: 'dropped' | 'expired' }[];
  /** The highest n assigned so far, read in the same snapshot. */
  head: number;
};

/** Each read sees one snapshot that includes every commit answered before the request was sent. */
export type ReadQuery =
  | { read: 'room'; room: string }
  /** Entries with from ≤ seq ≤ to, in order (`descending`: from the end), stopping at `limit` or `bytesMax` (at least one). `kind`: only that kind. */
  | { read: 'entries'; room: string; from: number; to: number; limit: number; bytesMax: number; kind: EntryKind | null; descending: boolean }
  /** Whether a position resumes (DESIGN 11.1): null if it does, else why not. `head` is the store's. */
  | { read: 'position'; room: string; epoch: string; seq: number }
  | { read: 'inbox'; user: string; device: string | null; after: number; limit: number; bytesMax: number }
  | { read: 'rooms'; user: string; scope: 'mine' | 'public'; filter: string; after: string; limit: number }
  | { read: 'presence'; users: string[] }
  | { read: 'standing'; user: string }
  | { read: 'delivery'; room: string; mid: string; user: string | null };

export type ReadReply = {
  room: StoredRoom;
  entries: { entries: EntryRecord[]; more: boolean };
  position: { reason: GapReason | null; head: number };
  inbox: StoredInbox;
  rooms: { rooms: RoomSummary[]; after: string | null };
  presence: { users: Presence[] };
  standing: { disabled: boolean };
  delivery: { sender: string | null; deliveries: (Delivery & { state: DeliveryState })[] };
};
export type ReadKind = keyof ReadReply;
export type ReadRequest = { request: number; query: ReadQuery };
/** Entries travel apart from the rest of a reply, which then has none: of `entries` its own, of `inbox` those of its items with their `n`. */
export type ReadResult = { request: number; reply?: ReadReply[ReadKind]; entries?: EntryColumns; n?: number[]; error?: string };

// ---------------------------------------------------------------- control (supervisor ⇄ every thread)

export type Control =
  /** A link to a (new) peer: its port is in the transfer list. */
  | { t: 'peer'; role: 'gateway' | 'shard' | 'persistence' | 'reader'; index: number; incarnation: number; port: unknown }
  /** Asks for statistics. Whether the thread lives is seen elsewhere (thread/witness.ts). */
  | { t: 'beat'; turn: number }
  /** To shards: what they refuse from now on, all of it. */
  | { t: 'quarantine'; barred: Barred }
  /** Finish what is open, answer, then return from the task. */
  | { t: 'stop' };
export type FromThread =
  | { t: 'ready' }
  | { t: 'beat'; turn: number; stats: Record<string, number> }
  | { t: 'log'; level: 'debug' | 'info' | 'warn' | 'error'; message: string; fields: Record<string, unknown> };
