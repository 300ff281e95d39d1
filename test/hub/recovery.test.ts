/** Coming back: exactly what was missed, or exactly what cannot be had. */
import { describe, expect, it } from 'vitest';
import { checkHistory } from '../../src/testing/checker.ts';
import { Recorder } from '../../src/testing/recorder.ts';
import { startHub } from '../kit/hub.ts';
import { RawClient } from '../kit/raw-client.ts';
import { readLogs } from '../kit/reader.ts';
import { seeded } from '../kit/seeded.ts';

// A tail of 16 entries: most of what is missed here is read from the store.
const hub = await startHub({ tailItemsMax: 16, rateLimit: 0, shards: 3 });
const connect = (user: string): Promise<RawClient> => RawClient.connect(hub.url, { user });
const seqs = (client: RawClient, room: string): number[] => client.entries(room).map(({ seq }) => seq);
const range = (from: number, to: number): number[] => Array.from({ length: to - from + 1 }, (_, i) => from + i);

async function fill(room: string, messages: number, body: unknown = 'x'): Promise<string> {
  const writer = await connect('writer');
  for (let left = messages; left > 0; left -= 250) {
    await Promise.all(Array.from({ length: Math.min(left, 250) }, () => writer.ok('publish', { room, body })));
  }
  const epoch = writer.welcome?.epoch ?? '';
  writer.terminate();
  return epoch;
}

describe('subscribe', () => {
  it('F1 without a position begins at the head', async () => {
    await fill('live', 5);
    const reader = await connect('reader');
    expect(await reader.ok('subscribe', { room: 'live' })).toMatchObject({ room: 'live', recovered: true, position: { seq: 5 } });
    await fill('live', 1);
    expect(await reader.next('entry')).toMatchObject({ seq: 6 });
    expect(seqs(reader, 'live')).toEqual([6]);
  });

  it.each([
    ['the tail', 40, 38],
    ['the store', 40, 3],
    ['the store, over many pages', 1_300, 0],
    ['nothing, since nothing was missed', 40, 40],
  ])('F2 with a position replays what was missed from %s, and then goes on live', async (what, head, seq) => {
    const room = `missed ${what}`;
    const epoch = await fill(room, head);
    const reader = await connect('reader');
    expect(await reader.ok('subscribe', { room, position: { epoch, seq } })).toMatchObject({ recovered: true, position: { epoch, seq: head } });
    await fill(room, 3);
    await reader.until(() => seqs(reader, room).at(-1) === head + 3);
    expect(seqs(reader, room)).toEqual(range(seq + 1, head + 3));
  });

  it('F2 has no hole between replay and live while others write', async () => {
    const room = 'moving';
    const epoch = await fill(room, 300);
    const readers = await Promise.all([0, 100, 200, 299].map(async (seq) => ({ seq, reader: await connect(`reader-${seq}`) })));
    const writing = fill(room, 2_000);
    await Promise.all(readers.map(({ reader, seq }) => reader.ok('subscribe', { room, position: { epoch, seq } })));
    await writing;
    await Promise.all(readers.map(({ reader }) => reader.until(() => seqs(reader, room).at(-1) === 2_300)));
    for (const { reader, seq } of readers) expect(seqs(reader, room)).toEqual(range(seq + 1, 2_300));
  });

  it('F2 with a position of large messages replays them in bounded pages, all of them', async () => {
    const epoch = await fill('large', 100, 'x'.repeat(40_000));
    const reader = await connect('reader');
    await reader.ok('subscribe', { room: 'large', position: { epoch, seq: 0 } });
    await reader.until(() => seqs(reader, 'large').at(-1) === 100);
    expect(seqs(reader, 'large')).toEqual(range(1, 100));
  });

  it('F4 with the position of another life of the data begins anew, and says so', async () => {
    const epoch = await fill('epochs', 4);
    const reader = await connect('reader');
    for (const position of [
      { epoch: 'never-heard-of', seq: 2 },
      { epoch, seq: 5 },
    ]) {
      const answer = await reader.ok('subscribe', { room: 'epochs', position });
      expect(answer).toMatchObject({ recovered: false, position: { epoch, seq: 4 }, gaps: [{ room: 'epochs', reason: 'epoch' }] });
    }
    await reader.settled();
    expect(seqs(reader, 'epochs')).toEqual([]);
  });

  it('F5 from a mark goes on where this member stopped reading, on whatever device', async () => {
    const owner = await connect('owner');
    await owner.ok('create', { room: 'marked' });
    const bob = await connect('mark-bob');
    await bob.ok('join', { room: 'marked' });
    await bob.ok('subscribe', { room: 'marked' });
    await fill('marked', 10);
    await bob.until(() => seqs(bob, 'marked').at(-1) === 12);
    // His joining is seq 2; what was said before it is not unread (G8).
    expect(await bob.ok('mark', { room: 'marked', received: 7 })).toMatchObject({ received: 7, read: 1 });
    await bob.close();
    const tablet = await RawClient.connect(hub.url, { user: 'mark-bob', device: 'tablet' });
    await tablet.ok('subscribe', { room: 'marked', position: 'mark' });
    await tablet.until(() => seqs(tablet, 'marked').at(-1) === 12);
    expect(seqs(tablet, 'marked')).toEqual(range(8, 12));
  });

  it('R5 is limited per connection', async () => {
    const own = await startHub({ subscriptionsMax: 3 });
    const client = await RawClient.connect(own.url, { user: 'greedy' });
    for (const n of [1, 2, 3]) await client.ok('subscribe', { room: `room-${n}` });
    expect(await client.refused('subscribe', { room: 'room-4' })).toBe('limit');
    await client.ok('unsubscribe', { room: 'room-1' });
    await client.ok('subscribe', { room: 'room-4' });
  });
});

