/**
 * Every option once: its default, its bounds and its one line of help. The flag (`--port`), the variable (`HUBBUB_PORT`),
 * the key of the config file (`port`) and the row in the README come from this table. Where values come from is `cli/`.
 */

type Row<T> = {
  readonly value: T;
  readonly help: string;
  readonly min?: number;
  readonly max?: number;
  readonly among?: readonly string[];
  readonly secret?: true;
};

function number(value: number, help: string, min = 0, max = Number.MAX_SAFE_INTEGER): Row<number> {
  return { value, help, min, max };
}
function text(value: string, help: string): Row<string> {
  return { value, help };
}
function among<T extends string>(value: NoInfer<T>, values: readonly T[], help: string): Row<T> {
  return { value, help, among: values };
}
function flag(value: boolean, help: string): Row<boolean> {
  return { value, help };
}
function list(help: string, secret?: true): Row<readonly string[]> {
  return secret ? { value: [], help, secret } : { value: [], help };
}

const KiB = 1024;
const MiB = 1024 * KiB;
const day = 86_400_000;

export const optionTable = {
  dev: flag(false, 'development mode: loopback only, users without tokens, rooms on first use, the page at /'),
  host: text('127.0.0.1', 'address to listen on'),
  port: number(8080, 'port to listen on (0: any free one)', 0, 65_535),
  opsHost: text('127.0.0.1', 'address of the operations listener (metrics, backend API)'),
  opsPort: number(8081, 'port of the operations listener; with --dev everything is on --port', 0, 65_535),
  tlsCert: text('', 'file with the PEM certificate (and its chain) to serve wss:// and https:// with; SIGHUP reads it and the key again'),
  tlsKey: text('', 'file with its PEM private key, without a passphrase'),
  data: text('./data', 'folder of the database'),
  diskWarnBytes: number(512 * MiB, 'warn in the log and /readyz when the disk of the data folder has less free (0: never)'),
  durability: among('power-loss', ['power-loss', 'process'], 'what an ok survives: power-loss (synchronous=FULL) or only the death of the process (NORMAL)'),
  shards: number(0, 'shard threads (0: one less than there are cores, at least 1)', 0, 64),
  readers: number(1, 'threads for reads: history, recovery, lists', 1, 16),
  drainMs: number(10_000, 'time a stopping hub takes at most', 0, 600_000),
  hangMs: number(1_500, 'replace a thread that has stood still for so long', 500, 600_000),
  storeHangMs: number(4_000, 'the same while it is in a call of the database, which may wait for the disk', 500, 600_000),
  restartsMax: number(10, 'end the hub when a thread of it has died more often than this within a minute', 0, 1_000),
  quarantineMs: number(600_000, 'how long a room or command that crashed its thread three times is refused', 1_000, day),
  logLevel: among('info', ['silent', 'error', 'warn', 'info', 'debug'], 'least severe log lines to write'),

  origins: list('origins browsers may connect from, such as https://chat.example.com; empty with --dev: loopback'),
  jwtSecrets: list('HS256 secrets as kid:secret (or one secret), at least 32 bytes each', true),
  jwtPublicKey: text('', 'file with the PEM public key or JWKS that signs tokens'),
  jwksUrl: text('', 'URL of a JWKS'),
  jwtIssuer: text('', 'required iss claim'),
  jwtAudience: text('', 'required aud claim'),
  endlessTokens: flag(false, 'accept tokens without exp, which hold until their key is changed'),
  apiKeys: list('keys of the backend API as name:key, at least 32 bytes each', true),

  handshakeMs: number(5_000, 'time for a TLS handshake, and for the header of a request', 100, 60_000),
  helloTimeoutMs: number(10_000, 'time to say hello', 100, 600_000),
  refreshGraceMs: number(30_000, 'time after expiry of a token in which it can still be refreshed', 0, 3_600_000),
  heartbeatMs: number(25_000, 'time between heartbeats', 100, 600_000),
  heartbeatGraceMs: number(10_000, 'time to answer one', 100, 600_000),
  idleMs: number(0, 'close connections without commands for so long (0: never)', 0, day),
  connectionsMax: number(20_000, 'connections of this process', 1, 1_000_000),
  connectionsPerUserMax: number(10, 'connections of one user', 1, 10_000),
  connectionPolicy: among('reject', ['reject', 'evict-oldest'], 'what happens to a connection above connectionsPerUserMax'),
  acceptPerSecond: number(5_000, 'handshakes per second before 503 (0: no limit)', 0, 1_000_000),
  trustedProxies: list('addresses or networks (10.0.0.0/8) of proxies whose proxyHeader names the client'),
  proxyHeader: among('x-forwarded-for', ['x-forwarded-for', 'forwarded'], 'the header that trusted proxies add to; the other one is never read'),
  connectionsPerAddressMax: number(
    2_000,
    'connections of one address (IPv6: of one /64); not with --dev, nor on loopback without trustedProxies (0: no limit)',
    0,
    1_000_000,
  ),
  connectsPerAddressMax: number(3_000, 'handshakes of one address within connectsWindowMs; the same (0: no limit)', 0, 1_000_000),
  connectsWindowMs: number(60_000, 'window of connectsPerAddressMax', 1_000, day),
  rateLimit: number(1_000, 'commands per second and connection ("off" or 0: no limit of commands, cost or keys at all)', 0, 10_000_000),
  rateBurst: number(2_000, 'commands at once before rateLimit counts', 1, 10_000_000),
  userRateLimit: number(5_000, 'commands per second of one user, all his connections together (0: no limit)', 0, 10_000_000),
  userRateBurst: number(10_000, 'commands at once before userRateLimit counts', 1, 10_000_000),
  costLimit: number(256 * MiB, 'cost per second and connection: bytes of a frame times those who follow its room (0: no limit)', 0),
  costBurst: number(1_024 * MiB, 'cost at once before costLimit counts', 1),
  userCostLimit: number(512 * MiB, 'cost per second of one user, all his connections together (0: no limit)', 0),
  userCostBurst: number(2_048 * MiB, 'cost at once before userCostLimit counts', 1),
  keyRateLimit: number(50_000, 'requests per second of one API key, on average over a window (0: no limit)', 0, 10_000_000),
  keyRateBurst: number(100_000, 'requests of one window, which lasts keyRateBurst / keyRateLimit seconds, at least one', 1, 10_000_000),
  refusalsMax: number(5_000, 'commands refused by a rate within a minute before the connection is closed', 1, 10_000_000),
  badFramesMax: number(20, 'bad frames in a row before the connection is closed', 1, 10_000),

  frameBytesMax: number(256 * KiB, 'largest frame a client may send', 1_024, 16 * MiB),
  bodyBytesMax: number(64 * KiB, 'largest body of a message', 16, 15 * MiB),
  subscriptionsMax: number(1_000, 'rooms one connection may follow', 1, 100_000),
  openCommandsMax: number(1_024, 'unanswered commands of one connection', 1, 100_000),
  watchesMax: number(1_000, 'users one connection may watch', 0, 100_000),

  queueMsMax: number(5_000, 'how far a shard may be behind before commands for it are refused with busy; until then senders are read more slowly', 100, 60_000),
  heldBytesMax: number(64 * MiB, 'bytes of commands that wait for such a shard before they are refused', 1_024, 16 * 1_024 * MiB),

  outboxSoftBytes: number(256 * KiB, 'unsent bytes above which a connection gets no ephemera', 1_024, 1_024 * MiB),
  outboxBytesMax: number(MiB, 'unsent bytes above which its rooms fall behind', 1_024, 1_024 * MiB),
  outboxLowBytes: number(64 * KiB, 'unsent bytes below which it gets its next page', 0, 1_024 * MiB),
  outboxTotalBytesMax: number(512 * MiB, 'unsent bytes of all connections', MiB, 64 * 1_024 * MiB),
  slowMs: number(30_000, 'close a connection whose socket took nothing for so long', 100, 3_600_000),

  autoCreate: among('dev', ['dev', 'on', 'off'], 'whether a first subscribe or publish makes a public room (dev: with --dev)'),
  roomMembersMax: number(1_000, 'members of a room that does not say otherwise', 1, 100_000),
  tailItemsMax: number(512, 'entries of an active room kept in memory', 16, 100_000),
  tailBytesMax: number(512 * KiB, 'bytes of them', 1_024, 1_024 * MiB),
  pageBytesMax: number(256 * KiB, 'bytes of entries in one page of a replay', 256, 16 * MiB),
  roomIdleMs: number(60_000, 'put an active room without subscribers away after so long', 10, day),
  pendingMax: number(50_000, 'appends of one shard waiting for the store', 100, 10_000_000),
  pendingBytesMax: number(64 * MiB, 'bytes of them', 64 * KiB, 16 * 1_024 * MiB),
  broadcastEntriesMax: number(1_000, 'broadcasts kept for those who are away', 1, 1_000_000),

  inboxItemsMax: number(1_000, 'items one inbox holds', 1, 1_000_000),
  inboxBytesMax: number(8 * MiB, 'bytes of bodies one inbox holds', 1_024, 1_024 * MiB),
  inboxAgeMs: number(30 * day, 'age at which an item expires', 1_000),
  inboxOverflow: among('drop-oldest', ['drop-oldest', 'reject'], 'what a full inbox does'),
  devicesMax: number(10, 'devices of one user', 1, 100),
  deviceAgeMs: number(30 * day, 'a device unseen for so long is forgotten', 1_000),
  ledgerAgeMs: number(7 * day, 'how long the delivery ledger remembers what ended', 0),

  awayAfterMs: number(300_000, 'a connection without commands for so long counts as away (0: never)', 0, day),
  presenceGraceMs: number(10_000, 'time a user stays online after an unclean disconnect', 0, 600_000),
  audienceMax: number(200, 'audience above which a room tells numbers only', 0, 10_000),
} as const;

