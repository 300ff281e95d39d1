/**
 * Users who write and follow at once, for the rows of dying threads: they repeat what they are told to repeat, as good clients do, note
 * how long each ack took, and say at the end what no hub may have done to them.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { v7 } from 'uuid';
import type { HubProcess } from '../../src/testing/hub-process.ts';
import { RawClient } from '../kit/raw-client.ts';
import { readLogs } from '../kit/reader.ts';
import { type FaultKit, violationsOf } from './row.ts';

const retryMs = 25;

export type Acked = { room: string; at: number; ms: number };

/** Users who each follow all rooms and write to one, one message at a time, until they are told to end. */
export class Crowd {
  acked = 0;
  readonly #hub: HubProcess;
  readonly #kit: FaultKit;
  readonly #rooms: readonly string[];
  readonly #paceMs: number;
  readonly #clients: RawClient[] = [];
  readonly #writing: Promise<void>[] = [];
  readonly #odd: string[] = [];
  #recent: Acked[] = [];
  #waiting: (() => void)[] = [];
  #ended = false;

  constructor(hub: HubProcess, kit: FaultKit, rooms: readonly string[], paceMs: number) {
    this.#hub = hub;
    this.#kit = kit;
    this.#rooms = rooms;
    this.#paceMs = paceMs;
  }

  async gather(users: number): Promise<void> {
    const { recorder } = this.#kit;
    for (let i = 0; i < users; i++) {
      const client = await RawClient.connect(this.#hub.url, { user: `user-${i}`, recorder, format: i % 2 ? 'json' : 'msgpack' });
      this.#clients.push(client);
      // From the first seq on, so that its stream is compared with the log.
      for (const room of this.#rooms) await client.ok('subscribe', { room, position: { epoch: client.welcome?.epoch, seq: 0 } });
    }
    for (const [i, client] of this.#clients.entries()) this.#writing.push(this.#write(client, this.#rooms[i % this.#rooms.length] as string));
    const reader = await RawClient.connect(this.#hub.url, { user: 'reader', recorder });
    this.#clients.push(reader);
    this.#writing.push(this.#read(reader));
  }

  /** What was acknowledged since the last call. */
  take(): Acked[] {
    return this.#recent.splice(0);
  }

  async acks(count: number): Promise<void> {
    const enough = this.acked + count;
    while (this.acked < enough) await this.#next();
  }

  /** Until every room has been written to from now on. */
  async acksOfEachRoom(): Promise<void> {
    const since = performance.now();
    while (!this.#rooms.every((room) => this.#recent.some((one) => one.room === room && one.at - one.ms > since))) await this.#next();
  }

  /** Stops, waits until everybody has everything, and says what was not as it must be. */
  async end(): Promise<string[]> {
    this.#ended = true;
    await Promise.all(this.#writing);
    const logs = await readLogs(this.#hub.url, this.#rooms, this.#kit.recorder);
    const heads = new Map([...logs].map(([room, entries]) => [room, entries.at(-1)?.seq ?? 0]));
    const followers = this.#clients.slice(0, -1);
    await Promise.all(followers.map((client) => client.until(() => this.#rooms.every((room) => client.entries(room).at(-1)?.seq === heads.get(room)))));
    const doubled = followers.flatMap((client) => this.#rooms.filter((room) => client.entries(room).some(({ seq }, i) => seq !== i + 1)));
    return [
      ...this.#odd,
      ...this.#kit.check(),
      ...violationsOf({
        'every socket was kept': this.#clients.every(({ ended }) => ended === null),
        'every follower saw 1, 2, 3, … of every room, nothing twice': doubled.length === 0,
      }),
    ];
  }

  async #write(client: RawClient, room: string): Promise<void> {
    while (!this.#ended) {
      const began = performance.now();
      await this.#repeat(client, 'publish', { room, mid: v7(), body: 'x'.repeat(80) });
      const at = performance.now();
      this.acked++;
      this.#recent.push({ room, at, ms: at - began });
      for (const go of this.#waiting.splice(0)) go();
      await sleep(this.#paceMs);
    }
  }

  /** Old pages, which only the store has. */
  async #read(client: RawClient): Promise<void> {
    while (!this.#ended) {
      await this.#repeat(client, 'history', { room: this.#rooms[0], after: 0, limit: 5 });
      await sleep(this.#paceMs);
    }
  }

  /** As a good client: what may be repeated is repeated, with the same mid, and anything else is a finding. */
  async #repeat(client: RawClient, op: 'publish' | 'history', fields: Record<string, unknown>): Promise<void> {
    for (;;) {
      const answer = await client.command(op, fields);
      if (answer.op !== 'error') return;
      if (!answer.retry) {
        this.#odd.push(`${op} was refused for good: ${answer.code}`);
        return;
      }
      await sleep(retryMs);
    }
  }

  #next(): Promise<void> {
    return new Promise((resolve) => this.#waiting.push(resolve));
  }
}
