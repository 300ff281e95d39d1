/**
 * The handle of a followed room: what `subscribe` gives to the application. Thin: the stream knows what was applied, rooms.ts
 * what is subscribed, and the client sends.
 */
import type { CommandFields, Position } from '../protocol/inputs.ts';
import type { Audience, Reply } from '../protocol/pushes.ts';
import type { CallOptions } from './bounded.ts';
import type { Sent } from './outbox.ts';
import type { RoomEvents, Stream } from './stream.ts';
import type { Entry } from './wire.ts';

export type PublishOptions = CallOptions & {
  /** Repeating a message with its mid is safe. Made by the client where it is left out. */
  mid?: string;
  /** The mid of the message that this one answers. */
  thread?: string;
};
export type HistoryRange = { before?: number; after?: number; around?: number; limit?: number };

/** What a room needs of the client. */
export type RoomActions = {
  publish(room: string, body: unknown, options: PublishOptions): Promise<Sent>;
  ephemeral(room: string, body: unknown, options: { echo?: boolean }): boolean;
  command<O extends 'history' | 'mark'>(op: O, fields: CommandFields<O>, options: CallOptions): Promise<Reply<O>>;
  unsubscribe(stream: Stream): void;
  /** Stops the stream while a reader is full; called again with false it goes on where it was. */
  hold(stream: Stream, full: boolean): void;
};

/** Entries a `for await` may be behind before its room waits for it. */
const readerItemsMax = 1_000;

export class Room implements AsyncIterable<Entry> {
  readonly name: string;
  readonly #stream: Stream;
  readonly #actions: RoomActions;

  constructor(stream: Stream, actions: RoomActions) {
    this.name = stream.name;
    this.#stream = stream;
    this.#actions = actions;
  }

  /** The last entry applied, and the life of the data it belongs to. Null until the first one where it began at a `mark`. */
  get position(): Position | null {
    return this.#stream.position;
  }

  /** Whether entries arrive now: false while reconnecting, and after the end. */
  get live(): boolean {
    return this.#stream.state === 'live';
  }

  /** Who follows the room; null without `presence`. */
  get audience(): Audience | null {
    return this.#stream.audience;
  }

  /** Adds a listener; the function it returns removes it. Added right after `await subscribe(…)` it misses nothing. */
  on<K extends keyof RoomEvents>(name: K, listener: (event: RoomEvents[K]) => unknown): () => void {
    return this.#stream.events.on(name, listener);
  }

  /** Resolves when the message is stored. A Uint8Array is sent as a binary body, everything else as JSON. */
  publish(body: unknown, options: PublishOptions = {}): Promise<Sent> {
    return this.#actions.publish(this.name, body, options);
  }

  /** Typing, cursors: not stored, not repeated, no answer. False: not sent. */
  ephemeral(body: unknown, options: { echo?: boolean } = {}): boolean {
    return this.#actions.ephemeral(this.name, body, options);
  }

  /** Messages as they stand now, oldest first; without a range the latest ones. */
  history(range: HistoryRange = {}, options: CallOptions = {}): Promise<Reply<'history'>> {
    return this.#actions.command('history', { room: this.name, ...range }, options);
  }

  /** Read (and so received) up to here, for unread counts and receipts. */
  markRead(seq: number, options: CallOptions = {}): Promise<Reply<'mark'>> {
    return this.#actions.command('mark', { room: this.name, read: seq }, options);
  }

  /** Stops following. Membership is not touched. */
  unsubscribe(): void {
    this.#actions.unsubscribe(this.#stream);
  }

  /** Every entry from now on, until the subscription ends. A slow loop makes the room wait, and loses nothing. */
  [Symbol.asyncIterator](): AsyncIterator<Entry, undefined> {
    const stream = this.#stream;
    const actions = this.#actions;
    const done: IteratorReturnResult<undefined> = { done: true, value: undefined };
    // Each with what says that it was handled: it is when the next one is asked for.
    let entries: { entry: Entry; handled: () => void }[] = [];
    let taken: (() => void)[] = [];
    let readers: ((result: IteratorResult<Entry, undefined>) => void)[] = [];
    let ended = stream.state === 'ended';
    let full = false;
    const hold = (wanted: boolean) => {
      if (full === wanted) return;
      full = wanted;
      actions.hold(stream, full);
    };
    const passed = () => {
      for (const handled of taken) handled();
      taken = [];
    };
    const stopEntries = stream.events.on(
      'entry',
      (entry) =>
        new Promise<void>((handled) => {
          const reader = readers.shift();
          if (reader === undefined) {
            if (entries.push({ entry, handled }) >= readerItemsMax) hold(true);
            return;
          }
          taken.push(handled);
          reader({ done: false, value: entry });
        }),
    );
    const finish = () => {
      ended = true;
      stopEntries();
      stopEnd();
      for (const reader of readers) reader(done);
      readers = [];
    };
    const stopEnd = stream.events.on('unsubscribed', finish);
    return {
      next: () => {
        passed();
        const next = entries.shift();
        if (entries.length <= readerItemsMax / 2) hold(false);
        if (next !== undefined) {
          taken.push(next.handled);
          return Promise.resolve({ done: false, value: next.entry });
        }
        if (ended) return Promise.resolve(done);
        return new Promise((resolve) => readers.push(resolve));
      },
      return: () => {
        finish();
        passed();
        for (const { handled } of entries) handled(); // nobody is to have them
        entries = [];
        hold(false);
        return Promise.resolve(done);
      },
    };
  }
}
