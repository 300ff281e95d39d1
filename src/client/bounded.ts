/**
 * Every promise the client hands out ends: by its answer, by the caller's AbortSignal (with the signal's reason) or by its
 * time limit. Whatever ends it first releases the other two and cancels the work behind it.
 */
import type { Cancel, ClientClock } from './clock.ts';
import { HubError } from './errors.ts';

/** `timeoutMs` 0: no time limit. */
export type CallOptions = { signal?: AbortSignal | undefined; timeoutMs?: number | undefined };

/** `start` begins the work and returns what cancels it; settling twice is harmless. */
export function bounded<T>(
  clock: ClientClock,
  options: CallOptions,
  what: string,
  start: (resolve: (value: T) => void, reject: (error: unknown) => void) => Cancel,
): Promise<T> {
  return new Promise((resolve, reject) => {
    const { signal, timeoutMs = 0 } = options;
    let settled = false;
    let stopTimer: Cancel | undefined;
    let cancel: Cancel | undefined;
    const settle = (act: () => void) => {
      if (settled) return;
      settled = true;
      stopTimer?.();
      signal?.removeEventListener('abort', aborted);
      act();
    };
    const giveUp = (reason: unknown) =>
      settle(() => {
        cancel?.();
        reject(reason);
      });
    const aborted = () => giveUp(signal?.reason);

    if (signal?.aborted) return giveUp(signal.reason);
    signal?.addEventListener('abort', aborted);
    if (timeoutMs > 0) stopTimer = clock.after(timeoutMs, () => giveUp(new HubError('timeout', `${what}: no answer within ${timeoutMs} ms`, { of: what })));
    try {
      cancel = start(
        (value) => settle(() => resolve(value)),
        (error) => settle(() => reject(error)),
      );
    } catch (error) {
      giveUp(error);
    }
  });
}
