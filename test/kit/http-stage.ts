/** HTTP on a hub that only pretends: it records commands and answers what a test tells it to. */
import type { HttpDeps, HubStats, Principal } from '../../src/http/deps.ts';
import { createHttp } from '../../src/http/http.ts';
import { fillOptions, type HubOptions } from '../../src/options.ts';
import { systemClock } from '../../src/thread/clock.ts';
import type { LogLevel } from '../../src/thread/log.ts';

type Answer = Record<string, unknown>;
export type Recorded = { principal: Principal; command: Record<string, unknown> };

export class PretendedHub implements HttpDeps {
  readonly recorded: Recorded[] = [];
  readonly disconnected: [user: string, connection: string | undefined][] = [];
  readonly lifted: (string | undefined)[] = [];
  /** What `command` answers: the same to all, or by what it is asked. */
  answer: Answer | ((command: Record<string, unknown>) => Answer | Promise<Answer>) = { op: 'ok' };
  readiness: { ready: boolean; reasons: string[]; warnings: string[] } = { ready: true, reasons: [], warnings: [] };
  numbers: HubStats = {};

  async command(principal: Principal, command: Record<string, unknown>): Promise<Answer> {
    this.recorded.push({ principal, command });
    return typeof this.answer === 'function' ? this.answer(command) : this.answer;
  }
  connectionsOf(user: string): unknown[] {
    return [{ connection: `of-${user}` }];
  }
  disconnect(user: string, connection?: string): number {
    this.disconnected.push([user, connection]);
    return connection === 'gone' ? 0 : 1;
  }
  stats(): HubStats {
    return this.numbers;
  }
  quarantine(): unknown[] {
    return [{ room: 'cursed' }];
  }
  lift(room?: string): number {
    this.lifted.push(room);
    return room === 'sound' ? 0 : 2;
  }
  ready(): { ready: boolean; reasons: string[]; warnings: string[] } {
    return this.readiness;
  }
}

export const apiKey = 'key-0123456789abcdef0123456789abcdef';
export const withKey = { authorization: `Bearer ${apiKey}` };
/** Options of a hub outside development. */
export const production: HubOptions = { apiKeys: [`backend:${apiKey}`] };

export async function pretend(given: HubOptions = production, pageDir?: string) {
  const hub = new PretendedHub();
  const lines: { level: LogLevel; message: string; fields: Record<string, unknown> | undefined }[] = [];
  const options = fillOptions(given);
  const log = (level: LogLevel, message: string, fields?: Record<string, unknown>) => void lines.push({ level, message, fields });
  const http = await createHttp({ options, clock: systemClock, log, hub, ...(pageDir === undefined ? {} : { pageDir }) });
  return { hub, lines, ...http, close: () => Promise.all([...new Set([http.public, http.ops])].map((app) => app.close())) };
}
