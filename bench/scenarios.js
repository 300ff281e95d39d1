/**
 * The scenarios as data: what load, who takes part, and what is aimed at. `run.js` carries them out; a figure of a target is
 * one of `Measured` or of a row's `extra`.
 */

/**
 * @typedef {object} Target
 * @property {string} row contestant, or `contestant/part`
 * @property {string} figure
 * @property {'at least' | 'at most'} bound
 * @property {number} times of the figure of `than`; where there is none, the bound itself
 * @property {string} [than] like `row`
 *
 * @typedef {object} Scenario
 * @property {string} name
 * @property {string} load in words
 * @property {string} drive of load/main.js
 * @property {any} shape for the drive
 * @property {string[]} contestants in the order of their rows
 * @property {Target[]} targets
 * @property {string[]} [flags] of the hub
 * @property {number} [warmMs] load before the window, where it is not that of all
 * @property {number} [rounds] at least, in turn; of each figure the middle one counts
 */

const peers = ['ws', 'socket-io', 'uws', 'bun'];

/** @type {(row: string, times: number, than: string, figure?: string) => Target} */
const atLeast = (row, times, than, figure = 'deliveries') => ({ row, figure, bound: 'at least', times, than });
/** @type {(row: string, figure: string, times: number, than?: string) => Target} */
const atMost = (row, figure, times, than) => ({ row, figure, bound: 'at most', times, ...(than === undefined ? {} : { than }) });

