/** The reading half of the model: answers to queries, computed from its maps. */
import { allRoom, isReserved } from '../src/protocol/names.ts';
import type { Delivery, DeliveryState, RoomSummary } from '../src/protocol/pushes.ts';
import type { EntryRecord, ReadKind, ReadQuery, ReadReply, StoredInbox } from '../src/thread/messages.ts';
import type { ModelRoom, StoreModel } from './store-model.ts';
import { type ModelItem, sizeOf, waiting } from './store-model-inbox.ts';

type Query<K extends ReadKind> = Extract<ReadQuery, { read: K }>;

export function readModel(model: StoreModel, query: ReadQuery): ReadReply[ReadKind] {
  switch (query.read) {
    case 'room':
      return room(model, query);
    case 'entries':
      return entries(model, query);
    case 'position':
      return position(model, query);
    case 'inbox':
      return inbox(model, query);
    case 'rooms':
      return rooms(model, query);
    case 'presence':
      return { users: query.users.map((user) => ({ user, status: 'offline' as const, lastSeen: null, ...model.presence.get(user) })) };
    case 'standing':
      return { disabled: model.barred.disabled(query.user) };
    case 'delivery':
      return delivery(model, query);
  }
}

function room(model: StoreModel, { room: name }: Query<'room'>): ReadReply['room'] {
  const found = model.rooms.get(name);
  if (found === undefined) return { exists: false, visibility: 'public', settings: {}, createdAt: null, headSeq: 0, firstSeq: 1, authSeq: 0, members: [] };
  const members = name === allRoom ? [] : [...found.members].map(([user, member]) => ({ user, ...member })).sort((a, b) => byBytes(a.user, b.user));
  const { exists, settings, createdAt, head, first, auth } = found;
  return { exists, visibility: settings.visibility ?? 'public', settings, createdAt, headSeq: head, firstSeq: first, authSeq: auth, members };
}

function entries(model: StoreModel, { room: name, from, to, limit, bytesMax, kind, descending }: Query<'entries'>): ReadReply['entries'] {
  const found = model.rooms.get(name);
  if (found === undefined) return { entries: [], more: false };
  const all = found.entries.filter(({ seq, kind: is }) => seq >= Math.max(from, found.first) && seq <= to && (kind === null || is === kind));
  const page = cut(descending ? all.reverse() : all, limit, bytesMax, (entry) => entry);
  return { entries: page.map(({ epoch: _, ...entry }) => entry), more: page.length < all.length };
}

function position(model: StoreModel, { room: name, epoch, seq }: Query<'position'>): ReadReply['position'] {
  const found = model.rooms.get(name);
  const head = found?.head ?? 0;
  const at = model.epochs.indexOf(epoch) + 1;
  if (at === 0 || seq > head) return { reason: 'epoch', head };
  if (found !== undefined && seq + 1 < found.first) return { reason: 'trimmed', head };
  return { reason: seq > 0 && (found?.entries[seq - 1]?.epoch ?? 0) > at ? 'epoch' : null, head };
}

function inbox(model: StoreModel, { user, device, after, limit, bytesMax }: Query<'inbox'>): StoredInbox {
  const found = model.inboxes.all.get(user);
  if (found === undefined) return { items: [], losses: [], head: 0 };
  const all = waiting(found).filter(({ n, origin }) => n > after && (origin === null || origin !== device));
  const items = cut(all, limit, bytesMax, ({ entry }) => entry);
  const last = items.length < all.length ? (items.at(-1)?.n ?? 0) : found.items.length;
  const losses: StoredInbox['losses'] = [];
  for (const { n, ended, told } of found.items) {
    if (n <= after || told || (ended !== 'expired' && ended !== 'dropped')) continue;
    const before = losses.at(-1);
    if (before?.to === n - 1 && before.reason === ended) before.to = n;
    else if (n <= last) losses.push({ from: n, to: n, reason: ended });
  }
  return { items: items.map(({ n, entry }) => ({ n, entry })), losses, head: found.items.length };
}

