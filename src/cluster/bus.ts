/**
 * The port to other nodes. A hint, never trusted for delivery (DESIGN 2.1): what it loses is seen as a gap in `seq` and
 * read from the store. Adapters: in-process (one node), Redis (to come); one contract suite runs on all.
 */

export type BusMessage = { topic: string; payload: Uint8Array };

export interface Bus {
  /** Nobody else can be listening, so there is no need to build a message. Networks never know. */
  readonly alone: boolean;
  /** Best effort, at most once, in order per topic and publisher; never to the publisher itself. `false`: it was shed. */
  publish(topic: string, payload: Uint8Array): boolean;
  /** Idempotent; resolves when messages published from then on arrive. */
  subscribe(topic: string): Promise<void>;
  unsubscribe(topic: string): Promise<void>;
  onMessage(listener: (message: BusMessage) => void): void;
  close(): Promise<void>;
}
