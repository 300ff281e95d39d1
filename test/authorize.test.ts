/** The authorization table: every cell as it is stated apart from it, what outsiders can tell apart, and who may change whose role. */
import { describe, expect, it } from 'vitest';
import { authorize, authorizeOthers, mayChangeRole, type RoomKind, table } from '../src/protocol/authorize.ts';
import { commands, type Op, type Role, role } from '../src/protocol/commands.ts';
import { columns, may, refusalCode, roomOps } from './kit/rights.ts';

const kinds: RoomKind[] = ['public', 'private', 'dm', 'all', 'absent', 'open'];
const rolesAndNone: (Role | null)[] = [...role.options, null];

describe('authorize', () => {
  it('says of every op, kind of room and relation what is stated of it, and refuses with the right code', () => {
    for (const op of roomOps) {
      for (const kind of kinds) {
        for (const relation of columns) {
          const expected = may(op, kind, relation) ? null : refusalCode(op, kind, relation);
          expect(authorize(op, kind, relation)?.code ?? null, `${op} ${kind} ${relation}`).toBe(expected);
          const others = authorizeOthers(op, kind, relation) === null;
          expect(others, `${op} of others ${kind} ${relation}`).toBe(may(op, kind, relation, true));
        }
      }
    }
  });

  it('has a row for every op, and knows every role', () => {
    expect(Object.keys(table).sort()).toEqual(Object.keys(commands).sort());
    expect(
      Object.keys(table)
        .filter((op) => table[op as Op].in !== undefined)
        .sort(),
    ).toEqual([...roomOps].sort());
    for (const one of role.options) expect(columns).toContain(one);
  });

  it('G10 to outsiders a private room, a direct-message room and a missing room look the same', () => {
    for (const op of roomOps.filter((one) => one !== 'create' && one !== 'unsubscribe')) {
      const missing = authorize(op, 'absent', 'stranger');
      for (const kind of ['private', 'dm'] as const)
        for (const relation of ['stranger', 'banned'] as const) expect(authorize(op, kind, relation)).toBe(missing);
    }
  });

  it('G3 nobody raises anybody to himself or above, and nobody below the owner touches his equals', () => {
    const rank = { owner: 3, admin: 2, moderator: 1 };
    for (const by of columns) {
      for (const from of rolesAndNone) {
        for (const to of rolesAndNone) {
          const above = (other: Role | null) => by in rank && rank[by as keyof typeof rank] > (rank[other as keyof typeof rank] ?? 0);
          expect(mayChangeRole(by, from, to)).toBe(by === 'service' || by === 'owner' || (above(from) && above(to)));
        }
      }
    }
  });
});
