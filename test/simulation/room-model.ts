/**
 * What the hub promises about rooms, members and inboxes, once more and as simply as can be: no threads, no store, no order but
 * that of the commands. `machine.ts` holds the real one against it; nothing here is taken from the code under test.
 */
export type Role = 'owner' | 'admin' | 'moderator' | 'member' | 'muted' | 'invited' | 'banned';
type Entry = { seq: number; kind: string; mid: string; from: string };
type Settings = { closed: boolean; history: 'all' | 'sinceJoin' | null };
type Room = Settings & { exists: boolean; head: number; first: number; members: Map<string, { role: Role; since: number }>; log: Entry[] };
type Item = { room: string; seq: number; origin: string | null };
/** `at`: how far it has seen each room; `got`: its inbox. `told`: what it must hear next. */
export type Device = { user: string; label: string; open: boolean; token: number; follows: Set<string>; at: Map<string, number>; got: number; told: string[] };
/** `ok` or `duplicate`, or the code of the refusal. */
export type Answer = string;

const managers = 'owner admin moderator';
const speakers = `${managers} member`;
/** Who may in a public room, and who in a private one. */
const rights = {
  follow: [`${speakers} muted invited stranger`, `${speakers} muted`],
  publish: [`${speakers} invited stranger`, speakers],
  join: [`${speakers} muted invited stranger`, `${speakers} muted invited`],
  leave: [`${speakers} invited stranger`, `${speakers} muted invited`],
  manage: [managers, managers],
  update: ['owner admin', 'owner admin'],
  delete: ['owner', 'owner'],
} as const;
const rank: Record<string, number> = { owner: 3, admin: 2, moderator: 1 };

export class RoomModel {
  readonly rooms = new Map<string, Room>();
  readonly devices: Device[];
  readonly #inboxes = new Map<string, { items: Item[]; acked: Map<string, number> }>();
  readonly #revokedAt = new Map<string, number>();
  readonly #autoCreate: boolean;

  constructor(devices: readonly (readonly [user: string, label: string])[], autoCreate: boolean) {
    this.#autoCreate = autoCreate;
    this.devices = devices.map(([user, label]) => ({ user, label, open: false, token: 0, follows: new Set(), at: new Map(), got: 0, told: [] }));
  }

