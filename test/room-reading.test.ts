/** The marks of a room, stepped: how far they go, and that a refused one does not move. */
import { describe, expect, it } from 'vitest';
import { type Client, PaperStore, publish, RoomNode } from './room-world.ts';

function world(): { node: RoomNode; alice: Client } {
  const node = new RoomNode(new PaperStore(), 'r');
  return { node, alice: node.client('alice') };
}

describe('a mark', () => {
  it('G8 does not go above what the connection was sent, and read implies received', () => {
    const { node, alice } = world();
    node.ask(alice, { op: 'create' });
    node.ask(alice, publish(2));
    expect(node.ask(alice, { op: 'mark', read: 2 })).toEqual({ room: 'r', received: 2, read: 2 });
    expect(node.ask(alice, { op: 'mark', received: 3 })).toBe('bad-request');
    expect(node.ask(alice, { op: 'mark' })).toBe('bad-request');
  });

  it('G8 that the store or the shard refuses does not move: what follows from it leaves nothing out', () => {
    const { node, alice } = world();
    node.ask(alice, { op: 'create' });
    for (const n of [2, 3]) node.ask(alice, publish(n));
    node.full = true;
    expect(node.ask(alice, { op: 'mark', received: 3 })).toBe('busy');
    node.full = false;
    const id = node.send(alice, { op: 'mark', received: 3 }, true);
    node.commits.shift()?.settled({ code: 'storage', message: 'disk full' }, 0);
    node.run();
    expect(alice.answers.get(id)).toBe('storage');
    node.send(alice, { op: 'subscribe', position: 'mark' });
    node.run();
    expect(alice.seqs).toEqual([1, 2, 3]);
  });
});
