/**
 * The matrix of rights over real sockets and the real store: every op on rooms × public and private × every role that there is,
 * about one's own, others', another room's and unknown things. What may be is stated in `kit/rights.ts`.
 */
import { role } from '../../src/protocol/commands.ts';
import { type Frame, RawClient } from '../kit/raw-client.ts';
import { may, type RoomOp, refusalCode, roomOps } from '../kit/rights.ts';
import { type FaultRow, violationsOf } from './row.ts';

/** `every`: one of so many worlds is made, chosen by the seed. */
type Size = { rounds: number; every: number };
const abouts = ['own', 'others', 'foreign', 'unknown'] as const;
const uuid = (round: number, n: number): string => `99999999-0000-7000-8000-${String(round * 1_000 + n).padStart(12, '0')}`;

export const row: FaultRow<Size> = {
  test: 10,
  title: 'G2 G3 G9 G10 exactly the cells of the table succeed over sockets, and ids of one room are nothing in another',
  target: '≥ 5,000 cells with those of the in-process matrix, 0 wrong',
  gate: { rounds: 1, every: 5 },
  full: { rounds: 12, every: 1 },

  async run({ rounds, every }, kit) {
    const hub = await kit.hub({ autoCreate: 'off' });
    const wrong: string[] = [];
    let [cells, granted] = [0, 0];
    const owner = await RawClient.connect(hub.url, { user: 'founder' });
    const peer = await RawClient.connect(hub.url, { user: 'peer' });
    const actor = await RawClient.connect(hub.url, { user: 'actor', format: kit.random.int(2) ? 'json' : 'msgpack' });
    let made = 0;
    for (let round = 0; round < rounds; round++) {
      for (const kind of ['public', 'private'] as const) {
        for (const relation of [...role.options, 'stranger'] as const) {
          for (const op of roomOps) {
            if (op === 'direct' || op === 'resume') continue; // their rooms are named by the users; resumed rooms are judged as subscribed ones
            if (kit.random.int(every) > 0) continue;
            const [room, elsewhere] = [`room ${++made}`, `elsewhere ${made}`];
            const mids = { own: uuid(made, 1), others: uuid(made, 2), foreign: uuid(made, 3), unknown: uuid(made, 4) };
            for (const one of [room, elsewhere]) await owner.ok('create', { room: one, visibility: kind });
            await Promise.all([room, elsewhere].map((one) => owner.ok('setMember', { room: one, user: 'peer', role: 'member' })));
            await peer.ok('publish', { room, mid: mids.others, body: 1 });
            await peer.ok('publish', { room: elsewhere, mid: mids.foreign, body: 'elsewhere' });
            if (relation !== 'stranger') await owner.ok('setMember', { room, user: 'actor', role: relation });
            for (const about of abouts) {
              const { fields, otherwise } = wordsOf(op, about, mids, elsewhere);
              const answer = await actor.command(op, { room, ...fields });
              const byRight = may(op, kind, relation);
              const told = op === 'delivery' && about === 'others' && may(op, kind, relation, true);
              const expected = told ? 'ok' : byRight ? otherwise : refusalCode(op, kind, relation);
              const got = answer.op === 'error' ? answer.code : 'ok';
              cells++;
              if (got === 'ok') granted++;
              // What changed the room or its actor's standing ends the row of this op.
              if (got !== expected) wrong.push(`${op} in a ${kind} room by ${relation} about ${about}: ${got}, not ${expected}`);
              if (JSON.stringify(answer).includes('"elsewhere"')) wrong.push(`${op} about ${about} by ${relation} told of another room`);
              if (['delete', 'leave', 'removeMember', 'setMember', 'update'].includes(op) && got === 'ok') break;
            }
          }
        }
      }
      kit.say(`round ${round + 1}: ${cells} cells`);
    }
    return {
      figures: { cells, granted, refused: cells - granted, wrong: wrong.length },
      violations: [...wrong.slice(0, 20), ...violationsOf({ 'there were cells of both kinds': granted > 20 && cells - granted > 20 })],
    };
  },
};

/** The command's fields, and what it is answered where the right is there. */
function wordsOf(
  op: RoomOp,
  about: (typeof abouts)[number],
  mids: Record<(typeof abouts)[number], string>,
  elsewhere: string,
): { fields: Frame; otherwise: string } {
  const beyond = about === 'foreign' || about === 'unknown';
  switch (op) {
    case 'publish':
      return { fields: { body: 1 }, otherwise: 'ok' };
    case 'history':
      return { fields: beyond ? { around: 900 } : {}, otherwise: 'ok' };
    case 'mark':
      return beyond ? { fields: { read: 900 }, otherwise: 'bad-request' } : { fields: { read: 1 }, otherwise: 'ok' };
    case 'delivery':
      // The actor has sent none; of others' messages only who runs the room is told.
      return { fields: { mid: mids[about] }, otherwise: 'not-found' };
    case 'setMember':
      return { fields: { user: 'peer', role: 'member' }, otherwise: 'ok' };
    case 'removeMember':
      return beyond ? { fields: { user: elsewhere }, otherwise: 'not-found' } : { fields: { user: 'peer' }, otherwise: 'ok' };
    case 'update':
      return { fields: { title: about }, otherwise: 'ok' };
    default:
      return { fields: {}, otherwise: 'ok' };
  }
}
