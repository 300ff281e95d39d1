/**
 * Takes a database of an earlier version of schema.sql to the present one. Called within the transaction in which a node joins,
 * when no other node lives that would go on in the old way: a file is of one version or the other, never between.
 */
import { type Db, schemaText, schemaVersion } from './sqlite-open.ts';
import { partsOfEntries } from './sqlite-parts.ts';

/** At `i`: from version i + 1 to the next. */
const migrations: readonly ((db: Db) => void)[] = [timesByRange, revokedTokens, logInParts];

export function versionOf(db: Db): number {
  return Number(db.pragma('user_version', { simple: true }));
}

export function migrate(db: Db): void {
  const version = versionOf(db);
  if (version === schemaVersion) return;
  for (const migration of migrations.slice(version - 1)) migration(db);
  db.pragma(`user_version = ${schemaVersion}`);
}

/**
 * Version 1 had the times of every item in its row, its room and seq for its entry, and two indexes by time. Of what ended and
 * has no entry any more, nobody can ask: it is left out.
 */
function timesByRange(db: Db): void {
  db.exec(`
    drop index inbox_entry;
    drop index inbox_waiting;
    drop index inbox_ended;
    alter table inbox rename to inbox_before;
    alter table inboxes rename to inboxes_before;
    ${creating('inboxes')}
    ${creating('inbox')}
    insert into inbox (user, n, entry, origin, bytes, queued_at, sent_at, received_at, read_at, ended_at, ended)
      select user, n, e.id, origin, bytes, queued_at, iif(ended_at is null, sent_at, coalesce(sent_at, 0)),
        iif(ended_at is null, received_at, coalesce(received_at, 0)), read_at, ended_at, iif(ended = 1, 0, ended)
      from inbox_before i join entries e on e.room = i.room and e.seq = i.seq order by user, n;
    insert into inboxes (user, head_n, low_n, items, bytes, sent_n, received_n, waits_since, ends_since)
      select user, head_n, low_n, items, bytes, sent_n, received_n,
        (select min(queued_at) from inbox_before i where i.user = b.user and ended_at is null),
        (select min(ended_at) from inbox_before i where i.user = b.user)
      from inboxes_before b;
    drop table inbox_before;
    drop table inboxes_before;
    ${creating('inbox_entry')}
    ${creating('inboxes_waits')}
    ${creating('inboxes_ends')}
  `);
}

/** Version 2 knew the tokens of a user only all together. */
function revokedTokens(db: Db): void {
  db.exec(`${creating('revoked_tokens')} ${creating('revoked_tokens_until')}`);
}

/** Version 3 had one index of all entries by room and seq. The parts are made of the index by part. */
function logInParts(db: Db): void {
  db.exec(`
    drop index entries_seq;
    ${creating('entries_seq')}
    ${creating('parts')}
    insert into parts (room, first, part) select room, first, part from (${partsOfEntries}) order by room, first;
  `);
}

/** The statement of schema.sql that creates it. */
function creating(name: string): string {
  const found = schemaText().match(new RegExp(`^create (?:table|index|unique index) ${name}\\b[^;]*;`, 'm'))?.[0];
  if (found === undefined) throw new Error(`schema.sql does not create ${name}`);
  return found;
}