type Widen<T> = T extends boolean ? boolean : T extends number ? number : T;
/** Every option with its value. */
export type FilledOptions = { readonly [K in keyof typeof optionTable]: Widen<(typeof optionTable)[K]['value']> };
/** What a caller states; the rest is filled from the table. */
export type HubOptions = { readonly [K in keyof FilledOptions]?: FilledOptions[K] | undefined };

export class OptionError extends Error {
  readonly option: string;
  constructor(option: string, problem: string) {
    super(`option ${option}: ${problem}`);
    this.name = 'OptionError';
    this.option = option;
  }
}

/** Fills in defaults and checks every value; throws `OptionError` naming the first bad one. */
export function fillOptions(given: HubOptions): FilledOptions {
  const filled: Record<string, unknown> = {};
  for (const name of Object.keys(given)) if (!Object.hasOwn(optionTable, name)) throw new OptionError(name, 'there is no such option');
  for (const [name, row] of Object.entries(optionTable) as [keyof FilledOptions, Row<unknown>][]) {
    const value = given[name] ?? row.value;
    check(name, row, value);
    filled[name] = value;
  }
  const options = filled as FilledOptions;
  if (options.bodyBytesMax >= options.frameBytesMax) throw new OptionError('bodyBytesMax', 'must be below frameBytesMax');
  if (options.outboxLowBytes >= options.outboxSoftBytes) throw new OptionError('outboxLowBytes', 'must be below outboxSoftBytes');
  if (options.outboxSoftBytes > options.outboxBytesMax) throw new OptionError('outboxSoftBytes', 'must not be above outboxBytesMax');
  return options;
}

function check(name: string, row: Row<unknown>, value: unknown): void {
  if (typeof value !== typeof row.value || Array.isArray(value) !== Array.isArray(row.value))
    throw new OptionError(name, `must be a ${Array.isArray(row.value) ? 'list' : typeof row.value}`);
  if (typeof value === 'number') {
    const { min = 0, max = Number.MAX_SAFE_INTEGER } = row;
    if (!Number.isSafeInteger(value) || value < min || value > max) throw new OptionError(name, `must be a whole number from ${min} to ${max}, not ${value}`);
  }
  // An unset variable of a shell: a folder "" would be wherever the hub was started, a host "" the whole network.
  if (value === '' && row.value !== '') throw new OptionError(name, 'must not be empty');
  if (row.among && !row.among.includes(value as string)) throw new OptionError(name, `must be one of ${row.among.join(', ')}, not ${String(value)}`);
}
