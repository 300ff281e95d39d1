/**
 * Turns the hub's statistics into Prometheus text. Every scrape fills a registry of its own from one snapshot, so nothing is
 * kept between scrapes and two hubs in one process never meet in a global registry. A statistic without a row here still
 * appears, as a gauge.
 */
import { type IntervalHistogram, monitorEventLoopDelay } from 'node:perf_hooks';
import { Counter, Gauge, type Metric, Registry } from 'prom-client';
import { type HistogramStats, splitHistograms } from '../thread/histogram.ts';
import type { HubStats, StatValue } from './deps.ts';

/** How often the delay of the event loop is measured. */
const delayEveryMs = 10;

/** What `monitorEventLoopDelay` gives; tests give theirs. */
export type DelayHistogram = Pick<IntervalHistogram, 'enable' | 'disable' | 'percentile' | 'reset'>;
type Row = { readonly help: string; readonly counter?: true; readonly label?: string };
const counter = (help: string, label?: string): Row => ({ help, counter: true, ...(label ? { label } : {}) });
const gauge = (help: string, label?: string): Row => ({ help, ...(label ? { label } : {}) });

/** By name of the statistic, whatever part it is of. */
const rows: Readonly<Record<string, Row>> = {
  connections: gauge('Connections'),
  connectionsPeak: gauge('Most connections at once'),
  states: gauge('Connections by state', 'state'),
  users: gauge('Users with a connection'),
  perUserPeak: gauge('Most connections one user had at once'),
  accepted: counter('Handshakes accepted'),
  rejected: counter('Handshakes refused, by reason', 'reason'),
  closed: counter('Connections the hub closed, by reason', 'reason'),
  evicted: counter('Connections closed in favour of newer ones'),
  terminated: counter('Sockets cut without a close handshake'),
  tlsFailed: counter('TLS handshakes that failed'),
  dropped: counter('Connections closed for want of file descriptors'),
  pipelined: counter('HTTP connections cut for sending on and on without waiting for answers'),
  framesIn: counter('Frames received'),
  bytesIn: counter('Bytes received'),
  framesOut: counter('Frames written'),
  bytesOut: counter('Bytes written'),
  badFrames: counter('Frames refused as malformed'),
  rateLimited: counter('Commands refused by the rate limit'),
  busy: counter('Commands refused because a queue was full'),
  deliveries: counter('Durable entries times their live subscribers'),
  shed: counter('Ephemeral frames kept from connections with full outboxes'),
  behind: counter('Times a room of a connection fell behind'),
  flushes: counter('Flushes of a shard written to sockets'),
  backed: gauge('Connections whose socket did not take all that was written'),
  outboxBytes: gauge('Bytes written but not yet taken by sockets'),
  held: gauge('Connections not read because a shard is behind'),
  heldBytes: gauge('Bytes of their commands that wait'),
  queueMs: gauge('How long what is sent to a shard takes', 'shard'),
  overloaded: gauge('Shards so far behind that commands for them are refused'),
  diskFreeBytes: gauge('Free bytes of the disk of the data folder'),
  walBytes: gauge('Bytes of the write-ahead log of the database'),
  walHeld: gauge('Whether another process keeps the write-ahead log from being shortened'),
  stalls: counter('Times the main thread stood still'),
  stalledMsTotal: counter('Time the main thread stood still'),
  stallMsMax: gauge('Longest time the main thread stood still'),
  commandsOpen: gauge('Commands without an answer yet'),
  serviceConnections: gauge('API keys in use'),
  linkDepth: gauge('Items on the way to the other thread', 'shard'),
  rooms: gauge('Active rooms'),
  tailBytes: gauge('Bytes of entries kept in memory'),
  followed: gauge('Rooms that connections follow or asked to follow'),
  commands: counter('Commands carried out'),
  pendingAppends: gauge('Operations waiting for the store'),
  pendingReads: gauge('Reads without an answer yet'),
  feeding: gauge('Connections being caught up'),
  commits: counter('Transactions committed'),
  entries: counter('Entries stored'),
  operations: counter('Operations committed'),
  refused: counter('Operations the disk refused'),
  lockWaits: counter('Times the lock of another process was waited for'),
  queuedBatches: gauge('Batches of shards waiting for a commit'),
  queuedOperations: gauge('Operations in them'),
  commitMs: gauge('Time of a commit'),
  batchOperations: gauge('Operations in a commit'),
  inboxQueued: counter('Items put into inboxes'),
  inboxAcks: counter('Acknowledgements of inbox items, each for all before it'),
  inboxLost: counter('Items that were dropped from inboxes or expired'),
  reads: counter('Reads done'),
  failed: counter('Reads that failed'),
  open: gauge('Reads under way'),
  shards: gauge('Shards linked'),
  quarantined: counter('Commands refused because what they name crashed its thread'),
  crashes: counter('Deaths of shards'),
  barredRooms: gauge('Rooms set aside because they crash their thread'),
  barredCommands: gauge('Commands set aside because they crash their thread'),
  heapBytes: gauge('JavaScript heap in use by the thread'),
  restarts: counter('Times the thread was replaced'),
};

/** Observes the main thread until `close`. */
export class Metrics {
  readonly contentType = Registry.PROMETHEUS_CONTENT_TYPE;
  readonly #delay: DelayHistogram;