function rooms(model: StoreModel, { user, scope, filter, after, limit }: Query<'rooms'>): ReadReply['rooms'] {
  const wanted = lower(filter);
  const listed = ([name, { settings }]: [string, ModelRoom]) =>
    (settings.visibility ?? 'public') === 'public' && settings.listed !== false && !isReserved(name);
  const all = [...model.rooms]
    .filter(([, found]) => found.exists)
    .filter((one) => (scope === 'mine' ? (one[1].members.get(user)?.role ?? 'banned') !== 'banned' : listed(one)))
    .filter(([name, { settings }]) => lower(name).includes(wanted) || lower(settings.title ?? '').includes(wanted))
    .filter(([name]) => byBytes(name, after) > 0)
    .sort(([a], [b]) => byBytes(a, b));
  const page = all.slice(0, limit).map(([name, found]) => summary(name, found, user, scope));
  return { rooms: page, after: all.length > limit ? (page.at(-1)?.room ?? null) : null };
}

function summary(name: string, { settings, members, head, first, entries: log }: ModelRoom, user: string, scope: 'mine' | 'public'): RoomSummary {
  const member = members.get(user);
  const visibility = settings.visibility ?? 'public';
  const known: RoomSummary = { room: name, title: settings.title ?? null, visibility, members: members.size, head, role: member?.role ?? null };
  if (scope === 'public' || member === undefined) return known;
  const { received, read } = member;
  const unread = log.filter(({ seq, kind, from }) => seq > read && seq >= first && kind === 'message' && from !== user).length;
  return { ...known, received, read, unread: Math.min(1_000, unread) };
}

function delivery(model: StoreModel, { room: name, mid, user }: Query<'delivery'>): ReadReply['delivery'] {
  const found = model.rooms.get(name);
  const entry = found?.entries.find((one) => one.mid === mid && one.seq >= found.first);
  if (found === undefined || entry === undefined) return { sender: null, deliveries: [] };
  const deliveries: ReadReply['delivery']['deliveries'] = [];
  for (const [recipient, { items }] of [...model.inboxes.all].sort(([a], [b]) => byBytes(a, b))) {
    if (user === null ? recipient === entry.from : recipient !== user) continue;
    const marks = found.members.get(recipient);
    // The ledger forgets from the oldest item on.
    const kept = items.findIndex(({ endedAt }) => endedAt === null || endedAt >= model.ts - model.options.ledgerAgeMs);
    for (const item of kept === -1 ? [] : items.slice(kept)) {
      if (item.entry.room === name && item.entry.seq === entry.seq) deliveries.push(deliveryOf(recipient, item, marks));
    }
  }
  return { sender: entry.from, deliveries };
}

function deliveryOf(user: string, item: ModelItem, marks: { received: number; read: number } | undefined): Delivery & { state: DeliveryState } {
  const { seq } = item.entry;
  const { n, queuedAt, sentAt, receivedAt, readAt, ended, endedAt } = item;
  const lost = ended === 'expired' || ended === 'dropped' ? ended : null;
  let state: DeliveryState = 'queued';
  if (sentAt !== null) state = 'sent';
  if (lost !== null) state = lost;
  if (receivedAt !== null || (marks?.received ?? 0) >= seq) state = 'received';
  if (readAt !== null || (marks?.read ?? 0) >= seq) state = 'read';
  return {
    user,
    state,
    n,
    queuedAt,
    ...(sentAt === null ? {} : { sentAt }),
    ...(receivedAt === null ? {} : { receivedAt }),
    ...(readAt === null ? {} : { readAt }),
    ...(lost === null || endedAt === null ? {} : { endedAt, reason: lost === 'expired' ? 'too old' : 'inbox full' }),
  };
}

/** A page: stops at `limit` and before `bytesMax`, but has at least one. */
function cut<T>(all: readonly T[], limit: number, bytesMax: number, entryOf: (one: T) => EntryRecord): T[] {
  let bytes = 0;
  const end = all.findIndex((one, i) => {
    bytes += sizeOf(entryOf(one).body);
    return i > 0 && (i >= limit || bytes > bytesMax);
  });
  return all.slice(0, end === -1 ? all.length : end);
}

function byBytes(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a), Buffer.from(b));
}

function lower(text: string): string {
  return text.replace(/[A-Z]/g, (letter) => letter.toLowerCase());
}
