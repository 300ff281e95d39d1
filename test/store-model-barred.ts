/** Whose tokens are refused, as the store's model has it. */
import type { CloseReason } from '../src/protocol/codes.ts';
import type { Operation, Outcome } from '../src/thread/messages.ts';

type Revoke = Extract<Operation, { type: 'revoke' }>;

export class Barred {
  readonly #users = new Map<string, { disabled: boolean; revokedAt: number }>();

  revoke({ user, disabled }: Revoke, ts: number, connections: readonly { user: string; closing: CloseReason | null }[]): Outcome {
    if (disabled !== false) for (const one of connections) if (one.user === user) one.closing ??= 'revoked';
    const before = this.#users.get(user);
    this.#users.set(user, { disabled: disabled ?? before?.disabled ?? false, revokedAt: disabled === false ? this.until(user) : ts });
    return { code: 'done' };
  }

  become(other: Barred): void {
    this.#users.clear();
    for (const [user, barred] of other.#users) this.#users.set(user, { ...barred });
  }

  until(user: string): number {
    return this.#users.get(user)?.revokedAt ?? 0;
  }

  admits({ user, issuedAt }: { user: string; issuedAt: number }): boolean {
    return this.#users.get(user)?.disabled !== true && (this.until(user) === 0 || issuedAt > this.until(user));
  }
}
