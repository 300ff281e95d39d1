/**
 * The rooms one simulated client follows: positions, what it saw of each log since it last had to begin anew, and the same
 * moves after a loss as the client library makes. It notices holes itself.
 */
import { type ErrorCode, errorCodes } from '../../src/protocol/codes.ts';
import { allRoom } from '../../src/protocol/names.ts';
import type { Gap } from '../../src/protocol/pushes.ts';
import type { Answer, Fields, SimClient } from './client.ts';

export type Followed = {
  /** `asked`: a command is on its way, and nothing is heard before its answer. `live`: entries come. */
  state: 'waiting' | 'asked' | 'live';
  epoch: string;
  seq: number | null;
  /** The end of the last part that it was told is no more. */
  trimmed: number;
  /** What stood where, since its stream last began anew. */
  book: Map<number, string | null>;
};

export class Following {
  readonly rooms = new Map<string, Followed>();
  epoch = '';
  readonly #client: SimClient;

  constructor(client: SimClient) {
    this.#client = client;
  }

  /** From the head on, or from the first entry that it may have. */
  subscribe(room: string, fromStart = false): void {
    const known = this.rooms.get(room);
    if (known !== undefined && known.state !== 'waiting') return;
    const followed = known ?? {
      state: 'waiting',
      epoch: this.epoch,
      seq: fromStart && this.epoch !== '' ? 0 : null,
      trimmed: 0,
      book: new Map<number, string | null>(),
    };
    this.rooms.set(room, followed);
    if (this.#client.state === 'open') this.#ask(room, followed);
  }

  /** Asks again for what it follows already, where it stands. */
  renew(room: string): void {
    const followed = this.rooms.get(room);
    if (followed?.state === 'live' && followed.seq !== null && room !== allRoom) this.#ask(room, followed, 'live');
  }

  unsubscribe(room: string): void {
    if (this.#client.state !== 'open' || !this.rooms.delete(room)) return;
    this.#client.request('unsubscribe', { room }, () => {});
  }

  opened(): void {
    const byEpoch = new Map<string, Record<string, number>>();
    for (const [room, followed] of this.rooms) {
      // Everybody follows that one without asking; where from, its first entry says.
      if (followed.seq === null && room === allRoom) followed.state = 'live';
      else if (followed.seq === null) this.#ask(room, followed);
      else {
        followed.state = 'asked';
        byEpoch.set(followed.epoch, { ...byEpoch.get(followed.epoch), [room]: followed.seq });
      }
    }
    if (!this.rooms.has(allRoom)) this.rooms.set(allRoom, { state: 'live', epoch: this.epoch, seq: null, trimmed: 0, book: new Map() });
    for (const [epoch, rooms] of byEpoch) this.#resume(epoch, rooms);
  }

  lost(): void {
    for (const followed of this.rooms.values()) followed.state = 'waiting';
  }

  resumed(room: string, fields: Fields): void {
    const followed = this.rooms.get(room);
    if (followed?.state === 'asked') this.#attached(followed, fields, followed.seq === null);
  }

  dropped(room: string, reason: ErrorCode): void {
    const followed = this.rooms.get(room);
    if (followed === undefined) return;
    if (errorCodes[reason].retry) this.#later(room, followed);
    else this.rooms.delete(room);
  }

  entry(room: string, seq: number, mid: string | null): void {
    const followed = this.rooms.get(room);
    if (followed?.state !== 'live') return;
    if (followed.seq === null) followed.epoch = this.epoch;
    const head = followed.seq ?? seq - 1;
    if (seq <= head) return;
    if (seq > head + 1) this.#client.deps.fault(`${this.#client.name} ${room}: ${seq} follows ${head}`);
    followed.seq = seq;
    followed.book.set(seq, mid);
  }

  gaps(room: string, gaps: readonly Gap[]): void {
    const followed = this.rooms.get(room);
    if (followed !== undefined) this.#skip(followed, gaps);
  }

  /** `state` meanwhile: who follows already goes on hearing of it. */
  #ask(room: string, followed: Followed, state: 'asked' | 'live' = 'asked'): void {
    const { seq, epoch } = followed;
    followed.state = state;
    this.#client.request('subscribe', { room, ...(seq === null ? {} : { position: { epoch, seq } }) }, (answer) => {
      if (this.rooms.get(room) !== followed) return;
      if (answer.ok) this.#attached(followed, answer.fields, seq === null);
      else this.#refused(room, followed, answer);
    });
  }

  #resume(epoch: string, rooms: Record<string, number>): void {
    this.#client.request('resume', { epoch, rooms }, (answer) => {
      for (const room of Object.keys(rooms)) {
        const followed = this.rooms.get(room);
        if (followed?.state !== 'asked') continue;
        if (answer.ok) this.#ask(room, followed);
        else this.#refused(room, followed, answer);
      }
    });
  }

  #refused(room: string, followed: Followed, { code }: Answer): void {
    if (code !== null && errorCodes[code].retry) this.#later(room, followed);
    else this.rooms.delete(room);
  }

  #later(room: string, followed: Followed): void {
    followed.state = 'waiting';
    this.#client.later(() => {
      if (this.#client.state === 'open' && this.rooms.get(room) === followed && followed.state === 'waiting') this.#ask(room, followed);
    });
  }

  #attached(followed: Followed, fields: Fields, fresh: boolean): void {
    const position = fields.position as { epoch: string; seq: number };
    followed.state = 'live';
    followed.epoch = position.epoch;
    if (fresh) {
      followed.seq = position.seq;
      followed.book.clear();
    }
    this.#skip(followed, (fields.gaps ?? []) as Gap[]);
  }

  #skip(followed: Followed, gaps: readonly Gap[]): void {
    for (const { reason, to } of gaps) {
      if (reason !== 'epoch' && followed.seq !== null && to <= followed.seq) continue;
      if (reason === 'epoch') {
        // Another life of the data: what was so in the one before says nothing of it.
        followed.book.clear();
        followed.trimmed = 0;
      } else if (reason === 'trimmed') followed.trimmed = to;
      followed.seq = to;
    }
  }
}
