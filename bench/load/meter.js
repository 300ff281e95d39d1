/**
 * Counts what happens between `begin` and `end`, in the client and in the contestant's processes. All times are whole
 * microseconds since this process started.
 */
import { performance } from 'node:perf_hooks';
import { cpuMicros, machineTime, peakResidentBytes } from '../proc.js';
import { Histogram } from './histogram.js';

export const micros = () => Math.trunc(performance.now() * 1_000);

const monotonicMicros = () => Number(process.hrtime.bigint() / 1_000n);

/**
 * @typedef {object} Measured rates are per second, latencies in ms, null: not known or not of this scenario
 * @property {number | null} publishes
 * @property {number | null} deliveries
 * @property {number | null} p50
 * @property {number | null} p99
 * @property {number | null} p999
 * @property {number | null} cpuPerDelivery microseconds of the contestant's processes
 * @property {number | null} cpuShare cores in use
 * @property {number | null} peakBytes
 * @property {number | null} clientIdle share of the window in which the client used no processor
 * @property {number | null} [stolen] share of the machine's time that its host gave to others
 * @property {number} seconds
 * @property {[number, number]} window begin and end, microseconds of the system's monotonic clock, which profiles use too
 *
 * One row of a scenario; `part` names it where there are several. `extra`: figures of this scenario only.
 * @typedef {Measured & { part?: string, errors: string[], extra?: Record<string, number> }} Part
 */

export class Meter {
  running = false;
  publishes = 0;
  deliveries = 0;
  latency = new Histogram();
  #pid;
  #began = 0;
  #opened = 0;
  /** @type {number | null} */
  #cpu = null;
  #own = process.cpuUsage();
  #machine = machineTime();

  /** @param {number} pid of the contestant */
  constructor(pid) {
    this.#pid = pid;
  }

  begin() {
    this.publishes = 0;
    this.deliveries = 0;
    this.latency.reset();
    this.#cpu = cpuMicros(this.#pid);
    this.#own = process.cpuUsage();
    this.#machine = machineTime();
    this.#began = micros();
    this.#opened = monotonicMicros();
    this.running = true;
  }

  /** @returns {Measured} */
  end() {
    const seconds = (micros() - this.#began) / 1_000_000;
    const after = cpuMicros(this.#pid);
    const { user, system } = process.cpuUsage(this.#own);
    const machine = machineTime();
    const cpu = this.#cpu === null || after === null ? null : after - this.#cpu;
    this.running = false;
    const { latency } = this;
    return {
      seconds,
      window: [this.#opened, monotonicMicros()],
      publishes: this.publishes / seconds,
      deliveries: this.deliveries / seconds,
      p50: latency.percentile(0.5),
      p99: latency.percentile(0.99),
      p999: latency.percentile(0.999),
      cpuPerDelivery: cpu === null || this.deliveries === 0 ? null : cpu / this.deliveries,
      cpuShare: cpu === null ? null : cpu / 1_000_000 / seconds,
      peakBytes: peakResidentBytes(this.#pid),
      clientIdle: Math.max(0, 1 - (user + system) / 1_000_000 / seconds),
      stolen: machine === null || this.#machine === null ? null : (machine.stolen - this.#machine.stolen) / Math.max(1, machine.all - this.#machine.all),
    };
  }
}

/**
 * The ones that happened.
 * @param {Record<string, number>} counts
 */
export function problems(counts) {
  return Object.entries(counts)
    .filter(([, count]) => count > 0)
    .map(([what, count]) => `${count} ${what.replace(' ()', '').replace(' (undefined)', '')}`);
}
