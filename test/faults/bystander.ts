/**
 * Somebody who asks for little while others do their worst, in a process of his own: how long he waits is the hub's doing, and not
 * that of the process that makes the load. `acks` and `logins` resolve to what each one took, in ms.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { FaultKit } from './row.ts';

const file = fileURLToPath(new URL('./bystander-process.js', import.meta.url));

export class Bystander {
  readonly #child: ChildProcess;

  constructor(url: string, kit: FaultKit) {
    this.#child = fork(file, [url], { execArgv: [] });
    kit.defer(() => this.#child.kill('SIGKILL'));
  }

  /** Of so many messages over one connection. */
  acks(count: number, pauseMs = 5): Promise<number[]> {
    return this.#ask({ what: 'acks', count, pauseMs });
  }

  /** Of connecting, up to the welcome, again and again (each says something, and leaves) until `busy` has ended. */
  async loginsDuring(busy: Promise<unknown>, pauseMs = 0): Promise<number[]> {
    const took = this.#ask({ what: 'logins', pauseMs });
    await Promise.race([busy, took]);
    this.#child.send({ what: 'enough' });
    return took;
  }

  #ask(order: Readonly<Record<string, string | number>>): Promise<number[]> {
    return new Promise((resolve, reject) => {
      const gone = (code: number | null): void => reject(new Error(`the bystander's process ended with ${code}`));
      this.#child.once('exit', gone);
      this.#child.once('message', (took: number[]) => {
        this.#child.off('exit', gone);
        resolve(took);
      });
      this.#child.send(order);
    });
  }
}
