/** What must hold when a simulated cluster has come to rest: the history's invariants, and what devices, gateways and store hold. */
import type { Settings } from '../../src/protocol/commands.ts';
import type { Entry, MemberBody, Status } from '../../src/protocol/pushes.ts';
import { checkHistory, commandsEnd, invariants } from '../../src/testing/checker.ts';
import type { Entitlement, HistoryEvent } from '../../src/testing/recorder.ts';
import type { EntryRecord } from '../../src/thread/messages.ts';
import type { SimClient } from './client.ts';
import type { World } from './world.ts';

/** Writes the logs as they stand into the history. */
export function recordLogs({ recorder, model }: World): void {
  for (const [name, room] of model.rooms) {
    const entries = room.entries.filter(({ seq }) => seq >= room.first).map(entryOf);
    recorder.log(name, model.epoch, room.head, entries, entitlementOf(entries));
    for (const [user, { sinceSeq, received, read }] of room.members) if (received >= sinceSeq) recorder.mark(user, name, received, read);
  }
}

/** A life of the data has ended: what it was is judged without what had not ended in it. */
export function judgeLife(world: World): string[] {
  const events = present(world, world.recorder.events);
  return Object.values(invariants)
    .filter((invariant) => invariant !== commandsEnd)
    .flatMap((invariant) => invariant(events));
}

export function judge(world: World): string[] {
  const found = checkHistory(present(world, world.recorder.events));
  for (const client of world.clients) found.push(...devices(world, client));
  found.push(...senders(world), ...connections(world), ...presence(world), ...members(world));
  found.push(...world.admitted().map((name) => `${name} is open on a token that was revoked`));
  return found;
}

/** The history without what a restored backup took back, or a deletion. */
function present(world: World, events: readonly HistoryEvent[]): HistoryEvent[] {
  // What a deleted room kept is gone, and its mids may have come again.
  const kept = events.map((event): HistoryEvent => {
    const isGone = event.t === 'ok' && event.seq !== undefined && event.seq < (world.model.rooms.get(event.room ?? '')?.first ?? 1);
    return isGone ? { t: 'ok', client: event.client, id: event.id } : event;
  });
  if (world.cuts.length === 0) return kept;
  return kept.filter((event, i) => {
    if (event.t === 'log' || event.t === 'mark') return i >= (world.cuts.at(-1)?.at ?? 0);
    if ((event.t !== 'ok' && event.t !== 'entry' && event.t !== 'item') || event.room === undefined || event.seq === undefined) return true;
    const { room, seq } = event;
    return world.cuts.every(({ at, heads }) => i >= at || seq <= (heads.get(room) ?? 0));
  });
}

/** What one device believes is so, and nothing is left to be done. */
function devices(world: World, client: SimClient): string[] {
  const { model } = world;
  const found: string[] = [];
  const who = `${client.user}/${client.device} (${client.name})`;
  for (const [name, { state, seq, book, trimmed }] of client.following.rooms) {
    const room = model.rooms.get(name);
    const head = room?.head ?? 0;
    if (trimmed >= (room?.first ?? 1)) found.push(`${who} was told that ${name} is trimmed through ${trimmed}`);
    // Who is gone for good remembers another life of the data.
    if (client.state !== 'open' || state !== 'live') book.clear();
    for (const [at, mid] of book) {
      const entry = room?.entries[at - 1];
      if (at < (room?.first ?? 1)) continue;
      if (entry?.mid !== mid) found.push(`${who} saw ${mid} at ${name} ${at}, where ${entry?.mid} stands`);
    }
    if (client.state === 'open' && (state !== 'live' || (seq !== null && seq !== head)))
      found.push(`${who} is ${state} in ${name} at ${seq}, the head is ${head}`);
  }
  if (client.state === 'away' || client.state === 'opening') found.push(`${who} is ${client.state} in the end`);
  if (client.state !== 'open') return found;
  for (const { mid } of client.pending.values()) found.push(`${who}: ${mid} was never answered`);
  return found.concat(inbox(world, client, who));
}

