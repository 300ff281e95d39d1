/**
 * The port to the database: SQLite (embedded), PostgreSQL (to come) and the in-memory model of the tests implement it, and
 * one contract suite (`test/store-contract.ts`) runs on all of them.
 */
import type { InboxItem, InboxLoss, MessageAppend, Operation, Outcome, ReadKind, ReadQuery, ReadReply } from '../thread/messages.ts';

export type CommitResult = {
  /** What every entry of it got as `ts`. */
  ts: number;
  /** One per operation, in their order. */
  outcomes: Outcome[];
  /** What the committed operations put into inboxes or took out of them, in the order of each user's n. */
  notices: (InboxItem | InboxLoss)[];
};

/** The writing half; one owner at a time. */
export interface Store {
  /** The current epoch's public id. */
  readonly epoch: string;
  /**
   * Runs the operations in order in one transaction, durable when the promise resolves. Each stands alone: a refused one
   * (its code says why) changes nothing and the others go on. A failure of the whole (disk full, I/O, lock) resolves too,
   * with `storage` for every operation, and nothing of the batch is stored. `ts`: the hub's clock in ms, given to every entry;
   * the store raises it to the previous batch's where the clock went back. Rejects only when the store can never be used again.
   */
  commit(operations: readonly (MessageAppend | Operation)[], ts: number): Promise<CommitResult>;
  /**
   * One bounded step of upkeep (≤ 50 ms): expire inbox items older than their age, prune the ledger and forgotten devices,
   * purge entries of deleted rooms, checkpoint. Resolves to what users must be told, and whether there is more to do now.
   */
  maintain(ts: number): Promise<{ notices: InboxLoss[]; more: boolean }>;
  /** Idempotent. After it the file can be opened by a successor. */
  close(): Promise<void>;
}

/** The reading half: any number of them, none of which can block the writer. */
export interface StoreReader {
  /** Sees every commit whose promise resolved before the call. Rejects on I/O errors; a missing thing is a value, not an error. */
  read<K extends ReadKind>(query: ReadQuery & { read: K }): Promise<ReadReply[K]>;
  close(): Promise<void>;
}

export type StoreOptions = {
  /** Data folder; the store makes its files in it. */
  data: string;
  /** This process's life: fresh at every start, the same for a successor of its writer thread. */
  node: string;
  /** Refuse to open while another node lives: there is no bus to it, so its clients would not see ours. */
  exclusive: boolean;
  durability: 'power-loss' | 'process';
  inboxItemsMax: number;
  inboxBytesMax: number;
  inboxAgeMs: number;
  inboxOverflow: 'drop-oldest' | 'reject';
  deviceAgeMs: number;
  ledgerAgeMs: number;
  /** Entries `all:` keeps; older ones are trimmed by `maintain`. */
  broadcastEntriesMax: number;
};
