/**
 * The commands of the state machine: each is a step that is taken in the model and in the machine, and its answer, and all that
 * any device heard of it, must be the same. A failing row of them reads like a story.
 */
import fc from 'fast-check';
import type { Machine } from './machine.ts';
import type { Answer, Device, Role, RoomModel } from './room-model.ts';

export const devices = [
  ['ann', 'phone'],
  ['ann', 'desk'],
  ['bob', 'phone'],
  ['cy', 'phone'],
] as const;
export const rooms = ['red', 'blue'] as const;
const users = ['ann', 'bob', 'cy'] as const;
const roles = ['owner', 'admin', 'moderator', 'member', 'muted', 'invited', 'banned'] as const satisfies readonly Role[];
/** So few that some are used again. */
const mids = Array.from({ length: 6 }, (_, i) => `0199b000-0000-7000-8000-00000000000${i}`);

type Fields = Record<string, unknown>;
/** In the model, and what the device sends; it must be connected, unless `when` says otherwise. */
type Deed = { model(model: RoomModel, device: Device): Answer; frame(device: Device, epoch: string): Fields; when?(device: Device): boolean };

class Step implements fc.AsyncCommand<RoomModel, Machine> {
  readonly #text: string;
  readonly #may: (model: Pick<RoomModel, 'devices'>) => boolean;
  readonly #take: (model: RoomModel, machine: Machine) => Promise<{ is: Answer; ought: Answer }>;

  constructor(
    text: string,
    may: (model: Pick<RoomModel, 'devices'>) => boolean,
    take: (model: RoomModel, machine: Machine) => Promise<{ is: Answer; ought: Answer }>,
  ) {
    this.#text = text;
    this.#may = may;
    this.#take = take;
  }

  check(model: Readonly<RoomModel>): boolean {
    return this.#may(model);
  }

  async run(model: RoomModel, machine: Machine): Promise<void> {
    const { is, ought } = await this.#take(model, machine);
    const wrong = is === ought ? [] : [`is answered ${is}, expected was ${ought}`];
    for (const [i, device] of model.devices.entries()) {
      const heard = streams(machine.heard(i).filter((line) => !isOwn(model, device, line)));
      const expected = streams(device.told.splice(0));
      if (heard !== expected) wrong.push(`${device.user}/${device.label} heard [${heard}], expected was [${expected}]`);
    }
    wrong.push(...machine.faults);
    if (wrong.length > 0) throw new Error(`${this.#text}: ${wrong.join('\n  ')}`);
  }

  toString(): string {
    return this.#text;
  }
}

const device = fc.nat(devices.length - 1);
/** One more than the other, so that much happens in it. */
const room = fc.constantFrom(rooms[0], rooms[0], rooms[0], rooms[1]);
const user = fc.constantFrom(...users);

/** One command of a connected device. */
function deed(i: number, text: string, { model, frame, when }: Deed): Step {
  const [name, label] = devices[i] as (typeof devices)[number];
  return new Step(
    `${name}/${label} ${text}`,
    ({ devices: all }) => (all[i] as Device).open && (when?.(all[i] as Device) ?? true),
    async (world, machine) => {
      const is = await machine.ask(i, frame(world.devices[i] as Device, machine.epoch));
      return { is, ought: model(world, world.devices[i] as Device) };
    },
  );
}

function connect(i: number, fresh: boolean): Step {
  const [name, label] = devices[i] as (typeof devices)[number];
  return new Step(
    `${name}/${label} connects${fresh ? ' with a fresh token' : ''}`,
    ({ devices: all }) => !(all[i] as Device).open,
    async (world, machine) => {
      const ought = world.connect(world.devices[i] as Device, machine.now, fresh);
      return { is: await machine.connect(i, name, label, (world.devices[i] as Device).token), ought };
    },
  );
}

function cut(i: number, clean: boolean): Step {
  return new Step(
    `${(devices[i] ?? []).join('/')} ${clean ? 'leaves' : 'is cut off'}`,
    ({ devices: all }) => (all[i] as Device).open,
    async (world, machine) => {
      world.cut(world.devices[i] as Device);
      await machine.cut(i, clean);
      return { is: 'ok', ought: 'ok' };
    },
  );
}

function revoke(name: string): Step {
  return new Step(
    `${name} is revoked`,
    () => true,
    async (world, machine) => {
      const ought = world.revoke(name, machine.now);
      const { op } = await machine.backend({ op: 'revoke', users: [name] });
      return { is: String(op), ought };
    },
  );
}

const settings = fc.constantFrom({ closed: true }, { closed: false }, { history: 'all' }, { history: 'sinceJoin' }) as fc.Arbitrary<
  { closed: boolean } | { history: 'all' | 'sinceJoin' }
>;
const after = fc.constantFrom('the head', 'the start', 'where it was');

/** Everybody is there. */
export const beginning: readonly Step[] = devices.map((_, i) => connect(i, true));

