/**
 * Messages on their way to the hub: each keeps its `mid` and its bytes until an `ok` or a final refusal, across however many
 * connections that takes, so it is stored once or its promise says why not. Bounded in items and bytes; a full outbox
 * refuses. Sends in the order of the calls; only what the hub itself asks to repeat can end up behind later messages.
 */
import type { Format } from '../protocol/codec.ts';
import type { Content } from '../protocol/pushes.ts';
import { bounded, type CallOptions } from './bounded.ts';
import { Backoff, type BackoffLimits, type Cancel, type ClientClock } from './clock.ts';
import { HubError } from './errors.ts';
import type { Answer, Session } from './session.ts';
import { type Packed, pack } from './wire.ts';

export type OutboxLimits = { readonly itemsMax: number; readonly bytesMax: number };
/** `room` of a direct message is the room of the two users. `duplicate`: the hub had it already, under this seq. */
export type Sent = { mid: string; room: string; seq: number; duplicate?: true };

export type MessageFields = Content & { mid: string; room?: string; to?: string; thread?: string };

type Item = {
  readonly id: number;
  readonly mid: string;
  readonly packed: Packed;
  readonly settle: (answer: Answer<Sent>) => void;
  state: 'waiting' | 'sent';
  forget: Cancel | undefined;
};

/** Messages unanswered at once. Enough to keep a long line busy, and a small part of what the hub allows. */
const windowItems = 256;

export class Outbox {
  readonly #clock: ClientClock;
  readonly #format: Format;
  readonly #limits: OutboxLimits;
  readonly #nextId: () => number;
  readonly #backoff: Backoff;
  /** In the order of the calls: ids only rise. */
  readonly #items = new Map<number, Item>();
  #waiting: Item[] = [];
  #unanswered = 0;
  #bytes = 0;
  #session: Session | null = null;
  #pause: Cancel | undefined;

  constructor(clock: ClientClock, format: Format, limits: OutboxLimits, backoff: BackoffLimits, nextId: () => number) {
    this.#clock = clock;
    this.#format = format;
    this.#limits = limits;
    this.#nextId = nextId;
    this.#backoff = new Backoff(clock, backoff);
  }

  get items(): number {
    return this.#items.size;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** Takes one message; the promise is its verdict. `room` names it in the result where the hub's answer does not. */
  add(op: 'publish' | 'direct', fields: MessageFields, options: CallOptions): Promise<Sent> {
    return bounded<Sent>(this.#clock, options, op, (resolve, reject) => {
      const id = this.#nextId();
      // Packed now: what the caller does with the body afterwards changes nothing.
      const packed = pack({ op, id, ...fields }, this.#format);
      if (this.#items.size >= this.#limits.itemsMax || this.#bytes + packed.bytes > this.#limits.bytesMax) {
        reject(new HubError('outbox-full', `${this.#items.size} messages of ${this.#bytes} bytes are waiting for the hub`, { of: op }));
        return () => undefined;
      }
      const settle = (answer: Answer<Sent>) => {
        if (answer.ok) resolve({ ...answer.reply, room: answer.reply.room ?? fields.room, mid: fields.mid });
        else reject(answer.error);
      };
      const item: Item = { id, mid: fields.mid, packed, settle, state: 'waiting', forget: undefined };
      this.#items.set(id, item);
      this.#bytes += packed.bytes;
      this.#waiting.push(item);
      this.#flush();
      return () => {
        item.forget?.();
        this.#remove(item);
        this.#waiting = this.#waiting.filter((other) => other !== item);
        this.#flush();
      };
    });
  }

  /** A new connection: everything unanswered goes again, oldest first. */
  opened(session: Session): void {
    this.#session = session;
    this.#resume();
  }

  /** The connection is gone or about to go; what was sent comes back through its answers. */
  lost(): void {
    this.#session = null;
    this.#stopPause();
  }

  close(error: HubError): void {
    this.lost();
    const items = [...this.#items.values()];
    for (const item of items) this.#remove(item);
    this.#waiting = [];
    for (const item of items) item.settle({ ok: false, error });
  }

  #flush(): void {
    const session = this.#session;
    if (session === null || this.#pause !== undefined) return;
    while (this.#unanswered < windowItems && this.#waiting.length > 0 && session.open) {
      const item = this.#waiting.shift();
      if (item === undefined || !this.#items.has(item.id)) continue;
      item.state = 'sent';
      this.#unanswered++;
      item.forget = session.post(item.id, item.packed, (answer: Answer<Sent>) => this.#answered(session, item, answer));
    }
  }

  #answered(session: Session, item: Item, answer: Answer<Sent>): void {
    if (!this.#items.has(item.id)) return;
    if (!answer.ok && answer.error.retry) {
      item.state = 'waiting';
      this.#unanswered--;
      if (session === this.#session && session.open) this.#stop(answer.error.retryAfterMs);
      return;
    }
    if (answer.ok) this.#backoff.reset();
    this.#remove(item);
    item.settle(answer);
    this.#flush();
  }

  #remove(item: Item): void {
    if (!this.#items.delete(item.id)) return;
    this.#bytes -= item.packed.bytes;
    if (item.state === 'sent') this.#unanswered--;
  }

  /** The hub wants a break. All wait, not only the refused message, so that few are sent past it. */
  #stop(retryAfterMs: number | undefined): void {
    this.#pause ??= this.#clock.after(retryAfterMs ?? this.#backoff.next(), () => this.#resume());
  }

  #resume(): void {
    this.#stopPause();
    this.#waiting = [...this.#items.values()].filter((item) => item.state === 'waiting');
    this.#flush();
  }

  #stopPause(): void {
    this.#pause?.();
    this.#pause = undefined;
  }
}