describe('resume', () => {
  it('F6 takes up hundreds of rooms in one command, each where it stood', async () => {
    const rooms = range(1, 300).map((n) => `many-${n}`);
    const writer = await connect('writer');
    await Promise.all(rooms.flatMap((room, i) => range(1, 1 + (i % 5)).map((body) => writer.ok('publish', { room, body }))));
    const reader = await connect('reader');
    const positions = Object.fromEntries(rooms.map((room, i) => [room, i % 3 === 0 ? 1 : 0]));
    expect(await reader.ok('resume', { epoch: writer.welcome?.epoch, rooms: positions })).toMatchObject({ rooms: 300 });
    const resumed = reader.pushes.flatMap((push) => (push.op === 'resumed' ? [push] : []));
    expect(resumed).toHaveLength(300);
    expect(resumed.every((push) => push.recovered && push.id !== undefined)).toBe(true);
    await Promise.all(rooms.map((room, i) => (1 + (i % 5) > (positions[room] ?? 0) ? reader.until(() => seqs(reader, room).at(-1) === 1 + (i % 5)) : null)));
    for (const [i, room] of rooms.entries()) expect(seqs(reader, room)).toEqual(range((positions[room] ?? 0) + 1, 1 + (i % 5)));
    await writer.ok('publish', { room: 'many-7', body: 'live' });
    expect(await reader.next('entry', ({ body }) => body === 'live')).toMatchObject({ room: 'many-7' });
  });

  it('F6 F4 answers for each room by itself: resumed, gone, or of another epoch', async () => {
    const owner = await connect('owner');
    await owner.ok('create', { room: 'closed', visibility: 'private' });
    const epoch = await fill('open', 3);
    const reader = await connect('reader');
    await reader.ok('resume', { epoch, rooms: { open: 1, closed: 0, ahead: 0 } });
    expect(await reader.next('resumed', ({ room }) => room === 'open')).toMatchObject({ recovered: true, position: { seq: 3 } });
    expect(await reader.next('unsubscribed')).toMatchObject({ room: 'closed', reason: 'not-found' });
    await reader.ok('resume', { epoch: 'other', rooms: { open: 1 } });
    expect(await reader.next('resumed', ({ recovered }) => !recovered)).toMatchObject({ room: 'open', gaps: [{ reason: 'epoch' }] });
  });

  it('F6 is limited to a thousand rooms', async () => {
    const reader = await connect('reader');
    const rooms = Object.fromEntries(range(1, 1_001).map((n) => [`r-${n}`, 0]));
    expect(await reader.command('resume', { epoch: 'e', rooms })).toMatchObject({ op: 'error', code: 'bad-request', field: 'rooms' });
  });

  it('F2 F6 loses nothing to connections that break again and again', async () => {
    const random = seeded();
    const recorder = new Recorder();
    const rooms = ['cut-1', 'cut-2', 'cut-3'];
    const writer = await RawClient.connect(hub.url, { user: 'cut-writer', recorder });
    let written = 0;
    const writing = (async () => {
      for (; written < 1_500; written += 15) await Promise.all(range(1, 15).map(() => writer.ok('publish', { room: random.pick(rooms), body: 'x' })));
    })();
    const reader = async (name: string): Promise<void> => {
      const last = new Map(rooms.map((room) => [room, 0]));
      const epoch = writer.welcome?.epoch;
      for (let life = 0; life < 8; life++) {
        const client = await RawClient.connect(hub.url, { user: name, recorder, format: random.int(2) ? 'json' : 'msgpack' });
        client.onPush = (push) => {
          if (push.op === 'entry') last.set(push.room, push.seq);
        };
        await client.ok('resume', { epoch, rooms: Object.fromEntries(last) });
        const enough = 1 + random.int(60);
        await client.until(() => written >= 1_500 || rooms.reduce((sum, room) => sum + client.entries(room).length, 0) >= enough);
        if (random.int(2) === 0) client.terminate();
        else await client.close();
        await client.closed;
      }
      const final = await RawClient.connect(hub.url, { user: name, recorder });
      await final.ok('resume', { epoch, rooms: Object.fromEntries(last) });
      await writing;
      const heads = await Promise.all(rooms.map(async (room) => (await final.ok('info', { room })).position.seq));
      await final.until(() => rooms.every((room, i) => Math.max(last.get(room) ?? 0, final.entries(room).at(-1)?.seq ?? 0) === heads[i]));
    };
    await Promise.all([writing, ...['cut-a', 'cut-b', 'cut-c'].map(reader)]);
    await readLogs(hub.url, rooms, recorder);
    expect(checkHistory(recorder.events)).toEqual([]);
  });
});

