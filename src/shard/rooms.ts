/** The active rooms of a shard: makes their actors on first use, puts idle ones away, and knows which have something to flush. */
import type { FilledOptions } from '../options.ts';
import { mayActFor } from '../protocol/authorize.ts';
import { CodedError } from '../protocol/codes.ts';
import type { Command, Position } from '../protocol/commands.ts';
import { dmName } from '../protocol/names.ts';
import { FewMap } from '../thread/few.ts';
import type { ConnectionId, RoomKey } from '../thread/messages.ts';
import type { Barrier } from '../thread/quarantine.ts';
import { stepBytes, type Witness } from '../thread/witness.ts';
import type { Connection } from './actor.ts';
import { RoomActor, type RoomCommand } from './room.ts';
import { notFollowed, unfollow } from './room-following.ts';
import { type RoomEffects, type RoomLimits, RoomState } from './room-state.ts';
import { detachAll } from './room-subscribers.ts';

/** What rooms need of the bus to other nodes: hints that a room's head has moved. Adapters of `cluster/` satisfy it. */
export type RoomBus = {
  readonly alone: boolean;
  publish(topic: string, payload: Uint8Array): boolean;
  subscribe(topic: string): Promise<void>;
  unsubscribe(topic: string): Promise<void>;
};

const topicPrefix = 'room:';

export class Rooms {
  readonly #limits: RoomLimits;
  readonly #byName = new Map<string, RoomActor>();
  readonly #byKey = new Map<RoomKey, RoomActor>();
  /** Rooms each connection may be following, so that its end costs no search; and the other way, for rooms that are put away. */
  readonly #followed = new Map<ConnectionId, FewMap<RoomActor, true>>();
  readonly #followers = new Map<RoomActor, Set<ConnectionId>>();
  /** Keys whose names the gateway knows. */
  readonly #introduced = new Set<RoomKey>();
  readonly #touched = new Set<RoomKey>();
  readonly #bus: RoomBus;
  readonly #witness: Pick<Witness, 'step' | 'clear'>;
  readonly #barrier: Barrier;
  #keys = 0;

  constructor(options: FilledOptions, bus: RoomBus, witness: Pick<Witness, 'step' | 'clear'>, barrier: Barrier) {
    this.#bus = bus;
    this.#witness = witness;
    this.#barrier = barrier;
    const { roomMembersMax, tailItemsMax, tailBytesMax, pageBytesMax, roomIdleMs, audienceMax, bodyBytesMax } = options;
    const autoCreate = options.autoCreate === 'on' || (options.autoCreate === 'dev' && options.dev);
    this.#limits = { roomMembersMax, tailItemsMax, tailBytesMax, pageBytesMax, roomIdleMs, audienceMax, bodyBytesMax, autoCreate };
  }

  command(connection: Connection, command: RoomCommand, effects: RoomEffects, bytes: number): void {
    const user = 'as' in command ? command.as : undefined;
    if (user === undefined || !mayActFor(connection.service ? 'service' : 'user')) return this.#command(connection, command, effects, bytes);
    // Who is disabled may do nothing, whoever does it for him; his connections were closed, a backend asks each time.
    const refuse = (error: CodedError): void => effects.refuse(connection, command.id, command.op, error);
    effects.read(
      { read: 'standing', user },
      ({ disabled }) => {
        if (disabled) return refuse(new CodedError('forbidden', `${user} is disabled`));
        // What the witness says is about something else by now.
        this.#witness.step(connection.id, stepBytes(command.op, roomOf(connection, command), 'mid' in command ? command.mid : null, user));
        this.#command(connection, command, effects, bytes);
      },
      refuse,
    );
  }

