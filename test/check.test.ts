/** `check` passes what the writer writes, and finds each damage that is planted in it. */
import { writeFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { check } from '../src/persistence/sqlite-check.ts';
import { databaseFile } from '../src/persistence/sqlite-open.ts';
import { freshFolder, openedStore } from './sqlite-setup.ts';
import { changing, connect, direct, message, mid, startTs } from './store-contract.ts';

/** A hub's data with something of everything in it; the hub stays open. */
async function lived() {
  const opened = await openedStore();
  const { store, options, clock } = opened;
  await store.commit(
    [
      ...Array.from({ length: 20 }, (_, i) => message('general', `user-${i % 3}`, { mid: mid(i + 1) })),
      changing('club', 0, { type: 'create', settings: { visibility: 'private' }, owner: 'user-0' }, { from: 'user-0' }),
      changing('club', 1, { type: 'join', user: 'user-1', role: 'member', membersMax: 10 }),
      connect('user-0', 1),
      connect('user-1', 2),
      ...Array.from({ length: 7 }, () => direct('user-0', 'user-1')),
      ...Array.from({ length: 6 }, () => message('all:', 'user-2')),
    ],
    startTs,
  );
  await store.commit(
    [
      { type: 'mark', room: 'club', user: 'user-0', received: 1, read: 1 },
      { type: 'sent', user: 'user-1', through: 4 },
      { type: 'ack', user: 'user-1', device: 'phone', through: 3 },
    ],
    startTs,
  );
  while ((await store.maintain(startTs)).more);
  return { ...opened, checked: () => check(options.data, clock) };
}

describe('check', () => {
  it('finds nothing in what a hub writes, and counts it, while the hub goes on', async () => {
    const { store, checked } = await lived();
    expect(checked()).toMatchObject({ problems: [], found: 0, counts: { rooms: 4, users: 4, members: 4, inboxItems: 4, epochs: 1 } });
    await store.commit([message('general', 'user-0')], startTs);
    expect(checked().counts.entries).toBe(20 + 2 + 7 + 4 + 1);
  });

  const entry = "insert into entries (room, seq, kind, mid, sender, ts, thread, body) select room, seq + 1, 0, mid, sender, ts, null, '1'";
  const damages: readonly (readonly [what: string, sql: string, said: RegExp])[] = [
    ['an entry that is gone', 'delete from entries where seq = 7 and mid is not null', /^room general: of its entries 1 to 20 only 19 are there$/],
    ['a first entry that is gone', 'delete from entries where seq = 1 and mid is not null', /^room general: of its entries 1 to 20 only 19/],
    ['a head below the last entry', "update rooms set head_seq = 19 where name = 'general'", /^room general: the head is 19, the last entry is 20$/],
    ['a head above the last entry', "update rooms set head_seq = 21 where name = 'general'", /^room general: the head is 21, the last entry is 20$/],
    ['a head of a room without entries', "insert into rooms (name, head_seq) values ('bare', 3)", /^room bare: the head is 3, and there is no entry$/],
    ['entries below the first', "update rooms set first_seq = 5 where name = 'general'", /^room general: begins at 5, but entry 1 is there/],
    ['a first entry above the head', "update rooms set first_seq = 30 where name = 'club'", /^room club: its counters or settings cannot be$/],
    ['settings that are none', "update rooms set settings = '{' where name = 'club'", /^room club: its counters or settings cannot be$/],
    ['entries in another order than their seqs', 'update entries set id = 1000 where id = 3', /^room general: entry 4 was stored before the one below it$/],
    [
      'a part that is gone',
      "delete from parts where room = (select id from rooms where name = 'general')",
      /^room general: its entries from 1 to 20 are not where its parts say$/,
    ],
    [
      'a part that begins too late',
      "update parts set first = 7 where room = (select id from rooms where name = 'general')",
      /^room general: its entries from 1 to 20 are not where its parts say$/,
    ],
    [
      'a part without entries, which would be in the way of the next one',
      "insert into parts (room, first, part) select id, 21, 1 from rooms where name = 'general'",
      /^room general: a part begins with entry 21 and has none of its entries$/,
    ],
    [
      'a part that is there twice',
      "insert into parts (room, first, part) select id, 7, 0 from rooms where name = 'general'",
      /^room general: 40 entries are found where 1 to 20 should be$/,
    ],
    [
      'an entry that is there twice, where no index forbids it',
      `insert into entries (id, room, seq, kind, ts) select 20000, id, 20, 0, 0 from rooms where name = 'general';
       insert into parts (room, first, part) select id, 20, 1 from rooms where name = 'general'`,
      /^room general: 21 entries are found where 1 to 20 should be$/,
    ],
    [
      'an entry in a part that is not named',
      "update entries set id = 20000 where seq = 20 and room = (select id from rooms where name = 'general')",
      /^room general: its entries from 20 to 20 are not where its parts say$/,
    ],
    ['a part of no room', 'insert into parts (room, first, part) values (77, 1, 0)', /^parts: 1 rows belong to none of the rooms/],
    [
      'a mid twice in a room, and the index that forbids it gone',
      `drop index entries_mid; ${entry} from entries where mid is not null and seq = 20; update rooms set head_seq = 21 where name = 'general'`,
      /: entries 20 and 21 have the same mid$/,
    ],
    ['an index that is gone', 'drop index inbox_entry', /^inbox_entry: the table or index is missing/],
    ['a mid that is none', "update entries set mid = x'01' where id = 3", /^entry number 3: its kind, seq, mid or thread cannot be$/],
    [
      'an entry of no room',
      "update entries set room = 77 where room = (select id from rooms where name = 'club')",
      /^entries: 2 rows belong to none of the rooms/,
    ],
    ['a sender who is nobody', 'update entries set sender = 77 where id = 3', /^entries: 1 rows belong to none of the users \(sender 77/],
    ['a member who is nobody', 'update members set user = 77 where role = 0', /^members: 1 rows belong to none of the users/],
    ['members counted wrongly', "update rooms set members = 5 where name = 'club'", /^room club: 5 members are counted, 2 are there$/],
    ['a mark above the head', 'update members set received_seq = 99 where role = 0', /^room club: the marks or the role of user-0 cannot be$/],
    ['a mark above the last broadcast', 'update all_marks set received_seq = 99 where user = 1', /^room all:: the marks of user-\d cannot be$/],
    ['items counted wrongly', 'update inboxes set items = items + 1 where items > 0', /^inbox of user-1: 5 items of \d+ bytes are counted, 4 of \d+ wait$/],
    ['bytes counted wrongly', 'update inboxes set bytes = 1 where items > 0', /^inbox of user-1: 4 items of 1 bytes are counted/],
    ['an item that waits below the lowest', 'update inboxes set low_n = head_n where items > 0', /^inbox of user-1: 4 items of \d+ bytes are counted, 1 of/],
    ['an end without its time', 'update inbox set ended_at = null', /^inbox of user-1: everything below 4 is said to have ended, and nothing says when$/],
    ['an item that will not expire', 'update inboxes set waits_since = null', /^inbox of user-1: an item waits that maintenance will not find/],
    ['a ledger that will not be forgotten', 'update inboxes set ends_since = null', /^inbox of user-1: everything below 4/],
    ['an item above the head', 'update inboxes set head_n = 6, low_n = 4, sent_n = 0 where items > 0', /^inbox of user-1: something is above its head 6$/],
    ['a cursor above the head', 'update devices set acked = 99 where acked > 0', /^inbox of user-1: something is above its head 7$/],
    ['items without an inbox', 'delete from inboxes', /^inbox of user number \d+: there are items and no inbox$/],
    [
      'an item without its entry',
      "delete from entries where seq = 7 and room = (select id from rooms where name like 'dm:%')",
      /^inbox of user-1: item 7 waits, and its entry is gone$/,
    ],
    ['an item that ended and waits', 'update inbox set ended = 2 where n = 4', /^inbox of user-1: what became of item 4 cannot be$/],
    ['a connection of no node', 'delete from nodes', /^connections: 2 rows belong to none of the nodes/],
    ['epochs out of order', "insert into epochs (name, first_entry, started_at) values ('x', 0, 0)", /^epoch x: begins before the one below it/],
    ['an epoch of the future', "insert into epochs (name, first_entry, started_at) values ('x', 900, 0)", /^epoch x: .* after the last entry$/],
    ['no epoch', 'delete from epochs', /^epochs: there is none$/],
  ];
  it.each(damages)('finds %s', async (_, sql, said) => {
    const { outsider, checked } = await lived();
    outsider().exec(sql);
    const { problems, found } = checked();
    expect(problems.filter((problem) => said.test(problem))).toHaveLength(1);
    expect(found).toBeGreaterThanOrEqual(problems.length);
  });

  it('finds an index that disagrees with its table', async () => {
    const { store, outsider, checked } = await lived();
    await store.close();
    const db = outsider();
    db.unsafeMode();
    db.pragma('writable_schema = on');
    // Rows inserted while SQLite does not know of the index are not in it.
    const row = db.prepare("select * from sqlite_schema where name = 'presence_there'").get() as Record<string, unknown>;
    db.exec("delete from sqlite_schema where name = 'presence_there'");
    db.pragma('writable_schema = reset');
    db.exec('insert into presence (user, status, last_seen) values (4, 0, 1)');
    db.pragma('writable_schema = on');
    db.prepare('insert into sqlite_schema values (@type, @name, @tbl_name, @rootpage, @sql)').run(row);
    db.close();
    expect(checked().problems).toContainEqual(expect.stringMatching(/missing from index presence_there/));
  });

  it('names the first hundred and counts the rest', async () => {
    const { outsider, checked } = await lived();
    outsider().exec(
      "with recursive n(i) as (select 1 union all select i + 1 from n where i < 150) insert into rooms (name, head_seq) select 'bare ' || i, 1 from n",
    );
    const { problems, found } = checked();
    expect([problems.length, found]).toEqual([100, 150]);
  });

  it('says what is no database of ours', () => {
    const data = freshFolder();
    expect(() => check(data, { now: () => 0, tick: () => 0, random: () => 0 })).toThrow('missing or may not be opened');
    writeFileSync(databaseFile(data), 'not a database, but long enough to be taken for the header of one, if that were all there is to it. '.repeat(9));
    expect(() => check(data, { now: () => 0, tick: () => 0, random: () => 0 })).toThrow('it is not a database');
  });
});
