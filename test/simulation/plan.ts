/** What happens in a simulated cluster beside what follows from it: what devices ask for, and what goes wrong; all drawn from the seed. */
import { allRoom } from '../../src/protocol/names.ts';
import { placeOf } from '../../src/thread/placement.ts';
import type { Pending, SimClient } from './client.ts';
import type { SimNode } from './node.ts';
import { shards, type World } from './world.ts';

const rooms = { open: 'pub', other: 'side', closed: 'priv' } as const;
const actionsFrom = 12;
const actionsTo = 32;
const faultsMax = 5;
/** Messages at once, and the size of each: more than a slow socket takes, so that its rooms fall behind. */
const flood = 12;
const floodBytes = 500;
const names: readonly string[] = Object.values(rooms);
/** How often each, relative to the others. */
const actions = {
  publish: 30,
  direct: 12,
  broadcast: 2,
  again: 5,
  subscribe: 10,
  renew: 2,
  unsubscribe: 3,
  cut: 6,
  leave: 2,
  slow: 4,
  join: 4,
  quit: 2,
  create: 2,
  grant: 5,
  kick: 5,
  settings: 3,
  watch: 4,
  status: 3,
  mark: 3,
  ack: 8,
  ask: 4,
  ephemeral: 3,
  remove: 1,
  end: 1,
  revoke: 1,
} as const;
type Action = keyof typeof actions;
/** What matters most where not everybody may everything. */
const closely: ReadonlySet<Action> = new Set(['subscribe', 'grant', 'kick', 'settings', 'remove', 'end']);
const faults = ['shard', 'writer', 'lost-answer', 'reader', 'node', 'all', 'restore', 'pause', 'full-disk', 'clock', 'backup', 'cut', 'flood'] as const;
type Fault = (typeof faults)[number];

const table: readonly Action[] = (Object.entries(actions) as [Action, number][]).flatMap(([action, weight]) => new Array<Action>(weight).fill(action));

export class Plan {
  readonly #world: World;
  #mids = 0;
  #bodies = 0;

  constructor(world: World) {
    this.#world = world;
  }

