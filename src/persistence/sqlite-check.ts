/**
 * Reads the whole database and says what in it cannot be: the rules that the writer keeps, each as a query that finds its
 * breaches. Called by the operator's command, also while a hub runs; it writes nothing, and its memory does not grow with the data.
 */
import type { Clock } from '../thread/clock.ts';
import { versionOf } from './sqlite-migrate.ts';
import { type Db, openDatabase, openForReading, reasonOf, StoreError, schemaText, schemaVersion } from './sqlite-open.ts';
import { emptyParts, entriesByPart, partAt, partsOfEntries } from './sqlite-parts.ts';
import { roles } from './sqlite-words.ts';

export type Counts = { rooms: number; entries: number; users: number; members: number; inboxItems: number; epochs: number };
/** `problems`: the first of them; `found`: how many there are. */
export type CheckResult = { problems: string[]; found: number; counts: Counts; bytes: number; ms: number };
type Rule = { sql: string; say(row: Row): string };
type Row = Record<string, string | number | null>;

const problemsMax = 100;

/** Whose `column` must be the id of a row elsewhere. */
const references: readonly (readonly [table: string, column: string, target: string])[] = [
  ['entries', 'room', 'rooms'],
  ['entries', 'sender', 'users'],
  ['parts', 'room', 'rooms'],
  ['members', 'room', 'rooms'],
  ['members', 'user', 'users'],
  ['all_marks', 'user', 'users'],
  ['inboxes', 'user', 'users'],
  ['inbox', 'user', 'users'],
  ['inbox_losses', 'user', 'users'],
  ['devices', 'user', 'users'],
  ['revoked_tokens', 'user', 'users'],
  ['connections', 'user', 'users'],
  ['connections', 'node', 'nodes'],
  ['presence', 'user', 'users'],
];

