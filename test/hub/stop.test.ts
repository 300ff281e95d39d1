/** How a hub begins and ends as a process: its signals, its exit codes, its one line when it cannot start. */
import { describe, expect, it } from 'vitest';
import { type Hub, runCommand, startHub, temporaryFolder } from '../kit/hub.ts';
import { Loyal } from '../kit/loyal.ts';
import { RawClient } from '../kit/raw-client.ts';
import { readLogs } from '../kit/reader.ts';

describe('a signal', () => {
  it('X2 tells every client to come back, finishes what was accepted, and ends with 0', async () => {
    const hub = await startHub({ rateLimit: 0 });
    const users = Array.from({ length: 10 }, (_, i) => new Loyal(`user-${i}`, ['busy'], {}));
    await Promise.all(users.map((user) => user.connect(hub.url)));
    const clients = users.flatMap(({ client }) => (client ? [client] : []));
    const reached = new Promise<void>((resolve) => users[0]?.onAck(() => (users[0]?.acked ?? 0) >= 50 && resolve()));
    const talking = users.map((user) => user.chat(Number.POSITIVE_INFINITY, 4, () => 'busy'));
    await reached;
    const exit = hub.stop();
    for (const client of clients) expect((await client.closed).code).toBe(4000);
    const times = clients.flatMap(({ pushes }) => pushes.flatMap((push) => (push.op === 'closing' ? [push.retryAfterMs] : [])));
    expect(times).toHaveLength(clients.length);
    expect(new Set(times).size).toBeGreaterThan(5); // spread, so that not all come back at once
    expect(await exit).toEqual({ code: 0, signal: null });
    await Promise.all(talking);

    const acked = users.reduce((sum, user) => sum + user.acked, 0);
    await hub.start();
    const log = (await readLogs(hub.url, ['busy'])).get('busy') ?? [];
    const mids = new Set(log.map(({ mid }) => mid));
    expect(mids.size).toBe(log.length);
    expect(log.length).toBeGreaterThanOrEqual(acked);
    await Promise.all(users.map((user) => user.connect(hub.url)));
    await Promise.all(users.map((user) => user.delivered()));
    expect((await readLogs(hub.url, ['busy'])).get('busy')).toHaveLength(users.reduce((sum, user) => sum + user.acked, 0));
  });

  it('does not wait for a client that does not say goodbye', async () => {
    const hub = await startHub({ drainMs: 500 });
    const client = await RawClient.connect(hub.url, { user: 'stubborn' });
    client.pause();
    expect(await hub.stop()).toEqual({ code: 0, signal: null });
  });
});

describe('a hub that cannot start says why in one line', () => {
  const startProblem = async (hub: Hub | null, ...words: string[]): ReturnType<typeof runCommand> => {
    const ended = await runCommand('serve', '--dev', '--data', temporaryFolder(), '--port', String(hub?.port ?? 0), ...words);
    expect(ended.lines).toHaveLength(1);
    return ended;
  };

  it('when its port is in use', async () => {
    const hub = await startHub();
    const ended = await startProblem(hub);
    expect(ended.code).toBe(1);
    expect(ended.lines[0]).toContain(`port ${hub.port} is in use`);
    await (await RawClient.connect(hub.url, { user: 'alice' })).settled();
    expect(await hub.kill('SIGINT')).toEqual({ code: 0, signal: null });
  });

  it.each([
    [['--port', 'http'], 'port'],
    [['--port', '70000'], 'port'],
    [['--durability', 'maybe'], 'durability'],
    [['--no-such-flag', '1'], 'no-such-flag'],
    [['--host', '0.0.0.0'], 'loopback'],
    [['--body-bytes-max', '1000000'], 'bodyBytesMax'],
  ])('when %j is no good', async (words, word) => {
    const ended = await startProblem(null, ...words);
    expect(ended.code).toBe(2);
    expect(ended.lines[0]).toContain(word);
  });

  it('when nothing says who may come in', async () => {
    const ended = await runCommand('serve', '--data', temporaryFolder(), '--port', '0', '--ops-port', '0');
    expect(ended.code).toBe(2);
    expect(ended.lines).toHaveLength(1);
    const noOrigins = await runCommand('serve', '--data', temporaryFolder(), '--port', '0', '--ops-port', '0', '--jwt-secrets', `k:${'s'.repeat(40)}`);
    expect(noOrigins.code).toBe(2);
    expect(noOrigins.lines[0]).toContain('origins');
  });
});
