/**
 * The client against a small model of the hub, with a connection that may break between any two frames, in either
 * direction, and a hub that sometimes wants a break. Whatever happens, afterwards every room was seen without a hole and in
 * order, every message is stored once and its promise kept once, and every inbox item was handled and acked.
 */
import { expect, test } from 'vitest';
import type { Room } from '../src/client/index.ts';
import { allRoom } from '../src/protocol/names.ts';
import { entry, type FakeSocket, type Frame, scene, settle, welcomeFields } from './kit/fake-hub.ts';
import type { Random } from './kit/random.ts';
import { seeded } from './kit/seeded.ts';

const rooms = ['a', 'b', allRoom];
const dm = 'dm:alice:bob';
const rounds = 200;
const stepsPerRound = 250;

test(`${rounds} histories with a breaking connection: no hole, nothing twice, every promise kept`, { timeout: 60_000 }, async () => {
  const random = seeded();
  const total = { connections: 0, repeated: 0, replayed: 0 };
  for (let round = 0; round < rounds; round++) {
    const { connections, repeated, replayed } = await history(random);
    total.connections += connections;
    total.repeated += repeated;
    total.replayed += replayed;
  }
  // Otherwise it proved nothing.
  expect(total.connections).toBeGreaterThan(rounds * 3);
  expect(total.repeated).toBeGreaterThan(rounds / 4);
  expect(total.replayed).toBeGreaterThan(rounds);
});

/** What the hub would keep: logs, who follows what on the one connection there is, the inbox. */
class Model {
  readonly logs = new Map<string, Frame[]>([...rooms, dm].map((room) => [room, []]));
  readonly inbox: Frame[] = [];
  acked = 0;
  /** Messages that came again, and entries that had to. */
  repeated = 0;
  replayed = 0;
  readonly #random: Random;
  #socket: FakeSocket | null = null;
  #live = new Set<string>();
  #sent = 0;
  #welcomed = false;
  /** The user's received mark in the broadcast room; other devices move it too. */
  #mark = 0;
  /** On their way to the client: lost with the connection. */
  #outgoing: Frame[] = [];
  #read = 0;

  constructor(random: Random) {
    this.#random = random;
  }

  attach(socket: FakeSocket): void {
    this.#socket = socket.accept();
    this.#welcomed = false;
    this.#outgoing = [];
    this.#read = 0;
    this.#sent = this.acked;
  }

  get busy(): boolean {
    return this.#outgoing.length > 0 || (this.#socket !== null && this.#read < this.#socket.sent.length);
  }