/** Every one is answered in the order of an index, so that nothing is sorted or gathered. */
const rules: readonly Rule[] = [
  {
    sql: `select r.name, r.first_seq as first, r.head_seq as head, e.kept, e.last, e.low, r.purge from rooms r join (
        select p.room, max(seq) as last, min(seq) as low, count(case when seq >= (select first_seq from rooms where id = p.room) then 1 end) as kept
        from ${entriesByPart} group by p.room) e on e.room = r.id
      where last <> head or kept <> head - first + 1 or (low < first - 1 and purge = 0)`,
    say: ({ name, first, head, kept, last, low }) => {
      if (last !== head) return `room ${name}: the head is ${head}, the last entry is ${last}`;
      const all = Number(head) - Number(first) + 1;
      if (Number(kept) > all) return `room ${name}: ${kept} entries are found where ${first} to ${head} should be`;
      if (Number(kept) < all) return `room ${name}: of its entries ${first} to ${head} only ${kept} are there`;
      return `room ${name}: begins at ${first}, but entry ${low} is there and nothing will remove it`;
    },
  },
  {
    sql: `select name, head_seq as head from rooms r where head_seq <> 0 and not exists (select 1 from ${entriesByPart} where p.room = r.id)`,
    say: ({ name, head }) => `room ${name}: the head is ${head}, and there is no entry`,
  },
  {
    sql: `select r.name, e.seq, e.id from (select p.room, seq, id, lag(id) over (partition by p.room order by p.first, e.seq) as before from ${entriesByPart}) e
      left join rooms r on r.id = e.room where before > e.id`,
    say: ({ name, seq }) => `room ${name}: entry ${seq} was stored before the one below it`,
  },
  {
    sql: `select r.name, e.first, e.last from (${partsOfEntries}) e join rooms r on r.id = e.room
      where ${partAt('e.room', 'e.first')} is not e.part or ${partAt('e.room', 'e.last')} is not e.part`,
    say: ({ name, first, last }) => `room ${name}: its entries from ${first} to ${last} are not where its parts say`,
  },
  {
    sql: `select r.name, p.first from (${emptyParts}) p join rooms r on r.id = p.room where r.purge = 0`,
    say: ({ name, first }) => `room ${name}: a part begins with entry ${first} and has none of its entries`,
  },
  {
    sql: 'select room, min(seq) as one, max(seq) as other from entries where mid is not null group by mid, room having count(*) > 1',
    say: ({ room, one, other }) => `room number ${room}: entries ${one} and ${other} have the same mid`,
  },
  {
    sql: `select id from entries where kind not between 0 and 4 or length(mid) <> 16 or length(thread) <> 16 or seq < 1`,
    say: ({ id }) => `entry number ${id}: its kind, seq, mid or thread cannot be`,
  },
  {
    sql: `select name from rooms where first_seq < 1 or first_seq > max(head_seq, 1) or auth_seq > head_seq or gone_seq > head_seq
      or not json_valid(settings) or (listed = 1 and (exist = 0 or visibility <> 0))`,
    say: ({ name }) => `room ${name}: its counters or settings cannot be`,
  },
  {
    sql: `select r.name, r.members, (select count(*) from members m where m.room = r.id and m.since_seq > r.gone_seq) as there from rooms r
      where members <> there`,
    say: ({ name, members, there }) => `room ${name}: ${members} members are counted, ${there} are there`,
  },
  {
    sql: `select r.name, u.name as user from members m join rooms r on r.id = m.room join users u on u.id = m.user
      where m.since_seq > r.head_seq or m.received_seq > r.head_seq or m.read_seq > m.received_seq or m.role not between 0 and ${roles.length - 1}`,
    say: ({ name, user }) => `room ${name}: the marks or the role of ${user} cannot be`,
  },
  {
    sql: `select u.name as user from all_marks a join users u on u.id = a.user
      where received_seq > coalesce((select head_seq from rooms where name = 'all:'), 0) or read_seq > received_seq`,
    say: ({ user }) => `room all:: the marks of ${user} cannot be`,
  },
  {
    sql: `select u.name as user, b.items, b.bytes, i.items as waiting, i.weight, i.lowest, b.low_n as low from inboxes b join users u on u.id = b.user left join (
        select i.user, count(*) as items, sum(i.bytes) as weight, min(queued_at) as lowest from inbox i join inboxes o on o.user = i.user
        where i.n >= o.low_n and ended = 0 group by i.user) i on i.user = b.user
      where b.items <> coalesce(waiting, 0) or b.bytes <> coalesce(weight, 0) or lowest < coalesce(b.waits_since, lowest + 1)`,
    say: ({ user, items, bytes, waiting, weight }) =>
      items !== (waiting ?? 0) || bytes !== (weight ?? 0)
        ? `inbox of ${user}: ${items} items of ${bytes} bytes are counted, ${waiting ?? 0} of ${weight ?? 0} wait`
        : `inbox of ${user}: an item waits that maintenance will not find when it is too old`,
  },
  {
    sql: `select u.name as user, b.low_n as low from inboxes b join users u on u.id = b.user join inbox i on i.user = b.user and i.n = b.low_n - 1
      where i.ended_at is null or b.ends_since is null`,
    say: ({ user, low }) => `inbox of ${user}: everything below ${low} is said to have ended, and nothing says when`,
  },
  {
    sql: `select u.name as user, b.head_n as head from inboxes b join users u on u.id = b.user where sent_n > head_n or received_n > head_n or low_n > head_n + 1
      or head_n < (select coalesce(max(n), 0) from inbox i where i.user = b.user)
      or head_n < (select coalesce(max(to_n), 0) from inbox_losses l where l.user = b.user)
      or head_n < (select coalesce(max(acked), 0) from devices d where d.user = b.user)`,
    say: ({ user, head }) => `inbox of ${user}: something is above its head ${head}`,
  },
  {
    sql: 'select distinct user from inbox i where not exists (select 1 from inboxes b where b.user = i.user)',
    say: ({ user }) => `inbox of user number ${user}: there are items and no inbox`,
  },
  {
    sql: `select u.name as user, i.n from inbox i join users u on u.id = i.user
      where ended = 0 and n >= (select low_n from inboxes b where b.user = i.user) and not exists (select 1 from entries e where e.id = i.entry)`,
    say: ({ user, n }) => `inbox of ${user}: item ${n} waits, and its entry is gone`,
  },
  {
    sql: `select u.name as user, i.n from inbox i join users u on u.id = i.user join inboxes b on b.user = i.user
      where ended not in (0, 2, 3) or (n >= low_n and (ended_at is null) <> (ended = 0)) or (ended <> 0 and ended_at is null)
      union all select u.name, l.from_n from inbox_losses l join users u on u.id = l.user where from_n > to_n or reason not in (2, 3)`,
    say: ({ user, n }) => `inbox of ${user}: what became of item ${n} cannot be`,
  },
  ...references.map(([table, column, target]) => ({
    sql: `select count(*) as count, min(${column}) as value from ${table} t
      where ${column} is not null and not exists (select 1 from ${target} o where o.id = t.${column}) having count > 0`,
    say: ({ count, value }: Row) => `${table}: ${count} rows belong to none of the ${target} (${column} ${value}, for one)`,
  })),
  {
    sql: `select name from (select name, first_entry as first, lag(first_entry) over (order by id) as before from epochs)
      where first < before or first > (select coalesce(max(id), 0) + 1 from entries)`,
    say: ({ name }) => `epoch ${name}: begins before the one below it, or after the last entry`,
  },
  { sql: 'select 1 where not exists (select 1 from epochs)', say: () => 'epochs: there is none' },
];

