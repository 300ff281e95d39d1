/** Lists of rooms, paged by name: the user's own with what is unread, and the public ones that are listed. */
import type { Statement } from 'better-sqlite3';
import type { RoomSummary } from '../protocol/pushes.ts';
import type { ReadQuery, ReadReply } from '../thread/messages.ts';
import type { Db } from './sqlite-open.ts';
import { type Between, entriesBetween } from './sqlite-parts.ts';
import { roles, visibilities } from './sqlite-words.ts';

/** Counting stops here: nobody reads a larger number, and a count takes time. */
const unreadMax = 1_000;

type Row = {
  id: number;
  room: string;
  title: string | null;
  visibility: number;
  members: number;
  head: number;
  first: number;
  user: number | null;
  role: number | null;
  received: number | null;
  read: number | null;
};

export class RoomLists {
  readonly #mine: Statement<{ user: number; filter: string; after: string; limit: number }, Row>;
  readonly #public: Statement<{ user: number; filter: string; after: string; limit: number }, Row>;
  readonly #user: Statement<[string], number>;
  readonly #unread: Statement<Between & { user: number }, number>;

  constructor(db: Db) {
    const columns = `r.id, r.name as room, json_extract(r.settings, '$.title') as title, r.visibility, r.members, r.head_seq as head, r.first_seq as first,
      m.user, m.role, m.received_seq as received, m.read_seq as read`;
    const page = `r.name > @after and (@filter = '' or instr(lower(r.name), @filter) > 0 or instr(lower(json_extract(r.settings, '$.title')), @filter) > 0)
      order by r.name limit @limit`;
    this.#mine = db.prepare(
      `select ${columns} from members m join rooms r on r.id = m.room where m.user = @user and m.since_seq > r.gone_seq and r.exist = 1 and m.role <> ${roles.indexOf('banned')} and ${page}`,
    );
    this.#public = db.prepare(
      `select ${columns} from rooms r left join members m on m.room = r.id and m.user = @user and m.since_seq > r.gone_seq where r.listed = 1 and ${page}`,
    );
    this.#user = db.prepare<[string], number>('select id from users where name = ?').pluck();
    // One's own messages are not unread.
    this.#unread = db
      .prepare<Between & { user: number }, number>(
        `select count(*) from (select 1 from ${entriesBetween} and e.kind = 0 and e.sender is not @user limit ${unreadMax})`,
      )
      .pluck();
  }

  page({ user, scope, filter, after, limit }: Extract<ReadQuery, { read: 'rooms' }>): ReadReply['rooms'] {
    const id = this.#user.get(user) ?? 0; // no user has 0
    const rows = (scope === 'mine' ? this.#mine : this.#public).all({ user: id, filter: asciiLower(filter), after, limit: limit + 1 });
    const rooms = rows.slice(0, limit).map((row) => this.#summary(row, scope === 'mine'));
    return { rooms, after: rows.length > limit ? (rooms.at(-1)?.room ?? null) : null };
  }

  #summary(row: Row, mine: boolean): RoomSummary {
    const { id, room, title, members, head, first, user, received, read } = row;
    const summary: RoomSummary = {
      room,
      title,
      visibility: visibilities[row.visibility] ?? 'public',
      members,
      head,
      role: row.role === null ? null : (roles[row.role] ?? 'member'),
    };
    if (!mine || user === null || received === null || read === null) return summary;
    return { ...summary, received, read, unread: this.#unread.get({ room: id, from: Math.max(read + 1, first), to: head, user }) ?? 0 };
  }
}

/** As SQLite's `lower` does it: letters beyond ASCII are compared as they are. */
function asciiLower(text: string): string {
  return text.replace(/[A-Z]+/g, (letters) => letters.toLowerCase());
}
