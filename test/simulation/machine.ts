/**
 * One node that nothing goes wrong in, for comparison with `room-model.ts`: real gateway, shards, writer and reader in the
 * simulation's one thread, over a real SQLite file or the store's model, and raw devices that do exactly what they are told.
 */
import { LocalBus } from '../../src/cluster/local.ts';
import { fillOptions } from '../../src/options.ts';
import { decode, encode } from '../../src/protocol/codec.ts';
import { Database } from './database.ts';
import { SimNode } from './node.ts';
import { Scheduler, Strand } from './scheduler.ts';
import { SimSocket } from './socket.ts';
import { SimModel } from './store.ts';

type Fields = Record<string, unknown>;
/** What a machine is made with. */
export type MachineShape = { autoCreate: boolean; store: 'sqlite' | 'model' };

/** Virtual time that everything caused by one command is done in. */
const settledMs = 700;
const startTs = 1_790_000_000_000;

export class Machine {
  readonly scheduler = new Scheduler(1);
  readonly faults: string[] = [];
  readonly #strand = new Strand('devices', 0);
  readonly #make: () => SimNode;
  #started: SimNode | null = null;
  readonly #database: Database | null;
  readonly #devices: RawDevice[] = [];
  epoch = '';
  commands = 0;

  private constructor({ autoCreate }: MachineShape, database: Database | null) {
    const options = fillOptions({ dev: true, autoCreate: autoCreate ? 'on' : 'off', pageBytesMax: 256, tailItemsMax: 16, roomIdleMs: 500 });
    const model = new SimModel({ ...options, node: 'sim', exclusive: false }, startTs);
    if (database !== null) model.begin(database.store.epoch, startTs);
    this.#database = database;
    this.#make = () =>
      new SimNode({
        index: 0,
        shards: 2,
        scheduler: this.scheduler,
        options,
        conditions: {
          lag: { ms: 0.5, spikeMs: 1, spikes: 0 },
          faults: { statement: 0, commit: 0, read: 0, fullUntil: 0, dieNext: false, commitMs: 1 },
          busLoss: 0,
          ports: new Map(),
          mutant: undefined,
          injected: () => {},
        },
        bus: new LocalBus(),
        users: new Set(['ann', 'bob', 'cy']),
        model: () => model,
        database,
        firstNumber: 1,
        numbered: () => {},
        fault: (what) => this.faults.push(what),
      });
  }

  static async begin(shape: MachineShape): Promise<Machine> {
    const database = shape.store === 'sqlite' ? await Database.open(startTs) : null;
    const machine = new Machine(shape, database);
    await machine.#turn(machine.#strand, () => {
      machine.#started = machine.#make();
    });
    return machine;
  }

  async end(): Promise<void> {
    this.#node.crash();
    await this.#database?.remove();
  }

  /** Admitted (`ok`) or not (`closed`). */
  async connect(index: number, user: string, label: string, token: number): Promise<string> {
    const device = new RawDevice();
    this.#devices[index] = device;
    const socket = new SimSocket(this.scheduler, this.#node.main, this.#strand, 1, {
      frame: (payload) => device.frames.push(decode(payload, 'json')),
      close: () => {
        device.socket = null;
      },
    });
    device.socket = socket;
    socket.open(() => this.#node.accept(socket, 'json'));
    const { op, epoch } = await this.#ask(device, { op: 'hello', user, device: label, token: String(token) });
    if (op !== 'welcome') return 'closed';
    this.epoch = String(epoch);
    return 'ok';
  }

  async cut(index: number, clean: boolean): Promise<void> {
    const { socket } = this.#device(index);
    if (clean) socket?.leave();
    else socket?.cut();
    await this.#settle();
  }

  /** What a device's command is answered with. */
  async ask(index: number, command: Fields): Promise<string> {
    const answer = await this.#ask(this.#device(index), command);
    if (answer.op === 'error') return String(answer.code);
    return answer.duplicate === true ? 'duplicate' : String(answer.op);
  }

  /** The backend's command; resolves to its whole answer. */
  async backend(command: Fields): Promise<Fields> {
    let answer: Fields = {};
    await this.#turn(this.#node.main, () => {
      void this.#node.command(command).then((fields) => {
        answer = fields;
      });
    });
    return answer;
  }

  /** What a device was told since it was last asked, each room and the inbox by itself, for only there is an order. */
  heard(index: number): string[] {
    return this.#devices[index]?.take() ?? [];
  }

  get now(): number {
    return this.#node.wall;
  }

  get #node(): SimNode {
    return this.#started as SimNode;
  }

  /** Something in one thread, and all that follows from it. */
  #turn(strand: Strand, run: () => void): Promise<void> {
    this.scheduler.after(0, strand, run);
    return this.#settle();
  }

  #settle(): Promise<void> {
    return this.scheduler.run(this.scheduler.now + settledMs);
  }

  #device(index: number): RawDevice {
    return this.#devices[index] as RawDevice;
  }

  async #ask(device: RawDevice, command: Fields): Promise<Fields> {
    const id = ++device.ids;
    this.commands++;
    device.socket?.send(Buffer.from(encode({ ...command, id }, 'json')), false);
    await this.#settle();
    return device.answer(id, String(command.op));
  }
}

class RawDevice {
  readonly frames: Fields[] = [];
  socket: SimSocket | null = null;
  ids = 0;
  #told: string[] = [];

  take(): string[] {
    const told = [...this.#told, ...this.#read()];
    this.#told = [];
    return told;
  }

  /** Nothing: the connection ended. What came with it, or before, is kept. */
  answer(id: number, op: string): Fields {
    const answer = this.frames.find((frame) => frame.id === id && frame.op !== 'resumed') ?? {};
    // A gap stands in the answer, or beside it.
    if (op === 'subscribe' && Array.isArray(answer.gaps)) this.#told.push(...gapsOf(answer));
    this.#told.push(...this.#read());
    return answer;
  }

  #read(): string[] {
    return this.frames.splice(0).flatMap((frame) => {
      const { op, room, seq, kind, from, mid, n, reason } = frame;
      switch (op) {
        case 'entry':
          return [`${room} ${seq} ${kind} ${from} ${kind === 'message' ? mid : ''}`.trim()];
        case 'unsubscribed':
          return [`${room} unsubscribed ${reason}`];
        case 'gap':
        case 'resumed':
          return gapsOf(frame);
        case 'inbox':
          return [`inbox ${n} ${room} ${seq}`];
        default:
          return [];
      }
    });
  }
}

function gapsOf({ gaps }: Fields): string[] {
  return ((gaps ?? []) as { room: string; from: number; to: number; reason: string }[]).map(
    ({ room, from, to, reason }) => `${room} gap ${from}-${to} ${reason}`,
  );
}
