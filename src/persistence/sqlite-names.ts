/**
 * The interned users of one writing connection, and the bounded cache that it, the rooms and the inboxes use. An id, once given, stays,
 * so cached ids hold whatever other processes write; only a rollback takes new ones back. Readers look the other way.
 */
import type { Statement } from 'better-sqlite3';
import type { Db } from './sqlite-open.ts';

const usersMax = 200_000;
const namesMax = 50_000;

/** Keeps what was used lately: at most `max` values after each `rotate`, which drops what was not used since the last but one. */
export class Cache<K, V> {
  readonly #half: number;
  #young = new Map<K, V>();
  #old = new Map<K, V>();

  constructor(max: number) {
    this.#half = Math.ceil(max / 2);
  }

  get(key: K): V | undefined {
    const young = this.#young.get(key);
    if (young !== undefined) return young;
    const old = this.#old.get(key);
    if (old !== undefined) this.#young.set(key, old);
    return old;
  }

  set(key: K, value: V): void {
    this.#young.set(key, value);
  }

  /** Called between transactions, so that nothing disappears under one. */
  rotate(): void {
    if (this.#young.size < this.#half) return;
    this.#old = this.#young;
    this.#young = new Map();
  }

  clear(): void {
    this.#young.clear();
    this.#old.clear();
  }
}

export class Users {
  readonly cache = new Cache<string, number>(usersMax);
  readonly #find: Statement<[string], number>;
  readonly #insert: Statement<[string], number>;

  constructor(db: Db) {
    this.#find = db.prepare<[string], number>('select id from users where name = ?').pluck();
    this.#insert = db.prepare<[string], number>('insert into users (name) values (?) returning id').pluck();
  }

  /** The user's id; a new name gets one. */
  id(name: string): number {
    const cached = this.cache.get(name);
    if (cached !== undefined) return cached;
    const id = this.#find.get(name) ?? (this.#insert.get(name) as number);
    this.cache.set(name, id);
    return id;
  }

  /** The id of a name that may not be known. */
  known(name: string): number | undefined {
    const id = this.cache.get(name) ?? this.#find.get(name);
    if (id !== undefined) this.cache.set(name, id);
    return id;
  }
}

/** The names of users, or of rooms, for a reading connection: cheaper than a join that looks each up for every row. */
export class NamesById {
  readonly #cache = new Cache<number, string>(namesMax);
  readonly #find: Statement<[number], string>;

  constructor(db: Db, table: 'users' | 'rooms') {
    this.#find = db.prepare<[number], string>(`select name from ${table} where id = ?`).pluck();
  }

  of(id: number): string | null {
    const cached = this.#cache.get(id);
    if (cached !== undefined) return cached;
    const name = this.#find.get(id);
    if (name === undefined) return null;
    this.#cache.set(id, name);
    this.#cache.rotate();
    return name;
  }
}
