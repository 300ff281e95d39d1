/**
 * The chat page of development mode: signs in, turns what the user does into calls of the chat, and shows notices. The one
 * entry of the bundle.
 */
import { Chat } from './chat.ts';
import { byId, make } from './elements.ts';
import { View } from './view.ts';

const nameKey = 'hubbub.user';
const activeKey = 'hubbub.conversation';
const noticeMs = 8_000;
const noticesMax = 4;

function main(): void {
  const asked = new URLSearchParams(location.search).get('user')?.trim();
  const name = asked || sessionStorage.getItem(nameKey);
  if (name) startChat(name);
  else signIn('');
}

function signIn(problem: string): void {
  const form = byId('sign-in-form', 'form');
  const input = byId('sign-in-name', 'input');
  const trouble = byId('sign-in-problem', 'p');
  byId('chat', 'div').hidden = true;
  byId('sign-in', 'main').hidden = false;
  trouble.textContent = problem;
  trouble.hidden = problem === '';
  input.focus();
  form.onsubmit = (event) => {
    event.preventDefault();
    const user = input.value.trim();
    if (user !== '') startChat(user);
  };
}

function startChat(user: string): void {
  byId('sign-in', 'main').hidden = true;
  byId('chat', 'div').hidden = false;
  const url = new URL('/ws', location.href);
  url.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:';
  const listeners = new AbortController();
  let welcomed = false;
  const chat: Chat = new Chat(url, user.normalize('NFC'), { changed: () => changed(), notice });
  const act = (work: Promise<void>) => void work.catch((error: unknown) => notice(error instanceof Error ? error.message : String(error)));
  const go = (work: Promise<void>) => {
    browse(false);
    act(work.then(() => readyToWrite()));
  };
  const view = new View(chat, { open: (conversation) => go(chat.open(conversation)), write: (other) => go(chat.write(other)) });
  const changed = (): void => {
    const { state } = chat;
    if (state.is === 'open' && !welcomed) {
      welcomed = true;
      sessionStorage.setItem(nameKey, user);
    }
    // What a reload opens again.
    if (chat.active !== null) sessionStorage.setItem(activeKey, chat.active.name);
    // Refused for good: the name is not one, or somebody ended this session.
    if (state.is === 'closed') stop(state.reason);
    else view.draw();
  };
  const stop = (problem: string): void => {
    if (listeners.signal.aborted) return;
    listeners.abort();
    view.close();
    void chat.close();
    if (!welcomed || problem === '') sessionStorage.removeItem(nameKey);
    signIn(problem);
  };
  listen(chat, { act, go }, stop, listeners.signal);
  go(chat.start(sessionStorage.getItem(activeKey)));
}

/** What the user can do, until `signal`. */
function listen(chat: Chat, { act, go }: Record<'act' | 'go', (work: Promise<void>) => void>, stop: (problem: string) => void, signal: AbortSignal): void {
  const composer = byId('composer', 'form');
  const input = byId('composer-input', 'textarea');

  composer.addEventListener(
    'submit',
    (event) => {
      event.preventDefault();
      const text = input.value.trim();
      if (text === '' || chat.active === null) return;
      chat.send(chat.active, text);
      input.value = '';
      fit(input);
    },
    { signal },
  );
  input.addEventListener(
    'keydown',
    (event) => {
      if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      composer.requestSubmit();
    },
    { signal },
  );
  input.addEventListener(
    'input',
    () => {
      fit(input);
      if (chat.active !== null && input.value !== '') chat.typing(chat.active);
    },
    { signal },
  );
  const adder = (kind: 'room' | 'direct', add: (name: string) => Promise<void>) => {
    const field = byId(`${kind}-name`, 'input');
    byId(`${kind}-form`, 'form').addEventListener(
      'submit',
      (event) => {
        event.preventDefault();
        go(add(field.value));
        field.value = '';
      },
      { signal },
    );
  };
  adder('room', (name) => chat.join(name));
  adder('direct', (name) => chat.write(name));
  byId('room-name', 'input').addEventListener('focus', () => act(suggestRooms(chat)), { signal });
  byId('leave', 'button').addEventListener('click', () => chat.active !== null && act(chat.leave(chat.active)), { signal });
  byId('earlier', 'button').addEventListener('click', () => chat.active !== null && act(chat.earlier(chat.active)), { signal });
  byId('sign-out', 'button').addEventListener('click', () => stop(''), { signal });
  byId('show-sidebar', 'button').addEventListener('click', () => browse(!byId('chat', 'div').classList.contains('browsing')), { signal });
  document.addEventListener('visibilitychange', () => chat.look(document.visibilityState === 'visible'), { signal });
}

async function suggestRooms(chat: Chat): Promise<void> {
  const options = (await chat.publicRooms()).map((room) => {
    const option = make('option');
    option.value = room;
    return option;
  });
  byId('public-rooms', 'datalist').replaceChildren(...options);
}

/** Shows or hides the lists where there is no room for them beside the conversation. */
function browse(on: boolean): void {
  byId('chat', 'div').classList.toggle('browsing', on);
  byId('show-sidebar', 'button').setAttribute('aria-expanded', String(on));
}

/** Not where that would raise a keyboard over what one came to read. */
function readyToWrite(): void {
  if (matchMedia('(pointer: fine)').matches) byId('composer-input', 'textarea').focus();
}

/** As high as its text. */
function fit(input: HTMLTextAreaElement): void {
  input.style.height = 'auto';
  input.style.height = `${input.scrollHeight}px`;
}

function notice(text: string): void {
  const notices = byId('notices', 'div');
  const line = make('p', '', text);
  line.dataset.testid = 'notice';
  notices.append(line);
  while (notices.childElementCount > noticesMax) notices.firstElementChild?.remove();
  setTimeout(() => line.remove(), noticeMs);
}

main();
