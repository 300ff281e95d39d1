/**
 * Pages of entries as they were sent lately, so that a crowd that is behind costs its shard one encoding of each: a later
 * follower gets a copy of the bytes, or in the same flush the very same ones. Bounded in number and bytes; what nobody asks for
 * is soon forgotten. Nobody's rights are looked at here: the actor asks only for what its subscriber may have.
 */
import type { Link } from '../thread/link.ts';
import { type Format, type RoomKey, type ToGateway, type ToShard, toGateway } from '../thread/messages.ts';
import type { Connection } from './actor.ts';

const pagesMax = 32;
/** Beyond it only the latest is kept. */
const bytesMax = 16 * 1024 * 1024;

/** `starts`: where in `bytes` the frame of each entry begins. `at`: where they lie in the arena of that batch. */
type Page = {
  readonly room: RoomKey;
  readonly format: Format;
  readonly from: number;
  readonly starts: readonly number[];
  readonly bytes: Buffer;
  batch: number;
  at: number;
  /** Since the last tick. */
  used: boolean;
};

export class Pages {
  readonly #link: Link<ToGateway, ToShard>;
  /** The least lately used first. */
  #pages: Page[] = [];
  #bytes = 0;

  constructor(link: Link<ToGateway, ToShard>) {
    this.#link = link;
  }

  /** What has been encoded into the link's arena, from `starts[0]` to its end: dense entries from `from` on. */
  keep(room: RoomKey, format: Format, from: number, starts: readonly number[]): void {
    const { arena } = this.#link;
    const at = starts[0] ?? arena.offset;
    const bytes = Buffer.allocUnsafeSlow(arena.offset - at);
    arena.buffer.copy(bytes, 0, at, arena.offset);
    this.#bytes += bytes.length;
    while (this.#pages.length >= pagesMax || (this.#bytes > bytesMax && this.#pages.length > 0)) this.#bytes -= this.#pages.shift()?.bytes.length ?? 0;
    this.#pages.push({ room, format, from, starts: starts.map((start) => start - at), bytes, batch: arena.taken, at, used: true });
  }

  /** Sends the entries from `seq` on as far as a page has them; the last one's seq, or null where none has. */
  send(room: RoomKey, to: Connection, seq: number): number | null {
    // The latest: what was kept just now is to be sent to its end.
    const index = this.#pages.findLastIndex(
      (page) => page.room === room && page.format === to.format && page.from <= seq && seq < page.from + page.starts.length,
    );
    const page = this.#pages[index];
    if (page === undefined) return null;
    this.#pages.splice(index, 1);
    this.#pages.push(page);
    page.used = true;
    const start = page.starts[seq - page.from] as number;
    this.#link.record(toGateway.page, to.id, this.#placed(page, start), page.bytes.length - start, 1);
    return page.from + page.starts.length - 1;
  }

  /** The room is put away, and its key means nothing any more. */
  forget(room: RoomKey): void {
    this.#retain((page) => page.room !== room);
  }

  /** About once a second. */
  tick(): void {
    this.#retain(({ used }) => used);
    for (const page of this.#pages) page.used = false;
  }

  /** Where what begins at `start` of the page lies in the batch; of a page that is not in it yet no more is copied than may well be asked for again. */
  #placed(page: Page, start: number): number {
    const { arena } = this.#link;
    if (page.batch !== arena.taken) {
      if (start > page.bytes.length / 2) return arena.put(page.bytes.subarray(start));
      page.at = arena.put(page.bytes);
      page.batch = arena.taken;
    }
    return page.at + start;
  }

  #retain(wanted: (page: Page) => boolean): void {
    this.#pages = this.#pages.filter(wanted);
    this.#bytes = this.#pages.reduce((sum, { bytes }) => sum + bytes.length, 0);
  }
}
