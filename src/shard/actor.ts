/**
 * What actors are given: the shard's record of a connection, and the effects they may cause. A step of an actor changes its
 * own state and calls effects; it never waits, reads a clock or touches a port. What an effect brings back (a commit, a
 * read, a turn) arrives as a later step. Tests hand in a recorder.
 */
import type { CodedError } from '../protocol/codes.ts';
import type { Push } from '../protocol/pushes.ts';
import type { ConnectionId, EntryRecord, Format, MessageAppend, Operation, Outcome, ReadKind, ReadQuery, ReadReply, ToGateway } from '../thread/messages.ts';
import type { Suspect } from '../thread/witness.ts';

export type Connection = {
  readonly id: ConnectionId;
  readonly user: string;
  readonly device: string;
  readonly format: Format;
  readonly service: boolean;
  /** As of the last token. */
  scopes: readonly string[];
  /** False once the socket is gone: late results for it are dropped. */
  open: boolean;
};

/** An entry as it is stored, sent as an `inbox` push (with `n`) or an `entry` push: the encoder joins its stored JSON text, so that no body is parsed and printed again. */
export type StoredPush = { n?: number; stored: EntryRecord };
export type Pushable = Push | StoredPush;

/** Called with the fate of one operation, in the order of commit. `ts` is the time its entry got. */
export type Settled = (outcome: Outcome, ts: number) => void;

/** Is flushed at the end of the turn once it was woken; may be called as often as there is a reason. */
export type Waker = { wake(): void };

export interface Effects {
  /** The one answer to a command: `ok` and these fields. Nothing is sent where the command had no id. */
  reply(to: Connection, id: number | undefined, fields: object): void;
  /** The one answer when it was refused; sent without an id too. `of`: the op. */
  refuse(to: Connection, id: number | undefined, of: string, error: CodedError): void;
  /** One shard's part of a split command's answer; the gateway joins the lists of the same field. */
  part(to: Connection, id: number | undefined, part: Record<string, unknown[]>): void;
  push(to: Connection, push: Pushable): void;
  /** The same push to several connections, encoded once per format. */
  pushAll(to: Iterable<Connection>, push: Push): void;
  /** Several pushes as one paced page: ends the turn that the connection's feed granted, when they have drained. */
  page(to: Connection, pushes: readonly Pushable[]): void;
  /** An object of the gateway's vocabulary: welcome, refuse, evict. */
  tell(message: ToGateway): void;
  /** Puts an operation into the next batch. False: the shard has as much waiting as it may (`busy`), and `settled` will not be called. */
  commit(operation: MessageAppend | Operation, settled: Settled): boolean;
  /** Asks a reader. `failed` where the read could not be done (I/O, reader restarted, too many waiting). */
  read<K extends ReadKind>(query: ReadQuery & { read: K }, done: (reply: ReadReply[K]) => void, failed: (error: CodedError) => void): void;
  /** Whether that is set aside, having crashed the hub: it is not to be sent or asked for now. */
  bars(suspect: Suspect): boolean;
  /**
   * Asks for a turn to send the connection a page: at most one turn of a connection at a time, and a bounded number in all,
   * so that a crowd coming back is fed at the pace of its sockets. `turn` must lead to exactly one `page` or `skip`.
   */
  feed(to: Connection, turn: () => void): void;
  /** Gives a turn back unused. */
  skip(to: Connection): void;
  /** Wall-clock ms: for what people are told, never for deadlines. */
  readonly now: number;
  /** Monotonic ms: for ages and deadlines. */
  readonly tick: number;
}
