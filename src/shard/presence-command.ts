/**
 * `who`, `watch` and `unwatch` for the users of one shard: one part of the answer when the status of all of them is known.
 * Users whose actor knows nothing newer are read from the store in one query. Called by the shard's loop.
 */
import { CodedError } from '../protocol/codes.ts';
import type { Command } from '../protocol/commands.ts';
import type { Presence } from '../protocol/pushes.ts';
import type { Connection, Effects } from './actor.ts';
import type { UserDirectory } from './user-directory.ts';

export function presenceCommand(users: UserDirectory, connection: Connection, command: Command<'who' | 'watch' | 'unwatch'>, effects: Effects): void {
  const { id, op } = command;
  const names = [...new Set(command.users)];
  if (op === 'unwatch') {
    users.unwatch(connection, names);
    effects.part(connection, id, { users: names });
    return;
  }
  const added = op === 'watch' ? users.watch(connection, names) : [];
  const full = new CodedError('limit', 'the connection watches as many users as it may');
  if (added === null) return effects.refuse(connection, id, op, full);
  const tell = (presences: Presence[]): void => {
    if (op === 'watch') {
      // An earlier one of the same users may have failed meanwhile, and taken back what it had added.
      if (connection.open && users.watch(connection, names) === null) return effects.refuse(connection, id, op, full);
      told(users, connection, presences);
    }
    effects.part(connection, id, { users: presences });
  };
  look(users, names, effects, tell, (error) => {
    // Not those that another one was answered for.
    users.unwatch(
      connection,
      added.filter((name) => users.find(name)?.presence.asking(connection.id)),
    );
    effects.refuse(connection, id, op, error);
  });
}

/** After a restart of the shard: takes up what the connection watched, and tells it how things are now, since it missed changes. */
export function watchAgain(users: UserDirectory, connection: Connection, names: readonly string[], effects: Effects): void {
  if (users.watch(connection, names) === null) return;
  const tell = (presences: Presence[]): void => {
    told(users, connection, presences);
    for (const presence of presences) effects.push(connection, { op: 'presence', ...presence });
  };
  look(users, names, effects, tell, () => {
    for (const name of names) users.find(name)?.presence.told(connection.id, 'unknown');
  });
}

/** The status of each user, in order, as it is when the last of them is known. */
function look(
  users: UserDirectory,
  names: readonly string[],
  effects: Effects,
  done: (presences: Presence[]) => void,
  failed: (error: CodedError) => void,
): void {
  const unknown = names.filter((name) => !users.find(name)?.presence.current(effects));
  if (unknown.length === 0) {
    done(names.map((name) => current(users, name, effects) ?? offline(name)));
    return;
  }
  effects.read(
    { read: 'presence', users: unknown },
    ({ users: stored }) => {
      const read = new Map(stored.map((presence) => [presence.user, presence]));
      for (const name of unknown) users.find(name)?.presence.load(read.get(name) ?? offline(name));
      done(names.map((name) => current(users, name, effects) ?? read.get(name) ?? offline(name)));
    },
    failed,
  );
}

function current(users: UserDirectory, name: string, effects: Effects): Presence | null {
  return users.find(name)?.presence.current(effects) ?? null;
}

/** The watcher knows these now: no push of them is due. */
function told(users: UserDirectory, connection: Connection, presences: readonly Presence[]): void {
  for (const { user, status } of presences) users.find(user)?.presence.told(connection.id, status);
}

function offline(user: string): Presence {
  return { user, status: 'offline', lastSeen: null };
}
