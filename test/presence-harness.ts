/** A shard's user directory over a store that carries out every operation at the end of the turn. Shared by the tests of presence. */
import type { Status } from '../src/protocol/pushes.ts';
import type { Connection } from '../src/shard/actor.ts';
import { presenceCommand } from '../src/shard/presence-command.ts';
import { UserDirectory } from '../src/shard/user-directory.ts';
import { EffectsRecorder } from './effects-recorder.ts';

export const graceMs = 10_000;
const limits = {
  connectionsPerUserMax: 10,
  connectionPolicy: 'reject',
  devicesMax: 10,
  presenceGraceMs: graceMs,
  watchesMax: 3,
  inboxItemsMax: 100,
} as const;

/** `stored`: the status the store holds; `saves`: every status an actor saved. */
export function startPresence() {
  const effects = new EffectsRecorder();
  const users = new UserDirectory('e', limits);
  const stored = new Map<string, { status: Status; lastSeen: number }>();
  const saves: Status[] = [];
  const turn = (step: () => void = () => {}) => {
    step();
    users.flush(effects);
    while (effects.commits.length > 0) {
      const [operation] = effects.operations;
      if (operation === undefined || Array.isArray(operation)) throw new Error('an append of a user');
      if (operation.type === 'connect') {
        stored.set(operation.user, { status: 'online', lastSeen: effects.now });
        effects.settle('connect', { code: 'connected', victims: [], acked: 0, head: 0, allMark: 0, revokedAt: 0 });
      } else {
        if (operation.type === 'presence') {
          stored.set(operation.user, { status: operation.status, lastSeen: operation.lastSeen });
          saves.push(operation.status);
        }
        effects.settle(operation.type);
      }
      users.flush(effects);
    }
  };
  const connect = (user: string, again = false): Connection => {
    const connection = effects.connection(user);
    turn(() => users.hello(connection, { again: again, named: false, issuedAt: 0 }, effects));
    return connection;
  };
  const close = (connection: Connection, clean: boolean) => {
    effects.gone(connection);
    turn(() => users.close(connection, clean, effects));
  };
  const say = (connection: Connection, status: 'online' | 'away') => turn(() => users.command(connection, { op: 'status', id: 1, status }, effects));
  const idle = (connection: Connection, is: boolean) => turn(() => users.inactive(connection, is, effects));
  const ask = (connection: Connection, op: 'who' | 'watch' | 'unwatch', ...names: string[]) =>
    turn(() => presenceCommand(users, connection, { op, id: 1, users: names }, effects));
  const tick = (ms: number) => {
    effects.advance(ms);
    turn(() => users.tick(effects));
  };
  /** A connection that watches `user`, who was never here. */
  const watcherOf = (user: string): Connection => {
    const watcher = effects.connection('walt');
    ask(watcher, 'watch', user);
    effects.answer('presence', { users: [{ user, status: 'offline', lastSeen: null }] });
    effects.take(watcher);
    return watcher;
  };
  const statusOf = (user: string): Status | undefined => users.find(user)?.presence.current(effects)?.status;
  return { effects, users, stored, saves, turn, connect, close, say, idle, ask, tick, watcherOf, statusOf };
}
