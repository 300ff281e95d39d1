/** The failing network of `hubbub/testing`, between a plain client and a plain server. */
import { once } from 'node:events';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { type Link, type ProxyOptions, startProxy, type TcpProxy } from '../src/testing/proxy.ts';

type Ends = { proxy: TcpProxy; client: Socket; server: Socket; link: Link };

let listener: Server;
let releases: (() => unknown)[] = [];

beforeEach(async () => {
  listener = createServer({ allowHalfOpen: true });
  listener.listen(0, '127.0.0.1');
  await once(listener, 'listening');
});
afterEach(async () => {
  for (const release of releases.splice(0).reverse()) await release();
  releases = [];
  listener.close();
});

async function through(options: ProxyOptions = {}): Promise<Ends> {
  const { port } = listener.address() as { port: number };
  const proxy = await startProxy(() => port, options);
  const accepted = once(listener, 'connection') as Promise<[Socket]>;
  const client = connect({ port: proxy.port, host: '127.0.0.1', allowHalfOpen: true });
  const [server] = await accepted;
  client.on('error', () => {});
  server.on('error', () => {});
  const [link] = proxy.links;
  if (link === undefined) throw new Error('there is no link');
  releases.push(
    () => proxy.stop(),
    () => client.destroy(),
    () => server.destroy(),
  );
  return { proxy, client, server, link };
}

/** Everything until the goodbye. An iteration would destroy the socket behind it, and with it the other half. */
async function all(socket: Socket): Promise<Buffer> {
  const parts: Buffer[] = [];
  socket.on('data', (part: Buffer) => parts.push(part));
  await once(socket, 'end');
  return Buffer.concat(parts);
}

const many = Buffer.alloc(3_000_000, 'the quick brown fox ');

it('forwards everything unchanged, both ways, and both goodbyes', async () => {
  const { client, server, proxy } = await through();
  client.end(many);
  server.end('short');
  expect((await all(server)).equals(many)).toBe(true);
  expect((await all(client)).toString()).toBe('short');
  await expect.poll(() => proxy.links.size).toBe(0);
});

it.each([
  ['late', { delayMs: 20 }],
  ['slowly', { bytesPerSecond: 20_000_000 }],
  ['late and slowly', { delayMs: 5, bytesPerSecond: 50_000_000 }],
])('delivers %s what was sent, and the goodbye behind it', async (_how, options) => {
  const { client, server } = await through(options);
  client.end(many);
  expect((await all(server)).equals(many)).toBe(true);
});

it('cuts with a goodbye, behind what was sent', async () => {
  const { client, server, proxy } = await through();
  client.write('last words');
  await once(server, 'readable');
  proxy.cut('fin');
  expect((await all(server)).toString()).toBe('last words');
  expect((await all(client)).toString()).toBe('');
});

it('cuts with a reset for both', async () => {
  const { client, server, proxy } = await through();
  const errors = Promise.all([client, server].map((socket) => once(socket, 'error')));
  proxy.cut('rst');
  expect((await errors).map(([error]) => (error as NodeJS.ErrnoException).code)).toEqual(['ECONNRESET', 'ECONNRESET']);
  await expect.poll(() => proxy.links.size).toBe(0);
});

it('cuts without a word: nothing passes any more, and neither side hears that the other left', async () => {
  const { client, server, proxy } = await through();
  const heard: string[] = [];
  for (const [name, socket] of Object.entries({ client, server }))
    for (const event of ['data', 'end', 'close']) socket.on(event, () => heard.push(`${name} ${event}`));
  proxy.cut('silent');
  client.write('hello?');
  server.write('hello?');
  client.end();
  await once(client, 'end'); // our own half is let go
  expect(heard.filter((event) => event !== 'client close')).toEqual(['client end']);
  expect(server.readableEnded || server.destroyed).toBe(false);
});

it('closes one half: that direction is over, the other goes on', async () => {
  const { client, server, link } = await through();
  link.halfClose('up');
  expect((await all(server)).toString()).toBe('');
  server.end('still here');
  expect((await all(client)).toString()).toBe('still here');
});

it('loses what the inspection drops, and nothing else', async () => {
  let dropped = '';
  const inspect: ProxyOptions['inspect'] = (_link, _direction, bytes) => {
    dropped += bytes.toString();
    return 'drop';
  };
  const { client, server, proxy } = await through({ inspect });
  client.write('secret');
  await expect.poll(() => dropped).toBe('secret');
  proxy.options.inspect = undefined;
  client.end('plain');
  expect((await all(server)).toString()).toBe('plain');
});

it('refuses new connections when told to', async () => {
  const { proxy } = await through();
  proxy.refusing = true;
  const late = connect(proxy.port, '127.0.0.1');
  const [error] = (await once(late, 'error')) as [NodeJS.ErrnoException];
  expect(error.code).toBe('ECONNRESET');
});
