/**
 * What the page does with the hub: follows every conversation of the user, sends, and keeps who is there. The view is told
 * that something changed and reads the rest from here; nothing here touches the DOM.
 */
import { connect, dmName, dmUsers, type Entry, type Hub, HubError, type Presence, type Room, type State, type Status } from '../client/index.ts';
import { Conversation } from './conversation.ts';

const firstRoom = 'general';
const pageSize = 50;
/** Conversations followed from the list of the hub; more can be opened by name. */
const followedMax = 200;
const typingMs = 3_000;
const reconnectMs = 5_000;

export type ChatEvents = {
  changed(): void;
  notice(text: string): void;
};

export class Chat {
  readonly me: string;
  readonly conversations = new Map<string, Conversation>();
  readonly presence = new Map<string, Status>();
  active: Conversation | null = null;
  /** The window shows the page: what is in the active conversation counts as read. */
  attentive = true;
  readonly #hub: Hub;
  readonly #events: ChatEvents;
  readonly #watched = new Set<string>();
  #typingPause: ReturnType<typeof setTimeout> | undefined;

  constructor(url: string | URL, me: string, events: ChatEvents) {
    this.me = me;
    this.#events = events;
    // Whoever sits before the page waits for it.
    this.#hub = connect(url, { user: me, backoff: { maxMs: reconnectMs } });
    this.#hub.on('state', () => events.changed());
    this.#hub.on('inbox', (item) => this.#inbox(item));
    this.#hub.on('inbox-gap', ({ from, to, reason }) => events.notice(`${to - from + 1} waiting messages were ${reason} before you came back.`));
    this.#hub.on('inbox-stopped', () => events.notice('Your waiting messages are held back for a while: one of them gave the hub trouble.'));
    this.#hub.on('gap', ({ room, from, to }) => events.notice(`Messages ${from} to ${to} of ${room} are no longer available.`));
    this.#hub.on('broadcast', ({ from, body }) =>
      events.notice(`${from ?? 'The hub'} to everybody: ${typeof body === 'string' ? body : JSON.stringify(body)}`),
    );
    this.#hub.on('presence', (presence) => this.#present([presence]));
    this.#hub.on('error', (error) => this.#problem(error));
  }

  get state(): State {
    return this.#hub.state;
  }

  /** Follows what the user has joined, and where that is nothing the first room. `wanted`: what to open, if it is there. */
  async start(wanted: string | null): Promise<void> {
    await this.#hub.ready;
    this.#watch([this.me]);
    const { rooms } = await this.#hub.command('rooms', { scope: 'mine', limit: followedMax });
    for (const summary of rooms) this.#conversation(summary.room).listed(summary);
    this.#events.changed();
    await Promise.all([...this.conversations.values()].map((conversation) => this.#follow(conversation)));
    const known = wanted === null ? undefined : this.conversations.get(wanted);
    const room = known ?? [...this.conversations.values()].find(({ other }) => other === null);
    if (room === undefined) await this.join(firstRoom);
    else await this.open(room);
  }

  /** Creates the room, or joins the one there is. */
  async join(name: string): Promise<void> {
    const room = name.normalize('NFC').trim();
    const partner = partnerIn(room, this.me);
    if (partner !== null) return this.write(partner);
    try {
      await this.#hub.command('create', { room, visibility: 'public', listed: true });
    } catch (error) {
      if (!(error instanceof HubError) || error.code !== 'exists') throw error;
      await this.#hub.command('join', { room });
    }
    await this.open(this.#conversation(room));
  }

  /** Opens the direct conversation with `user`. */
  async write(user: string): Promise<void> {
    const name = dmName(this.me, user.normalize('NFC').trim());
    if (dmUsers(name) === null) throw new Error(`${user.trim()} is not a user name`);
    await this.open(this.#conversation(name));
  }

  async open(conversation: Conversation): Promise<void> {
    this.active = conversation;
    this.#events.changed();
    await this.#follow(conversation);
    if (!conversation.loaded) await this.earlier(conversation);
    this.look();
  }

  async leave(conversation: Conversation): Promise<void> {
    if (conversation.other === null) await this.#hub.command('leave', { room: conversation.name });
    conversation.room?.unsubscribe();
    this.conversations.delete(conversation.name);
    const [next = null] = this.conversations.values();
    this.active = null;
    this.#events.changed();
    if (next !== null) await this.open(next);
  }

  /** The page before what is there, or the latest one. */
  async earlier(conversation: Conversation): Promise<void> {
    const before = conversation.loaded ? conversation.firstSeq : 0;
    const page = await this.#hub.command('history', { room: conversation.name, limit: pageSize, ...(before > 0 ? { before } : {}) });
    conversation.loaded = true;
    conversation.more = page.more;
    for (const entry of page.entries) conversation.add(entry);
    this.#events.changed();
  }

  send(conversation: Conversation, text: string): void {
    const mid = this.#hub.newMid();
    this.#typed();
    conversation.sending(mid, text);
    const { name, other } = conversation;
    const stored = other === null ? this.#hub.publish(name, text, { mid }) : this.#hub.direct(other, text, { mid });
    void stored.then(
      () => this.#settle(conversation, mid, 'sent'),
      (error: unknown) => {
        this.#problem(error);
        this.#settle(conversation, mid, 'failed');
      },
    );
    this.#events.changed();
  }

  /** Tells the others, at most once in a while. */
  typing(conversation: Conversation): void {
    if (this.#typingPause !== undefined) return;
    this.#typingPause = setTimeout(() => this.#typed(), typingMs / 2);
    this.#hub.ephemeral(conversation.name, { typing: true }, { echo: false });
  }

  /** The next key is told again: others take a message as the end of typing. */
  #typed(): void {
    clearTimeout(this.#typingPause);
    this.#typingPause = undefined;
  }

  /** The user looks at the active conversation, or away from the page. */
  look(attentive = this.attentive): void {
    if (attentive !== this.attentive) void this.#hub.setStatus(attentive ? 'online' : 'away').catch(() => undefined);
    this.attentive = attentive;
    const seq = attentive ? (this.active?.readAll() ?? null) : null;
    // Only a convenience of the next sign-in; the hub says no where it does not know of the user's reading.
    if (seq !== null) void this.active?.room?.markRead(seq).catch(() => undefined);
    this.#events.changed();
  }

  async publicRooms(): Promise<string[]> {
    const { rooms } = await this.#hub.command('rooms', { scope: 'public', limit: pageSize });
    return rooms.map(({ room }) => room);
  }

  async close(): Promise<void> {
    this.#typed();
    for (const { typing } of this.conversations.values()) for (const timer of typing.values()) clearTimeout(timer);
    await this.#hub.close();
  }

  #conversation(name: string): Conversation {
    const known = this.conversations.get(name);
    if (known !== undefined) return known;
    const conversation = new Conversation(name, partnerIn(name, this.me), this.me);
    this.conversations.set(name, conversation);
    if (conversation.other !== null) this.#watch([conversation.other]);
    return conversation;
  }

  async #follow(conversation: Conversation): Promise<void> {
    if (conversation.room !== null) return;
    const room = await this.#hub.subscribe(conversation.name, { presence: true, receipts: true });
    if (conversation.room !== null) return;
    conversation.room = room;
    this.#listen(conversation, room);
    this.#watch(room.audience?.users ?? []);
    this.#events.changed();
  }

  #listen(conversation: Conversation, room: Room): void {
    room.on('entry', (entry) => this.#add(conversation, entry));
    room.on('audience', (audience) => {
      this.#watch(audience.users ?? []);
      this.#events.changed();
    });
    room.on('ephemeral', ({ from }) => {
      if (from === null || from === this.me) return;
      conversation.stopTyping(from);
      const stop = () => {
        conversation.typing.delete(from);
        this.#events.changed();
      };
      conversation.typing.set(from, setTimeout(stop, typingMs));
      this.#events.changed();
    });
    room.on('unsubscribed', ({ reason }) => {
      conversation.room = null;
      if (reason === 'unsubscribed' || reason === 'closed') return;
      this.#events.notice(`${conversation.title} is closed: ${reason}.`);
      this.conversations.delete(conversation.name);
      if (this.active === conversation) this.active = null;
      this.#events.changed();
    });
  }

  /** What came while the user was away, or from somebody who writes for the first time. */
  #inbox(entry: Entry): void {
    const conversation = this.#conversation(entry.room);
    this.#add(conversation, entry);
    void this.#follow(conversation).catch((error: unknown) => this.#problem(error));
  }

  #add(conversation: Conversation, entry: Entry): void {
    conversation.add(entry);
    if (conversation === this.active && this.attentive) this.look();
    else this.#events.changed();
  }

  #settle(conversation: Conversation, mid: string, state: 'sent' | 'failed'): void {
    conversation.settle(mid, state);
    this.#events.changed();
  }

  #watch(users: readonly string[]): void {
    const fresh = users.filter((user) => !this.#watched.has(user));
    if (fresh.length === 0) return;
    for (const user of fresh) this.#watched.add(user);
    void this.#hub.watch(fresh).then(
      (all) => this.#present(all),
      // No dot is shown for whom the hub does not watch any more.
      () => undefined,
    );
  }

  #present(all: readonly Presence[]): void {
    for (const { user, status } of all) this.presence.set(user, status);
    this.#events.changed();
  }

  #problem(error: unknown): void {
    this.#events.notice(error instanceof Error ? error.message : String(error));
  }
}

/** The other user of a direct conversation (oneself, where it is with oneself); null where `room` is none. */
function partnerIn(room: string, me: string): string | null {
  const users = dmUsers(room);
  if (users === null) return null;
  return users[0] === me ? users[1] : users[0];
}
