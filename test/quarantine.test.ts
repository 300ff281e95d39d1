/** Poison: what a thread was about to do when it died, how often, and what is refused from then on. */
import { beforeEach, describe, expect, it } from 'vitest';
import { encode } from '../src/protocol/codec.ts';
import { Barrier, Quarantine } from '../src/thread/quarantine.ts';
import { watchRejections } from '../src/thread/rejections.ts';
import { suspectOfItem } from '../src/thread/suspects.ts';
import { makeWitness, type Suspect, stepBytes, Witness, WitnessReader } from '../src/thread/witness.ts';

const mid = '01990000-0000-7000-8000-000000000001';
const other = '01990000-0000-7000-8000-000000000002';

describe('Witness', () => {
  const made = () => {
    const memory = makeWitness(16 * 1024);
    return { thread: new Witness(memory), reader: new WitnessReader(memory) };
  };
  const userOf = (connection: number): string | null => (connection === 7 ? 'alice' : null);

  it.each(['json', 'msgpack'] as const)('names a command by its frame (%s), until the turn has ended', (format) => {
    const { thread, reader } = made();
    expect(reader.suspect(userOf)).toBeNull();
    thread.frame(format, 7, encode({ op: 'publish', id: 4, room: 'cafe\u0301', mid, body: 'x'.repeat(9_000) }, format));
    thread.frame(format, 7, encode({ op: 'publish', id: 5, room: 'cafe\u0301', mid, body: 'x' }, format));
    expect(reader.suspect(userOf)).toEqual({ op: 'publish', room: 'café', mid, user: 'alice' });
    expect(reader.suspect(() => null)?.user).toBeNull();
    thread.clear();
    expect(reader.suspect(userOf)).toBeNull();
  });

  it('names the room of a direct message, and one without a room', () => {
    const { thread, reader } = made();
    thread.frame('json', 7, encode({ op: 'direct', to: 'bob', mid, body: 1 }, 'json'));
    expect(reader.suspect(userOf)).toEqual({ op: 'direct', room: 'dm:alice:bob', mid, user: 'alice' });
    thread.frame('json', 7, encode({ op: 'direct', to: 'bob', as: 'carol', body: 1 }, 'json'));
    expect(reader.suspect(userOf)?.room).toBe('dm:bob:carol');
    thread.frame('json', 7, encode({ op: 'who', users: ['bob'] }, 'json'));
    expect(reader.suspect(userOf)).toEqual({ op: 'who', room: null, mid: null, user: 'alice' });
  });

  it('names the room of a step', () => {
    const { thread, reader } = made();
    thread.step(0, stepBytes('turn', 'general'));
    expect(reader.suspect(userOf)).toEqual({ op: 'turn', room: 'general', mid: null, user: null });
  });

  it('names an item of an inbox, whatever was there before', () => {
    const { thread, reader } = made();
    thread.frame('json', 7, encode({ op: 'publish', room: 'general', mid: other, body: 'x'.repeat(500) }, 'json'));
    thread.item('dm:Zoë:bob', mid);
    expect(reader.suspect(userOf)).toEqual({ op: 'inbox', room: 'dm:Zoë:bob', mid, user: null });
    thread.item('a', null);
    expect(reader.suspect(userOf)).toEqual({ op: 'inbox', room: 'a', mid: null, user: null });
    const note = thread.note();
    thread.step(0, stepBytes('turn', 'general'));
    if (note !== null) thread.recall(note);
    expect(reader.suspect(userOf)?.op).toBe('inbox');
  });

  it('of a frame larger than it, or written half, it says nothing', () => {
    const { thread, reader } = made();
    thread.frame('json', 7, encode({ op: 'info', room: 'a' }, 'json'));
    thread.frame('json', 7, new Uint8Array(17 * 1024));
    expect(reader.suspect(userOf)).toBeNull();
    thread.frame('json', 7, encode({ op: 'info', room: 'a' }, 'json').subarray(0, 9));
    expect(reader.suspect(userOf)).toBeNull();
  });

  it('a rejection is laid to what was named when its promise was made, and what comes of that promise', async () => {
    const { thread, reader } = made();
    const named = new Promise<[unknown, string | undefined]>((resolve) => {
      const end = watchRejections(thread, (reason) => {
        end();
        resolve([reason, reader.suspect(userOf)?.op]);
      });
    });
    let go = (): void => {};
    const gate = new Promise<void>((resolve) => {
      go = resolve;
    });
    thread.step(7, stepBytes('leave', 'general'));
    void gate.then(() => Promise.reject('broken'));
    thread.step(7, stepBytes('info', 'general'));
    void Promise.resolve();
    thread.clear();
    go();
    expect(await named).toEqual(['broken', 'leave']);
  });

  it('shows life by turns and by steps, and calls of the database, which may overlap', () => {
    const { thread, reader } = made();
    expect([reader.begun, reader.moved()]).toEqual([false, false]);
    const end = thread.beat();
    expect([reader.begun, reader.moved(), reader.moved()]).toEqual([true, true, false]);
    thread.step(0, stepBytes('turn', 'a'));
    expect(reader.moved()).toBe(true);
    thread.calling();
    thread.calling();
    thread.returned();
    expect([reader.calling, reader.moved()]).toEqual([true, true]);
    thread.returned();
    expect(reader.calling).toBe(false);
    end();
  });
});

