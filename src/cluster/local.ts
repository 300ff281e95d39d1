/**
 * The bus within one process: what one member publishes reaches the others on the next turn of the event loop, as it would
 * from a network. With one member, which is the default, nothing is kept or copied.
 */
import type { Bus, BusMessage } from './bus.ts';

/** Messages one member may have waiting; beyond it they are shed, as Redis sheds for a slow subscriber. */
const waitingMax = 10_000;

type Member = { topics: Set<string>; listeners: ((message: BusMessage) => void)[]; waiting: BusMessage[] };

export class LocalBus {
  readonly #members = new Set<Member>();

  join(): Bus {
    const own: Member = { topics: new Set(), listeners: [], waiting: [] };
    const members = this.#members;
    members.add(own);
    return {
      get alone() {
        return members.size <= 1;
      },
      publish: (topic, payload) => {
        let kept = true;
        for (const member of members) if (member !== own && member.topics.has(topic)) kept = offer(member, { topic, payload }) && kept;
        return kept;
      },
      subscribe: async (topic) => {
        own.topics.add(topic);
      },
      unsubscribe: async (topic) => {
        own.topics.delete(topic);
      },
      onMessage: (listener) => {
        own.listeners.push(listener);
      },
      close: async () => {
        members.delete(own);
        own.topics.clear();
        own.waiting = [];
      },
    };
  }
}

function offer(member: Member, message: BusMessage): boolean {
  if (member.waiting.length >= waitingMax) return false;
  if (member.waiting.push({ topic: message.topic, payload: message.payload.slice() }) > 1) return true;
  setImmediate(() => {
    const waiting = member.waiting;
    member.waiting = [];
    for (const { topic, payload } of waiting) if (member.topics.has(topic)) for (const listener of member.listeners) listener({ topic, payload });
  });
  return true;
}
