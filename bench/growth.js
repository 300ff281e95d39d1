/** `npm run bench -- growth`: how figures of the hub change as one thing grows. Flat within 1.3 times, or explained in the note. */
import { contestant } from './contestants.js';
import { runOnce } from './rows.js';
import { dataFolder, runLoad, startServer } from './server.js';
import { commitsBetween, hubStats } from './stats.js';
import { figure, mebibytes } from './words.js';

/** @typedef {import('./report.js').GrowthTable} GrowthTable */
/** @typedef {import('./arguments.js').Options} Options */

/** Windows of growth are shorter: there are many of them. */
const secondsMax = 3;
const crowd = { rooms: 10, members: 100, publishers: 10, inFlight: 4 };
const small = { rooms: 100, members: 10, publishers: 10, inFlight: 2 };
const noLimit = ['--rate-limit', '0'];
const roomsMost = 100_000;
const pauseMs = 500;

/** Everything in this order. @type {((options: Options) => Promise<GrowthTable>)[]} */
const tables = [bySubscribers, byRooms, bySubscriptions, byEntries, byLoad, byShards];

/**
 * @param {Options} options
 * @param {(line: string) => void} say
 */
export async function growthTables(options, say) {
  const found = [];
  for (const table of tables) {
    try {
      const one = await table({ ...options, seconds: Math.min(options.seconds, secondsMax) });
      say(`growth: ${one.title}`);
      found.push(one);
    } catch (error) {
      // The other tables still count; the run ends as failed.
      say(`growth: ${table.name} failed: ${error instanceof Error ? error.message : error}`);
      process.exitCode = 1;
    }
  }
  return found;
}

/** @param {Options} options */
async function bySubscribers({ seconds, hub: root }) {
  const rows = [];
  for (const members of [10, 100, 1_000, 10_000]) {
    const shape = { rooms: 1, members, publishers: 10, inFlight: 4 };
    const ephemeral = await first({ drive: 'traffic', shape, seconds, root, contestant: contestant('hubbub-ephemeral'), flags: noLimit });
    const durable = await first({ drive: 'traffic', shape, seconds, root, contestant: contestant('hubbub-durable'), flags: noLimit });
    rows.push([figure(members), ...[ephemeral, durable].flatMap(({ deliveries, cpuPerDelivery }) => [figure(deliveries), figure(cpuPerDelivery)])]);
  }
  return {
    title: 'Subscribers of one room',
    note: '10 publishers, 4 messages in flight each. With few subscribers a delivery carries more of what a publish costs.',
    head: ['subscribers', 'ephemeral deliveries/s', 'CPU µs/delivery', 'durable deliveries/s', 'CPU µs/delivery'],
    rows,
  };
}

/** @param {Options} options */
async function byRooms({ seconds, hub: root }) {
  /** @type {(rooms: number, flags?: string[]) => Promise<import('./load/meter.js').Part>} */
  const spread = (rooms, flags = []) =>
    first({ drive: 'spread', shape: { rooms, settleMs: 2_000 }, seconds, root, contestant: contestant('hubbub-durable-ok'), flags: [...noLimit, ...flags] });
  /** @type {(name: string, part: import('./load/meter.js').Part) => string[]} */
  const row = (name, { publishes, extra }) => [name, figure(publishes), figure(extra?.['CPU µs/publish']), figure(extra?.['resident MiB'])];
  const rows = [];
  for (const rooms of [10, 100, 1_000, 10_000, roomsMost]) rows.push(row(figure(rooms), await spread(rooms)));
  rows.push(row(`${figure(roomsMost)}, put away after ${pauseMs} ms`, await spread(roomsMost, ['--room-idle-ms', String(pauseMs)])));
  return {
    title: 'Rooms published to in turn',
    note: 'Durable, every publish acknowledged, nobody follows. Where there are more rooms than entries in a commit, every entry changes the row of a room too; and of 100,000 in turn the writer reads each row anew, since it is sure to keep only the last 50,000. In the last row every room is put away before its turn comes again, so that every publish wakes one; its memory is that of idle rooms. Memory includes garbage and what the database caches.',
    head: ['rooms', 'publishes/s', 'CPU µs/publish', 'resident MiB'],
    rows,
  };
}