describe('Quarantine', () => {
  let tick = 0;
  let changes = 0;
  let lines: string[] = [];
  let quarantine: Quarantine;
  beforeEach(() => {
    tick = 0;
    changes = 0;
    lines = [];
    quarantine = new Quarantine({
      clock: { now: () => 1_000 + tick, tick: () => tick, random: () => 0 },
      log: (_level, message) => lines.push(message),
      ms: 60_000,
      changed: () => changes++,
    });
  });
  const publish: Suspect = { op: 'publish', room: 'general', mid, user: 'alice' };
  const barrier = (): Barrier => new Barrier(quarantine.barred());

  it('three crashes of the same command set it aside, whoever sends it, and not its room', () => {
    for (const user of ['alice', null]) quarantine.crashed({ ...publish, user });
    expect(barrier().up).toBe(false);
    quarantine.crashed(publish);
    expect(changes).toBe(1);
    expect(lines).toEqual(['a command crashed its thread repeatedly: quarantined']);
    expect(quarantine.list()).toEqual([{ room: 'general', op: 'publish', mid, user: null, since: 1_000, until: 61_000 }]);
    const bars = barrier();
    expect(bars.bars({ op: 'publish', room: 'general', mid, user: 'bob' })).toBe(true);
    expect(bars.bars({ op: 'publish', room: 'general', mid: other, user: 'alice' })).toBe(false);
    expect(bars.bars({ op: 'publish', room: 'elsewhere', mid, user: 'alice' })).toBe(false);
    expect(bars.bars({ op: 'history', room: 'general', mid: null, user: 'alice' })).toBe(false);
    expect(bars.refused).toBe(1);
  });

  it('an item of an inbox is set aside alone, or with its room where it has no mid', () => {
    for (let i = 0; i < 3; i++) quarantine.crashed(suspectOfItem({ room: 'dm:alice:bob', mid }));
    for (let i = 0; i < 3; i++) quarantine.crashed(suspectOfItem({ room: 'ops', mid: null }));
    const bars = barrier();
    const barred = (room: string, of: string | null): boolean => bars.holds({ op: 'inbox', room, mid: of, user: null });
    expect([barred('dm:alice:bob', mid), barred('dm:alice:bob', other), barred('ops', null), barred('ops', other)]).toEqual([true, false, true, true]);
    expect(bars.refused).toBe(0);
  });

  it('three crashes of different commands set their room aside', () => {
    quarantine.crashed(publish);
    quarantine.crashed({ ...publish, mid: other });
    quarantine.crashed({ op: 'turn', room: 'general', mid: null, user: null });
    expect(quarantine.list()).toMatchObject([{ room: 'general', op: null }]);
    expect(barrier().bars({ op: 'info', room: 'general', mid: null, user: 'bob' })).toBe(true);
    expect(barrier().bars({ op: 'info', room: 'elsewhere', mid: null, user: 'bob' })).toBe(false);
    expect(quarantine.stats()).toEqual({ barredRooms: 1, barredCommands: 0, crashes: 3 });
  });

  it('a command without a mid is told by what is asked by whom, even where it concerns no room', () => {
    for (let i = 0; i < 3; i++) quarantine.crashed({ op: 'history', room: 'general', mid: null, user: 'alice' });
    for (let i = 0; i < 3; i++) quarantine.crashed({ op: 'who', room: null, mid: null, user: 'alice' });
    const bars = barrier();
    expect(bars.bars({ op: 'history', room: 'general', mid: null, user: 'alice' })).toBe(true);
    expect(bars.bars({ op: 'history', room: 'general', mid: null, user: 'bob' })).toBe(false);
    expect(bars.bars({ op: 'who', room: null, mid: null, user: 'alice' })).toBe(true);
    expect(bars.bars({ op: 'who', room: null, mid: null, user: 'bob' })).toBe(false);
  });

  it('crashes that name nothing, and those of long ago, count for nobody', () => {
    for (let i = 0; i < 5; i++) quarantine.crashed(null);
    for (let i = 0; i < 5; i++, tick += 40_000) quarantine.crashed(publish);
    expect(barrier().up).toBe(false);
    expect(quarantine.stats().crashes).toBe(10);
  });

  it('ends by time', () => {
    for (let i = 0; i < 3; i++) quarantine.crashed(publish);
    tick = 59_999;
    quarantine.sweep();
    expect(barrier().up).toBe(true);
    tick = 60_000;
    quarantine.sweep();
    expect(barrier().up).toBe(false);
    expect(changes).toBe(2);
  });

  it('is lifted by room, with the commands to it, or all of it; the count begins anew', () => {
    for (let i = 0; i < 3; i++) quarantine.crashed(publish);
    for (const one of [mid, other, null]) quarantine.crashed({ op: 'publish', room: 'ops', mid: one, user: 'bob' });
    expect(quarantine.lift('nothing')).toBe(0);
    expect(quarantine.lift('general')).toBe(1);
    expect(quarantine.list()).toMatchObject([{ room: 'ops' }]);
    for (let i = 0; i < 2; i++) quarantine.crashed(publish);
    expect(quarantine.lift()).toBe(1);
    quarantine.crashed(publish);
    expect(barrier().up).toBe(false);
  });

  it('is bounded: the oldest goes', () => {
    for (let n = 0; n < 1_100; n++) for (let i = 0; i < 3; i++) quarantine.crashed({ ...publish, room: `room ${n}` });
    expect(quarantine.list()).toHaveLength(1_000);
    expect(quarantine.list()[0]?.room).toBe('room 100');
  });
});
