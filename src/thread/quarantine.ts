/**
 * What crashed a thread three times is set aside (DESIGN 11.22): the command that was named each time, or the room where the
 * commands differed. Kept by the supervisor and in memory only, so a restart of the hub lifts it, as do time and operators;
 * shards and the writer get the list (`Barred`) and refuse. What was merely in the same batch is answered `restarted` and never counted.
 */
import type { Header } from '../protocol/header.ts';
import { scan } from '../protocol/scan.ts';
import type { Clock } from './clock.ts';
import type { Log } from './log.ts';
import type { Format } from './messages.ts';
import { type Suspect, suspectOf } from './witness.ts';

const crashesMax = 3;
/** Rooms that crashes are remembered of, and things set aside; beyond it the oldest goes. */
const keptMax = 1_000;

/** The names that shards compare with: rooms, and keys of commands. */
export type Barred = { rooms: string[]; commands: string[] };
/** One thing that is set aside. A command (`op` is not null) is that of its `mid`, or where it had none that of its `user`. Times are wall-clock. */
export type Quarantined = { room: string | null; op: string | null; mid: string | null; user: string | null; since: number; until: number };

type Crash = { key: string | null; at: number };
type Kept = Quarantined & { key: string | null; ends: number };

/** Sending the same message again is the same command by its mid; others by what is asked by whom, since their ids differ. Null: nobody to tell it by. */
export function commandKey(op: string, room: string | null, mid: string | null, user: string | null): string | null {
  if (mid !== null) return JSON.stringify([room, mid]);
  return user === null ? null : JSON.stringify([room, op, user]);
}

export class Quarantine {
  readonly #deps: { clock: Clock; log: Log; ms: number; changed(): void };
  /** By room ('' for commands that concern none). */
  readonly #crashes = new Map<string, Crash[]>();
  #kept: Kept[] = [];
  #counted = 0;

  constructor(deps: { clock: Clock; log: Log; ms: number; changed(): void }) {
    this.#deps = deps;
  }

  /** A thread has died while it was about to do this (null: nothing that has a name). */
  crashed(suspect: Suspect | null): void {
    this.#counted++;
    if (suspect === null) return;
    const { op, room, mid, user } = suspect;
    const now = this.#deps.clock.tick();
    const key = commandKey(op, room, mid, user);
    const of = room ?? '';
    const crashes = (this.#crashes.get(of) ?? []).filter(({ at }) => now - at < this.#deps.ms);
    this.#crashes.delete(of);
    crashes.push({ key, at: now });
    const same = key === null ? 0 : crashes.filter((crash) => crash.key === key).length;
    if (same >= crashesMax) {
      this.#remember(
        of,
        crashes.filter((crash) => crash.key !== key),
      );
      this.#set({ room, op, mid, user: mid === null ? user : null }, key);
    } else if (room !== null && crashes.length >= crashesMax) this.#set({ room, op: null, mid: null, user: null }, null);
    else this.#remember(of, crashes);
  }

  /** Now and then: lets go of what is old. */
  sweep(): void {
    if (this.#kept.length === 0) return;
    const now = this.#deps.clock.tick();
    this.#keep(({ ends }) => ends > now);
  }

  /** Lifts the room, and the commands to it; without a room, everything. Returns how many that were. */
  lift(room?: string): number {
    if (room === undefined) this.#crashes.clear();
    else this.#crashes.delete(room);
    return this.#keep((kept) => room !== undefined && kept.room !== room);
  }

  list(): Quarantined[] {
    return this.#kept.map(({ key: _, ends: _ends, ...rest }) => rest);
  }

  barred(): Barred {
    return {
      rooms: this.#kept.flatMap(({ op, room }) => (op === null && room !== null ? [room] : [])),
      commands: this.#kept.flatMap(({ key }) => (key === null ? [] : [key])),
    };
  }

  stats(): Record<string, number> {
    const { rooms, commands } = this.barred();
    return { barredRooms: rooms.length, barredCommands: commands.length, crashes: this.#counted };
  }

  #remember(of: string, crashes: Crash[]): void {
    if (crashes.length === 0) return;
    this.#crashes.set(of, crashes);
    for (const oldest of this.#crashes.keys()) {
      if (this.#crashes.size <= keptMax) break;
      this.#crashes.delete(oldest);
    }
  }

  #set(what: Pick<Quarantined, 'room' | 'op' | 'mid' | 'user'>, key: string | null): void {
    const { clock, log, ms, changed } = this.#deps;
    const since = clock.now();
    this.#kept.push({ ...what, key, since, until: since + ms, ends: clock.tick() + ms });
    if (this.#kept.length > keptMax) this.#kept.shift();
    log('error', what.op === null ? 'a room crashed its thread repeatedly: quarantined' : 'a command crashed its thread repeatedly: quarantined', {
      ...what,
      ms,
    });
    changed();
  }

  #keep(stays: (kept: Kept) => boolean): number {
    const gone = this.#kept.filter((kept) => !stays(kept));
    if (gone.length === 0) return 0;
    this.#kept = this.#kept.filter(stays);
    for (const { room, op, mid, user } of gone) this.#deps.log('info', 'quarantine lifted', { room, op, mid, user });
    this.#deps.changed();
    return gone.length;
  }
}

/** A shard's copy of the list. */
export class Barrier {
  #rooms: ReadonlySet<string> = new Set();
  #commands: ReadonlySet<string> = new Set();
  /** Whether anything is barred at all: what callers ask first, for every command. */
  up = false;
  refused = 0;

  constructor(barred: Barred) {
    this.set(barred);
  }

  set({ rooms, commands }: Barred): void {
    this.#rooms = new Set(rooms);
    this.#commands = new Set(commands);
    this.up = rooms.length + commands.length > 0;
  }

  /** Whether it is set aside, asked for what nobody is refused. */
  holds({ op, room, mid, user }: Suspect): boolean {
    return (room !== null && this.#rooms.has(room)) || this.#commands.has(commandKey(op, room, mid, user) as string);
  }

  /** The same for what is refused then, which is counted. */
  bars(suspect: Suspect): boolean {
    const barred = this.holds(suspect);
    if (barred) this.refused++;
    return barred;
  }

  /** The same for a command that is still a frame, since what crashes the thread may be to decode it: its header, or null. */
  barred({ format, user }: { format: Format; user: string }, bytes: Uint8Array): Header | null {
    const header = scan(bytes, format);
    return this.bars(suspectOf(header, user)) ? header : null;
  }
}