/** @type {Scenario[]} */
export const scenarios = [
  {
    name: 'fan1000',
    load: '1 room × 1,000 subscribers, 10 publishers, 4 messages in flight each',
    drive: 'traffic',
    shape: { rooms: 1, members: 1_000, publishers: 10, inFlight: 4 },
    contestants: [...peers, 'hubbub-ephemeral', 'hubbub-ephemeral-msgpack', 'hubbub-durable', 'hubbub-durable-ok', 'hubbub-durable-msgpack'],
    targets: [
      atLeast('hubbub-ephemeral', 1.5, 'bun'),
      atLeast('hubbub-ephemeral', 38, 'socket-io'),
      atLeast('hubbub-durable', 1.4, 'bun'),
      atLeast('hubbub-durable', 35, 'socket-io'),
    ],
  },
  {
    name: 'fan100',
    load: '10 rooms × 100 subscribers, 100 publishers, 4 messages in flight each',
    drive: 'traffic',
    shape: { rooms: 10, members: 100, publishers: 10, inFlight: 4 },
    contestants: [...peers, 'hubbub-ephemeral', 'hubbub-durable', 'hubbub-durable-ok'],
    targets: [atLeast('hubbub-ephemeral', 1.3, 'bun'), atLeast('hubbub-durable', 1, 'bun')],
  },
  {
    name: 'rooms10',
    load: '100 rooms × 10 subscribers, everyone publishes, 2 messages in flight each',
    drive: 'traffic',
    shape: { rooms: 100, members: 10, publishers: 10, inFlight: 2 },
    contestants: [
      ...peers,
      'hubbub-ephemeral',
      'hubbub-ephemeral-ok',
      'hubbub-ephemeral-msgpack',
      'hubbub-durable',
      'hubbub-durable-ok',
      'hubbub-durable-msgpack',
    ],
    targets: [atLeast('hubbub-ephemeral', 9, 'socket-io'), atLeast('hubbub-ephemeral', 1, 'uws'), atLeast('hubbub-durable', 6.5, 'socket-io')],
  },
  {
    name: 'pairs',
    load: '250 rooms × 2 subscribers, everyone publishes, 1 message in flight each',
    drive: 'traffic',
    shape: { rooms: 250, members: 2, publishers: 2, inFlight: 1 },
    contestants: [...peers, 'hubbub-ephemeral', 'hubbub-ephemeral-ok', 'hubbub-durable', 'hubbub-durable-ok'],
    targets: [
      atLeast('hubbub-ephemeral', 1.3, 'socket-io'),
      atLeast('hubbub-ephemeral', 2, 'socket-io'),
      atLeast('hubbub-durable', 1.1, 'socket-io'),
      atLeast('hubbub-durable', 1.4, 'socket-io'),
    ],
  },
  {
    name: 'calm',
    load: '100 rooms × 10 subscribers, 1,000 publishes/s whatever comes back (open loop), after 8 s of it',
    drive: 'traffic',
    shape: { rooms: 100, members: 10, publishers: 10, rate: 1_000 },
    // A shared machine stands still for some milliseconds now and then, and that is the p99 of whoever is measured just then.
    rounds: 3,
    // So little happens in a second that what a contestant runs is compiled only then.
    warmMs: 8_000,
    contestants: [...peers, 'hubbub-ephemeral', 'hubbub-durable', 'hubbub-durable-ok'],
    targets: [
      atMost('hubbub-ephemeral', 'p50', 1.2, 'ws'),
      atMost('hubbub-ephemeral', 'p99', 1, 'socket-io'),
      atMost('hubbub-durable', 'p50', 2, 'ws'),
      atMost('hubbub-durable', 'p50', 1),
    ],
  },
  {
    name: 'idle',
    load: '10,000 connections, each says hello and follows one room of 10, after 3,000 that warm up',
    drive: 'idle',
    shape: { connections: 10_000, perRoom: 10 },
    contestants: [...peers, 'hubbub-ephemeral'],
    targets: [atMost('hubbub-ephemeral', 'KiB/connection', 10), atLeast('hubbub-ephemeral', 1.5, 'socket-io', 'connects/s')],
  },
  {
    name: 'inbox',
    load: 'direct messages to 1,000 users who are away (50 senders, 20 in flight each, every one acknowledged), then all come back',
    drive: 'inbox',
    shape: { users: 1_000 },
    contestants: ['hubbub-durable-ok'],
    targets: [
      { row: 'hubbub-durable-ok/queue', figure: 'publishes', bound: 'at least', times: 25_000 },
      { row: 'hubbub-durable-ok/drain', figure: 'deliveries', bound: 'at least', times: 100_000 },
    ],
  },
  {
    name: 'recover',
    load: '1,000 subscribers of 10 rooms drop, miss 100 entries, and come back all at once',
    drive: 'recover',
    shape: { clients: 1_000, rooms: 10, behind: 100 },
    contestants: ['hubbub-durable'],
    targets: [atMost('hubbub-durable', 'all caught up s', 2), atMost('hubbub-durable', 'store reads', 0)],
  },
  {
    name: 'history',
    load: 'pages of 50 at random places of a log, 8 readers: short log, then long log',
    drive: 'history',
    shape: { short: 10_000, long: 1_000_000 },
    flags: ['--rate-limit', '0'],
    contestants: ['hubbub-durable-ok'],
    targets: [atMost('hubbub-durable-ok/1,000,000 entries', 'p50', 1.3, 'hubbub-durable-ok/10,000 entries')],
  },
  {
    name: 'http',
    load: 'autocannon, 20 connections; a publish goes to 100 WebSocket subscribers, who count what arrives',
    drive: 'http',
    shape: { subscribers: 100 },
    contestants: ['fastify', 'hubbub-durable'],
    targets: [],
  },
];

/** What `http` asks of whom. */
export const httpRequests = {
  fastify: [
    { part: 'bare GET', method: 'GET', path: '/' },
    { part: 'bare POST', method: 'POST', path: '/', body: {} },
  ],
  hub: [
    { part: 'health', method: 'GET', path: '/healthz' },
    { part: 'presence of 1', method: 'GET', path: '/api/v1/presence?user=user-1' },
    { part: 'publish to 100', method: 'POST', path: '/api/v1/rooms/http/messages', room: 'http', body: {} },
  ],
};
