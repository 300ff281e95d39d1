/** Reads whole logs as a stranger would who begins at seq 0: what the hub kept, whatever anybody saw of it live. */
import type { Entry } from '../../src/protocol/pushes.ts';
import type { Entitlement, Recorder } from '../../src/testing/recorder.ts';
import { RawClient } from './raw-client.ts';

type As = { user?: string; entitlement?: Entitlement };

/** The log of each room from its beginning to its head, into `recorder` too where there is one. `user` must be entitled to all of it. */
export async function readLogs(url: string, rooms: readonly string[], recorder?: Recorder, as: As = {}): Promise<Map<string, readonly Entry[]>> {
  const reader = await RawClient.connect(url, { user: as.user ?? 'auditor' });
  const epoch = reader.welcome?.epoch ?? '';
  const logs = new Map<string, readonly Entry[]>();
  for (const room of rooms) {
    const { position, gaps } = await reader.ok('subscribe', { room, position: { epoch, seq: 0 } });
    if (gaps !== undefined) throw new Error(`the log of ${room} has gaps: ${JSON.stringify(gaps)}`);
    await reader.until(() => (reader.entries(room).at(-1)?.seq ?? 0) >= position.seq);
    await reader.ok('unsubscribe', { room });
    const entries = reader.entries(room);
    logs.set(room, entries);
    recorder?.log(room, epoch, entries.at(-1)?.seq ?? 0, entries, as.entitlement);
  }
  reader.terminate();
  return logs;
}
