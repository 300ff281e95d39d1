/**
 * Commands other than messages: each waits for an open connection, is sent, and ends by its answer, its signal or its time
 * limit. Those that change nothing when carried out twice are repeated where the hub or a lost connection asks for it.
 */
import type { CommandFields, Op } from '../protocol/inputs.ts';
import type { Reply } from '../protocol/pushes.ts';
import { bounded, type CallOptions } from './bounded.ts';
import { Backoff, type BackoffLimits, type Cancel, type ClientClock } from './clock.ts';
import { HubError } from './errors.ts';
import type { Answer, Session } from './session.ts';

type Call = { send(session: Session): void; fail(error: HubError): void };

/** Commands that may wait or be unanswered at once. */
const callsMax = 2_000;

/** Twice is the same as once. */
const repeatable: ReadonlySet<Op> = new Set<Op>(['ping', 'history', 'mark', 'delivery', 'info', 'members', 'rooms', 'status', 'who', 'watch', 'unwatch']);

export class Calls {
  readonly #clock: ClientClock;
  readonly #backoff: BackoffLimits;
  readonly #timeoutMs: number;
  readonly #calls = new Set<Call>();
  #session: Session | null = null;

  constructor(clock: ClientClock, backoff: BackoffLimits, timeoutMs: number) {
    this.#clock = clock;
    this.#backoff = backoff;
    this.#timeoutMs = timeoutMs;
  }

  run<O extends Op>(op: O, fields: CommandFields<O>, options: CallOptions): Promise<Reply<O>> {
    return bounded<Reply<O>>(this.#clock, { signal: options.signal, timeoutMs: options.timeoutMs ?? this.#timeoutMs }, op, (resolve, reject) => {
      if (this.#calls.size >= callsMax) {
        reject(new HubError('limit', `${callsMax} commands are waiting for the hub`, { of: op, retry: true }));
        return () => undefined;
      }
      const backoff = new Backoff(this.#clock, this.#backoff);
      let cancel: Cancel | undefined;
      const answered = (session: Session, answer: Answer<Reply<O>>) => {
        if (!answer.ok && answer.error.retry && repeatable.has(op)) {
          // With a new connection it goes at once; on this one after a pause.
          if (session === this.#session)
            cancel = this.#clock.after(answer.error.retryAfterMs ?? backoff.next(), () => session === this.#session && call.send(session));
          return;
        }
        this.#calls.delete(call);
        if (answer.ok) resolve(answer.reply);
        else reject(answer.error);
      };
      const call: Call = {
        send: (session) => {
          cancel?.();
          cancel = session.request(op, fields, (answer) => answered(session, answer));
        },
        fail: (error) => {
          cancel?.();
          this.#calls.delete(call);
          reject(error);
        },
      };
      this.#calls.add(call);
      if (this.#session !== null) call.send(this.#session);
      return () => {
        cancel?.();
        this.#calls.delete(call);
      };
    });
  }

  opened(session: Session): void {
    this.#session = session;
    for (const call of [...this.#calls]) call.send(session);
  }

  lost(): void {
    this.#session = null;
  }

  close(error: HubError): void {
    this.lost();
    for (const call of [...this.#calls]) call.fail(error);
  }
}
