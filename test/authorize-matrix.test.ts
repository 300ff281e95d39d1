/**
 * The matrix of rights, run on real room actors: every op on rooms × kind of room × relation × what it is about, each cell in a
 * world of its own. What is expected is stated in `kit/rights.ts`. The count of cells is printed.
 */
import { afterAll, describe, expect, it } from 'vitest';
import type { Relation, RoomKind } from '../src/protocol/authorize.ts';
import type { CodedError } from '../src/protocol/codes.ts';
import type { Role } from '../src/protocol/commands.ts';
import type { Connection } from '../src/shard/actor.ts';
import type { RoomCommand } from '../src/shard/room.ts';
import type { ReadQuery } from '../src/thread/messages.ts';
import { columns, may, type RoomOp, refusalCode, roomOps } from './kit/rights.ts';
import { type Client, PaperStore, publish, RoomNode } from './room-world.ts';

/** About the actor's own, another member's, a deleted room, what belongs to another room, and what is nowhere. */
const objects = ['own', 'others', 'deleted', 'foreign', 'unknown'] as const;
type About = (typeof objects)[number];
type Memory = 'warm' | 'cold';
type Who = Relation | 'ex-member';
const kinds: readonly RoomKind[] = ['public', 'private', 'dm', 'all', 'absent', 'open'];
const names: { readonly [K in RoomKind]: string } = { public: 'r', private: 'r', dm: 'dm:actor:peer', all: 'all:', absent: 'r', open: 'r' };
const uuid = (n: number): string => `99999999-0000-7000-8000-${String(n).padStart(12, '0')}`;
const mids = { own: uuid(1), others: uuid(2), foreign: uuid(3), unknown: uuid(4) };
const counts = { cells: 0, granted: 0, refused: 0 };
afterAll(() => void process.stdout.write(`authorization matrix: ${counts.cells} cells, ${counts.granted} granted, ${counts.refused} refused\n`));

/** Knows what became of messages; only those of its own room, as the real one looks them up by room. */
class Ledger extends PaperStore {
  override answer(query: ReadQuery): object {
    if (query.read !== 'delivery') return super.answer(query);
    const entry = this.log.find(({ mid }) => mid === query.mid);
    return { sender: entry?.from ?? null, deliveries: entry === undefined ? [] : [{ user: 'peer', state: 'queued', n: 1, queuedAt: 1 }] };
  }
}

class Node extends RoomNode {
  readonly refusals: { code: string; message: string; field: string | undefined }[] = [];
  override refuse(to: Connection, id: number | undefined, of: string, error: CodedError): void {
    super.refuse(to, id, of, error);
    this.refusals.push({ code: error.code, message: error.message, field: error.field });
  }
}

type World = { store: Ledger; node: Node; actor: Client };

/** `cold`: the room was put away, and is loaded by the command that is judged. */
function build(kind: RoomKind, who: Who, about: About = 'own', memory: Memory = 'warm'): World {
  const store = new Ledger();
  const start = (life: number) => new Node(store, names[kind], { autoCreate: kind === 'open', roomMembersMax: 100 }, life);
  let node = start(0);
  const operator = node.client('operator', { service: true });
  if (kind === 'dm') node.ask(operator, { op: 'direct', to: 'peer', as: 'actor', mid: mids.own, body: 1 });
  else if (kind === 'all') node.ask(operator, { ...publish(1), mid: mids.own, as: 'actor' });
  else if (kind === 'public' || kind === 'private') {
    node.ask(operator, { op: 'create', visibility: kind, as: 'founder' });
    if (who !== 'stranger' && who !== 'service') set(node, operator, 'actor', who === 'ex-member' || who === 'broadcaster' ? 'member' : who);
    node.ask(operator, { ...publish(1), mid: mids.own, as: 'actor' });
    set(node, operator, 'peer', 'member');
    if (who === 'ex-member') node.ask(operator, { op: 'removeMember', user: 'actor' });
  }
  if (kind !== 'absent' && kind !== 'open') node.ask(operator, { ...publish(2), mid: mids.others, as: 'peer' });
  if (about === 'deleted') node.ask(operator, { op: 'delete' });
  if (memory === 'cold') node = start(1);
  // In a direct-message room the relation is in the name.
  const user = kind === 'dm' && who !== 'member' ? 'outsider' : 'actor';
  const actor = node.client(user, { service: who === 'service' });
  actor.connection.scopes = who === 'broadcaster' ? ['broadcast'] : [];
  node.refusals.length = 0;
  return { store, node, actor };
}

function set(node: Node, operator: Client, user: string, role: Role): void {
  node.ask(operator, { op: 'setMember', user, role });
}

type Fields = Omit<RoomCommand, 'room' | 'id'> & Record<string, unknown>;

