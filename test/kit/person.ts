/**
 * Somebody in front of the page: a browser window of his own, what he does with it, and what he can see. Everything that the
 * browser complains of (errors, blocked content, dialogs) is kept in `troubles`; page tests expect none.
 */
import type { Browser, BrowserContext, BrowserContextOptions, Locator, Page } from 'playwright-core';
import { expect } from 'vitest';

/** How long something may take to show; reached only by what never comes. */
export const patience = { timeout: 20_000 };
/** Chromium itself reports an attempt to connect that nobody answered. */
const unanswered = /^error: WebSocket connection to '[^']*' failed: /;

export class Person {
  readonly name: string;
  readonly page: Page;
  readonly troubles: string[];
  readonly #context: BrowserContext;
  readonly #url: string;

  /** A fresh profile, signed in where a name is given. */
  static async arrive(browser: Browser, url: string, name = '', options: BrowserContextOptions = {}): Promise<Person> {
    const context = await browser.newContext(options);
    context.setDefaultTimeout(patience.timeout);
    await context.addInitScript(`addEventListener('securitypolicyviolation', ({ violatedDirective, blockedURI }) => {
      console.error('blocked by the policy:', violatedDirective, blockedURI);
    })`);
    return Person.#open(context, url, name, []);
  }

  static async #open(context: BrowserContext, url: string, name: string, troubles: string[]): Promise<Person> {
    const person = new Person(context, url, await context.newPage(), name, troubles);
    await person.page.goto(url);
    if (name !== '') await person.signIn(name);
    return person;
  }

  private constructor(context: BrowserContext, url: string, page: Page, name: string, troubles: string[]) {
    this.#context = context;
    this.#url = url;
    this.page = page;
    this.name = name;
    this.troubles = troubles;
    page.on('console', (message) => {
      const line = `${message.type()}: ${message.text()}`;
      if (['error', 'warning'].includes(message.type()) && !unanswered.test(line)) troubles.push(line);
    });
    page.on('pageerror', (error) => troubles.push(`thrown: ${error.message}`));
    page.on('dialog', (dialog) => {
      troubles.push(`dialog: ${dialog.message()}`);
      void dialog.dismiss();
    });
  }

  /** Another window of the same browser and the same name. */
  another(): Promise<Person> {
    return Person.#open(this.#context, this.#url, this.name, this.troubles);
  }

  get(testId: string, data = ''): Locator {
    return this.page.locator(`[data-testid="${testId}"]${data}`);
  }

  async signIn(name: string): Promise<void> {
    await this.get('sign-in-name').fill(name);
    await this.get('sign-in-button').click();
    await this.get('composer-input', ':enabled').waitFor();
    await this.online();
  }

  async online(): Promise<void> {
    await this.get('connection-state', '[data-state="open"]').waitFor({ ...patience, state: 'attached' });
  }

  async enter(room: string): Promise<void> {
    await this.get('room-name').fill(room);
    await this.get('room-name').press('Enter');
    await this.shows(`# ${room}`);
  }

  async writeTo(user: string): Promise<void> {
    await this.get('direct-name').fill(user);
    await this.get('direct-name').press('Enter');
    await this.shows(user);
  }

  /** Takes a conversation from the lists. */
  async open(kind: 'room' | 'direct', title: string): Promise<void> {
    await this.item(kind, title).click();
    await this.shows(kind === 'room' ? `# ${title}` : title);
  }

  async say(text: string): Promise<void> {
    await this.get('composer-input').fill(text);
    await this.get('composer-input').press('Enter');
  }

  item(kind: 'room' | 'direct', title: string): Locator {
    return this.get(`${kind}-item`, `[data-${kind === 'room' ? 'room' : 'user'}=${JSON.stringify(title)}]`);
  }

  /** The dot before a name among the people of the open conversation. */
  dot(user: string): Locator {
    return this.get('person', `[data-user=${JSON.stringify(user)}]`).locator('.dot');
  }

  /** Waits until the open conversation has this title. */
  async shows(title: string): Promise<void> {
    await expect.poll(() => this.get('conversation-title').textContent(), patience).toBe(title);
  }

  /** The texts of the open conversation, from the first to the last. */
  texts(): Promise<string[]> {
    return this.get('message-body').allTextContents();
  }

  async sees(texts: readonly string[]): Promise<void> {
    await expect.poll(() => this.texts(), patience).toEqual(texts);
  }

  async seesUnread(kind: 'room' | 'direct', title: string, count: number): Promise<void> {
    await expect.poll(() => this.item(kind, title).getAttribute('data-unread'), patience).toBe(String(count));
    expect(await this.item(kind, title).locator('.badge').isVisible()).toBe(count > 0);
  }

  /** Closes all of his windows. */
  async leave(): Promise<void> {
    await this.#context.close();
  }
}
