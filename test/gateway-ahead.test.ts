/** What is sent behind hello without waiting for the welcome: held in order, and not more of it than fits. */
import { afterEach, describe, expect, it } from 'vitest';
import { type Stand, stand } from './gateway-harness.ts';
import { frame, RawSocket } from './kit/raw-socket.ts';

let hub: Stand;
afterEach(() => hub.close());

const pings = (count: number): Buffer[] => Array.from({ length: count }, (_, i) => frame(`{"op":"ping","id":${i + 1}}`));

/** Says hello, and sends these bytes while its welcome is waited for; resolves when the hub has read of them what it will. */
async function sentAhead(at: Stand, bytes: Buffer): Promise<{ socket: RawSocket; number: number }> {
  at.shard.welcomes = false;
  const socket = await RawSocket.upgrade(at.port);
  socket.text({ op: 'hello', user: 'alice' });
  const { connection } = await at.shard.next('hello');
  socket.write(bytes);
  at.shard.welcomes = true;
  const other = await at.connect({ user: 'bob' });
  for (let turn = 0; turn < 50; turn++) await other.settled();
  return { socket, number: connection };
}

/** `ok` or the code, and the id. */
function answers(socket: RawSocket): string[] {
  const maps = socket.frames.map(({ payload }) => JSON.parse(payload.toString()) as { op: string; id?: number; code?: string });
  return maps.filter(({ id }) => id !== undefined).map(({ op, id, code = op }) => `${code} ${id}`);
}

describe('what comes ahead of the welcome', () => {
  it('H3 commands behind hello are held and carried out in order, after the welcome', async () => {
    hub = await stand();
    hub.shard.welcomes = false;
    const client = await hub.connect({ hello: false });
    const welcome = client.ask({ op: 'hello', user: 'alice' });
    for (let n = 1; n <= 200; n++) client.send({ op: 'publish', room: 'general', body: n });
    const { connection } = await hub.shard.next('hello');
    expect(hub.shard.kinds(connection)).toEqual(['open', 'hello']);
    hub.shard.welcome(connection);
    expect((await welcome).op).toBe('welcome');
    for (let n = 1; n <= 200; n++) expect((await hub.shard.command('publish')).command.body).toBe(n);
    expect(hub.shard.kinds(connection).slice(0, 4)).toEqual(['open', 'hello', 'follow', 'publish']);
  });

  it('H3 a fault in one of them closes that connection and nothing else', async () => {
    let broken = false;
    const now = (): number => {
      if (broken) throw new Error('the clock broke');
      return 0;
    };
    hub = await stand({ clock: { now, tick: () => 0, random: () => 0 } });
    const other = await hub.connect({ user: 'bob' });
    hub.shard.welcomes = false;
    const client = await hub.connect({ hello: false });
    client.send({ op: 'hello', user: 'alice' });
    client.send({ op: 'ping', id: 2 });
    const { connection } = await hub.shard.next('hello', (message) => !message.again && hub.gateway.userOf(message.connection) === 'alice');
    broken = true; // a ping's answer tells the time
    hub.shard.welcome(connection);
    expect(await client.closed).toEqual({ code: 4007, reason: 'fault' });
    broken = false;
    await other.ok('ping');
  });

  it('reading pauses at 64 commands sent ahead', async () => {
    hub = await stand();
    hub.shard.welcomes = false;
    const client = await hub.connect({ hello: false });
    void client.ask({ op: 'hello', user: 'alice' }).catch(() => null);
    const text = JSON.stringify({ op: 'publish', room: 'general', body: 'x'.repeat(30_000) });
    for (let n = 1; n <= 400; n++) client.sendRaw(text);
    const { connection } = await hub.shard.next('hello');
    hub.shard.welcomes = true;
    const other = await hub.connect({ user: 'bob' });
    for (let turn = 0; turn < 100; turn++) await other.settled();
    // 3 frames are more than 64 KiB; what else was read came in the same chunk.
    expect(hub.gateway.connectionsOf('alice')[0]?.framesIn).toBeLessThan(10);
    hub.shard.welcome(connection);
    for (let n = 1; n <= 400; n++) await hub.shard.command('publish');
  });

  it('H3 of small frames no more are taken before the welcome, even of one chunk', async () => {
    hub = await stand({ options: { rateLimit: 0 } });
    const client = await sentAhead(hub, Buffer.concat(pings(2_000)));
    expect(hub.gateway.connectionsOf('alice')[0]?.framesIn).toBe(1 + 64);
    hub.shard.welcome(client.number);
    await client.socket.until(() => answers(client.socket).length === 2_000);
    expect(answers(client.socket)).toEqual(Array.from({ length: 2_000 }, (_, i) => `ok ${i + 1}`));
  });

  it('H3 R9 what a sender of fragments has beyond what fits is refused as busy, and each is answered once', async () => {
    hub = await stand({ options: { rateLimit: 0 } });
    const [first = '', second = ''] = ['{"op":"ping",', '"id":3000}'];
    const split = [frame(first, { fin: false }), frame(second, { opcode: 0 })];
    const client = await sentAhead(hub, Buffer.concat([...split, ...pings(2_000)]));
    const refused = answers(client.socket).length;
    expect((hub.gateway.connectionsOf('alice')[0]?.framesIn ?? 0) - refused).toBeLessThanOrEqual(1 + 1_024);
    hub.shard.welcome(client.number);
    await client.socket.until(() => answers(client.socket).length === 2_001);
    const all = answers(client.socket);
    expect(new Set(all.map((answer) => answer.split(' ')[1])).size).toBe(2_001);
    expect(new Set(all.map((answer) => answer.split(' ')[0]))).toEqual(new Set(refused === 0 ? ['ok'] : ['ok', 'busy']));
  });
});
