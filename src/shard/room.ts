/**
 * The actor of one room: loads it, keeps its mailbox in order, and hands each command to its handler. Commands wait in the
 * mailbox while the room loads and while a change of members or settings is on its way; joins do not wait for joins.
 */
import { CodedError } from '../protocol/codes.ts';
import type { Command, Position } from '../protocol/commands.ts';
import { stepBytes, type Witness } from '../thread/witness.ts';
import type { Connection } from './actor.ts';
import { tellAudience } from './room-audience.ts';
import { fellBehind, notFollowed, refollow, resume, subscribe, unfollow, unsubscribe } from './room-following.ts';
import { catchUp } from './room-log.ts';
import { changeRoom } from './room-members.ts';
import { publish } from './room-messages.ts';
import { askRoom } from './room-reading.ts';
import type { RoomEffects, RoomState } from './room-state.ts';
import { deliverApplied, drop } from './room-subscribers.ts';

const mailboxMax = 20_000;
const mailboxBytesMax = 16 * 1024 * 1024;

export type RoomCommand = Command<
  | 'subscribe'
  | 'unsubscribe'
  | 'publish'
  | 'direct'
  | 'history'
  | 'mark'
  | 'delivery'
  | 'create'
  | 'update'
  | 'delete'
  | 'join'
  | 'leave'
  | 'setMember'
  | 'removeMember'
  | 'info'
  | 'members'
>;
/** One thing in the mailbox: `run` does it, `fail` answers where the room cannot be had. */
type Letter = {
  join: boolean;
  bytes: number;
  connection: Connection;
  op: string;
  /** Null where it is no client's command. */
  command: RoomCommand | null;
  run(): void;
  fail(error: CodedError): void;
};

export class RoomActor {
  readonly state: RoomState;
  /** For the witness: a turn of the room that no one command leads to. */
  readonly turnBytes: Uint8Array;
  readonly #witness: Pick<Witness, 'step'>;
  #phase: 'absent' | 'loading' | 'ready' = 'absent';
  #mailbox: Letter[] = [];
  /** Letters before this one are done; the list is emptied when all are. */
  #next = 0;
  /** Of the frames in which the waiting letters came. */
  #bytes = 0;
  /** Changes on their way; while all of them are joins, further joins may go. */
  #changing = 0;
  #joinsOnly = true;
  #draining = false;

  constructor(state: RoomState, witness: Pick<Witness, 'step'>) {
    this.state = state;
    this.#witness = witness;
    this.turnBytes = stepBytes('turn', state.name);
  }