  /** Plans everything; returns when it has happened. */
  begin(): number {
    const { scheduler, clientStrand } = this.#world;
    const { random } = scheduler;
    const duration = scheduler.between(200, 2_500);
    scheduler.after(20, clientStrand, () => this.#opening());
    const many = actionsFrom + random.int(actionsTo - actionsFrom);
    for (let i = 0; i < many; i++) scheduler.after(scheduler.between(0, duration), clientStrand, () => this.#act(random.pick(table)));
    const wrong = random.int(faultsMax + 1);
    for (let i = 0; i < wrong; i++) scheduler.after(scheduler.between(0, duration), clientStrand, () => this.#break(random.pick(faults)));
    return duration;
  }

  /** A private room to be let into, and everybody in the open one. */
  #opening(): void {
    const [first] = this.#world.clients;
    first?.request('create', { room: rooms.closed, visibility: 'private' }, () => {});
    for (const client of this.#world.clients) client.following.subscribe(rooms.open);
  }

  #act(action: Action): void {
    const { scheduler, clients } = this.#world;
    const { random } = scheduler;
    const client = random.pick(clients);
    const room = closely.has(action) && scheduler.chance(0.5) ? rooms.closed : random.pick(names);
    const user = random.pick(this.#world.users());
    const ask = (op: string, fields: Record<string, unknown>) => client.state === 'open' && client.request(op, fields, () => {});
    switch (action) {
      case 'publish':
        return this.#say(client, { op: 'publish', fields: { room, body: this.#body() } });
      case 'direct':
        return this.#say(client, { op: 'direct', fields: { to: user, body: this.#body() } });
      case 'broadcast':
        return this.#say(client, { op: 'publish', fields: { room: allRoom, body: this.#body() } });
      case 'again': {
        const said = client.said.concat([...client.pending.values()]);
        if (said.length > 0) client.repeat(random.pick(said), this.#body());
        return;
      }
      case 'subscribe':
        return client.following.subscribe(room, scheduler.chance(0.3));
      case 'renew':
        return client.following.renew(room);
      case 'unsubscribe':
        return client.following.unsubscribe(room);
      case 'cut':
        return client.cut();
      case 'leave':
        client.leave();
        return scheduler.chance(0.8) ? client.later(() => client.connect()) : undefined;
      case 'slow':
        return client.setSlow(!client.slow);
      case 'join':
        return void ask('join', { room });
      case 'quit':
        return void ask('leave', { room });
      case 'create':
        return void ask('create', { room, visibility: scheduler.chance(0.5) ? 'private' : 'public' });
      case 'grant':
        ask('setMember', { room, user, role: random.pick(['member', 'member', 'admin', 'owner']) });
        return this.#lookAround(user, room);
      case 'kick':
        return void ask('removeMember', { room, user });
      case 'settings':
        return void ask('update', {
          room,
          ...random.pick([{ title: 't' }, { history: 'all' }, { history: 'sinceJoin' }, { visibility: 'private' }, { visibility: 'public' }]),
        });
      case 'watch':
        return client.state === 'open' ? client.watch(this.#neighbours(client)) : undefined;
      case 'status':
        if (client.state === 'open') client.show(scheduler.chance(0.6) ? 'away' : 'online');
        return;
      case 'mark': {
        const followed = client.following.rooms.get(room);
        if (followed?.state === 'live' && followed.seq !== null && followed.book.has(followed.seq)) ask('mark', { room, received: followed.seq });
        return;
      }
      case 'ack':
        return client.reading.ack();
      case 'ask':
        ask('history', { room, limit: 5 });
        ask('who', { users: [user] });
        return void ask('rooms', {});
      case 'remove':
        return void ask('delete', { room });
      case 'end':
        void this.#world.node(client.user)?.command({ op: 'delete', room });
        return;
      case 'revoke':
        return this.#world.revoke(user);
      case 'ephemeral':
        return void ask('publish', { room, ephemeral: true, body: 'typing' });
    }
  }

  /** As people do whom somebody has let in: from the first entry that they may see. */
  #lookAround(user: string, room: string): void {
    const { scheduler, clients, clientStrand } = this.#world;
    if (!scheduler.chance(0.8)) return;
    for (const guest of clients) if (guest.user === user) scheduler.after(scheduler.between(1, 300), clientStrand, () => guest.following.subscribe(room, true));
  }

  #break(fault: Fault): void {
    const { scheduler, clients, conditions } = this.#world;
    const { random } = scheduler;
    const index = random.int(this.#world.nodes.length);
    const node = this.#world.nodes[index];
    const soon = (run: (node: SimNode) => void) =>
      scheduler.after(scheduler.between(1, 400), this.#world.clientStrand, () => {
        if (node !== null && node !== undefined && !node.dead) run(node);
      });
    const count = () => conditions.injected(fault);
    switch (fault) {
      case 'shard': {
        const shard = random.int(2);
        if (!node?.killShard(shard)) return;
        soon((one) => one.startShard(shard));
        return count();
      }
      case 'writer':
        if (!node?.killWriter()) return;
        soon((one) => one.startWriter());
        return count();
      case 'reader':
        if (!node?.killReader()) return;
        soon((one) => one.startReader());
        return count();
      case 'node':
        if (!this.#world.canRestore) return this.#break('all');
        if (!this.#world.crashNode(index)) return;
        this.#back(index);
        return count();
      case 'backup':
        if (this.#world.canRestore) this.#world.backup ??= this.#world.model.copy();
        return;
      case 'all':
      case 'restore': {
        const { backup } = this.#world;
        if (fault === 'restore' && backup === null) return;
        this.#world.restartAll(fault === 'restore' ? backup : null);
        this.#world.backup = null;
        for (let each = 0; each < this.#world.nodes.length; each++) this.#back(each);
        return count();
      }
      case 'pause': {
        if (node === null || node === undefined) return;
        scheduler.pause(random.pick(node.strands), scheduler.between(5, 1_500));
        return count();
      }
      case 'lost-answer':
        conditions.faults.dieNext = true;
        return;
      case 'full-disk':
        conditions.faults.fullUntil = scheduler.now + scheduler.between(5, 400);
        return;
      case 'clock':
        if (node !== null && node !== undefined) node.skewMs += scheduler.between(-60_000, 60_000);
        return count();
      case 'cut':
        for (const client of clients) if (scheduler.chance(0.7)) client.cut();
        return count();
      case 'flood':
        this.#flood();
        return count();
    }
  }

  /** Somebody does not read while others write much; his shard dies while he is fed what he missed, or he asks anew, or neither. */
  #flood(): void {
    const { scheduler, clients, clientStrand } = this.#world;
    const reader = scheduler.random.pick(clients);
    const writer = scheduler.random.pick(clients);
    const soon = (ms: number, run: () => void) => scheduler.after(scheduler.between(1, ms), clientStrand, run);
    reader.setSlow(true);
    for (let i = 0; i < flood; i++) soon(100, () => this.#say(writer, { op: 'publish', fields: { room: rooms.open, body: this.#body().padEnd(floodBytes) } }));
    if (scheduler.chance(0.5)) soon(200, () => reader.following.renew(rooms.open));
    soon(400, () => reader.setSlow(false));
    if (scheduler.chance(0.3)) return;
    const shard = placeOf(rooms.open, shards);
    soon(400, () => {
      const node = this.#world.node(reader.user);
      if (node?.dead === false && node.killShard(shard)) soon(400, () => !node.dead && node.startShard(shard));
    });
  }

  #back(index: number): void {
    const { scheduler, clientStrand } = this.#world;
    scheduler.after(scheduler.between(1, 400), clientStrand, () => {
      if (this.#world.nodes[index] === null) this.#world.startNode(index);
    });
  }

  #say(client: SimClient, message: Pick<Pending, 'op' | 'fields'>): void {
    if (client.state === 'stopped') return;
    const mid = `0199b000-0000-7000-8000-${(++this.#mids).toString(16).padStart(12, '0')}`;
    client.say({ ...message, mid, sent: false });
  }

  #body(): string {
    const { scheduler } = this.#world;
    return `${++this.#bodies}${scheduler.chance(0.1) ? ' '.repeat(300) : ''}`;
  }

  #neighbours(client: SimClient): string[] {
    return this.#world.users().filter((user) => this.#world.homeOf(user) === this.#world.homeOf(client.user) && this.#world.scheduler.chance(0.6));
  }
}
