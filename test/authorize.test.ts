/** The authorization table: every cell, what strangers can tell apart, and who may change whose role. */
import { describe, expect, it } from 'vitest';
import { type Action, authorize, mayChangeRole, type Relation, type RoomKind, table } from '../src/shard/authorize.ts';

const kinds: RoomKind[] = ['public', 'private', 'dm', 'all', 'absent', 'open'];
const relations: Relation[] = ['service', 'broadcaster', 'owner', 'admin', 'member', 'stranger'];
const actions = Object.keys(table) as Action[];

describe('authorize', () => {
  it('exactly the listed cells succeed, over every action, kind of room and relation', () => {
    let cells = 0;
    for (const action of actions) {
      for (const kind of kinds) {
        for (const relation of relations) {
          cells++;
          expect(authorize(action, kind, relation) === null).toBe(table[action][kind].includes(relation));
        }
      }
    }
    expect(cells).toBe(actions.length * kinds.length * relations.length);
  });

  it('to a stranger a private room, a direct-message room and a missing room look the same', () => {
    for (const action of actions) {
      if (action === 'create') continue;
      const missing = authorize(action, 'absent', 'stranger');
      for (const kind of ['private', 'dm'] as const) {
        const refusal = authorize(action, kind, 'stranger');
        expect([refusal?.code, refusal?.message, refusal?.field]).toEqual([missing?.code, missing?.message, missing?.field]);
      }
    }
  });

  it('a right that members of a public room have, strangers of a private one never have', () => {
    for (const action of actions) if (action !== 'create') expect(table[action].private).not.toContain('stranger');
  });

  it('nobody raises anybody above himself, and admins do not touch admins or owners', () => {
    for (const from of ['owner', 'admin', 'member', null] as const) {
      for (const to of ['owner', 'admin', 'member', null] as const) {
        expect(mayChangeRole('member', from, to)).toBe(false);
        expect(mayChangeRole('stranger', from, to)).toBe(false);
        expect(mayChangeRole('owner', from, to)).toBe(true);
        expect(mayChangeRole('admin', from, to)).toBe((from === null || from === 'member') && (to === null || to === 'member'));
      }
    }
  });
});
