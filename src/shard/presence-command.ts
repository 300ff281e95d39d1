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
  if (op === 'who') {
    const refuse = (error: CodedError): void => effects.refuse(connection, id, op, error);
    return look(users, names, effects, (presences) => effects.part(connection, id, { users: presences }), refuse);
  }
  const asked = users.watch(connection, names);
  if (asked === null) return effects.refuse(connection, id, op, new CodedError('limit', 'the connection watches as many users as it may'));
  const tell = (presences: Presence[]): void => {
    told(users, connection, asked, presences);
    effects.part(connection, id, { users: presences });
  };
  look(users, names, effects, tell, (error) => {
    users.failed(connection, asked);
    effects.refuse(connection, id, op, error);
  });
}

/** After a restart of the shard: takes up what the connection watched, and tells it how things are now, since it missed changes. */
export function watchAgain(users: UserDirectory, connection: Connection, names: readonly string[], effects: Effects): void {
  const asked = users.watch(connection, names);
  if (asked === null) return;
  const tell = (presences: Presence[]): void => {
    for (const presence of told(users, connection, asked, presences)) effects.push(connection, { op: 'presence', ...presence });
  };
  look(users, names, effects, tell, () => {
    for (const name of asked) users.find(name)?.presence.told(connection.id, 'unknown');
    users.granted(connection, asked);
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

/** The watcher knows these now: no push of them is due. Returns those that he has not unwatched since he asked. */
function told(users: UserDirectory, connection: Connection, asked: ReadonlySet<string>, presences: readonly Presence[]): Presence[] {
  users.granted(connection, asked);
  const wanted = presences.filter(({ user }) => asked.has(user));
  for (const { user, status } of wanted) users.find(user)?.presence.told(connection.id, status);
  return wanted;
}

function offline(user: string): Presence {
  return { user, status: 'offline', lastSeen: null };
}
