/**
 * What HTTP needs of the rest of the hub, as types: the composition root fills it in. HTTP is never a second way to do
 * something: every change is a command, the same that a socket could send.
 */

/** Who an API key is. `user` names the key; a command acts for somebody only by its `as`. */
export type Principal = { user: string; scopes: string[] };

/** A number, or numbers by name (states, reasons) or by index (threads; null while one is being replaced). */
export type StatValue = number | null | readonly (number | null)[] | { readonly [name: string]: number | undefined };
/** By part (`gateway`, `persistence`) or thread (`shard0`, `reader1`), then by name. Times end in `Ms`, sizes in `Bytes`. */
export type HubStats = { readonly [part: string]: { readonly [name: string]: StatValue } };

export type HttpDeps = {
  /**
   * Validates and carries out one command. Resolves always: to `{op: 'ok', …}` with the fields of `Replies`, or to an `ErrorReply`.
   * Values are as in the json subprotocol (a binary body is `body64`).
   */
  command(principal: Principal, command: Record<string, unknown>): Promise<Record<string, unknown>>;
  /** JSON-able descriptions. */
  connectionsOf(user: string): unknown[];
  /** Closes the user's connections, or the one named; the number closed. */
  disconnect(user: string, connection?: string): number;
  stats(): HubStats;
  /** What is set aside since it crashed its thread repeatedly; and lifting it, of one room or all, which returns how many that were. */
  quarantine(): unknown[];
  lift(room?: string): number;
  /** `reasons`: why it is not; `warnings`: what an operator should look at all the same. */
  ready(): { ready: boolean; reasons: string[]; warnings: string[] };
};
