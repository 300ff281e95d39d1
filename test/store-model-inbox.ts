/** The inboxes of the model: every item that ever was, and every device's cursor. */
import type { StoreOptions } from '../src/persistence/store.ts';
import type { EntryRecord, InboxItem, InboxLoss } from '../src/thread/messages.ts';

export type ModelItem = {
  n: number;
  entry: EntryRecord;
  origin: string | null;
  bytes: number;
  queuedAt: number;
  sentAt: number | null;
  receivedAt: number | null;
  readAt: number | null;
  ended: 'received' | 'expired' | 'dropped' | null;
  endedAt: number | null;
  /** A loss that every device knows of. */
  told: boolean;
};
export type ModelInbox = { items: ModelItem[]; sent: number; received: number; devices: Map<string, { acked: number; seenAt: number }> };

type Notices = (InboxItem | InboxLoss)[];

export class ModelInboxes {
  readonly all = new Map<string, ModelInbox>();
  readonly #options: StoreOptions;
  readonly #now: () => number;

  constructor(options: StoreOptions, now: () => number) {
    this.#options = options;
    this.#now = now;
  }

  of(user: string): ModelInbox {
    const inbox = this.all.get(user) ?? { items: [], sent: 0, received: 0, devices: new Map() };
    this.all.set(user, inbox);
    return inbox;
  }

  deliver(user: string, entry: EntryRecord, bytes: number, origin: string | null, notices: Notices): void {
    const inbox = this.of(user);
    const dropped: ModelItem[] = [];
    while (this.overflows(user, bytes, dropped)) dropped.push(waiting(inbox)[dropped.length] as ModelItem);
    this.lose(user, dropped, 'dropped', notices);
    const n = inbox.items.length + 1;
    const none = { sentAt: null, receivedAt: null, readAt: null, ended: null, endedAt: null, told: false };
    inbox.items.push({ n, entry, origin, bytes, queuedAt: this.#now(), ...none });
    const own = origin === null ? undefined : inbox.devices.get(origin);
    if (own?.acked === n - 1) own.acked = n;
    notices.push({ t: 'inbox', user, n, entry, origin });
  }

  overflows(user: string, bytes: number, without: readonly ModelItem[] = []): boolean {
    const items = waiting(this.of(user)).slice(without.length);
    const { inboxItemsMax, inboxBytesMax } = this.#options;
    return items.length > 0 && (items.length + 1 > inboxItemsMax || items.reduce((sum, item) => sum + item.bytes, bytes) > inboxBytesMax);
  }

  lose(user: string, items: readonly ModelItem[], reason: 'expired' | 'dropped', notices: (InboxItem | InboxLoss)[]): void {
    let last: InboxLoss | undefined;
    for (const item of items) {
      item.ended = reason;
      item.endedAt = this.#now();
      if (last?.to === item.n - 1) last.to = item.n;
      else {
        last = { t: 'inbox-loss', user, from: item.n, to: item.n, reason };
        notices.push(last);
      }
    }
  }

  /** What every device has passed is done with. */
  settle(inbox: ModelInbox): void {
    const lowest = Math.min(...[...inbox.devices.values()].map(({ acked }) => acked));
    if (inbox.devices.size === 0) return;
    for (const item of inbox.items.slice(0, lowest)) {
      item.told = true;
      if (item.ended !== null) continue;
      item.ended = 'received';
      item.endedAt = this.#now();
    }
  }

  /** What the ledger forgets, from the oldest item on, is nobody's own word any more: a device that lacked it is told of it as lost. */
  upkeep(inbox: ModelInbox): void {
    this.settle(inbox);
    const before = this.#now() - this.#options.ledgerAgeMs;
    const kept = inbox.items.findIndex(({ endedAt }) => endedAt === null || endedAt >= before);
    for (const item of inbox.items.slice(0, kept === -1 ? inbox.items.length : kept)) item.origin = null;
  }

  sent(user: string, through: number): void {
    const inbox = this.of(user);
    for (const item of inbox.items) if (item.n > inbox.sent && item.n <= through && item.ended === null) item.sentAt ??= this.#now();
    inbox.sent = Math.max(inbox.sent, Math.min(through, inbox.items.length));
  }

  ack(user: string, label: string, through: number): void {
    const inbox = this.of(user);
    const device = inbox.devices.get(label);
    if (device === undefined) return;
    device.seenAt = this.#now();
    device.acked = Math.max(device.acked, Math.min(through, inbox.items.length));
    for (const item of inbox.items) if (item.n > inbox.received && item.n <= device.acked && item.ended === null) item.receivedAt ??= this.#now();
    inbox.received = Math.max(inbox.received, device.acked);
    while (inbox.items[device.acked]?.origin === label) device.acked++;
    this.settle(inbox);
  }

  newDevice(user: string, device: string, devicesMax: number, isConnected: (device: string) => boolean): { acked: number; seenAt: number } {
    const inbox = this.of(user);
    const first = inbox.items.find((item) => item.ended === null || (item.ended !== 'received' && !item.told));
    const added = { acked: first === undefined ? inbox.items.length : first.n - 1, seenAt: this.#now() };
    const byUse = [...inbox.devices].sort(([a, x], [b, y]) => Number(isConnected(a)) - Number(isConnected(b)) || x.seenAt - y.seenAt || (a < b ? -1 : 1));
    const excess = inbox.devices.size + 1 - devicesMax;
    for (const [label] of byUse.slice(0, Math.max(0, excess))) inbox.devices.delete(label);
    inbox.devices.set(device, added);
    return added;
  }
}

export function waiting(inbox: ModelInbox): ModelItem[] {
  return inbox.items.filter((item) => item.ended === null);
}

export function sizeOf(body: EntryRecord['body']): number {
  return body === null ? 0 : Buffer.byteLength(body);
}