  constructor(delay: DelayHistogram = monitorEventLoopDelay({ resolution: delayEveryMs })) {
    this.#delay = delay;
    this.#delay.enable();
  }

  /** The event-loop delay is that since the last call. */
  async render(stats: HubStats): Promise<string> {
    const registry = new Registry();
    for (const [thread, values] of Object.entries(stats)) {
      const [, part = thread, index] = /^(.*?)(\d*)$/.exec(thread) ?? [];
      const { histograms, rest } = splitHistograms(values);
      for (const [name, value] of Object.entries(rest)) addStat(registry, part, index, name, value);
      for (const [name, histogram] of histograms) addHistogram(registry, part, index, name, histogram);
    }
    this.#addProcess(registry);
    return registry.metrics();
  }

  close(): void {
    this.#delay.disable();
  }

  /** What Node measures is the time from one turn of its timer to the next, which includes the time that the timer waits anyway. */
  #delaySeconds(quantile: number): number {
    return Math.max(0, this.#delay.percentile(quantile * 100) / 1e6 - delayEveryMs) / 1_000 || 0;
  }

  #addProcess(registry: Registry): void {
    const delay = new Gauge({ name: 'hubbub_event_loop_delay_seconds', help: 'Delay of the main event loop', labelNames: ['quantile'], registers: [registry] });
    for (const quantile of [0.5, 0.99, 1]) delay.set({ quantile: String(quantile) }, this.#delaySeconds(quantile));
    this.#delay.reset();
    const memory = process.memoryUsage();
    const cpu = process.cpuUsage();
    const one = (name: string, help: string, value: number) => new Gauge({ name, help, registers: [registry] }).set(value);
    one('process_resident_memory_bytes', 'Resident memory of the process', memory.rss);
    one('hubbub_main_heap_bytes', 'JavaScript heap in use by the main thread', memory.heapUsed);
    one('hubbub_buffers_bytes', 'Memory of buffers outside of all heaps', memory.arrayBuffers);
    new Counter({ name: 'process_cpu_seconds_total', help: 'Processor time of the process', registers: [registry] }).inc((cpu.user + cpu.system) / 1e6);
  }
}

function addStat(registry: Registry, part: string, index: string | undefined, name: string, value: StatValue): void {
  const row: Row = rowOf(part, name);
  const metricName = metricOf(part, name) + (row.counter && !name.endsWith('Total') ? '_total' : '');
  const own = row.label ?? 'kind';
  const thread: Record<string, string> = index ? { thread: index } : {};
  const values: [Record<string, string>, number | null | undefined][] =
    typeof value === 'object' && value !== null ? Object.entries(value).map(([key, one]) => [{ ...thread, [own]: key }, one]) : [[thread, value]];
  const existing = registry.getSingleMetric(metricName) as Counter | Gauge | undefined;
  const config = { name: metricName, help: row.help, labelNames: ['thread', own], registers: [registry] };
  const metric = existing ?? (row.counter ? new Counter(config) : new Gauge(config));
  for (const [labels, one] of values) if (typeof one === 'number' && one >= 0) metric.inc(labels, inBaseUnit(name, one));
}

/** prom-client's own histogram counts observations; this one was counted in another thread. */
function addHistogram(registry: Registry, part: string, index: string | undefined, stat: string, counted: HistogramStats): void {
  const name = metricOf(part, stat);
  const labels = index ? { thread: index } : {};
  const values = [
    ...counted.buckets.map(([bound, count]) => ({
      metricName: `${name}_bucket`,
      labels: { ...labels, le: bound === Infinity ? '+Inf' : String(inBaseUnit(stat, bound)) },
      value: count,
    })),
    { metricName: `${name}_sum`, labels, value: inBaseUnit(stat, counted.sum) },
    { metricName: `${name}_count`, labels, value: counted.buckets.at(-1)?.[1] ?? 0 },
  ];
  const earlier = registry.getSingleMetric(name) as unknown as { own?: typeof values } | undefined;
  const own = [...(earlier?.own ?? []), ...values];
  if (earlier !== undefined) registry.removeSingleMetric(name);
  const metric = { name, own, get: async () => ({ name, help: rowOf(part, stat).help, type: 'histogram', values: own, aggregator: 'sum' }) };
  registry.registerMetric(metric as unknown as Metric);
}

/** What nobody described counts up if its name says so, and is a gauge otherwise. */
function rowOf(part: string, name: string): Row {
  if (Object.hasOwn(rows, name)) return rows[name] as Row;
  return name.endsWith('Total') ? counter(`${name} of ${part}`) : gauge(`${name} of ${part}`);
}

/**
 * `shard`, `tailBytes` → `hubbub_shard_tail_bytes`; milliseconds become seconds, as is the custom there. The gateway's numbers
 * are those of the hub as a whole and so name no part.
 */
function metricOf(part: string, name: string): string {
  const words = name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`).replace(/[^a-z0-9_]/g, '_');
  return `hubbub_${part === 'gateway' ? '' : `${part.toLowerCase()}_`}${words.replace(/_ms(?=_|$)/, '_seconds')}`;
}

function inBaseUnit(name: string, value: number): number {
  return /Ms(?![a-z])/.test(name) ? value / 1_000 : value;
}
