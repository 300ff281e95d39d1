/** A crowd that fell behind in one room: what it costs the store and the encoder, and that each of it gets everything once. */
import { MessageChannel } from 'node:worker_threads';
import { describe, expect, it, onTestFinished } from 'vitest';
import { CodedError } from '../src/protocol/codes.ts';
import { Pages } from '../src/shard/pages.ts';
import { Link } from '../src/thread/link.ts';
import { type ToGateway, type ToShard, toGateway } from '../src/thread/messages.ts';
import { EffectsRecorder } from './effects-recorder.ts';
import { type Client, PaperStore, publish, RoomNode } from './room-world.ts';

/** So many follow, at heads that differ by one each, and `length` entries are published while none of them takes anything. */
function crowd(followers: number, length: number): { node: RoomNode; clients: Client[] } {
  const node = new RoomNode(new PaperStore());
  const writer = node.client('writer');
  const clients = Array.from({ length: followers }, (_, i) => node.client(`follower-${i}`));
  for (const client of clients) node.ask(client, { op: 'subscribe' });
  const behind = clients.map((client) => {
    node.ask(writer, publish('seen by some'));
    return node.clog(client);
  });
  for (let i = 0; i < length; i++) node.ask(writer, publish(i));
  node.asked = 0;
  for (const hear of behind) hear();
  return { node, clients };
}
const upTo = (head: number): number[] => Array.from({ length: head }, (_, i) => i + 1);

describe('a crowd that fell behind', () => {
  it('F7 is caught up with the reads and the encodings of one follower, and each gets every entry once', () => {
    const [followers, length] = [40, 1_800];
    const { node, clients } = crowd(followers, length);
    node.run();
    for (const client of clients) {
      expect(client.live).toBe(true);
      expect(client.seqs).toEqual(upTo(followers + length));
    }
    // One would need four pages of 500; where the pages of this crowd begin differs a little.
    expect(node.asked).toBeLessThanOrEqual(8);
    expect(node.replays.length).toBeLessThanOrEqual(10);
  });

  it('F7 goes on where somebody of it is gone while the store is asked for all', () => {
    const { node, clients } = crowd(4, 100);
    const [first, ...others] = clients as [Client, ...Client[]];
    node.leave(first);
    node.run();
    for (const client of others) expect(client.seqs).toEqual(upTo(104));
    expect(node.actor.state.paging).toEqual([]);
  });

  it('F3 is told of a single entry that was trimmed while the store was asked', () => {
    const store = new PaperStore();
    const node = new RoomNode(store);
    const [writer, follower] = [node.client('writer'), node.client('follower')];
    for (let i = 0; i < 40; i++) node.ask(writer, publish(i));
    node.send(follower, { op: 'subscribe', position: { epoch: 'e1', seq: 0 } }, true);
    store.stored.firstSeq = 2;
    node.run();
    expect(follower.pushes).toEqual([{ op: 'gap', room: 'r', gaps: [{ room: 'r', from: 1, to: 1, reason: 'trimmed' }] }]);
    expect(follower.seqs).toEqual(upTo(40).slice(1));
  });

  it('F7 is told where the store cannot be read, everybody of it, and can come again', () => {
    const { node, clients } = crowd(4, 100);
    while (node.reads.length > 0) node.fail('entries', new CodedError('busy'));
    node.turn();
    for (const client of clients) expect(client.pushes.at(-1)).toEqual({ op: 'unsubscribed', room: 'r', reason: 'busy' });
    for (const client of clients) node.ask(client, { op: 'subscribe', position: { epoch: 'e1', seq: client.seqs.at(-1) ?? 0 } });
    for (const client of clients) expect(client.seqs).toEqual(upTo(104));
  });
});

describe('a page that was sent', () => {
  it('F7 is the same bytes for all of a flush, a copy in the next one, and the rest of it for who has a part already', async () => {
    const { port1, port2 } = new MessageChannel();
    onTestFinished(() => port1.close());
    const link = new Link<ToGateway, ToShard>(port1, { batch: () => {} });
    const pages = new Pages(link);
    const batches: { numbers: number[]; texts: string[] }[] = [];
    const received = new Promise<void>((done) => {
      const gateway = new Link<ToShard, ToGateway>(port2, {
        batch: (list, arena) => {
          const numbers = list as number[];
          const texts: string[] = [];
          for (let i = 0; i < numbers.length; i += 5)
            texts.push(arena.toString('latin1', numbers[i + 2] as number, (numbers[i + 2] as number) + (numbers[i + 3] as number)));
          batches.push({ numbers, texts });
          if (batches.length === 2) done();
        },
      });
      onTestFinished(() => gateway.close());
    });
    const effects = new EffectsRecorder();
    const [ann, bob] = [effects.connection('ann'), effects.connection('bob')];
    const starts = ['five', 'six', 'seven'].map((text) => link.arena.put(Buffer.from(text)));
    pages.keep(1, 'json', 5, starts);
    expect([pages.send(1, ann, 5), pages.send(1, bob, 6), pages.send(1, ann, 4), pages.send(1, ann, 8), pages.send(2, ann, 5)]).toEqual([
      7,
      7,
      null,
      null,
      null,
    ]);
    link.flush();
    link.arena.put(Buffer.from('something else'));
    expect(pages.send(1, bob, 7)).toBe(7);
    link.flush();
    await received;
    expect(batches.map(({ texts }) => texts)).toEqual([['fivesixseven', 'sixseven'], ['seven']]);
    expect(batches[0]?.numbers).toEqual([toGateway.page, ann.id, 0, 12, 1, toGateway.page, bob.id, 4, 8, 1]);
    pages.forget(1);
    expect(pages.send(1, bob, 7)).toBeNull();
  });

  it('F7 is sent in whole although a shorter one from before begins where it does, or what is behind that would be left out', () => {
    const { port1 } = new MessageChannel();
    onTestFinished(() => port1.close());
    const link = new Link<ToGateway, ToShard>(port1, { batch: () => {} });
    const pages = new Pages(link);
    const ann = new EffectsRecorder().connection('ann');
    for (const count of [3, 13])
      pages.keep(
        1,
        'json',
        8,
        Array.from({ length: count }, () => link.arena.put(Buffer.from('x'))),
      );
    expect(pages.send(1, ann, 8)).toBe(20);
    expect(pages.send(1, ann, 9)).toBe(20);
  });

  it('is kept while somebody asks for it, and no more than so many bytes of all', () => {
    const { port1 } = new MessageChannel();
    onTestFinished(() => port1.close());
    const link = new Link<ToGateway, ToShard>(port1, { batch: () => {} });
    const pages = new Pages(link);
    const ann = new EffectsRecorder().connection('ann');
    const keep = (seq: number, bytes: number): void => pages.keep(1, 'json', seq, [link.arena.put(Buffer.alloc(bytes))]);
    keep(1, 10);
    pages.tick();
    expect(pages.send(1, ann, 1)).toBe(1);
    pages.tick();
    pages.tick();
    expect(pages.send(1, ann, 1)).toBeNull();
    const MiB = 1024 * 1024;
    for (let seq = 1; seq <= 3; seq++) keep(seq, 6 * MiB);
    expect([1, 2, 3].map((seq) => pages.send(1, ann, seq))).toEqual([null, 2, 3]);
    keep(4, 20 * MiB);
    expect([2, 3, 4].map((seq) => pages.send(1, ann, seq))).toEqual([null, null, 4]);
    for (let seq = 10; seq < 60; seq++) keep(seq, 1);
    expect([10, 59].map((seq) => pages.send(1, ann, seq))).toEqual([null, 59]);
  });
});
