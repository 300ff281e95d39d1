/** One member's view of the bus between nodes, as a bad network makes it: hints are lost, doubled, late and out of order. */
import type { Bus, BusMessage } from '../../src/cluster/bus.ts';
import type { Scheduler, Strand } from './scheduler.ts';
import type { Conditions } from './world.ts';

const lateMs = 400;

export class SimBus {
  readonly #deps: { scheduler: Scheduler; strand: Strand; conditions: Conditions; bus: Bus };
  #listener: (message: BusMessage) => void = () => {};

  constructor(deps: { scheduler: Scheduler; strand: Strand; conditions: Conditions; bus: Bus }) {
    this.#deps = deps;
    deps.bus.onMessage((message) => this.#arrived(message));
  }

  get alone(): boolean {
    return this.#deps.bus.alone;
  }
  publish(topic: string, payload: Uint8Array): boolean {
    return this.#deps.bus.publish(topic, payload);
  }
  subscribe(topic: string): Promise<void> {
    return this.#deps.bus.subscribe(topic);
  }
  unsubscribe(topic: string): Promise<void> {
    return this.#deps.bus.unsubscribe(topic);
  }
  onMessage(listener: (message: BusMessage) => void): void {
    this.#listener = listener;
  }

  /** As if it had come from another member. */
  deliver(message: BusMessage): void {
    this.#deps.scheduler.after(0, this.#deps.strand, () => this.#listener(message));
  }

  leave(): void {
    void this.#deps.bus.close();
  }

  #arrived(message: BusMessage): void {
    const { scheduler, strand, conditions } = this.#deps;
    const { busLoss, injected } = conditions;
    const copies = scheduler.chance(busLoss) ? 0 : scheduler.chance(busLoss) ? 2 : 1;
    if (copies !== 1) injected(copies === 0 ? 'bus-lost' : 'bus-doubled');
    for (let i = 0; i < copies; i++) {
      const late = scheduler.chance(busLoss);
      if (late) injected('bus-late');
      scheduler.after(scheduler.between(0, late ? lateMs : 1), strand, () => this.#listener(message));
    }
  }
}