  /** `bytes`: of its frame. */
  command(connection: Connection, command: RoomCommand, effects: RoomEffects, bytes = 0): void {
    this.#deliver(
      {
        join: command.op === 'join',
        bytes,
        connection,
        op: command.op,
        command,
        run: () => this.#answer(connection, command, effects),
        fail: (error) => effects.refuse(connection, command.id, command.op, error),
      },
      effects,
    );
  }

  resume(connection: Connection, id: number | undefined, position: Position, effects: RoomEffects, done: (following: boolean) => void): void {
    const fail = (error: CodedError) => {
      unfollow(this.state, connection, error, effects);
      done(false);
    };
    this.#deliver(
      { join: false, bytes: 0, connection, op: 'resume', command: null, run: () => resume(this.state, connection, id, position, effects, done), fail },
      effects,
    );
  }

  follow(connection: Connection, position: Position | 'mark', presence: boolean, effects: RoomEffects): void {
    const fail = (error: CodedError) => notFollowed(this.state, connection, error, effects);
    this.#deliver(
      { join: false, bytes: 0, connection, op: 'follow', command: null, run: () => refollow(this.state, connection, position, presence, effects), fail },
      effects,
    );
  }

  behind(connection: Connection, attachment: number, lastSeq: number, effects: RoomEffects): void {
    fellBehind(this.state, connection, attachment, lastSeq, effects);
  }

  /** Another node appended: read what is missing, unless it came already. */
  hint(seq: number, effects: RoomEffects): void {
    if (this.#phase === 'ready' && seq > this.state.headSeq) catchUp(this.state, effects, () => {});
  }

  closed(connection: Connection, effects: RoomEffects): void {
    drop(this.state, connection, effects);
    this.state.lastUsed = effects.tick;
  }

  /** End of a turn: what was applied goes out, and who came and went is told. */
  flush(effects: RoomEffects): void {
    deliverApplied(this.state, effects);
    tellAudience(this.state, false, effects);
  }

  /** About once a second. True: nothing keeps this actor; it may be forgotten. */
  tick(effects: RoomEffects): boolean {
    tellAudience(this.state, true, effects);
    if (this.state.missing && this.state.catching === null) catchUp(this.state, effects, () => {});
    const { subscribers, pending, lastUsed, limits, exists } = this.state;
    if (subscribers.size > 0 || pending > 0 || this.#waiting > 0 || this.#phase === 'loading') return false;
    // A name without a room costs who asks for it nothing, so it is kept for nobody.
    return !exists || effects.tick - lastUsed > limits.roomIdleMs;
  }

  #deliver(letter: Letter, effects: RoomEffects): void {
    this.state.lastUsed = effects.tick;
    if (this.#phase === 'ready' && this.#waiting === 0 && this.#open(letter)) return letter.run();
    if (this.#waiting >= mailboxMax || this.#bytes + letter.bytes > mailboxBytesMax) return letter.fail(new CodedError('busy'));
    this.#mailbox.push(letter);
    this.#bytes += letter.bytes;
    if (this.#phase === 'absent') this.#load(effects);
  }

  get #waiting(): number {
    return this.#mailbox.length - this.#next;
  }

  #open(letter: Letter): boolean {
    return this.#changing === 0 || (this.#joinsOnly && letter.join);
  }

  #load(effects: RoomEffects): void {
    this.#phase = 'loading';
    effects.read(
      { read: 'room', room: this.state.name },
      (stored) => {
        this.#witness.step(0, this.turnBytes);
        this.state.load(stored);
        this.#phase = 'ready';
        this.state.loading = true;
        this.#drain();
        this.state.loading = false;
      },
      (error) => {
        this.#phase = 'absent';
        const failed = this.#mailbox;
        this.#mailbox = [];
        this.#next = 0;
        this.#bytes = 0;
        for (const letter of failed) letter.fail(error);
      },
    );
  }

  // A change that ends at once asks to drain again: the loop under way goes on, so that a full mailbox does not become a full stack.
  #drain(): void {
    if (this.#draining) return;
    this.#draining = true;
    while (this.#waiting > 0 && this.#open(this.#mailbox[this.#next] as Letter)) {
      const letter = this.#mailbox[this.#next++] as Letter;
      this.#bytes -= letter.bytes;
      this.#name(letter);
      letter.run();
    }
    this.#draining = false;
    if (this.#waiting === 0 || this.#next > 1_000) {
      this.#mailbox = this.#mailbox.slice(this.#next);
      this.#next = 0;
    }
  }

  /** It waited: what the witness says is about something else by now. */
  #name({ connection, op, command }: Letter): void {
    const mid = command !== null && 'mid' in command ? command.mid : undefined;
    this.#witness.step(connection.id, stepBytes(op, this.state.name, mid));
  }

  #answer(connection: Connection, command: RoomCommand, effects: RoomEffects): void {
    try {
      this.#step(connection, command, effects);
    } catch (error) {
      if (!(error instanceof CodedError)) throw error;
      effects.refuse(connection, command.id, command.op, error);
    }
  }

  #step(connection: Connection, command: RoomCommand, effects: RoomEffects): void {
    const { state } = this;
    switch (command.op) {
      case 'publish':
      case 'direct':
        return publish(state, connection, command, effects);
      case 'subscribe':
        return subscribe(state, connection, command, effects);
      case 'unsubscribe':
        return unsubscribe(state, connection, command, effects);
      case 'history':
      case 'info':
      case 'members':
      case 'delivery':
      case 'mark':
        return askRoom(state, connection, command, effects);
      case 'create':
      case 'update':
      case 'delete':
      case 'join':
      case 'leave':
      case 'setMember':
      case 'removeMember': {
        this.#joinsOnly = command.op === 'join' && (this.#changing === 0 || this.#joinsOnly);
        this.#changing++;
        let done = false;
        return changeRoom(state, connection, command, effects, () => {
          if (done) return;
          done = true;
          this.#changing--;
          this.#drain();
        });
      }
    }
  }
}
