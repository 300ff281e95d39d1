/**
 * Draws a `Chat`: lists, messages, state. Draws everything anew from the model, at most once per frame; the lists keep the
 * elements of what stayed. What the user does is main.ts.
 */
import type { State, Status } from '../client/index.ts';
import type { Chat } from './chat.ts';
import type { Conversation, Line } from './conversation.ts';
import { byId, keep, make, paintAvatar, setText } from './elements.ts';

/** Distance from the end of the messages within which new ones scroll into view. */
const followPx = 60;
const statusWords: { readonly [S in Status]: string } = { online: 'online', away: 'away', offline: 'offline' };

export class View {
  readonly #chat: Chat;
  readonly #open: (conversation: Conversation) => void;
  readonly #write: (user: string) => void;
  readonly #scroller = byId('scroller', 'section');
  #due = false;
  #gone = false;
  #shown: Conversation | null = null;

  constructor(chat: Chat, act: { open(conversation: Conversation): void; write(user: string): void }) {
    this.#chat = chat;
    this.#open = act.open;
    this.#write = act.write;
    setText(byId('my-name', 'span'), chat.me);
    paintAvatar(byId('my-avatar', 'span'), chat.me);
  }

  /** Something changed. Frames stand still in a hidden window; a title with the unread count should not. */
  draw(): void {
    if (this.#due || this.#gone) return;
    this.#due = true;
    const now = () => {
      this.#due = false;
      if (!this.#gone) this.#draw();
    };
    if (document.visibilityState === 'visible') requestAnimationFrame(now);
    else setTimeout(now);
  }

  close(): void {
    this.#gone = true;
    for (const id of ['room-list', 'direct-list', 'people-list'] as const) byId(id, 'ul').replaceChildren();
    byId('messages', 'ol').replaceChildren();
    document.title = 'Hubbub';
  }

  #draw(): void {
    const { conversations, active } = this.#chat;
    const all = [...conversations.values()].sort((a, b) => a.title.localeCompare(b.title));
    this.#drawState(this.#chat.state);
    this.#drawConversations(
      byId('room-list', 'ul'),
      all.filter(({ other }) => other === null),
    );
    this.#drawConversations(
      byId('direct-list', 'ul'),
      all.filter(({ other }) => other !== null),
    );
    const unread = all.reduce((sum, conversation) => sum + conversation.unread, 0);
    document.title = unread > 0 ? `(${unread}) Hubbub` : 'Hubbub';
    const browse = byId('show-sidebar', 'button');
    browse.dataset.unread = String(unread);
    browse.ariaLabel = unread > 0 ? `Conversations, ${unread} unread` : 'Conversations';
    this.#drawHead(active);
    this.#drawMessages(active);
    this.#drawPeople(active);
  }

  #drawState(state: State): void {
    const element = byId('connection-state', 'span');
    element.dataset.state = state.is;
    const words = { connecting: 'Connecting…', open: 'Connected', waiting: 'Offline, reconnecting…', closed: 'Disconnected' };
    setText(element, words[state.is]);
    element.title = 'reason' in state ? state.reason : '';
  }

  #drawConversations(list: HTMLUListElement, conversations: readonly Conversation[]): void {
    keep(
      list,
      conversations,
      ({ name }) => name,
      (conversation) => {
        const item = make('li');
        const button = make('button', 'item');
        button.type = 'button';
        button.dataset.testid = conversation.other === null ? 'room-item' : 'direct-item';
        button.append(
          make('span', conversation.other === null ? 'hash' : 'dot', conversation.other === null ? '#' : ''),
          make('span', 'name', conversation.title),
          make('span', 'badge'),
        );
        button.addEventListener('click', () => this.#open(conversation));
        item.append(button);
        return item;
      },
      (item, conversation) => {
        const [button] = item.getElementsByTagName('button');
        const [mark, , badge] = button?.children ?? [];
        if (button === undefined || !(mark instanceof HTMLElement) || !(badge instanceof HTMLElement)) return;
        const { unread, other } = conversation;
        button.dataset[other === null ? 'room' : 'user'] = conversation.title;
        button.dataset.unread = String(unread);
        button.setAttribute('aria-current', String(conversation === this.#chat.active));
        badge.dataset.testid = 'unread';
        badge.hidden = unread === 0;
        badge.setAttribute('aria-label', `${unread} unread`);
        setText(badge, unread > 99 ? '99+' : String(unread));
        if (other !== null) this.#drawStatus(mark, other);
      },
    );
  }

  #drawHead(active: Conversation | null): void {
    const direct = active?.other ?? null;
    setText(byId('conversation-title', 'h1'), active === null ? '' : direct === null ? `# ${active.title}` : active.title);
    const status = direct === null ? undefined : this.#chat.presence.get(direct);
    const count = active?.room?.audience?.count;
    setText(
      byId('conversation-detail', 'span'),
      direct !== null ? (status === undefined ? '' : statusWords[status]) : count === undefined ? '' : `${count} here`,
    );
    byId('leave', 'button').hidden = active === null || direct !== null;
    byId('earlier', 'button').hidden = !active?.more;
    byId('composer-input', 'textarea').disabled = active === null;
    byId('send', 'button').disabled = active === null;
    const typing = [...(active?.typing.keys() ?? [])];
    setText(
      byId('typing', 'p'),
      typing.length === 0 ? '' : typing.length > 3 ? 'Several people are typing…' : `${typing.join(', ')} ${typing.length === 1 ? 'is' : 'are'} typing…`,
    );
  }

  #drawMessages(active: Conversation | null): void {
    const scroller = this.#scroller;
    const list = byId('messages', 'ol');
    const anew = active !== this.#shown;
    const atEnd = anew || scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < followPx;
    const { scrollHeight, scrollTop } = scroller;
    const first = list.firstElementChild;
    if (anew) list.replaceChildren();
    this.#shown = active;
    keep(
      list,
      active?.lines() ?? [],
      ({ key }) => key,
      makeMessage,
      (element, line) => updateMessage(element, line, line.from === this.#chat.me),
    );
    if (atEnd) scroller.scrollTop = scroller.scrollHeight;
    // Earlier messages were put above: what the user reads stays where it is.
    else if (list.firstElementChild !== first) scroller.scrollTop = scrollTop + scroller.scrollHeight - scrollHeight;
  }

  #drawPeople(active: Conversation | null): void {
    const users = active === null ? [] : active.other === null ? (active.room?.audience?.users ?? []) : [...new Set([this.#chat.me, active.other])];
    keep(
      byId('people-list', 'ul'),
      [...users].sort((a, b) => a.localeCompare(b)),
      (user) => user,
      (user) => {
        const item = make('li');
        const button = make('button', 'item');
        button.type = 'button';
        button.dataset.testid = 'person';
        button.dataset.user = user;
        button.title = `Write to ${user}`;
        button.append(make('span', 'dot'), make('span', 'name', user === this.#chat.me ? `${user} (you)` : user));
        button.addEventListener('click', () => this.#write(user));
        item.append(button);
        return item;
      },
      (item, user) => {
        const mark = item.querySelector('.dot');
        if (mark instanceof HTMLElement) this.#drawStatus(mark, user);
      },
    );
  }

  #drawStatus(mark: HTMLElement, user: string): void {
    const status = this.#chat.presence.get(user) ?? 'offline';
    mark.dataset.status = status;
    mark.role = 'img';
    mark.ariaLabel = statusWords[status];
    mark.title = statusWords[status];
    if (mark.parentElement !== null) mark.parentElement.dataset.status = status;
  }
}

function makeMessage(line: Line): HTMLElement {
  const item = make('li');
  if (line.kind === 'notice') {
    item.append(make('p', 'body'));
    return item;
  }
  const avatar = make('span', 'avatar');
  avatar.ariaHidden = 'true';
  paintAvatar(avatar, line.from ?? '·');
  const head = make('p', 'from');
  head.append(make('strong', '', line.from ?? 'The hub'), make('time'));
  const content = make('div', 'content');
  const body = make('p', 'body');
  body.dataset.testid = 'message-body';
  content.append(head, body);
  const tick = make('span', 'tick');
  tick.role = 'img';
  item.append(avatar, content, tick);
  return item;
}

function updateMessage(item: HTMLElement, line: Line, own: boolean): void {
  const { kind, state, from, ts, seq, text, grouped } = line;
  item.className = `${kind}${own ? ' own' : ''}${grouped ? ' grouped' : ''}`;
  Object.assign(item.dataset, { testid: kind === 'message' ? 'message' : 'event', state, from: from ?? '', seq: seq === null ? '' : String(seq) });
  const body = item.querySelector('.body');
  if (body !== null) setText(body, text);
  const time = item.querySelector('time');
  if (time !== null && ts !== null) {
    const date = new Date(ts);
    time.dateTime = date.toISOString();
    time.title = date.toLocaleString();
    setText(time, date.toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' }));
  }
  const tick = item.querySelector('.tick');
  if (tick === null || !own) return;
  tick.ariaLabel = { sending: 'on its way', sent: 'stored', failed: 'not sent' }[state];
  setText(tick, { sending: '…', sent: '✓', failed: '!' }[state]);
}