/** Every item of the user that was not this device's own reached it, and each number means one item. */
function inbox(world: World, { user, device, reading }: SimClient, who: string): string[] {
  const { items } = world.model.inboxes.of(user);
  // Nobody tells a node what another one's writer put into an inbox: it comes with whatever is next, or at the next hello.
  const announced = items.findLast(({ entry }) => world.homeOf(entry.from ?? '') === world.homeOf(user))?.n ?? 0;
  return items.flatMap(({ n, entry, origin, ended }) => {
    const seen = reading.items.get(n);
    const is = `${entry.room} ${entry.seq} ${entry.mid}`;
    if (seen !== undefined && seen !== is) return [`${who} saw item ${n} as ${seen}, it is ${is}`];
    if (seen !== undefined || n <= (reading.begin ?? 0) || n > announced || origin === device || reading.lost_.has(n) || ended !== null) return [];
    return [`${who} never saw item ${n} (${is}); the last was ${reading.last}`];
  });
}

/** Nobody's message stands in a private room at a place where he was no member. */
function senders({ model }: World): string[] {
  const found: string[] = [];
  for (const [name, { entries }] of model.rooms) {
    if (name.startsWith('dm:') || name === 'all:') continue;
    const members = new Set<string>();
    let closed = false;
    for (const entry of entries) {
      const body =
        entry.kind === 'message' ? null : (JSON.parse(String(entry.body)) as { settings?: Settings; owner?: string | null } & Settings & Partial<MemberBody>);
      if (entry.kind === 'created' || entry.kind === 'deleted') members.clear();
      if (entry.kind === 'deleted') closed = false;
      if (entry.kind === 'created') {
        closed = body?.settings?.visibility === 'private';
        if (typeof body?.owner === 'string') members.add(body.owner);
      } else if (entry.kind === 'settings') closed = (body?.visibility ?? (closed ? 'private' : 'public')) === 'private';
      else if (entry.kind === 'member' && body?.user !== undefined) {
        if (body.role === null) members.delete(body.user);
        else members.add(body.user);
      } else if (entry.kind === 'message' && closed && !members.has(entry.from ?? '')) found.push(`${entry.from} was no member of ${name} at ${entry.seq}`);
    }
  }
  return found;
}

/** The store knows of exactly the connections that gateways hold open. */
function connections(world: World): string[] {
  const open = world.openNumbers().sort();
  const stored = world.model.connections.map(({ connection }) => connection).sort();
  return open.join() === stored.join() ? [] : [`open are [${open}], the store has [${stored}]`];
}

/** Every node that holds a room has the store's members of it: nobody came back with a room that was deleted. */
function members({ model, membersTold }: World): string[] {
  return membersTold.flatMap(({ node, room: name, answer }) => {
    const room = model.rooms.get(name);
    const is = ((answer.members ?? []) as { user: string; role: string }[]).map(({ user, role }) => `${user} ${role}`).sort();
    const ought = room?.exists ? [...room.members].map(([user, { role }]) => `${user} ${role}`).sort() : [];
    return is.join() === ought.join() ? [] : [`node ${node} says that ${name} has [${is}], the store has [${ought}]`];
  });
}

function presence(world: World): string[] {
  const found: string[] = [];
  const now = new Map(world.users().map((user) => [user, statusOf(world, user)]));
  for (const [user, status] of now) {
    const stored = world.model.presence.get(user)?.status ?? 'offline';
    if (stored !== status) found.push(`${user} is ${status}, the store has ${stored}`);
  }
  for (const client of world.clients) {
    if (client.state !== 'open') continue;
    for (const [user, told] of client.watched)
      if (told !== now.get(user)) found.push(`${client.name} was told that ${user} is ${told}; he is ${now.get(user)}`);
  }
  return found;
}

function statusOf({ clients }: World, user: string): Status {
  const open = clients.filter((client) => client.user === user && client.state === 'open');
  if (open.length === 0) return 'offline';
  return open.every(({ away }) => away) ? 'away' : 'online';
}

/** Who may see what: by how the room began. A public room that became private is judged as public. */
function entitlementOf(entries: readonly Entry[]): Entitlement {
  const settings = entries.filter(({ kind }) => kind === 'settings').map(({ body }) => body as Record<string, unknown>);
  const [first] = entries;
  const body = first?.kind === 'created' ? (first.body as { settings: { visibility?: string } }) : null;
  if (body?.settings.visibility !== 'private' || settings.some(({ visibility }) => visibility === 'public')) return 'public';
  return settings.some(({ history }) => history === 'all') ? 'all' : 'sinceJoin';
}

function entryOf({ room, seq, kind, mid, from, ts, body }: EntryRecord): Entry {
  return { room, seq, kind, mid, from, ts, body: kind === 'message' ? null : JSON.parse(String(body)) } as Entry;
}
