/** Seeded simulation of one room on two nodes over one store (`room-world.ts`); a failing seed is printed and replays exactly. */
import { describe, expect, it } from 'vitest';
import { seeded } from './kit/seeded.ts';
import { type Client, PaperStore, publish, RoomNode } from './room-world.ts';

const seeds = 2_000;
const steps = 120;

/** One room on two nodes; commits, reads, drains and hints happen in any order, hints get lost, clients fall behind, leave and resume. */
function simulate(seed: number): void {
  const random = seeded(seed);
  const pick = (below: number) => random.int(below);
  const store = new PaperStore();
  const nodes = [1, 2].map((node) => new RoomNode(store, 'r', { tailItemsMax: 8 }, node));
  const acked: { seq: number; body: number }[] = [];
  const following: { node: RoomNode; client: Client; from: number; heard: (() => void) | null }[] = [];
  const asked: { client: Client; id: number; body: number }[] = [];
  const gone: { from: number; seqs: number[] }[] = [];
  let body = 0;

  const follow = (node: RoomNode, seq: number): void => {
    const client = node.client(`user${pick(6)}`);
    node.send(client, { op: 'subscribe', position: { epoch: 'e1', seq } }, true);
    following.push({ node, client, from: seq, heard: null });
  };
  for (let step = 0; step < steps; step++) {
    const node = nodes[pick(2)] as RoomNode;
    const one = following[pick(following.length)];
    switch (pick(10)) {
      case 0:
        follow(node, pick(Math.min(...nodes.map(({ actor }) => actor.state.headSeq)) + 1));
        break;
      case 1:
      case 2: {
        const client = one?.client ?? node.client('writer');
        const at = one?.node ?? node;
        asked.push({ client, id: at.send(client, publish(++body), true), body });
        break;
      }
      case 3: {
        const user = `user${pick(6)}`;
        node.send(node.client(user), { op: random.next() < 0.5 ? 'join' : 'leave' }, true);
        break;
      }
      case 4:
        if (one !== undefined && one.heard === null) one.heard = one.node.clog(one.client);
        else if (one?.heard) {
          one.heard();
          one.heard = null;
        }
        break;
      case 5:
        if (one === undefined) break;
        one.node.leave(one.client);
        following.splice(following.indexOf(one), 1);
        gone.push({ from: one.from, seqs: one.client.seqs });
        if (random.next() < 0.7) follow(node, one.client.seqs.at(-1) ?? one.from);
        break;
      case 6:
        if (random.next() < 0.5) node.actor.hint(store.log.length, node);
        node.turn();
        break;
      default:
        node.step(pick(3));
    }
  }
  // The faults end; everybody hears of the head and catches up.
  for (const one of following) one.heard?.();
  for (let round = 0; round < 3; round++) {
    for (const node of nodes) {
      node.run();
      node.actor.hint(store.log.length, node);
      node.run();
    }
  }

  for (const { client, id, body: sent } of asked) {
    const answer = client.answers.get(id);
    if (typeof answer === 'object' && 'seq' in answer) acked.push({ seq: answer.seq as number, body: sent });
  }
  for (const { seq, body: sent } of acked) expect(store.log[seq - 1]?.body).toBe(String(sent)); // stored where the answer says
  const messages = store.log.filter(({ kind }) => kind === 'message');
  expect(new Set(messages.map(({ body: stored }) => stored)).size).toBe(messages.length); // and once
  for (const node of nodes) expect(node.actor.state.headSeq).toBe(store.log.length);
  for (const { from, seqs } of gone) expectContiguous(from, seqs);
  for (const { client, from } of following) {
    expectContiguous(from, client.seqs);
    if (client.live) expect(client.seqs.at(-1) ?? from).toBe(store.log.length);
    expect(client.live).toBe(true);
  }
}

function expectContiguous(from: number, seqs: readonly number[]): void {
  expect(seqs).toEqual(seqs.map((_, i) => from + 1 + i));
}

describe('a room on two nodes over one store', () => {
  it(`every stream is contiguous and ends at the head, every acknowledged message is stored once, over ${seeds} seeds`, () => {
    for (let seed = 1; seed <= seeds; seed++) {
      try {
        simulate(seed);
      } catch (error) {
        throw new Error(`seed ${seed}: ${error instanceof Error ? error.message : String(error)}`, { cause: error });
      }
    }
  }, 120_000);
});
