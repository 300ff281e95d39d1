/** The page in a real browser, as people use it: they talk, go away, come back, and lose the hub. Without Chromium these tests are skipped. */
import { type Browser, type BrowserContextOptions, chromium, devices } from 'playwright-core';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { findChromium } from '../kit/chromium.ts';
import { type Hub, startHub } from '../kit/hub.ts';
import { Person, patience } from '../kit/person.ts';
import { RawClient } from '../kit/raw-client.ts';

const executablePath = findChromium();
const quiet = ['--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'];

describe.skipIf(executablePath === null)('the page', () => {
  let hub: Hub;
  let browser: Browser;
  const people: Person[] = [];

  beforeAll(async () => {
    hub = await startHub();
    browser = await chromium.launch({ executablePath: executablePath ?? '', args: ['--no-sandbox', ...quiet] });
  });
  afterEach(async () => {
    const troubles = people.splice(0).map(({ name, troubles }) => ({ name, troubles }));
    await Promise.all(browser.contexts().map((context) => context.close()));
    expect(troubles).toEqual(troubles.map(({ name }) => ({ name, troubles: [] })));
  });
  afterAll(() => browser.close());

  async function arrive(name = '', options: BrowserContextOptions = {}): Promise<Person> {
    const person = await Person.arrive(browser, hub.http, name, options);
    people.push(person);
    return person;
  }

  it('shows a room to everybody in one order, and who is there', async () => {
    const [alice, bob] = await Promise.all([arrive('alice'), arrive('bob')]);
    await Promise.all([alice.enter('tea'), bob.enter('tea')]);
    for (const person of [alice, bob])
      await expect.poll(() => person.dot(person === bob ? 'alice' : 'bob').getAttribute('data-status'), patience).toBe('online');
    await bob.get('composer-input').pressSequentially('Well');
    await expect.poll(() => alice.get('typing').textContent(), patience).toBe('bob is typing…');
    const wanted = { alice: ['a1', 'a2', 'a3', 'a4', 'a5'], bob: ['b1', 'b2', 'b3', 'b4', 'b5'] };
    const talk = async (person: Person, texts: readonly string[]): Promise<void> => {
      for (const text of texts) await person.say(text);
    };
    await Promise.all([talk(alice, wanted.alice), talk(bob, wanted.bob)]);
    await expect.poll(async () => (await alice.texts()).length, patience).toBe(10);
    const order = await alice.texts();
    await bob.sees(order);
    for (const [mine, letter] of [[wanted.alice, 'a'] as const, [wanted.bob, 'b'] as const])
      expect(order.filter((text) => text.startsWith(letter))).toEqual(mine);
    await expect.poll(() => alice.get('message', '[data-from="alice"]').locator('[aria-label="stored"]').count(), patience).toBe(5);
    expect(await alice.get('typing').textContent()).toBe('');
    await bob.closeWindow();
    await alice.dot('bob').waitFor({ state: 'detached' });
  });

  it('keeps a direct conversation between two', async () => {
    const [alice, bob, carol] = await Promise.all([arrive('d-alice'), arrive('d-bob'), arrive('d-carol')]);
    await alice.get('person', '[data-user="d-bob"]').click();
    await alice.shows('d-bob');
    await alice.say('between us');
    await bob.seesUnread('direct', 'd-alice', 1);
    expect(await bob.texts()).not.toContain('between us');
    expect(await bob.page.title()).toMatch(/^\([1-9]\d*\) /);
    await bob.open('direct', 'd-alice');
    await bob.sees(['between us']);
    await bob.seesUnread('direct', 'd-alice', 0);
    await bob.say('of course');
    for (const person of [alice, bob]) await person.sees(['between us', 'of course']);
    await bob.open('room', 'general');
    await bob.say('to everybody');
    await expect.poll(() => carol.texts(), patience).toContain('to everybody');
    expect(await carol.texts()).not.toContain('between us');
    expect(await carol.get('direct-item').count()).toBe(0);
    await alice.sees(['between us', 'of course']);
  });

  it('brings what came while the window was closed, once', async () => {
    const [alice, bob] = await Promise.all([arrive('w-alice'), arrive('w-bob')]);
    await Promise.all([alice.enter('while-away'), bob.enter('while-away')]);
    await alice.say('before');
    await bob.sees(['before']);
    await bob.closeWindow();
    await alice.dot('w-bob').waitFor({ state: 'detached' });
    await alice.say('to the room');
    await alice.writeTo('w-bob');
    await expect.poll(() => alice.get('conversation-detail').textContent(), patience).toBe('offline');
    for (const text of ['are you there?', 'call me']) await alice.say(text);
    await expect.poll(() => alice.get('message').locator('[aria-label="stored"]').count(), patience).toBe(2);

    const back = await bob.another();
    await expect.poll(() => alice.get('conversation-detail').textContent(), patience).toBe('online');
    await back.seesUnread('direct', 'w-alice', 2);
    await back.seesUnread('room', 'while-away', 1);
    await back.open('direct', 'w-alice');
    await back.sees(['are you there?', 'call me']);
    await back.open('room', 'while-away');
    await back.sees(['before', 'to the room']);
    await back.say('read it all');
    await back.sees(['before', 'to the room', 'read it all']);
    await back.seesUnread('direct', 'w-alice', 0);
    await back.closeWindow();

    const again = await bob.another();
    await again.open('room', 'while-away');
    await again.sees(['before', 'to the room', 'read it all']);
    await again.open('direct', 'w-alice');
    await again.sees(['are you there?', 'call me']);
    for (const [kind, title] of [['direct', 'w-alice'] as const, ['room', 'while-away'] as const]) await again.seesUnread(kind, title, 0);
  });

  it('says that the hub is gone, and goes on without a loss or a double when it is back', async () => {
    const [alice, bob] = await Promise.all([arrive('k-alice'), arrive('k-bob')]);
    await Promise.all([alice.enter('killed'), bob.enter('killed')]);
    await alice.say('settled');
    await bob.sees(['settled']);
    await alice.say('in flight 1');
    await alice.say('in flight 2');
    await hub.kill('SIGKILL');
    for (const { page } of [alice, bob]) await page.getByText('Offline, reconnecting…').waitFor();
    await alice.say('in vain?');
    await alice.get('message', '[data-state="sending"]').last().waitFor();
    await hub.start();
    await Promise.all([alice.online(), bob.online()]);
    await bob.say('after');
    const all = ['settled', 'in flight 1', 'in flight 2', 'in vain?'];
    const sorted = [...all, 'after'].sort();
    for (const person of [alice, bob]) await expect.poll(async () => (await person.texts()).sort(), patience).toEqual(sorted);
    await alice.get('message', '[data-state="sending"]').first().waitFor({ state: 'detached' });
    const order = await bob.texts();
    expect(order.filter((text) => text !== 'after')).toEqual(all);
    await alice.sees(order);
    // Whatever might come a second time would have come before this.
    await alice.say('the end');
    await bob.sees([...order, 'the end']);
    await bob.page.reload();
    await bob.shows('# killed');
    for (const person of [alice, bob]) await person.sees([...order, 'the end']);
    await expect.poll(() => bob.dot('k-alice').getAttribute('data-status'), patience).toBe('online');
  });

  it('refuses a bad name in words, and takes the next one', async () => {
    const eve = await arrive();
    await eve.get('sign-in-name').fill('e\u202eve');
    await eve.get('sign-in-button').click();
    await eve.get('sign-in-problem', ':not(:empty)').waitFor();
    await eve.page.reload();
    await eve.get('sign-in').waitFor();
    expect(await eve.get('sign-in-problem').isHidden()).toBe(true);
    await eve.signIn('eve');
    expect(await eve.get('my-name').textContent()).toBe('eve');
    await eve.get('sign-out').click();
    await eve.get('sign-in').waitFor();
    expect(await eve.get('message').count()).toBe(0);
  });

  it('inserts text as text', async () => {
    const markup = '<img src=x onerror=alert(1)>';
    const room = '<b onclick=alert(2)>bold</b>';
    const [mallory, bob] = await Promise.all([arrive('<i>mallory</i>'), arrive('t-bob')]);
    await Promise.all([mallory.enter(room), bob.enter(room)]);
    const texts = [markup, '<script>alert(3)</script>', '&lt;b&gt; &amp; <a href="javascript:alert(4)">here</a>', 'one\n  two'];
    for (const text of texts) await mallory.say(text);
    await bob.sees(texts);
    expect(await bob.get('messages').locator('img, script, a, b, i').count()).toBe(0);
    expect(await bob.get('message').first().locator('strong').textContent()).toBe('<i>mallory</i>');
    await bob.get('person', '[data-user="<i>mallory</i>"]').click();
    await bob.shows('<i>mallory</i>');
    expect(await bob.page.locator('h1 *, .name *').count()).toBe(0);
  });

  it('pages back through a long room', async () => {
    const bob = await RawClient.connect(hub.url, { user: 'p-bob' });
    const texts = Array.from({ length: 120 }, (_, i) => `line ${i + 1}`);
    await Promise.all(texts.map((body) => bob.ok('publish', { room: 'long', body })));
    const alice = await arrive('p-alice');
    await alice.enter('long');
    await alice.sees(texts.slice(-50));
    await alice.get('earlier').click();
    await alice.sees(texts.slice(-100));
    await alice.get('earlier').click();
    await alice.sees(texts);
    expect(await alice.get('earlier').isHidden()).toBe(true);
  });

  it('shows two windows of one person the same', async () => {
    const alice = await arrive('two-alice');
    const second = await alice.another();
    await Promise.all([alice.enter('two'), second.enter('two')]);
    await alice.say('from the first');
    await second.sees(['from the first']);
    await second.say('from the second');
    for (const window of [alice, second]) {
      await window.sees(['from the first', 'from the second']);
      await window.online();
    }
    await second.closeWindow();
    expect(await alice.dot('two-alice').getAttribute('data-status')).toBe('online');
  });

  it('works on a phone', async () => {
    const { defaultBrowserType: _, ...phone } = devices['iPhone SE'];
    const [alice, bob] = await Promise.all([arrive('m-alice', phone), arrive('m-bob')]);
    await bob.writeTo('m-alice');
    await bob.say('hi');
    const menu = alice.page.locator('#show-sidebar');
    await expect.poll(() => menu.getAttribute('data-unread'), patience).not.toBe('0');
    await menu.tap();
    await alice.item('direct', 'm-bob').tap();
    await alice.sees(['hi']);
    expect(await alice.get('room-list').isVisible()).toBe(false);
    await alice.get('composer-input').tap();
    await alice.page.keyboard.type('on the train');
    await alice.get('send').tap();
    await bob.sees(['hi', 'on the train']);
    const [width, screen] = await Promise.all([alice.page.evaluate<number>('document.documentElement.scrollWidth'), alice.page.viewportSize()]);
    expect(width).toBe(screen?.width);
    const send = await alice.get('send').boundingBox();
    expect((send?.y ?? 0) + (send?.height ?? 0)).toBeLessThanOrEqual(screen?.height ?? 0);
    await menu.tap();
    await alice.get('people-list').waitFor();
    await alice.get('sign-out').tap();
    await alice.get('sign-in').waitFor();
  });
});
