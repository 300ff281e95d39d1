/**
 * Pages of entries as they were sent lately, so that a crowd that is behind costs its shard one encoding of each: a later
 * follower gets a copy of the bytes, or in the same flush the very same ones. Bounded in number; pages are bounded in bytes.
 * Nobody's rights are looked at here: the actor asks only for what its subscriber may have.
 */
import type { Link } from '../thread/link.ts';
import { type Format, type RoomKey, type ToGateway, type ToShard, toGateway } from '../thread/messages.ts';
import type { Connection } from './actor.ts';

const pagesMax = 32;

/** `starts`: where in `bytes` the frame of each entry begins. `at`: where they lie in the arena of that batch. */
type Page = {
  readonly room: RoomKey;
  readonly format: Format;
  readonly from: number;
  readonly starts: readonly number[];
  readonly bytes: Buffer;
  batch: number;
  at: number;
};

export class Pages {
  readonly #link: Link<ToGateway, ToShard>;
  /** The least lately used first. */
  #pages: Page[] = [];

  constructor(link: Link<ToGateway, ToShard>) {
    this.#link = link;
  }

  /** What has been encoded into the link's arena, from `starts[0]` to its end: dense entries from `from` on. */
  keep(room: RoomKey, format: Format, from: number, starts: readonly number[]): void {
    const { arena } = this.#link;
    const at = starts[0] ?? arena.offset;
    const bytes = Buffer.allocUnsafeSlow(arena.offset - at);
    arena.buffer.copy(bytes, 0, at, arena.offset);
    if (this.#pages.length >= pagesMax) this.#pages.shift();
    this.#pages.push({ room, format, from, starts: starts.map((start) => start - at), bytes, batch: arena.taken, at });
  }

  /** Sends the entries from `seq` on as far as a page has them; the last one's seq, or null where none has. */
  send(room: RoomKey, to: Connection, seq: number): number | null {
    const index = this.#pages.findIndex((page) => page.room === room && page.format === to.format && page.from <= seq && seq < page.from + page.starts.length);
    const page = this.#pages[index];
    if (page === undefined) return null;
    this.#pages.splice(index, 1);
    this.#pages.push(page);
    const { arena } = this.#link;
    if (page.batch !== arena.taken) {
      page.at = arena.put(page.bytes);
      page.batch = arena.taken;
    }
    const start = page.starts[seq - page.from] as number;
    this.#link.record(toGateway.page, to.id, page.at + start, page.bytes.length - start, 1);
    return page.from + page.starts.length - 1;
  }

  /** The room is put away, and its key means nothing any more. */
  forget(room: RoomKey): void {
    this.#pages = this.#pages.filter((page) => page.room !== room);
  }
}