/** The command of a cell, and whether its own words refuse it even to who has the right. */
function commandOf(op: Exclude<RoomOp, 'resume'>, about: About, who: Who): { fields: Fields; refusedAnyway?: string } {
  const mid = about === 'deleted' ? mids.own : mids[about];
  const as = who === 'service' ? { as: 'backed' } : {};
  const beyond = about === 'foreign' || about === 'unknown';
  switch (op) {
    case 'publish':
      return { fields: { op, body: 1, ...as, ...(about === 'unknown' ? { mid, thread: mid } : {}) } };
    case 'direct':
      return { fields: { op, to: 'peer', body: 1, ...as } };
    case 'subscribe':
      return { fields: { op, ...(beyond ? { position: { epoch: 'e1', seq: 900 } } : {}) } };
    case 'history':
      return { fields: { op, ...(beyond ? { around: 900 } : {}) } };
    case 'mark':
      return beyond ? { fields: { op, read: 900 }, refusedAnyway: 'bad-request' } : { fields: { op, read: 1 } };
    case 'delivery':
      return beyond ? { fields: { op, mid }, refusedAnyway: 'not-found' } : { fields: { op, mid } };
    case 'setMember':
      return { fields: { op, user: about === 'own' ? 'peer' : `somebody-${about}`, role: 'member' } };
    case 'removeMember':
      return beyond ? { fields: { op, user: `somebody-${about}` }, refusedAnyway: 'not-found' } : { fields: { op, user: 'peer' } };
    case 'update':
      return { fields: { op, title: about } };
    case 'create':
    case 'join':
    case 'leave':
      return { fields: { op, ...as } };
    case 'unsubscribe':
    case 'delete':
    case 'info':
    case 'members':
      return { fields: { op } as Fields };
  }
}

/** What the actor is to the room, and what the room is, when the command is judged. */
function judged(kind: RoomKind, who: Who, about: About): { kind: RoomKind; relation: Relation } {
  const relation: Relation = who === 'ex-member' ? 'stranger' : who;
  if (about !== 'deleted' || kind === 'all' || kind === 'dm') return { kind, relation };
  return { kind: kind === 'open' ? 'open' : 'absent', relation: relation === 'service' ? relation : 'stranger' };
}

/** Relations that the kind of room has. */
function possible(kind: RoomKind): readonly Who[] {
  if (kind === 'dm') return ['service', 'member', 'stranger'];
  if (kind === 'all') return ['service', 'broadcaster', 'stranger'];
  if (kind === 'absent' || kind === 'open') return ['service', 'stranger'];
  return [...columns.filter((one) => one !== 'broadcaster'), 'ex-member'];
}

function cell(op: RoomOp, kind: RoomKind, who: Who, about: About, memory: Memory): void {
  const { node, store, actor } = build(kind, who, about, memory);
  const place = judged(kind, who, about);
  const before = store.log.length;
  const others = op === 'delivery' && (about === 'others' || node.actor.state.name !== 'r') && !(about === 'own' && actor.connection.user === 'actor');
  const granted = may(op, place.kind, place.relation) && (op !== 'delivery' || !others || may(op, place.kind, place.relation, true));
  const label = `${op} in ${kind} by ${who} about ${about}, ${memory}`;
  counts.cells++;
  if (op === 'resume') {
    node.resume(actor, about === 'own' || about === 'others' ? 0 : 900);
    expect(actor.pushes[0], label).toMatchObject(
      granted ? { op: 'resumed' } : { op: 'unsubscribed', reason: refusalCode('subscribe', place.kind, place.relation) },
    );
    if (!granted) expect(actor.seqs, label).toEqual([]);
  } else {
    const { fields, refusedAnyway } = commandOf(op, about, who);
    const answer = node.ask(actor, fields);
    const byRight = may(op, place.kind, place.relation);
    const expected = !byRight ? refusalCode(op, place.kind, place.relation) : (refusedAnyway ?? (granted ? null : 'not-found'));
    if (expected === null) expect(answer, label).toBeTypeOf('object');
    else expect(answer, label).toBe(expected);
    if (expected !== null) {
      expect([actor.seqs, store.log.length], label).toEqual([[], before]);
      expect(node.refusals, label).toHaveLength(1);
    }
    // The absence of a room has the same words as a room that one may not know of.
    if (expected === 'not-found' && !byRight) expect(node.refusals[0], label).toEqual(absence);
  }
  if (granted) counts.granted++;
  else counts.refused++;
}

const absence = (() => {
  const { node, actor } = build('absent', 'stranger');
  node.ask(actor, { op: 'info' });
  return node.refusals[0];
})();

describe('every cell', () => {
  it.each(roomOps)('G2 G3 G9 G10 of %s', (op) => {
    for (const kind of kinds) {
      for (const who of possible(kind)) {
        for (const about of objects) {
          if (about === 'deleted' && (kind === 'dm' || kind === 'all')) continue; // their names are reserved: they come back by their next message
          for (const memory of ['warm', 'cold'] as const) cell(op, kind, who, about, memory);
        }
      }
    }
  });

  it('are as many as the dimensions say', () => expect(counts.cells).toBeGreaterThanOrEqual(4_800));
});

it('G10 a private room that is in memory and one that is not there are refused after one look into the store each', () => {
  for (const [op, extra] of [
    ['info', {}],
    ['publish', { body: 1 }],
    ['subscribe', {}],
    ['join', {}],
    ['history', {}],
  ] as const) {
    const looks = (['private', 'absent'] as const).map((kind) => {
      const { node, actor } = build(kind, 'stranger');
      node.ask(actor, { op: 'info' });
      node.send(actor, { op, ...extra } as Fields, true);
      const before = node.refusals.length;
      const reads = node.reads.map(({ query }) => query.read);
      node.run();
      return { reads, answeredAtOnce: before - 1, refusal: node.refusals.at(-1) };
    });
    expect(looks[0], op).toEqual(looks[1]);
    expect(looks[0]?.reads, op).toEqual(['position']);
  }
});