const connects = fc.tuple(device, fc.boolean()).map(([i, fresh]) => connect(i, fresh));
const cuts = fc.tuple(device, fc.boolean()).map(([i, clean]) => cut(i, clean));
const deeds: readonly fc.Arbitrary<Step>[] = [
  fc.tuple(device, room, fc.constantFrom(...mids)).map(([i, name, mid]) =>
    deed(i, `publishes ${mid.slice(-1)} in ${name}`, {
      model: (model, by) => model.publish(by, name, mid),
      frame: () => ({ op: 'publish', room: name, mid, body: mid.slice(-1) }),
    }),
  ),
  fc.tuple(device, room, after).map(([i, name, from]) => {
    const seqOf = ({ at }: Device): number | null => (from === 'the start' ? 0 : from === 'the head' ? null : (at.get(name) ?? null));
    return deed(i, `subscribes to ${name} from ${from}`, {
      frame: (by, epoch) => ({ op: 'subscribe', room: name, ...(seqOf(by) === null ? {} : { position: { epoch, seq: seqOf(by) } }) }),
      model: (model, by) => model.subscribe(by, name, seqOf(by)),
    });
  }),
  fc.tuple(device, room, user, fc.constantFrom(...roles)).map(([i, name, whom, role]) =>
    deed(i, `makes ${whom} ${role} of ${name}`, {
      model: (model, by) => model.setMember(by, name, whom, role),
      frame: () => ({ op: 'setMember', room: name, user: whom, role }),
    }),
  ),
  fc.tuple(device, user, fc.constantFrom(...mids)).map(([i, to, mid]) =>
    deed(i, `writes ${mid.slice(-1)} to ${to}`, {
      model: (model, by) => model.direct(by, to, mid),
      frame: () => ({ op: 'direct', to, mid, body: mid.slice(-1) }),
    }),
  ),
  fc.tuple(device, room, fc.boolean()).map(([i, name, closed]) =>
    deed(i, `creates ${closed ? 'private' : 'public'} ${name}`, {
      model: (model, by) => model.create(by, name, closed),
      frame: () => ({ op: 'create', room: name, visibility: closed ? 'private' : 'public' }),
    }),
  ),
  fc
    .tuple(device, room)
    .map(([i, name]) => deed(i, `joins ${name}`, { model: (model, by) => model.join(by, name), frame: () => ({ op: 'join', room: name }) })),
  device.map((i) => deed(i, 'acks', { frame: ({ got }) => ({ op: 'ack', through: got }), model: (model, by) => model.ack(by) })),
  device.map((i) =>
    deed(i, 'resumes', {
      when: ({ at }) => at.size > 0,
      frame: ({ at }, epoch) => ({ op: 'resume', epoch, rooms: Object.fromEntries(at) }),
      model: (model, by) => model.resume(by),
    }),
  ),
  fc.tuple(device, room, settings).map(([i, name, change]) =>
    deed(i, `changes ${name}: ${JSON.stringify(change)}`, {
      model: (model, by) => model.update(by, name, change),
      frame: () => ({ op: 'update', room: name, ...('closed' in change ? { visibility: change.closed ? 'private' : 'public' } : change) }),
    }),
  ),
  fc.tuple(device, room, user).map(([i, name, whom]) =>
    deed(i, `removes ${whom} from ${name}`, {
      model: (model, by) => model.removeMember(by, name, whom),
      frame: () => ({ op: 'removeMember', room: name, user: whom }),
    }),
  ),
  fc
    .tuple(device, room)
    .map(([i, name]) => deed(i, `quits ${name}`, { model: (model, by) => model.leave(by, name), frame: () => ({ op: 'leave', room: name }) })),
  fc
    .tuple(device, room)
    .map(([i, name]) =>
      deed(i, `unsubscribes from ${name}`, { model: (model, by) => model.unsubscribe(by, name), frame: () => ({ op: 'unsubscribe', room: name }) }),
    ),
  fc
    .tuple(device, room)
    .map(([i, name]) => deed(i, `deletes ${name}`, { model: (model, by) => model.delete(by, name), frame: () => ({ op: 'delete', room: name }) })),
];

/** What may happen; who is gone comes back before long. */
export const steps: fc.Arbitrary<Step>[] = [...deeds, ...deeds, connects, connects, connects, cuts, user.map((name) => revoke(name))];

function isOwn(model: RoomModel, by: Device, line: string): boolean {
  const [stream, n] = line.split(' ');
  return stream === 'inbox' && model.isOwn(by, Number(n));
}

/** Each room and the inbox by itself: only there is an order. */
function streams(lines: readonly string[]): string {
  const rank = (line: string) => line.slice(0, line.indexOf(' '));
  return [...lines].sort((a, b) => (rank(a) < rank(b) ? -1 : rank(a) > rank(b) ? 1 : 0)).join(', ');
}
