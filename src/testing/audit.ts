/** Reads whole logs through the client, as a stranger would who begins at seq 0: what the hub kept, whatever anybody saw of it live. */
import { type ConnectOptions, connect, type Entry, type Gap } from '../client/index.ts';
import type { Entitlement, Recorder } from './recorder.ts';

export type AuditOptions = Omit<ConnectOptions, 'webSocket' | 'positions'> & { entitlement?: Entitlement };

/**
 * The log of each room from its beginning to its head, into `recorder` too. The user must be entitled to all of it; throws
 * where the hub states a gap.
 */
export async function auditRooms(url: string, rooms: readonly string[], recorder: Recorder, options: AuditOptions): Promise<Map<string, readonly Entry[]>> {
  const { entitlement, ...connecting } = options;
  const hub = connect(url, connecting);
  try {
    const { epoch } = await hub.ready;
    const logs = new Map<string, readonly Entry[]>();
    for (const room of rooms) {
      const { position } = await hub.command('info', { room });
      const entries: Entry[] = [];
      const followed = await hub.subscribe(room, { position: { epoch, seq: 0 } });
      await new Promise<void>((resolve, reject) => {
        const look = (): void => {
          if (position.seq === 0 || (entries.at(-1)?.seq ?? 0) >= position.seq) resolve();
        };
        followed.on('entry', (entry) => {
          entries.push(entry);
          look();
        });
        followed.on('gap', (gap: Gap) => reject(new Error(`the log of ${room} has a gap: ${JSON.stringify(gap)}`)));
        hub.on('state', (state) => state.is === 'closed' && reject(new Error('the connection of the audit was closed for good')));
        look();
      });
      followed.unsubscribe();
      logs.set(room, entries);
      recorder.log(room, epoch, entries.at(-1)?.seq ?? 0, entries, entitlement);
    }
    return logs;
  } finally {
    await hub.close();
  }
}
