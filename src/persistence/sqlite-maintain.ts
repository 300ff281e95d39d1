/**
 * Upkeep in small steps, each a transaction of its own of a few milliseconds: the lease, expired items, the ledger, forgotten
 * devices, revoked tokens, the log of the broadcast room, what deleted rooms left behind. The store runs them in turn between commits.
 */
import type { Statement } from 'better-sqlite3';
import { allRoom } from '../protocol/names.ts';
import type { Inboxes, Turn } from './sqlite-inbox.ts';
import { InboxUpkeep } from './sqlite-inbox-upkeep.ts';
import type { Lease } from './sqlite-node.ts';
import type { Db } from './sqlite-open.ts';
import { type Between, entriesBetween } from './sqlite-parts.ts';
import type { Rooms } from './sqlite-rooms.ts';
import type { StoreOptions } from './store.ts';

/** Rows one step touches at most. */
const chunk = 500;
const devicesChunk = 50;
const pageBytes = 4_096;
const walLargeBytes = 32 * 1024 * 1024;

/** A connection outlives its token by its grace (an hour at most), and clocks differ. */
const tokenGraceMs = 2 * 3_600_000;

/** Does one chunk of its work, and says whether there may be more. */
type Step = (turn: Turn, now: number) => boolean;

export class Maintenance {
  readonly #steps: readonly Step[];
  readonly #db: Db;
  readonly #options: StoreOptions;
  readonly #rooms: Rooms;
  readonly #inboxes: Inboxes;
  readonly #unseen: Statement<[number, number], { user: number; device: string }>;
  readonly #forget: Statement<[number, string]>;
  readonly #forgetTokens: Statement<[number, number]>;
  readonly #mark: Statement<[number]>;
  readonly #marked: Statement<[number], { id: number; first: number; gone: number }>;
  readonly #purge: Statement<Between & { limit: number }>;
  readonly #blank: Statement<Between>;
  readonly #purgeMembers: Statement<[number, number, number, number]>;
  readonly #left: Statement<Between, number>;
  readonly #purgeParts: Statement<{ room: number; kept: number }>;
  readonly #unmark: Statement<[number]>;
  #lastRoom = 0;
  #next = 0;
  /** Steps in a row that found nothing. */
  #idle = 0;

  constructor(db: Db, options: StoreOptions, rooms: Rooms, inboxes: Inboxes, lease: Lease) {
    this.#db = db;
    this.#options = options;
    this.#rooms = rooms;
    this.#inboxes = inboxes;
    this.#unseen = db.prepare(
      'select user, device from devices d where seen_at < ? and not exists (select 1 from connections c where c.user = d.user and c.device = d.device) order by seen_at limit ?',
    );
    this.#forget = db.prepare('delete from devices where user = ? and device = ?');
    this.#forgetTokens = db.prepare(
      'delete from revoked_tokens where (user, jti) in (select user, jti from revoked_tokens where until < ? order by until limit ?)',
    );
    this.#mark = db.prepare('update rooms set purge = 1 where id = ?');
    this.#marked = db.prepare('select id, first_seq as first, gone_seq as gone from rooms where purge = 1 and id > ? order by id limit 1');
    // What still waits in an inbox stays until it is delivered; the entry below the first stays, blank, since a client may
    // resume from it and its epoch must be known.
    const waits = 'exists (select 1 from inbox i join inboxes b on b.user = i.user where i.entry = e.id and i.n >= b.low_n and i.ended = 0)';
    this.#purge = db.prepare(`delete from entries where id in (select e.id from ${entriesBetween} and not ${waits} order by p.first, e.seq limit @limit)`);
    this.#blank = db.prepare(
      `update entries set body = null, mid = null where id = (select e.id from ${entriesBetween} and e.body is not null and not ${waits})`,
    );
    this.#purgeMembers = db.prepare('delete from members where room = ? and user in (select user from members where room = ? and since_seq <= ? limit ?)');
    this.#left = db.prepare<Between, number>(`select count(*) from (select 1 from ${entriesBetween} and (e.seq < @to or e.body is not null) limit 1)`).pluck();
    this.#purgeParts = db.prepare('delete from parts where room = @room and first < (select max(first) from parts where room = @room and first <= @kept)');
    this.#unmark = db.prepare('update rooms set purge = 0 where id = ?');
    const upkeep = new InboxUpkeep(db, inboxes, chunk);
    this.#steps = [
      (_, now) => {
        lease.renew(now);
        return false;
      },
      (turn) => upkeep.expire(turn.ts - options.inboxAgeMs, turn),
      ({ ts }) => upkeep.prune(ts - options.ledgerAgeMs),
      ({ ts }) => this.#forgetDevices(ts),
      ({ ts }) => this.#forgetTokens.run(ts - tokenGraceMs, chunk).changes === chunk,
      () => this.#trimBroadcasts(),
      () => this.#purgeRooms(),
    ];
  }

  /** One step, within a transaction; true once all of them in a row have found nothing to do. `now`: the clock, where the turn may be later. */
  step(turn: Turn, now: number): boolean {
    const count = this.#steps.length;
    if (this.#idle >= count) this.#idle = 0;
    const worked = this.#steps[this.#next % count]?.(turn, now) ?? false;
    this.#next++;
    this.#idle = worked ? 0 : this.#idle + 1;
    return this.#idle >= count;
  }

  /** Outside of a transaction. Never waits: what a reader holds stays for the next time. */
  checkpoint(): void {
    const [result] = this.#db.pragma('wal_checkpoint(passive)') as { log: number; checkpointed: number }[];
    if (result !== undefined && result.log === result.checkpointed && result.log * pageBytes > walLargeBytes) this.#db.pragma('wal_checkpoint(truncate)');
  }

  #forgetDevices(ts: number): boolean {
    const unseen = this.#unseen.all(ts - this.#options.deviceAgeMs, devicesChunk);
    for (const { user, device } of unseen) this.#forget.run(user, device);
    for (const user of new Set(unseen.map((one) => one.user))) this.#inboxes.settle(user, ts);
    return unseen.length === devicesChunk;
  }

  #trimBroadcasts(): boolean {
    const room = this.#rooms.find(allRoom);
    const first = (room?.head ?? 0) - this.#options.broadcastEntriesMax + 1;
    if (room === undefined || first <= room.first) return false;
    room.first = first;
    this.#rooms.touch(room);
    this.#mark.run(room.id);
    return false;
  }

  /** One chunk of one room; rooms take turns, so that one whose entries still wait in inboxes holds up no other. */
  #purgeRooms(): boolean {
    const room = this.#marked.get(this.#lastRoom);
    this.#lastRoom = room?.id ?? 0;
    if (room === undefined) return false;
    const { id, first, gone } = room;
    const kept = first - 1;
    const before = { room: id, from: 1, to: kept - 1 };
    const entries = this.#purge.run({ ...before, limit: chunk }).changes;
    const members = this.#purgeMembers.run(id, id, gone, chunk).changes;
    if (entries < chunk && members < chunk) {
      this.#blank.run({ room: id, from: kept, to: kept });
      if (this.#left.get({ room: id, from: 1, to: kept }) === 0) {
        this.#purgeParts.run({ room: id, kept });
        this.#unmark.run(id);
      }
    } else this.#lastRoom = id - 1; // the same again
    return true;
  }
}
