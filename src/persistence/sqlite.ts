/**
 * The `Store` on one SQLite file. Owns the order of transactions, what happens when one fails, and the connection's life;
 * what operations do is in `sqlite-*.ts` by subject. Never blocks on a lock: it tries again from the event loop.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Clock } from '../thread/clock.ts';
import type { Log } from '../thread/log.ts';
import type { InboxLoss, MessageAppend, Operation, Outcome } from '../thread/messages.ts';
import type { Turn } from './sqlite-inbox.ts';
import { migrate, versionOf } from './sqlite-migrate.ts';
import { livingNodes, register } from './sqlite-node.ts';
import {
  checkOwner,
  codeOf,
  type Db,
  databaseFile,
  identityOf,
  isAboutFile,
  isBusy,
  type OpenDatabase,
  openForWriting,
  StoreError,
  SupersededError,
  schemaVersion,
} from './sqlite-open.ts';
import { Session } from './sqlite-session.ts';
import type { CommitResult, Store, StoreOptions } from './store.ts';

export type SqliteParts = { clock: Clock; log: Log; open?: OpenDatabase };

/** How long a locked file is tried before a batch is refused. */
const busyMs = 2_000;
const busyWaitMs = 8;
/** Time after which `maintain` begins no further step. */
const stepsMs = 20;

function join(db: Db, { node, exclusive, data }: StoreOptions, ts: number): { token: number; epoch: string } {
  checkOwner(db, databaseFile(data));
  const alone = exclusive || versionOf(db) < schemaVersion;
  const other = alone ? livingNodes(db, ts).find(({ id }) => id !== node) : undefined;
  if (other === undefined) {
    migrate(db);
    return register(db, node, ts);
  }
  const seconds = Math.ceil((other.leaseUntil - ts) / 1_000);
  throw new StoreError(
    `another hub (process ${other.pid} on ${other.host}) uses ${data}: stop it, or choose another folder; if it is gone, its claim ends in ${seconds} s`,
  );
}

export class SqliteStore implements Store {
  readonly epoch: string;
  readonly #options: StoreOptions;
  readonly #parts: SqliteParts;
  readonly #token: number;
  #session: Session | null;
  #last: Promise<unknown> = Promise.resolve();
  #closed: Promise<void> | null = null;
  #ts: number;
  #waits = 0;

  /** Rejects with a `StoreError` whose message says to a person what is wrong. */
  static async open(options: StoreOptions, parts: SqliteParts): Promise<SqliteStore> {
    const ts = parts.clock.now();
    try {
      const file = databaseFile(options.data);
      const before = identityOf(file);
      const db = await patiently(parts.clock, () => openForWriting(options, parts.open));
      try {
        // A migration may sort more than there is memory. Within its transaction this cannot be set.
        db.pragma('temp_store = file');
        const { token, epoch } = await patiently(parts.clock, () => db.transaction(() => join(db, options, ts)).immediate());
        db.pragma('temp_store = memory');
        // What is open now would be nobody's file, and all that is stored in it lost.
        if (before !== null && identityOf(file) !== before) throw new StoreError(`a backup has just been restored to ${options.data}: start again`);
        return new SqliteStore(options, parts, db, token, epoch, ts);
      } catch (error) {
        db.close();
        throw error;
      }
    } catch (error) {
      if (error instanceof StoreError) throw error;
      throw new StoreError(`the database in ${options.data} cannot be used: ${reasonOf(error)}`, { cause: error });
    }
  }

  private constructor(options: StoreOptions, parts: SqliteParts, db: Db, token: number, epoch: string, ts: number) {
    this.#options = options;
    this.#parts = parts;
    this.#token = token;
    this.epoch = epoch;
    this.#ts = ts;
    this.#session = new Session(db, options, token);
  }

  /** How often another process's lock was waited for. */
  get waits(): number {
    return this.#waits;
  }

  commit(operations: readonly (MessageAppend | Operation)[], ts: number): Promise<CommitResult> {
    return this.#alone(() => this.#commit(operations, ts));
  }

  maintain(ts: number): Promise<{ notices: InboxLoss[]; more: boolean }> {
    return this.#alone(() => this.#maintain(ts));
  }

  /** Takes leave of the other nodes: this one's connections are gone, and nobody of it is present. */
  close(): Promise<void> {
    this.#closed ??= this.#last.then(() => this.#close());
    return this.#closed;
  }

  /** Closes the file and nothing else, for a successor in the same process to go on. */
  abandon(): void {
    this.#closed ??= Promise.resolve();
    this.#session?.db.close();
    this.#session = null;
  }

  /** One after the other, in the order of the calls. */
  #alone<T>(run: () => Promise<T>): Promise<T> {
    if (this.#closed !== null) return Promise.reject(new StoreError('the store is closed'));
    const result = this.#last.then(run);
    this.#last = result.catch(() => {});
    return result;
  }