  /** Reads one frame of the client. */
  read(troubled: boolean): void {
    const frame = this.#socket?.sent[this.#read];
    if (frame === undefined) return;
    this.#read++;
    const answer = (fields: object) => this.#outgoing.push({ op: 'ok', id: frame.id, ...fields } as Frame);
    const busy = troubled && frame.op !== 'hello' && this.#random.int(10) === 0;
    if (busy) {
      this.#outgoing.push({ op: 'error', id: frame.id, of: frame.op, code: 'busy', message: 'busy', retry: true } as Frame);
      return;
    }
    switch (frame.op) {
      case 'hello':
        this.#outgoing.push({ op: 'welcome', id: frame.id, ...welcomeFields, inbox: { head: this.inbox.length, acked: this.acked } } as Frame);
        this.#welcomed = true;
        if (this.#random.int(3) === 0) this.#mark = this.#head(allRoom);
        this.#replay(allRoom, this.#mark);
        this.#drain();
        return;
      case 'subscribe': {
        const room = frame.room as string;
        const from = (frame.position as { seq: number } | undefined)?.seq ?? this.#head(room);
        answer({ room, position: { epoch: 'e1', seq: this.#head(room) }, recovered: true });
        this.#replay(room, from);
        return;
      }
      case 'resume':
        for (const [room, from] of Object.entries(frame.rooms as Record<string, number>)) {
          this.#outgoing.push({ op: 'resumed', id: frame.id, room, position: { epoch: 'e1', seq: this.#head(room) }, recovered: true } as Frame);
          this.#replay(room, from);
        }
        answer({ rooms: 1 });
        return;
      case 'publish':
      case 'direct': {
        const room = frame.op === 'direct' ? dm : (frame.room as string);
        const known = this.logs.get(room)?.find((one) => one.mid === frame.mid);
        const seq = (known?.seq as number | undefined) ?? this.append(room, frame.mid as string);
        if (known !== undefined) this.repeated++;
        answer({ room, seq, ...(known === undefined ? {} : { duplicate: true }) });
        return;
      }
      case 'ack':
        if ((frame.through as number) > this.#sent) throw new Error(`ack of ${frame.through}, sent ${this.#sent}`);
        this.acked = Math.max(this.acked, frame.through as number);
        answer({ through: this.acked });
        return;
      case 'mark':
        this.#mark = Math.max(this.#mark, frame.received as number);
        answer({});
        return;
      default:
        answer({});
    }
  }

  /** Lets one frame arrive. */
  write(): void {
    const frame = this.#outgoing.shift();
    if (frame !== undefined) this.#socket?.say(frame);
  }

  append(room: string, mid: string | null): number {
    const seq = this.#head(room) + 1;
    const added = entry(room, seq, { mid });
    this.logs.get(room)?.push(added);
    if (this.#live.has(room) && this.#socket !== null) this.#outgoing.push(added);
    return seq;
  }

  toInbox(): void {
    const room = this.#random.pick([dm, 'a']);
    const seq = this.append(room, null);
    this.inbox.push({ ...entry(room, seq), op: 'inbox', n: this.inbox.length + 1 });
    this.#drain();
  }

  drop(): void {
    this.#socket?.drop();
    this.#socket = null;
    this.#welcomed = false;
    this.#live.clear();
  }

  #drain(): void {
    if (!this.#welcomed) return;
    for (; this.#sent < this.inbox.length; this.#sent++) this.#outgoing.push(this.inbox[this.#sent] as Frame);
  }

  #replay(room: string, from: number): void {
    const missed = (this.logs.get(room) ?? []).slice(from);
    this.replayed += missed.length;
    this.#outgoing.push(...missed);
    this.#live.add(room);
  }

  #head(room: string): number {
    return this.logs.get(room)?.length ?? 0;
  }
}

async function history(random: Random): Promise<{ connections: number; repeated: number; replayed: number }> {
  const model = new Model(random);
  const { hub, clock, sockets, errors } = scene({ format: 'msgpack', timeoutMs: 0, backoff: { firstMs: 100, maxMs: 1_000 } });
  const seen = new Map<string, number[]>(rooms.map((room) => [room, []]));
  const handled: number[] = [];
  const surfaced = new Map<string, number>();
  const surface = (room: string, seq: number) => surfaced.set(`${room} ${seq}`, (surfaced.get(`${room} ${seq}`) ?? 0) + 1);
  const kept: string[] = [];
  const promised: Promise<void>[] = [];
  const followed: Room[] = [];
  let unsettled = 0;
  const expectKept = (promise: Promise<void>) => {
    unsettled++;
    promised.push(promise.finally(() => unsettled--));
  };
  let dialled = 0;

  hub.on('broadcast', ({ seq }) => seen.get(allRoom)?.push(seq));
  hub.on('inbox', async ({ n, room, seq }) => {
    await null;
    handled.push(n);
    surface(room, seq);
  });
  for (const name of ['a', 'b']) {
    // From the start, so that the model's log is what the client must have seen.
    const subscribed = hub.subscribe(name, { position: { epoch: 'e1', seq: 0 } }).then((room) => {
      followed.push(room);
      room.on('entry', ({ seq }) => {
        seen.get(name)?.push(seq);
        surface(name, seq);
      });
    });
    expectKept(subscribed);
  }
  const pickUp = async () => {
    await settle();
    if (sockets.length > dialled) model.attach(sockets[dialled++] as FakeSocket);
  };
  const send = () => {
    const mid = hub.newMid();
    const sending = random.int(3) === 0 ? hub.direct('bob', 1, { mid }) : hub.publish(random.pick(['a', 'b']), 1, { mid });
    expectKept(
      sending.then((sent) => {
        kept.push(mid);
        expect(model.logs.get(sent.room)?.[sent.seq - 1]?.mid).toBe(mid);
      }),
    );
  };

  for (let step = 0; step < stepsPerRound; step++) {
    const dice = random.int(100);
    if (dice < 30) model.read(true);
    else if (dice < 70) model.write();
    else if (dice < 80) send();
    else if (dice < 86) model.append(random.pick(rooms), null);
    else if (dice < 90) model.toInbox();
    else if (dice < 93) model.drop();
    else await clock.advance(random.int(2_000));
    await pickUp();
  }
  /** Who has seen a broadcast sees those after it, if need be by a repeated resume. */
  const broadcastsMissing = () => (seen.get(allRoom)?.at(-1) ?? Number.POSITIVE_INFINITY) < (model.logs.get(allRoom)?.length ?? 0);
  // Calm: everything that is under way arrives.
  let seconds = 0;
  do {
    if (seconds++ === 300)
      throw new Error(`after ${seconds} calm seconds ${unsettled} promises are open and ${model.inbox.length - model.acked} items unacked`);
    await clock.advance(1_000);
    await pickUp();
    while (model.busy) {
      model.read(false);
      model.write();
      await settle();
    }
  } while (unsettled > 0 || !followed.every((room) => room.live) || model.acked < model.inbox.length || model.busy || broadcastsMissing());
  await Promise.all(promised);
  await clock.advance(0); // the first entries of a room wait a turn for its listeners

  for (const [room, seqs] of seen) {
    const head = model.logs.get(room)?.length ?? 0;
    const first = room === allRoom ? (seqs[0] ?? head + 1) : 1;
    expect(seqs, room).toEqual(Array.from({ length: head - first + 1 }, (_, i) => first + i));
  }
  const stored = [...model.logs.values()].flat().flatMap((one) => (one.mid === null ? [] : [one.mid as string]));
  expect(new Set(stored).size).toBe(stored.length);
  expect(kept.toSorted()).toEqual(stored.toSorted());
  // Of a followed room by the room, of the others by the inbox; each once.
  for (const { room, seq } of model.inbox) expect(surfaced.get(`${room} ${seq}`), `${room} ${seq}`).toBe(1);
  expect(handled).toEqual(model.inbox.filter(({ room }) => room === dm).map(({ n }) => n));
  expect(model.acked).toBe(model.inbox.length);
  expect(errors).toEqual([]);
  model.drop();
  await hub.close();
  expect(clock.timers).toBe(0);
  return { connections: dialled, repeated: model.repeated, replayed: model.replayed };
}