/** Throws a `StoreError` where there is no database to check. */
export function check(data: string, clock: Clock): CheckResult {
  const started = clock.tick();
  const db = openForReading(data);
  try {
    if (versionOf(db) < schemaVersion)
      throw new StoreError(`the data in ${data} is of an earlier version: the next start of the hub brings it up to date, then it can be checked`);
    db.pragma('temp_store = file');
    db.exec('begin'); // one state, whatever a hub writes meanwhile
    const found = new Findings();
    found.among(() =>
      (db.pragma(`integrity_check(${problemsMax})`) as { integrity_check: string }[]).map((row) => row.integrity_check).filter((line) => line !== 'ok'),
    );
    found.among(() => differingSchema(db));
    for (const { sql, say } of rules) found.among(() => sayings(db, sql, say));
    const bytes = Number(db.pragma('page_count', { simple: true })) * Number(db.pragma('page_size', { simple: true }));
    return { problems: found.problems, found: found.count, counts: countsOf(db), bytes, ms: clock.tick() - started };
  } finally {
    db.close();
  }
}

class Findings {
  readonly problems: string[] = [];
  count = 0;

  /** What cannot be read is a problem too, and hides no other. */
  among(run: () => Iterable<string>): void {
    try {
      for (const problem of run()) this.#add(problem);
    } catch (error) {
      this.#add(`the database cannot be read: ${reasonOf(error)}`);
    }
  }

  #add(problem: string): void {
    this.count++;
    if (this.problems.length < problemsMax && !this.problems.includes(problem)) this.problems.push(problem);
  }
}

function* sayings(db: Db, sql: string, say: (row: Row) => string): Generator<string> {
  for (const row of db.prepare<[], Row>(sql).iterate()) yield say(row);
}

/** Tables and indexes that are missing, or are not what this version makes. */
function differingSchema(db: Db): string[] {
  const fresh = openDatabase(':memory:', { timeout: 0 });
  try {
    fresh.exec(schemaText());
    const [wanted, there] = [fresh, db].map(
      (one) => new Map(one.prepare("select name, sql from sqlite_schema where name not like 'sqlite_%'").raw().all() as [string, string][]),
    ) as [Map<string, string>, Map<string, string>];
    return [...wanted]
      .filter(([name, sql]) => bare(there.get(name) ?? '') !== bare(sql))
      .map(([name]) => `${name}: the table or index is missing, or another one`);
  } finally {
    fresh.close();
  }
}

/** Without comments and line breaks, which a later version may have changed. */
function bare(sql: string): string {
  return sql.replace(/--.*$/gm, '').replace(/\s+/g, ' ');
}

function countsOf(db: Db): Counts {
  const count = (what: string): number => {
    try {
      return db.prepare<[], number>(`select count(*) from ${what}`).pluck().get() as number;
    } catch {
      return 0; // said above, as a problem
    }
  };
  return {
    rooms: count('rooms where exist = 1'),
    entries: count('entries'),
    users: count('users'),
    members: count('members'),
    inboxItems: count('inbox i join inboxes b on b.user = i.user where i.n >= b.low_n and i.ended = 0'),
    epochs: count('epochs'),
  };
}