  /** With a token of before he was revoked, nobody comes in. */
  connect(device: Device, now: number, fresh: boolean): Answer {
    if (fresh) device.token = now;
    if (device.token <= (this.#revokedAt.get(device.user) ?? -1)) return 'closed';
    const { items, acked } = this.#inbox(device.user);
    if (!acked.has(device.label)) acked.set(device.label, acked.size === 0 ? 0 : Math.min(...acked.values()));
    device.open = true;
    device.got = acked.get(device.label) ?? 0;
    for (let n = device.got + 1; n <= items.length; n++) this.#item(device, n);
    return 'ok';
  }

  cut(device: Device): void {
    device.open = false;
    device.follows.clear();
  }

  revoke(user: string, now: number): Answer {
    this.#revokedAt.set(user, now);
    for (const device of this.devices) if (device.user === user) this.cut(device);
    return 'ok';
  }

  create({ user }: Device, name: string, closed: boolean): Answer {
    const room = this.room(name);
    if (room.exists) return 'exists';
    Object.assign(room, { exists: true, closed, history: null, members: new Map([[user, { role: 'owner', since: room.head + 1 }]]) });
    return this.#append(name, 'created', user);
  }

  update({ user }: Device, name: string, change: Partial<Settings>): Answer {
    const refused = this.#refused('update', name, user);
    Object.assign(this.room(name), refused === null ? change : {});
    return refused ?? this.#append(name, 'settings', user);
  }

  /** Whoever follows hears of the end, and then nothing. */
  delete({ user }: Device, name: string): Answer {
    const refused = this.#refused('delete', name, user);
    if (refused !== null) return refused;
    const room = this.room(name);
    const followers = this.devices.filter(({ follows }) => follows.has(name));
    Object.assign(room, { exists: false, closed: false, history: null, first: room.head + 1, members: new Map() });
    this.#append(name, 'deleted', user);
    for (const device of followers) this.#drop(device, name, 'not-found');
    return 'ok';
  }

  join({ user }: Device, name: string): Answer {
    const role = this.#role(name, user);
    const refused = this.#refused('join', name, user);
    return refused ?? (role === 'stranger' || role === 'invited' ? this.#setRole(name, user, user, 'member') : 'ok');
  }

  leave({ user }: Device, name: string): Answer {
    return this.#refused('leave', name, user) ?? (this.#role(name, user) === 'stranger' ? 'ok' : this.#remove(name, user, user));
  }

  setMember({ user: by }: Device, name: string, user: string, to: Role): Answer {
    const [mine, from] = [this.#role(name, by), this.#role(name, user)];
    const refused = this.#refused('manage', name, by);
    if (refused !== null || from === to) return refused ?? 'ok';
    const invitesMember = from !== 'stranger' && to === 'invited';
    if (!above(mine, from) || !above(mine, to) || from === 'banned' || this.#lastOwner(name, user) || invitesMember) return 'forbidden';
    this.#setRole(name, by, user, to);
    if (from === 'stranger' && to !== 'muted' && to !== 'banned') this.#deliver(user, { room: name, seq: this.room(name).head, origin: null });
    return 'ok';
  }

  removeMember({ user: by }: Device, name: string, user: string): Answer {
    const refused = this.#refused('manage', name, by) ?? (this.#role(name, user) === 'stranger' ? 'not-found' : null);
    return refused ?? (above(this.#role(name, by), this.#role(name, user)) ? this.#remove(name, by, user) : 'forbidden');
  }

  publish({ user }: Device, name: string, mid: string): Answer {
    return this.#refused('publish', name, user) ?? this.#say(name, user, mid);
  }

  /** Into both inboxes, his own for the sake of his other devices. */
  direct({ user, label }: Device, to: string, mid: string): Answer {
    const name = `dm:${[user, to].sort().join(':')}`;
    const answer = this.#say(name, user, mid);
    const others = [...this.#inbox(user).acked.keys()].some((one) => one !== label);
    if (answer !== 'ok') return answer;
    const { head: seq } = this.room(name);
    if (to !== user) this.#deliver(to, { room: name, seq, origin: null });
    if (others) this.#deliver(user, { room: name, seq, origin: label });
    return answer;
  }

  /** `after` null: the head. */
  subscribe(device: Device, name: string, after: number | null): Answer {
    return this.#refused('follow', name, device.user) ?? this.#follow(device, name, after ?? this.room(name).head);
  }

  resume(device: Device): Answer {
    for (const [name, seq] of device.at) {
      const refused = this.#refused('follow', name, device.user);
      if (refused === null) this.#follow(device, name, seq);
      else this.#drop(device, name, refused);
    }
    return 'ok';
  }

  unsubscribe(device: Device, name: string): Answer {
    device.follows.delete(name);
    return 'ok';
  }

  /** Everything that it got. */
  ack({ user, label, got }: Device): Answer {
    const { items, acked } = this.#inbox(user);
    let through = Math.max(acked.get(label) ?? 0, got);
    while (items[through]?.origin === label) through++;
    acked.set(label, through);
    return 'ok';
  }

  /** Items that a device may be given though it said them itself. */
  isOwn({ user, label }: Device, n: number): boolean {
    return this.#inbox(user).items[n - 1]?.origin === label;
  }

  room(name: string): Room {
    const room = this.rooms.get(name) ?? { exists: false, closed: false, history: null, head: 0, first: 1, members: new Map(), log: [] };
    this.rooms.set(name, room);
    return room;
  }

  #inbox(user: string): { items: Item[]; acked: Map<string, number> } {
    const inbox = this.#inboxes.get(user) ?? { items: [], acked: new Map() };
    this.#inboxes.set(user, inbox);
    return inbox;
  }

  #role(name: string, user: string): Role | 'stranger' {
    return this.room(name).members.get(user)?.role ?? 'stranger';
  }

  /** To whom a room is not known, it does not exist. */
  #refused(right: keyof typeof rights, name: string, user: string): Answer | null {
    const { exists, closed } = this.room(name);
    const role = this.#role(name, user);
    if (!exists) return this.#autoCreate && (right === 'follow' || right === 'publish') ? null : 'not-found';
    if (rights[right][closed ? 1 : 0].split(' ').includes(role)) return null;
    return closed && (role === 'stranger' || role === 'banned') ? 'not-found' : 'forbidden';
  }

  #lastOwner(name: string, user: string): boolean {
    const owners = [...this.room(name).members].filter(([, { role }]) => role === 'owner');
    return owners.length === 1 && owners[0]?.[0] === user;
  }

  #setRole(name: string, by: string, user: string, role: Role): Answer {
    const { members, head } = this.room(name);
    members.set(user, { role, since: members.get(user)?.since ?? head + 1 });
    return this.#append(name, 'member', by);
  }

  #remove(name: string, by: string, user: string): Answer {
    const { members } = this.room(name);
    const others = [...members].some(([other, { role }]) => other !== user && role !== 'invited' && role !== 'banned');
    if (this.#lastOwner(name, user) && others) return 'forbidden';
    members.delete(user);
    return this.#append(name, 'member', by);
  }

  #say(name: string, user: string, mid: string): Answer {
    const room = this.room(name);
    const before = room.log.find((entry) => entry.mid === mid && entry.seq >= room.first);
    if (before !== undefined) return before.from === user ? 'duplicate' : 'conflict';
    room.exists = true;
    return this.#append(name, 'message', user, mid);
  }

  /** Who may not follow any more hears nothing of it; the others do. */
  #append(name: string, kind: string, from: string, mid = ''): Answer {
    const room = this.room(name);
    room.log.push({ seq: ++room.head, kind, mid, from });
    for (const device of this.devices.filter(({ follows }) => follows.has(name))) {
      const refused = kind === 'deleted' ? null : this.#refused('follow', name, device.user);
      if (refused === null) this.#entry(device, name, room.head);
      else this.#drop(device, name, refused);
    }
    return 'ok';
  }

  #follow(device: Device, name: string, after: number): Answer {
    const { first, head, closed, history, members } = this.room(name);
    const since = history === 'sinceJoin' || (history === null && closed) ? (members.get(device.user)?.since ?? 0) : 0;
    const from = Math.max(after + 1, first, since);
    if (from > after + 1) device.told.push(`${name} gap ${after + 1}-${from - 1} ${since > first ? 'forbidden' : 'trimmed'}`);
    device.follows.add(name);
    device.at.set(name, from - 1);
    for (let seq = from; seq <= head; seq++) this.#entry(device, name, seq);
    return 'ok';
  }

  #drop(device: Device, name: string, reason: string): void {
    device.follows.delete(name);
    device.told.push(`${name} unsubscribed ${reason}`);
  }

  #entry(device: Device, name: string, seq: number): void {
    const { kind, from, mid } = this.room(name).log[seq - 1] as Entry;
    device.at.set(name, seq);
    device.told.push(`${name} ${seq} ${kind} ${from} ${mid}`.trim());
  }

  #deliver(user: string, item: Item): void {
    const { items, acked } = this.#inbox(user);
    const n = items.push(item);
    if (item.origin !== null && acked.get(item.origin) === n - 1) acked.set(item.origin, n);
    for (const device of this.devices) if (device.user === user && device.open) this.#item(device, n);
  }

  /** What a device said itself it has. */
  #item(device: Device, n: number): void {
    const { room, seq, origin } = this.#inbox(device.user).items[n - 1] as Item;
    if (origin === device.label) return;
    device.got = n;
    device.told.push(`inbox ${n} ${room} ${seq}`);
  }
}

/** An owner manages everybody, the others those below them. */
function above(mine: string, other: string): boolean {
  return mine === 'owner' || (rank[other] ?? 0) < (rank[mine] ?? 0);
}
