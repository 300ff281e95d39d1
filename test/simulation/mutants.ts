/**
 * Hubs with one bug each, made of the real one by wrapping what it uses: what the simulation does not find in them, it would
 * not find in the hub.
 */
import { RoomState } from '../../src/shard/room-state.ts';
import { Tail } from '../../src/shard/tail.ts';
import { UserActor } from '../../src/shard/user.ts';
import { UserCursor } from '../../src/shard/user-cursor.ts';
import { UserDirectory } from '../../src/shard/user-directory.ts';
import { UserInbox } from '../../src/shard/user-inbox.ts';
import { strides, toGateway } from '../../src/thread/messages.ts';
import type { SimModel } from './store.ts';
import type { Mutant } from './world.ts';

type Operations = Parameters<NonNullable<NonNullable<Mutant['store']>['before']>>[0];
/** What it does to the hub; `patch` returns what undoes it. */
export type Bug = { bug: string; mutant?: () => Mutant; patch?: () => () => void };

export const bugs: readonly Bug[] = [
  { bug: 'a mid that is there already is not looked for', mutant: () => ({ store: { before: withoutDedupe } }) },
  { bug: 'a message is stored under rights that have ended', mutant: () => ({ store: { before: neverStale } }) },
  { bug: 'the answer goes out before the commit', mutant: () => ({ store: { early: true } }) },
  { bug: 'a subscriber is attached a flush late', mutant: () => ({ tamper: lateAttach() }) },
  { bug: 'who is put out goes on hearing', mutant: () => ({ tamper: withoutRecords(toGateway.detach) }) },
  { bug: 'nobody remembers the pages that a dead shard had sent', mutant: () => ({ tamper: withoutRecords(toGateway.reached) }) },
  { bug: 'a replay begins one entry late', patch: () => wrap(Tail.prototype, 'from', (from) => (seq: number, bytes: number) => from(seq + 1, bytes)) },
  { bug: 'who joins late sees what was before', patch: () => wrap(RoomState.prototype, 'floor', () => () => ({ first: 1, reason: 'trimmed' as const })) },
  { bug: 'nobody asks what a dead writer had announced', patch: () => wrap(UserInbox.prototype, 'recheck', () => () => undefined) },
  { bug: 'who is revoked stays connected', patch: () => wrap(UserActor.prototype, 'revoked', () => () => undefined) },
  { bug: 'connections that a dead shard knew of stay', patch: () => wrap(UserDirectory.prototype, 'prune', () => () => undefined) },
];

/** For the state machine, which knows what each command ought to do and sees nothing fail. */
export const plainBugs: readonly Bug[] = [
  ...bugs.filter(({ bug }) => bug === 'a replay begins one entry late'),
  {
    bug: 'who is muted may speak',
    patch: () => wrap(RoomState.prototype, 'relationOf', (of) => (user: string) => (of(user as never) === 'muted' ? 'member' : of(user as never))),
  },
  {
    bug: 'an ack is forgotten',
    patch: () =>
      wrap(
        UserCursor.prototype,
        'ack',
        () => (connection: never, command: { id: never }, effects: { reply: Method }) => effects.reply(connection, command.id, {} as never),
      ),
  },
];

function withoutDedupe(operations: Operations, model: SimModel): Operations {
  for (const operation of operations) {
    const [room, mid] = 'type' in operation ? (operation.type === 'append' ? [operation.room, operation.mid] : ['', null]) : [operation[0], operation[2]];
    for (const entry of model.rooms.get(room)?.entries ?? []) if (mid !== null && entry.mid === mid) entry.mid = null;
  }
  return operations;
}

function neverStale(operations: Operations, model: SimModel): Operations {
  return operations.map((operation) => {
    if (!('type' in operation)) {
      const [room, , ...rest] = operation;
      return [room, model.rooms.get(room)?.auth ?? 0, ...rest];
    }
    return operation.type === 'append' ? { ...operation, authSeq: model.rooms.get(operation.room)?.auth ?? 0 } : operation;
  });
}

type Batch = [list: unknown[], ...rest: unknown[]];

/** A shard's batch to its gateway, as records of numbers and objects; anything else is null. */
function recordsOf(from: string, message: unknown): unknown[][] | null {
  if (!from.startsWith('shard') || !Array.isArray(message)) return null;
  const [list] = message as Batch;
  const records: unknown[][] = [];
  for (let i = 0; i < list.length; ) {
    const length = typeof list[i] === 'number' ? strides[list[i] as keyof typeof strides] : 1;
    records.push(list.slice(i, i + length));
    i += length;
  }
  return records;
}

function withList([, ...rest]: Batch, list: unknown[]): Batch {
  return [list, ...rest];
}

function withoutRecords(kind: number): NonNullable<Mutant['tamper']> {
  return (from, to, message) => {
    const records = to.startsWith('gateway') ? recordsOf(from, message) : null;
    return records === null ? message : withList(message as Batch, records.filter((record) => record[0] !== kind).flat());
  };
}

function lateAttach(): NonNullable<Mutant['tamper']> {
  const held = new Map<string, unknown[][]>();
  return (from, to, message) => {
    const records = to.startsWith('gateway') ? recordsOf(from, message) : null;
    if (records === null) return message;
    const late = held.get(from) ?? [];
    held.set(
      from,
      records.filter(([kind]) => kind === toGateway.attach),
    );
    return withList(message as Batch, [...records.filter(([kind]) => kind !== toGateway.attach), ...late].flat());
  };
}

type Method = (...parameters: never[]) => unknown;

/** Puts another method in the place of one, which it gets bound. */
function wrap<T extends object, K extends keyof T>(
  prototype: T,
  name: K,
  around: (original: T[K] & Method) => (...parameters: never[]) => unknown,
): () => void {
  const original = prototype[name] as T[K] & Method;
  const wrapped = function (this: T, ...parameters: never[]): unknown {
    return around(original.bind(this) as T[K] & Method)(...parameters);
  };
  Object.assign(prototype, { [name]: wrapped });
  return () => void Object.assign(prototype, { [name]: original });
}
