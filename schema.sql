-- Hubbub's database, version 4. Read when a new file is opened, in one transaction; changes come as numbered migrations in
-- src/persistence/sqlite-migrate.ts. WAL, synchronous FULL (NORMAL with --durability process). All times are ms since 1970.
-- Names of users and rooms are interned; what grows is append-mostly and keyed by integers.

create table meta (
  key   text primary key,
  value integer not null                     -- 'writer': the token of the last opening as writer
) strict, without rowid;

-- One unbroken life of the data (DESIGN 11.1). An entry belongs to the last epoch whose first_entry is at or below its id.
create table epochs (
  id          integer primary key,
  name        text not null unique,
  first_entry integer not null,
  started_at  integer not null
) strict;

-- One row per living hub process. Who sees a lease run out sweeps the row and its connections.
create table nodes (
  id          text primary key,
  writer      integer not null,              -- the token of this node's current writer; an older one must stop
  host        text not null,
  pid         integer not null,
  process     real not null,                 -- when the process began, to tell it from a later one with its pid
  renewed_at  integer not null,
  lease_until integer not null
) strict, without rowid;

create table users (
  id         integer primary key,
  name       text not null unique,
  disabled   integer not null default 0,     -- 1: no connection is admitted
  revoked_at integer not null default 0      -- tokens issued until then are refused
) strict;

-- Single tokens that are refused.
create table revoked_tokens (
  user  integer not null,
  jti   text not null,
  until integer,                             -- when the token ends and the row can go (null: nobody said)
  primary key (user, jti)
) strict, without rowid;
create index revoked_tokens_until on revoked_tokens (until) where until is not null;

create table rooms (
  id         integer primary key,
  name       text not null unique,
  exist      integer not null default 0,     -- 0: deleted; the row stays, since seq goes on
  visibility integer not null default 0,     -- 0 public, 1 private
  listed     integer not null default 0,     -- existing, public, not hidden and not reserved: in everybody's list
  settings   text not null default '{}',
  created_at integer,
  head_seq   integer not null default 0,
  first_seq  integer not null default 1,     -- entries below are gone, or going (maintenance)
  auth_seq   integer not null default 0,     -- the last entry that changed what anybody may do
  gone_seq   integer not null default 0,     -- the last deletion: members who joined before are gone, or going
  members    integer not null default 0,
  purge      integer not null default 0      -- 1: maintenance has something to remove
) strict;
create index rooms_listed on rooms (name) where listed = 1;
create index rooms_purge on rooms (id) where purge = 1;

create table members (
  room         integer not null,
  user         integer not null,
  role         integer not null,             -- 0 owner, 1 admin, 2 member, 3 moderator, 4 muted, 5 invited, 6 banned
  since_seq    integer not null,
  since_ts     integer not null,
  received_seq integer not null,             -- marks: everything through here was received / read
  read_seq     integer not null,
  primary key (room, user)
) strict, without rowid;
create index members_user on members (user);

-- Where each user is in the broadcast room, whose members are everybody.
create table all_marks (
  user         integer primary key,
  received_seq integer not null,
  read_seq     integer not null
) strict;

-- The logs of all rooms, in order of commit.
create table entries (
  id     integer primary key,
  room   integer not null,
  seq    integer not null,
  kind   integer not null,                   -- 0 message, 1 created, 2 member, 3 settings, 4 deleted
  mid    blob,                               -- 16 bytes
  sender integer,
  ts     integer not null,
  thread blob,                               -- the mid of the thread's first message
  body   any                                 -- JSON as text, a binary body as blob
) strict;
-- By part, so that a commit to many rooms changes few of its pages: what it adds lies in the part that grows.
create unique index entries_seq on entries (id >> 14, room, seq);
create unique index entries_mid on entries (mid, room) where mid is not null;  -- UUIDv7 keeps it growing at its right edge

-- Which parts of the log, of 16,384 ids each (id >> 14), hold entries of a room: a row for each, with the seq of its first entry there.
create table parts (
  room  integer not null,
  first integer not null,
  part  integer not null,
  primary key (room, first)
) strict, without rowid;

-- A user's inbox: numbers of items. `low_n`: every item below it has ended.
create table inboxes (
  user        integer primary key,
  head_n      integer not null default 0,
  low_n       integer not null default 1,
  items       integer not null default 0,    -- waiting ones, and the bytes of their bodies
  bytes       integer not null default 0,
  sent_n      integer not null default 0,    -- high-water marks over all devices
  received_n  integer not null default 0,
  waits_since integer,                       -- no item that waits was queued before this, none of the ledger ended before
  ends_since  integer                        -- that: who has something for maintenance is found by them, not by an index of items
) strict;
create index inboxes_waits on inboxes (waits_since) where waits_since is not null;
create index inboxes_ends on inboxes (ends_since) where ends_since is not null;

-- What waits in inboxes (ended = 0, from low_n on), and what became of the rest (the ledger), until ledgerAgeMs after it
-- ended. A whole range is sent, received or ends at once, so a time stands in its last item only: null is that of the next
-- item that has one, 0 is never. What was lost has its own times, and null is never.
create table inbox (
  user        integer not null,
  n           integer not null,
  entry       integer not null,              -- its id, ever growing, so that the index does so at its right edge
  origin      text,                          -- the device of this user that sent it, and needs no copy
  bytes       integer not null,
  queued_at   integer not null,
  sent_at     integer,
  received_at integer,
  read_at     integer,                       -- each item's own
  ended_at    integer,
  ended       integer not null default 0,    -- 2 expired, 3 dropped
  primary key (user, n)
) strict, without rowid;
create index inbox_entry on inbox (entry);

-- Ranges a user lost and has not acked on every device.
create table inbox_losses (
  user   integer not null,
  from_n integer not null,
  to_n   integer not null,
  reason integer not null,                   -- 2 expired, 3 dropped
  primary key (user, from_n)
) strict, without rowid;

create table devices (
  user    integer not null,
  device  text not null,
  acked   integer not null,                  -- the cursor: items through here are done with on this device
  seen_at integer not null,
  primary key (user, device)
) strict, without rowid;
create index devices_seen on devices (seen_at);

create table connections (
  node       text not null,
  connection integer not null,
  user       integer not null,
  device     text not null,
  since      integer not null,
  closing    text,                           -- a victim on another node, which has to close it; counts no more
  primary key (node, connection)
) strict, without rowid;
create index connections_user on connections (user);

create table presence (
  user      integer primary key,
  status    integer not null,                -- 0 online, 1 away, 2 offline
  last_seen integer not null
) strict;
create index presence_there on presence (user) where status <> 2;