/** @param {Options} options */
async function bySubscriptions({ seconds, hub: root }) {
  const shape = { connections: 200, rooms: 500 };
  const { extra } = await first({ drive: 'subscriptions', shape, seconds, root, contestant: contestant('hubbub-ephemeral'), flags: noLimit });
  return {
    title: 'What one more subscription takes',
    note: `${shape.connections} connections that follow ${shape.rooms} rooms each, against the same connections following none.`,
    head: ['bytes/subscription', 'subscriptions/s'],
    rows: [[figure(extra?.['bytes/subscription']), figure(extra?.['subscriptions/s'])]],
  };
}

/** @param {Options} options */
async function byEntries({ entries, hub: root }) {
  const hub = contestant('hubbub-durable-ok');
  const rows = [];
  for (const stored of [0, Math.round(entries / 100), entries]) {
    const data = dataFolder();
    try {
      if (stored > 0) {
        const filling = await startServer(hub, { data: data.path, flags: noLimit, root });
        await runLoad({ drive: 'fillLog', shape: { rooms: 1_000, entries: stored }, seconds: 0, warmMs: 0 }, hub, filling);
        await filling.stop();
      }
      const server = await startServer(hub, { data: data.path, root });
      rows.push([figure(stored), figure(server.startedMs / 1_000)]);
      await server.stop();
    } finally {
      data.remove();
    }
  }
  return {
    title: 'Start-up by stored entries',
    note: 'From starting the process to its first accepted connection; 1,000 rooms.',
    head: ['entries', 'seconds'],
    rows,
  };
}

/** @param {Options} options */
async function byLoad({ seconds, hub: root }) {
  const hub = contestant('hubbub-durable');
  const { inFlight: _, ...open } = crowd;
  const rows = [];
  const full = await withCommits(crowd, seconds, 'closed loop');
  const top = full.part.publishes ?? 0;
  for (const share of [0.01, 0.1, 0.5, 0.8, 1])
    rows.push((await withCommits({ ...open, rate: Math.max(1, Math.round(top * share)) }, seconds, `${share * 100} %`)).row);
  return {
    title: 'Commits and latency by load',
    note: 'Durable, 10 rooms × 100. The load is a share of what the closed loop reached, sent at a fixed rate whatever comes back. A commit takes what collected during the one before.',
    head: ['load', 'publishes/s', 'p50 ms', 'p99 ms', 'p99.9 ms', 'entries/commit', 'ms/commit'],
    rows: [...rows, full.row],
  };

  /**
   * @param {object} shape
   * @param {number} seconds
   * @param {string} name
   */
  async function withCommits(shape, seconds, name) {
    const data = dataFolder();
    const server = await startServer(hub, { data: data.path, flags: noLimit, root });
    try {
      const before = await hubStats(server.port);
      const [part] = await runLoad({ drive: 'traffic', shape, seconds, warmMs: 500 }, hub, server);
      const { batch, milliseconds } = commitsBetween(before, await hubStats(server.port));
      return { part, row: [name, ...[part.publishes, part.p50, part.p99, part.p999, batch, milliseconds].map(figure)] };
    } finally {
      await server.stop();
      data.remove();
    }
  }
}

/** @param {Options} options */
async function byShards({ seconds, hub: root }) {
  const rows = [];
  for (const shards of [1, 2, 4]) {
    const flags = ['--shards', String(shards)];
    for (const id of ['hubbub-ephemeral', 'hubbub-durable']) {
      const { label } = contestant(id);
      const fan = await first({ drive: 'traffic', shape: crowd, seconds, root, contestant: contestant(id), flags });
      const rooms = await first({ drive: 'traffic', shape: small, seconds, root, contestant: contestant(id), flags });
      rows.push([
        figure(shards),
        label,
        ...[fan, rooms].flatMap(({ deliveries, cpuPerDelivery }) => [figure(deliveries), figure(cpuPerDelivery)]),
        mebibytes(rooms.peakBytes),
      ]);
    }
  }
  return {
    title: 'Shards',
    note: 'The default is one less than there are cores, at least one: the main thread, which writes to every socket, needs a core of its own, and a shard without one only adds switches.',
    head: ['shards', 'what', '10 × 100 deliveries/s', 'CPU µs/delivery', '100 × 10 deliveries/s', 'CPU µs/delivery', 'peak MiB'],
    rows,
  };
}

/** @param {import('./rows.js').Run} run */
async function first(run) {
  const [part] = await runOnce(run);
  if (part === undefined) throw new Error(`${run.drive} measured nothing`);
  return part;
}
