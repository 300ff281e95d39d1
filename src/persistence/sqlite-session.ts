/**
 * One connection that writes, with everything prepared on it: runs operations within a transaction that the store begins
 * and ends. Lives until the store closes it or an I/O error makes it doubtful; then another takes its place.
 */
import type { Statement } from 'better-sqlite3';
import type { MessageAppend, Operation, Outcome } from '../thread/messages.ts';
import { Appends } from './sqlite-append.ts';
import { Inboxes, type Turn } from './sqlite-inbox.ts';
import { Maintenance } from './sqlite-maintain.ts';
import { Users } from './sqlite-names.ts';
import { Lease } from './sqlite-node.ts';
import { type Db, isAboutFile } from './sqlite-open.ts';
import { People } from './sqlite-people.ts';
import { Rooms, rowsTogether } from './sqlite-rooms.ts';
import type { StoreOptions } from './store.ts';

export class Session {
  readonly db: Db;
  readonly lease: Lease;
  readonly maintenance: Maintenance;
  readonly #users: Users;
  readonly #rooms: Rooms;
  readonly #inboxes: Inboxes;
  readonly #appends: Appends;
  readonly #people: People;
  readonly #begin: Statement<[]>;
  readonly #commit: Statement<[]>;
  readonly #savepoint: Statement<[]>;
  readonly #release: Statement<[]>;
  readonly #undo: Statement<[]>;

  constructor(db: Db, options: StoreOptions, token: number) {
    this.db = db;
    this.lease = new Lease(db, options.node, token);
    this.#users = new Users(db);
    this.#rooms = new Rooms(db);
    this.#inboxes = new Inboxes(db, this.#users, options);
    this.#appends = new Appends(db, this.#users, this.#rooms, this.#inboxes);
    this.#people = new People(db, options.node, this.#users, this.#rooms, this.#inboxes);
    this.maintenance = new Maintenance(db, options, this.#rooms, this.#inboxes, this.lease);
    this.#begin = db.prepare('begin immediate');
    this.#commit = db.prepare('commit');
    this.#savepoint = db.prepare('savepoint one');
    this.#release = db.prepare('release one');
    this.#undo = db.prepare('rollback to one');
  }

  /** Throws an error that `isBusy` where another process is writing. */
  begin(ts: number): void {
    this.#begin.run();
    if (!this.lease.foreignWrite(ts)) return;
    this.#rooms.kept.foreignWrite();
    this.#inboxes.rows.kept.foreignWrite();
  }

  commit(): void {
    this.#flush();
    this.#commit.run();
    this.#users.cache.rotate();
    this.#rooms.kept.rotate();
    this.#inboxes.rows.kept.rotate();
  }

  rollback(): void {
    this.#forget();
    if (this.db.inTransaction) this.db.exec('rollback');
  }

  run(operations: readonly (MessageAppend | Operation)[], turn: Turn): Outcome[] {
    const outcomes: Outcome[] = [];
    for (let at = 0; at < operations.length; at += rowsTogether) {
      const some = operations.slice(at, at + rowsTogether);
      for (const outcome of this.#appends.together(some, turn) ?? some.map((operation) => this.#apply(operation, turn))) outcomes.push(outcome);
    }
    return outcomes;
  }

  /** The same with a savepoint for each operation: one that fails unexpectedly takes only itself back. */
  runApart(operations: readonly (MessageAppend | Operation)[], turn: Turn): Outcome[] {
    return operations.map((operation) => {
      const told = turn.notices.length;
      this.#savepoint.run();
      try {
        const outcome = this.#apply(operation, turn);
        this.#flush();
        this.#release.run();
        return outcome;
      } catch (error) {
        if (isAboutFile(error)) throw error;
        this.#undo.run();
        this.#release.run();
        this.#forget();
        turn.notices.length = told;
        return { code: 'storage', message: error instanceof Error ? error.message : String(error) };
      }
    });
  }

  #apply(operation: MessageAppend | Operation, turn: Turn): Outcome {
    if (!('type' in operation)) return this.#appends.message(operation, turn);
    switch (operation.type) {
      case 'append':
        return this.#appends.append(operation, turn);
      case 'connect':
        return this.#people.connect(operation, turn.ts);
      case 'disconnect':
        this.#people.disconnect(operation, turn.ts);
        break;
      case 'revoke':
        this.#people.revoke(operation, turn.ts);
        break;
      case 'revokeToken':
        this.#people.revokeToken(operation);
        break;
      case 'prune':
        return this.#people.prune(operation, turn.ts);
      case 'presence':
        this.#people.presence(operation);
        break;
      case 'mark':
        this.#people.mark(operation, turn.ts);
        break;
      case 'sent':
        this.#inboxes.sent(operation.user, operation.through, turn.ts);
        break;
      case 'ack':
        this.#inboxes.ack(operation.user, operation.device, operation.through, turn.ts);
        break;
    }
    return { code: 'done' };
  }

  #flush(): void {
    this.#rooms.kept.flush();
    this.#inboxes.rows.kept.flush();
  }

  #forget(): void {
    this.#users.cache.clear();
    this.#rooms.kept.forget();
    this.#inboxes.rows.kept.forget();
  }
}
