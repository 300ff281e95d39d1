/** Whose tokens are refused, and which, as the store's model has it. */
import type { CloseReason } from '../src/protocol/codes.ts';
import type { Operation, Outcome } from '../src/thread/messages.ts';

type Revoke = Extract<Operation, { type: 'revoke' }>;
type RevokeToken = Extract<Operation, { type: 'revokeToken' }>;

const keptMs = 2 * 3_600_000;

export class Barred {
  readonly #users = new Map<string, { disabled: boolean; revokedAt: number }>();
  /** By user and id: when they end. */
  readonly #tokens = new Map<string, number>();

  revoke({ user, disabled }: Revoke, ts: number, connections: readonly { user: string; closing: CloseReason | null }[]): Outcome {
    if (disabled !== false) for (const one of connections) if (one.user === user) one.closing ??= 'revoked';
    const before = this.#users.get(user);
    this.#users.set(user, { disabled: disabled ?? before?.disabled ?? false, revokedAt: disabled === false ? this.until(user) : ts });
    return { code: 'done' };
  }

  revokeToken({ user, jti, until }: RevokeToken): Outcome {
    const key = JSON.stringify([user, jti]);
    this.#tokens.set(key, Math.max(this.#tokens.get(key) ?? 0, until ?? Number.POSITIVE_INFINITY));
    return { code: 'done' };
  }

  /** Tokens that have ended. */
  forget(ts: number): void {
    for (const [key, until] of this.#tokens) if (until < ts - keptMs) this.#tokens.delete(key);
  }

  become(other: Barred): void {
    this.#users.clear();
    for (const [user, barred] of other.#users) this.#users.set(user, { ...barred });
    this.#tokens.clear();
    for (const [key, until] of other.#tokens) this.#tokens.set(key, until);
  }

  until(user: string): number {
    return this.#users.get(user)?.revokedAt ?? 0;
  }

  disabled(user: string): boolean {
    return this.#users.get(user)?.disabled === true;
  }

  admits({ user, issuedAt, jti }: { user: string; issuedAt: number; jti?: string }): boolean {
    if (this.disabled(user) || this.#tokens.has(JSON.stringify([user, jti]))) return false;
    return this.until(user) === 0 || issuedAt > this.until(user);
  }
}
