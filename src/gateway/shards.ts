/**
 * The gateway's ends of the links to the shards, and what each shard was told of whom. A shard without a thread has no link:
 * what is for it is refused with `busy` by those who ask `ready` first.
 */
import type { MessagePort } from 'node:worker_threads';
import { Link, linkLimitDefaults } from '../thread/link.ts';
import type { RoomKey, ToGateway, ToShard } from '../thread/messages.ts';
import type { Sender, Slot } from './connection.ts';

export type ShardLink = Link<ToShard, ToGateway>;
export type Shard = {
  readonly index: number;
  link: ShardLink | null;
  /** How many threads it has had. */
  incarnations: number;
  /** Kept by backlog.ts. `due`: the next frame takes a probe along. `left`: frames until senders wait. `late`: so far behind that commands are refused. */
  due: boolean;
  left: number;
  late: boolean;
  readonly slots: Map<RoomKey, Slot>;
  /** The same by the room's name. */
  readonly named: Map<string, Slot>;
};

export class Shards {
  readonly all: readonly Shard[];
  /** Called when a probe is due. */
  probing: (shard: Shard) => void = () => {};

  constructor(count: number) {
    this.all = Array.from({ length: count }, (_, index) => ({
      index,
      link: null,
      incarnations: 0,
      due: true,
      left: Number.POSITIVE_INFINITY,
      late: false,
      slots: new Map<RoomKey, Slot>(),
      named: new Map<string, Slot>(),
    }));
  }

  get(index: number): Shard {
    const shard = this.all[index];
    if (shard === undefined) throw new Error(`there is no shard ${index}`);
    return shard;
  }

  /** Whether a command for the shard can be taken. */
  ready(index: number): boolean {
    const { link, late } = this.get(index);
    return link !== null && !late && !link.full;
  }

  connect(
    shard: Shard,
    port: MessagePort,
    handlers: { batch(shard: Shard, list: (number | ToGateway)[], arena: Buffer): void; closed(shard: Shard): void },
  ): void {
    shard.link?.close();
    // The gateway refuses commands when its batch is full; what shards say it takes always, so that the two never wait for each other.
    const limits = { ...linkLimitDefaults, keepsCredit: false };
    const link: ShardLink = new Link<ToShard, ToGateway>(
      port,
      {
        batch: (list, arena) => {
          if (shard.link === link) handlers.batch(shard, list, arena);
        },
        closed: () => {
          if (shard.link === link) handlers.closed(shard);
        },
      },
      limits,
    );
    shard.link = link;
    shard.incarnations++;
  }

  tell(index: number, message: ToShard): void {
    this.get(index).link?.push(message);
  }

  /** Makes the sender known to the shard, before anything else of it goes there. */
  open(sender: Sender, index: number): void {
    if (sender.opened[index]) return;
    const { link } = this.get(index);
    if (link === null) return;
    sender.opened[index] = true;
    const { number: connection, user, device, format, service } = sender;
    link.push({ t: 'open', connection, user, device, format, service, scopes: [...sender.scopes] });
  }

  /** A frame of a command; the shard must be `ready`. */
  frame(sender: Sender, index: number, bytes: Uint8Array): void {
    this.open(sender, index);
    const shard = this.get(index);
    const { link } = shard;
    if (link === null) return;
    link.frame(sender.number, bytes);
    if (shard.due) this.probing(shard);
    if (--shard.left <= 0) sender.waitsFor = index;
  }

  /** The sender's scopes have changed. */
  rescope(sender: Sender): void {
    for (let index = 0; index < this.all.length; index++)
      if (sender.opened[index]) this.tell(index, { t: 'scopes', connection: sender.number, scopes: [...sender.scopes] });
  }

  close(sender: Sender, clean: boolean): void {
    for (let index = 0; index < this.all.length; index++) {
      if (!sender.opened[index]) continue;
      sender.opened[index] = false;
      this.tell(index, { t: 'close', connection: sender.number, clean });
    }
  }
}