describe('history', () => {
  it('F9 pages backwards, forwards and around, with messages only', async () => {
    const owner = await connect('owner');
    await owner.ok('create', { room: 'pages' }); // seq 1 is no message
    await fill('pages', 10); // 2 to 11
    const reader = await connect('reader');
    const page = async (fields: Record<string, unknown>): Promise<[number[], boolean]> => {
      const { entries, more, asOf } = await reader.ok('history', { room: 'pages', ...fields });
      expect(asOf).toMatchObject({ seq: 11 });
      return [entries.map(({ seq }) => seq), more];
    };
    expect(await page({})).toEqual([range(2, 11), false]);
    expect(await page({ limit: 3 })).toEqual([[9, 10, 11], true]);
    expect(await page({ before: 9, limit: 3 })).toEqual([[6, 7, 8], true]);
    expect(await page({ before: 4, limit: 5 })).toEqual([[2, 3], false]);
    expect(await page({ after: 0, limit: 3 })).toEqual([[2, 3, 4], true]);
    expect(await page({ after: 9, limit: 5 })).toEqual([[10, 11], false]);
    expect(await page({ after: 11 })).toEqual([[], false]);
    const [around, more] = await page({ around: 6, limit: 5 });
    expect(around).toContain(6);
    expect(around).toEqual(range(around[0] ?? 0, (around[0] ?? 0) + 4));
    expect(more).toBe(true);
    expect(await reader.refused('history', { room: 'pages', before: 5, after: 2 })).toBe('bad-request');
    expect(await reader.refused('history', { room: 'pages', limit: 201 })).toBe('bad-request');
  });
});
