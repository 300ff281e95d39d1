/**
 * What each relation may do to a room of each kind, stated once more and independently of the product's table: a column per
 * relation, `+` may and `-` may not. The matrix makes its cells from it.
 */
import type { Relation, RoomKind } from '../../src/protocol/authorize.ts';
import type { Op } from '../../src/protocol/commands.ts';

/** In the order of the columns. */
export const columns = [
  'service',
  'owner',
  'admin',
  'moderator',
  'member',
  'muted',
  'invited',
  'stranger',
  'banned',
  'broadcaster',
] as const satisfies Relation[];
export type RoomOp = (typeof roomOps)[number];
export const roomOps = [
  'subscribe',
  'resume',
  'unsubscribe',
  'publish',
  'direct',
  'history',
  'mark',
  'delivery',
  'create',
  'update',
  'delete',
  'join',
  'leave',
  'setMember',
  'removeMember',
  'info',
  'members',
] as const satisfies Op[];

//                  service, owner admin moderator member muted, invited stranger, banned, broadcaster
const never = '- ----- -- - -';
const rights: { readonly [O in RoomOp]: { readonly [K in Exclude<RoomKind, 'absent'>]: string } } = {
  subscribe: { public: '- +++++ ++ - -', private: '- +++++ -- - -', dm: '- +++++ -- - -', all: '- ----- -+ - +', open: '- ----- -+ - -' },
  resume: { public: '- +++++ ++ - -', private: '- +++++ -- - -', dm: '- +++++ -- - -', all: '- ----- -+ - +', open: '- ----- -+ - -' },
  unsubscribe: { public: '- +++++ ++ + +', private: '- +++++ ++ + +', dm: '- +++++ ++ + +', all: '- +++++ ++ + +', open: '- +++++ ++ + +' },
  publish: { public: '+ ++++- ++ - -', private: '+ ++++- -- - -', dm: '+ +++++ -- - -', all: '+ ----- -- - +', open: '+ ----- -+ - -' },
  direct: { public: never, private: never, dm: '+ +++++ -- - -', all: never, open: never },
  history: { public: '+ +++++ ++ - -', private: '+ +++++ -- - -', dm: '+ +++++ -- - -', all: '+ ----- -+ - +', open: '+ ----- -+ - -' },
  mark: { public: '- +++++ -- - -', private: '- +++++ -- - -', dm: '- +++++ -- - -', all: '- ----- -+ - +', open: never },
  delivery: { public: '+ +++++ -- - -', private: '+ +++++ -- - -', dm: '+ +++++ -- - -', all: '+ ----- -- - -', open: never },
  create: { public: never, private: never, dm: never, all: never, open: '+ ----- -+ - -' },
  update: { public: '+ ++--- -- - -', private: '+ ++--- -- - -', dm: never, all: never, open: never },
  delete: { public: '+ +---- -- - -', private: '+ +---- -- - -', dm: '+ ----- -- - -', all: never, open: never },
  join: { public: '+ +++++ ++ - -', private: '+ +++++ +- - -', dm: '+ +++++ -- - -', all: never, open: never },
  leave: { public: '+ ++++- ++ - -', private: '+ +++++ +- - -', dm: never, all: never, open: never },
  setMember: { public: '+ +++-- -- - -', private: '+ +++-- -- - -', dm: never, all: never, open: never },
  removeMember: { public: '+ +++-- -- - -', private: '+ +++-- -- - -', dm: never, all: never, open: never },
  info: { public: '+ +++++ ++ - -', private: '+ +++++ +- - -', dm: '+ +++++ -- - -', all: '+ ----- -+ - +', open: never },
  members: { public: '+ +++++ ++ - -', private: '+ +++++ -- - -', dm: '+ +++++ -- - -', all: never, open: never },
};
/** What others than the sender may learn of a message's delivery. */
const deliveryOfOthers: { readonly [K in Exclude<RoomKind, 'absent'>]: string } = {
  public: '+ ++--- -- - -',
  private: '+ ++--- -- - -',
  dm: '+ ----- -- - -',
  all: '+ ----- -- - -',
  open: never,
};

export function may(op: RoomOp, kind: RoomKind, relation: Relation, others = false): boolean {
  // Where there is nothing and nothing comes into being by itself, one can only make it, and stop following it.
  if (kind === 'absent') return op === 'create' ? relation === 'stranger' || relation === 'service' : op === 'unsubscribe' && relation !== 'service';
  const row = op === 'delivery' && others ? deliveryOfOthers : rights[op];
  return row[kind].replaceAll(' ', '')[columns.indexOf(relation)] === '+';
}

/** The code that a refusal by right has. */
export function refusalCode(op: RoomOp, kind: RoomKind, relation: Relation): string {
  if (op === 'create') return kind === 'dm' || kind === 'all' ? 'forbidden' : 'exists';
  if (kind === 'absent' || kind === 'open') return 'not-found';
  return (kind === 'private' || kind === 'dm') && (relation === 'stranger' || relation === 'banned') ? 'not-found' : 'forbidden';
}