  #command(connection: Connection, command: RoomCommand, effects: RoomEffects, bytes: number): void {
    const room = this.#room(roomOf(connection, command));
    if (command.op === 'subscribe') this.#note(connection, room);
    room.command(connection, command, effects, bytes);
  }

  /** The rooms of a `resume` that live here; the gateway gets its part when the last of them is answered. */
  resume(connection: Connection, command: Command<'resume'>, effects: RoomEffects): void {
    const rooms = Object.entries(command.rooms);
    let left = rooms.length;
    const followed: string[] = [];
    if (left === 0) return effects.part(connection, command.id, { rooms: [] });
    for (const [name, seq] of rooms) {
      if (this.#barrier.up && this.#barrier.bars({ op: 'resume', room: name, mid: null, user: connection.user })) {
        unfollow(this.#room(name).state, connection, new CodedError('quarantined'), effects);
        if (--left === 0) effects.part(connection, command.id, { rooms: followed });
        continue;
      }
      this.#witness.step(connection.id, stepBytes('resume', name));
      const room = this.#room(name);
      this.#note(connection, room);
      room.resume(connection, command.id, { epoch: command.epoch, seq }, effects, (following) => {
        if (following) followed.push(name);
        if (--left === 0) effects.part(connection, command.id, { rooms: followed });
      });
    }
  }

  follow(connection: Connection, name: string, position: Position | 'mark', presence: boolean, effects: RoomEffects): void {
    const room = this.#room(name);
    if (this.#barrier.up && this.#barrier.bars({ op: 'follow', room: name, mid: null, user: connection.user })) {
      notFollowed(room.state, connection, new CodedError('quarantined'), effects);
      return;
    }
    this.#witness.step(connection.id, stepBytes('follow', name));
    this.#note(connection, room);
    room.follow(connection, position, presence, effects);
  }

  behind(connection: Connection, key: RoomKey, attachment: number, lastSeq: number, effects: RoomEffects): void {
    this.#byKey.get(key)?.behind(connection, attachment, lastSeq, effects);
  }

  closed(connection: Connection, effects: RoomEffects): void {
    for (const room of this.#followed.get(connection.id)?.keys() ?? []) {
      room.closed(connection, effects);
      this.#followers.get(room)?.delete(connection.id);
    }
    this.#followed.delete(connection.id);
  }

  /** What comes next, which no command of now leads to, is about the room; null: about none. */
  about(name: string | null): void {
    const room = name === null ? undefined : this.#byName.get(name);
    if (room === undefined) this.#witness.clear();
    else this.#witness.step(0, room.turnBytes);
  }

  touched(key: RoomKey): void {
    this.#touched.add(key);
  }

  /** Tells the gateway the room's name before its key is used. */
  introduce(key: RoomKey, effects: RoomEffects): void {
    const room = this.#byKey.get(key);
    if (room === undefined || this.#introduced.has(key)) return;
    this.#introduced.add(key);
    effects.tell({ t: 'room', roomKey: key, room: room.state.name });
  }

  flush(effects: RoomEffects): void {
    for (const key of this.#touched) {
      const room = this.#byKey.get(key);
      if (room === undefined) continue;
      this.#witness.step(0, room.turnBytes);
      room.flush(effects);
      if (!this.#bus.alone) this.#announce(room.state);
    }
    this.#touched.clear();
  }

  /** Another node says that the room's head is at least `payload`. */
  hint(topic: string, payload: Uint8Array, effects: RoomEffects): void {
    const room = this.#byName.get(topic.slice(topicPrefix.length));
    if (room !== undefined && payload.length === 8) room.hint(Buffer.from(payload).readDoubleBE(), effects);
  }

  /** Rooms that are refused from now on: nobody follows them any more. */
  bar(names: readonly string[], effects: RoomEffects): void {
    for (const name of names) {
      const room = this.#byName.get(name);
      if (room !== undefined) detachAll(room.state, 'quarantined', effects);
    }
  }

  tick(effects: RoomEffects): void {
    for (const [name, room] of this.#byName) {
      if (!room.tick(effects)) continue;
      const { key } = room.state;
      this.#forget(room);
      this.#byName.delete(name);
      this.#byKey.delete(key);
      void this.#bus.unsubscribe(topicPrefix + name).catch(() => {}); // hints for rooms that are not here are ignored
      if (this.#introduced.delete(key)) effects.tell({ t: 'forget', roomKey: key });
    }
  }

  stats(): Record<string, number> {
    let tailBytes = 0;
    let followed = 0;
    for (const rooms of this.#followed.values()) followed += rooms.size;
    for (const room of this.#byName.values()) tailBytes += room.state.tail.bytes;
    return { rooms: this.#byName.size, tailBytes, followed };
  }

  #note(connection: Connection, room: RoomActor): void {
    const rooms = this.#followed.get(connection.id) ?? new FewMap();
    rooms.set(room, true);
    this.#followed.set(connection.id, rooms);
    const followers = this.#followers.get(room) ?? new Set();
    followers.add(connection.id);
    this.#followers.set(room, followers);
  }

  /** Those who asked for the room and did not get it must not keep it. */
  #forget(room: RoomActor): void {
    for (const id of this.#followers.get(room) ?? []) {
      const rooms = this.#followed.get(id);
      if (rooms?.delete(room) && rooms.size === 0) this.#followed.delete(id);
    }
    this.#followers.delete(room);
  }

  #room(name: string): RoomActor {
    let actor = this.#byName.get(name);
    if (actor === undefined) {
      actor = new RoomActor(new RoomState(name, ++this.#keys, this.#limits), this.#witness);
      this.#byName.set(name, actor);
      this.#byKey.set(actor.state.key, actor);
      // Without it the room still finds what it missed, only later: a hint is all the bus ever gives.
      void this.#bus.subscribe(topicPrefix + name).catch(() => {});
    }
    return actor;
  }

  #announce(state: RoomState): void {
    if (state.headSeq <= state.announcedSeq) return;
    state.announcedSeq = state.headSeq;
    const payload = Buffer.allocUnsafeSlow(8);
    payload.writeDoubleBE(state.headSeq);
    this.#bus.publish(topicPrefix + state.name, payload);
  }
}

function roomOf(connection: Connection, command: RoomCommand): string {
  return command.op === 'direct' ? dmName(command.as ?? connection.user, command.to) : command.room;
}
