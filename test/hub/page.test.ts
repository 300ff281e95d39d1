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
  let alice: Person;
  let bob: Person;
  const guests: Person[] = [];

  beforeAll(async () => {
    hub = await startHub();
    browser = await chromium.launch({ executablePath: executablePath ?? '', args: ['--no-sandbox', ...quiet] });
    [alice, bob] = await Promise.all([Person.arrive(browser, hub.http, 'alice'), Person.arrive(browser, hub.http, 'bob')]);
  });
  afterEach(async () => {
    const leaving = guests.splice(0);
    await Promise.all(leaving.map((guest) => guest.leave()));
    expect([alice, bob, ...leaving].flatMap(({ name, troubles }) => troubles.splice(0).map((trouble) => `${name}: ${trouble}`))).toEqual([]);
  });
  afterAll(() => browser?.close());

  /** For one test, in a profile of his own. */
  async function arrive(name = '', options: BrowserContextOptions = {}): Promise<Person> {
    const guest = await Person.arrive(browser, hub.http, name, options);
    guests.push(guest);
    return guest;
  }

  it('shows a room to everybody in one order, and who is there', async () => {
    await Promise.all([alice.enter('tea'), bob.enter('tea')]);
    for (const person of [alice, bob])
      await expect.poll(() => person.dot(person === bob ? 'alice' : 'bob').getAttribute('data-status'), patience).toBe('online');
    await bob.get('composer-input').pressSequentially('Well');
    await expect.poll(() => alice.get('typing').textContent(), patience).toBe('bob is typing…');
    const wanted = { alice: ['a1', 'a2', 'a3', 'a4'], bob: ['b1', 'b2', 'b3', 'b4'] };
    const talk = async (person: Person, texts: readonly string[]): Promise<void> => {
      for (const text of texts) await person.say(text);
    };
    await Promise.all([talk(alice, wanted.alice), talk(bob, wanted.bob)]);
    await expect.poll(async () => (await alice.texts()).length, patience).toBe(8);
    const order = await alice.texts();
    await bob.sees(order);
    for (const [mine, letter] of [[wanted.alice, 'a'] as const, [wanted.bob, 'b'] as const])
      expect(order.filter((text) => text.startsWith(letter))).toEqual(mine);
    await expect.poll(() => alice.get('message', '[data-from="alice"]').locator('[aria-label="stored"]').count(), patience).toBe(4);
    expect(await alice.get('typing').textContent()).toBe('');
  });

  it('keeps a direct conversation between two', async () => {
    await Promise.all([alice.enter('between'), bob.enter('between')]);
    await alice.get('person', '[data-user="bob"]').click();
    await alice.shows('bob');
    await alice.say('between us');
    await bob.seesUnread('direct', 'alice', 1);
    await expect.poll(() => bob.page.title(), patience).toMatch(/^\([1-9]\d*\) /);
    await bob.say('to everybody');
    await bob.sees(['to everybody']);
    await bob.open('direct', 'alice');
    await bob.sees(['between us']);
    await bob.seesUnread('direct', 'alice', 0);
    await bob.say('of course');
    for (const person of [alice, bob]) await person.sees(['between us', 'of course']);
    await alice.open('room', 'between');
    await alice.sees(['to everybody']);
  });

  it('brings what came while the window was closed, once', async () => {
    const walter = await arrive('walter');
    await Promise.all([alice.enter('while-away'), walter.enter('while-away')]);
    await alice.say('before');
    await walter.sees(['before']);
    await walter.page.close();
    await alice.dot('walter').waitFor({ state: 'detached' });
    await alice.say('to the room');
    await alice.writeTo('walter');
    await expect.poll(() => alice.get('conversation-detail').textContent(), patience).toBe('offline');
    for (const text of ['are you there?', 'call me']) await alice.say(text);
    await expect.poll(() => alice.get('message').locator('[aria-label="stored"]').count(), patience).toBe(2);

    const back = await walter.another();
    await expect.poll(() => alice.get('conversation-detail').textContent(), patience).toBe('online');
    await back.seesUnread('direct', 'alice', 2);
    await back.seesUnread('room', 'while-away', 1);
    await back.open('direct', 'alice');
    await back.sees(['are you there?', 'call me']);
    await back.open('room', 'while-away');
    await back.sees(['before', 'to the room']);
    await back.say('read it all');
    await alice.open('room', 'while-away');
    await alice.sees(['before', 'to the room', 'read it all']);
    await back.page.close();

    const again = await walter.another();
    await again.open('room', 'while-away');
    await again.sees(['before', 'to the room', 'read it all']);
    await again.seesUnread('direct', 'alice', 0);
    await again.open('direct', 'alice');
    await again.sees(['are you there?', 'call me']);
    await again.seesUnread('room', 'while-away', 0);
  });

  it('says that the hub is gone, and goes on without a loss or a double when it is back', async () => {
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
    await expect.poll(() => bob.dot('alice').getAttribute('data-status'), patience).toBe('online');
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
    const rooms = await eve.get('room-item').count();
    await eve.get('direct-name').fill('w\u202eally');
    await eve.get('direct-name').press('Enter');
    await eve.get('notice', ':has-text("is not a user name")').waitFor();
    expect([await eve.get('room-item').count(), await eve.get('direct-item').count()]).toEqual([rooms, 0]);
    await eve.get('sign-out').click();
    await eve.get('sign-in').waitFor();
    expect(await eve.get('message').count()).toBe(0);
  });

  it('inserts text as text', async () => {
    const markup = '<img src=x onerror=alert(1)>';
    const room = '<b onclick=alert(2)>bold</b>';
    const mallory = await arrive('<i>mallory</i>');
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
    const carol = await RawClient.connect(hub.url, { user: 'carol' });
    const texts = Array.from({ length: 120 }, (_, i) => `line ${i + 1}`);
    await Promise.all(texts.map((body) => carol.ok('publish', { room: 'long', body })));
    await alice.enter('long');
    await alice.sees(texts.slice(-50));
    await alice.get('earlier').click();
    await alice.sees(texts.slice(-100));
    await alice.get('earlier').click();
    await alice.sees(texts);
    expect(await alice.get('earlier').isHidden()).toBe(true);
  });

  it('shows two windows of one person the same', async () => {
    const second = await alice.another();
    await Promise.all([alice.enter('two'), second.enter('two')]);
    await alice.say('from the first');
    await second.sees(['from the first']);
    await second.say('from the second');
    for (const window of [alice, second]) {
      await window.sees(['from the first', 'from the second']);
      await window.online();
    }
    await second.page.close();
    expect(await alice.dot('alice').getAttribute('data-status')).toBe('online');
  });

  it('works on a phone', async () => {
    const { defaultBrowserType: _, ...phone } = devices['iPhone SE'];
    const paul = await arrive('paul', phone);
    await bob.writeTo('paul');
    await bob.say('hi');
    const menu = paul.page.locator('#show-sidebar');
    await expect.poll(() => menu.getAttribute('data-unread'), patience).not.toBe('0');
    await menu.tap();
    await paul.item('direct', 'bob').tap();
    await paul.sees(['hi']);
    expect(await paul.get('room-list').isVisible()).toBe(false);
    await paul.get('composer-input').tap();
    await paul.page.keyboard.type('on the train');
    await paul.get('send').tap();
    await bob.sees(['hi', 'on the train']);
    const [width, screen] = await Promise.all([paul.page.evaluate<number>('document.documentElement.scrollWidth'), paul.page.viewportSize()]);
    expect(width).toBe(screen?.width);
    const send = await paul.get('send').boundingBox();
    expect((send?.y ?? 0) + (send?.height ?? 0)).toBeLessThanOrEqual(screen?.height ?? 0);
    await menu.tap();
    await paul.get('people-list').waitFor();
    await paul.get('sign-out').tap();
    await paul.get('sign-in').waitFor();
  });
});
