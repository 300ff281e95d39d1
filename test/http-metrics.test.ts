/** Statistics of threads as Prometheus text. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Metrics } from '../src/http/metrics.ts';
import { Histogram, splitHistograms } from '../src/thread/histogram.ts';

let metrics: Metrics;
beforeEach(() => {
  metrics = new Metrics();
});
afterEach(() => metrics.close());

/** Samples by name and labels; throws where the text is not what Prometheus reads, or says a thing twice. */
async function render(stats: Parameters<Metrics['render']>[0], of = metrics): Promise<{ samples: Map<string, number>; types: Map<string, string> }> {
  const samples = new Map<string, number>();
  const types = new Map<string, string>();
  for (const line of (await of.render(stats)).split('\n')) {
    if (line === '' || line.startsWith('# HELP ')) continue;
    const type = /^# TYPE ([a-z_:]+) (counter|gauge|histogram)$/.exec(line);
    if (type) {
      expect(types.has(type[1] as string)).toBe(false);
      types.set(type[1] as string, type[2] as string);
      continue;
    }
    const sample = /^([a-z_]+(?:\{(?:[a-z_]+="[^"]*",?)+\})?) (-?[\d.e+-]+)$/.exec(line);
    if (sample === null) throw new Error(`not a sample: ${line}`);
    expect(samples.has(sample[1] as string)).toBe(false);
    samples.set(sample[1] as string, Number(sample[2]));
  }
  return { samples, types };
}

describe('metrics', () => {
  it('every number of every part is a sample, threads are labels', async () => {
    const { samples, types } = await render({
      gateway: { connections: 3, states: { open: 2, hello: 1 }, deliveries: 9, outboxBytes: 100, linkDepth: [4, null] },
      shard0: { rooms: 5, heapBytes: 6 },
      shard1: { rooms: 7, restarts: 1 },
    });
    expect(Object.fromEntries([...samples].filter(([name]) => /^hubbub_(?!event|main|buffers)/.test(name)))).toEqual({
      hubbub_connections: 3,
      'hubbub_states{state="open"}': 2,
      'hubbub_states{state="hello"}': 1,
      hubbub_deliveries_total: 9,
      hubbub_outbox_bytes: 100,
      'hubbub_link_depth{shard="0"}': 4,
      'hubbub_shard_rooms{thread="0"}': 5,
      'hubbub_shard_heap_bytes{thread="0"}': 6,
      'hubbub_shard_rooms{thread="1"}': 7,
      'hubbub_shard_restarts_total{thread="1"}': 1,
    });
    expect(types.get('hubbub_deliveries_total')).toBe('counter');
    expect(types.get('hubbub_connections')).toBe('gauge');
  });

  it('a number nobody described still appears', async () => {
    const { samples, types } = await render({ persistence: { walBytes: 1, constructor: 2, slowestMs: 1_500, readMsMax: 250, readMsTotal: 3_000 } });
    expect(samples.get('hubbub_persistence_wal_bytes')).toBe(1);
    expect(samples.get('hubbub_persistence_constructor')).toBe(2);
    expect(samples.get('hubbub_persistence_slowest_seconds')).toBe(1.5);
    expect(samples.get('hubbub_persistence_read_seconds_max')).toBe(0.25);
    expect(samples.get('hubbub_persistence_read_seconds_total')).toBe(3);
    expect(types.get('hubbub_persistence_read_seconds_total')).toBe('counter');
  });

  it('counters do not add up over scrapes', async () => {
    for (const deliveries of [5, 6]) expect((await render({ gateway: { deliveries } })).samples.get('hubbub_deliveries_total')).toBe(deliveries);
  });

  it('a histogram counted in a thread is a histogram, in seconds', async () => {
    const time = new Histogram('commitMs', [1, 5]);
    for (const value of [0.5, 1, 3, 100]) time.observe(value);
    const { samples, types } = await render({ persistence: { commits: 4, ...time.stats() } });
    expect(types.get('hubbub_persistence_commit_seconds')).toBe('histogram');
    expect(samples.get('hubbub_persistence_commit_seconds_bucket{le="0.001"}')).toBe(2);
    expect(samples.get('hubbub_persistence_commit_seconds_bucket{le="0.005"}')).toBe(3);
    expect(samples.get('hubbub_persistence_commit_seconds_bucket{le="+Inf"}')).toBe(4);
    expect(samples.get('hubbub_persistence_commit_seconds_sum')).toBeCloseTo(0.1045);
    expect(samples.get('hubbub_persistence_commit_seconds_count')).toBe(4);
    expect(samples.get('hubbub_persistence_commits_total')).toBe(4);
  });

  it('two threads share one histogram, apart by label', async () => {
    const batch = new Histogram('batchItems', [10]);
    batch.observe(3);
    const { samples, types } = await render({ shard0: batch.stats(), shard1: batch.stats() });
    expect(types.get('hubbub_shard_batch_items')).toBe('histogram');
    for (const thread of [0, 1]) expect(samples.get(`hubbub_shard_batch_items_count{thread="${thread}"}`)).toBe(1);
  });

  it('the delay of the main event loop leaves out the time that its measuring waits', async () => {
    const perMs = 1e6;
    const delays = new Map([
      [50, 9.9 * perMs],
      [99, 12.5 * perMs],
      [100, 60 * perMs],
    ]);
    const yes = (): boolean => true;
    const measured = { enable: yes, disable: yes, reset: () => {}, percentile: (share: number) => delays.get(share) ?? Number.NaN };
    const { samples } = await render({}, new Metrics(measured));
    expect(samples.get('hubbub_event_loop_delay_seconds{quantile="0.5"}')).toBe(0);
    expect(samples.get('hubbub_event_loop_delay_seconds{quantile="0.99"}')).toBeCloseTo(0.0025);
    expect(samples.get('hubbub_event_loop_delay_seconds{quantile="1"}')).toBeCloseTo(0.05);
  });

  it('tells the delay of the main event loop, and the process', async () => {
    const { samples } = await render({});
    for (const name of [
      'hubbub_event_loop_delay_seconds{quantile="0.99"}',
      'process_resident_memory_bytes',
      'process_cpu_seconds_total',
      'hubbub_main_heap_bytes',
    ])
      expect(samples.has(name)).toBe(true);
    expect(samples.get('process_resident_memory_bytes')).toBeGreaterThan(1_000_000);
  });
});

describe('histograms between threads', () => {
  it('read back as they were counted, beside other numbers', () => {
    const histogram = new Histogram(
      'x',
      [1, 10, 2.5].sort((a, b) => a - b),
    );
    for (const value of [0, 1, 2, 2.5, 10, 10.1]) histogram.observe(value);
    const { histograms, rest } = splitHistograms({ rooms: 3, ...histogram.stats() });
    expect(rest).toEqual({ rooms: 3 });
    expect(histograms.get('x')).toEqual({
      buckets: [
        [1, 2],
        [2.5, 4],
        [10, 5],
        [Infinity, 6],
      ],
      sum: 25.6,
    });
  });
});