  async #commit(operations: readonly (MessageAppend | Operation)[], ts: number): Promise<CommitResult> {
    this.#ts = Math.max(this.#ts, ts);
    const attempt = (run: (session: Session, turn: Turn) => Outcome[]) =>
      this.#transaction(this.#ts, (session, turn) => ({ ts: turn.ts, outcomes: run(session, turn), notices: turn.notices }));
    try {
      try {
        return await attempt((session, turn) => session.run(operations, turn));
      } catch (error) {
        if (isAboutFile(error) || error instanceof StoreError) throw error;
        return await attempt((session, turn) => session.runApart(operations, turn));
      }
    } catch (error) {
      if (error instanceof SupersededError) throw error;
      const message = reasonOf(error);
      this.#parts.log('error', 'a commit failed', { error: message, operations: operations.length });
      return { ts: this.#ts, outcomes: operations.map(() => ({ code: 'storage', message })), notices: [] };
    }
  }

  async #maintain(ts: number): Promise<{ notices: InboxLoss[]; more: boolean }> {
    this.#ts = Math.max(this.#ts, ts);
    const { clock, log } = this.#parts;
    const deadline = clock.tick() + stepsMs;
    const losses: InboxLoss[] = [];
    let done = false;
    try {
      do {
        const step = await this.#transaction(this.#ts, (session, turn) => ({ turn, done: session.maintenance.step(turn, ts) }));
        done = step.done;
        for (const notice of step.turn.notices) if (notice.t === 'inbox-loss') losses.push(notice);
      } while (!done && clock.tick() < deadline);
      if (done) this.#session?.maintenance.checkpoint();
    } catch (error) {
      if (error instanceof SupersededError) throw error;
      // Upkeep can wait; what failed is tried again at its next time.
      log('warn', 'upkeep of the database failed', { error: String(error) });
      done = true;
    }
    return { notices: losses, more: !done };
  }

  async #close(): Promise<void> {
    try {
      await this.#transaction(this.#ts, (session, { ts }) => session.lease.leave(Math.max(ts, this.#parts.clock.now())));
    } catch (error) {
      // Then the next start finds this node's lease, and that its process is gone.
      this.#parts.log('warn', 'the database was left without goodbye', { error: String(error) });
    }
    this.#session?.db.close();
    this.#session = null;
  }

  async #transaction<T>(ts: number, run: (session: Session, turn: Turn) => T): Promise<T> {
    const session = await this.#begun(ts);
    let committing = false;
    try {
      const result = run(session, { ts, notices: [] });
      committing = true;
      session.commit();
      return result;
    } catch (error) {
      session.rollback();
      // After a failed fsync nobody knows what the file holds: only a fresh connection reads what is really there.
      if (isAboutFile(error) && (committing || !/^SQLITE_(BUSY|LOCKED|FULL)/.test(codeOf(error)))) {
        this.#session = null;
        session.db.close();
        await this.#reopen().catch((failure: unknown) => this.#parts.log('error', 'the database cannot be opened again yet', { error: String(failure) }));
      }
      throw error;
    }
  }

  async #begun(ts: number): Promise<Session> {
    const session = this.#session ?? (await this.#reopen());
    await patiently(
      this.#parts.clock,
      () => {
        try {
          session.begin(ts);
        } catch (error) {
          session.rollback();
          throw error;
        }
      },
      () => this.#waits++,
    );
    return session;
  }

  /** Leaves no session where the file cannot be opened now; the next transaction tries again. */
  async #reopen(): Promise<Session> {
    this.#parts.log('warn', 'opening the database again', {});
    const { clock, open } = this.#parts;
    // Opening would make an empty one: of a disk that went away, in the folder it was seen at.
    if (identityOf(databaseFile(this.#options.data)) === null) throw new StoreError('the database file is gone');
    const db = await patiently(clock, () => openForWriting(this.#options, open));
    this.#session = new Session(db, this.#options, this.#token);
    return this.#session;
  }
}

/** Tries again while another process holds the lock, with jitter, so that many who wait do not meet again. */
async function patiently<T>(clock: Clock, run: () => T, waited: () => void = () => {}): Promise<T> {
  const deadline = clock.tick() + busyMs;
  for (;;) {
    try {
      return run();
    } catch (error) {
      if (!isBusy(error) || clock.tick() >= deadline) throw error;
    }
    waited();
    await sleep(1 + clock.random() * busyWaitMs);
  }
}

function reasonOf(error: unknown): string {
  const code = codeOf(error);
  if (code.startsWith('SQLITE_BUSY')) return 'the database is locked by another process';
  if (code.startsWith('SQLITE_FULL')) return 'the disk is full';
  if (code.startsWith('SQLITE_IOERR')) return 'the disk reported an error';
  if (code.startsWith('SQLITE_READONLY')) return 'the database is read-only';
  if (code.startsWith('SQLITE_CORRUPT') || code.startsWith('SQLITE_NOTADB')) return 'the database is damaged; restore a backup';
  return error instanceof Error ? error.message : String(error);
}
