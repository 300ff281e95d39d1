/**
 * The backend API's way in: its commands go the way of everybody's, sent by services instead of sockets, so that HTTP is no
 * second way to do things. Each command is a promise; every one ends, by its answer or by its time-out.
 */
import { encode } from '../protocol/codec.ts';
import { CodedError } from '../protocol/codes.ts';
import { scan } from '../protocol/scan.ts';
import { checkValue } from '../protocol/values.ts';
import type { Clock } from '../thread/clock.ts';
import { placeOf } from '../thread/placement.ts';
import { type Fields, Sender } from './connection.ts';
import { refusal, refusalOf } from './refusal.ts';
import type { Routing } from './routing.ts';
import type { Shards } from './shards.ts';

/** Services at once: API keys that were used lately. */
const servicesMax = 256;
const idleMs = 60_000;
const timeoutMs = 10_000;

export type Principal = { user: string; scopes: string[] };

type Call = { op: string; repeatable: boolean; deadline: number; resolve(answer: Fields): void };

export class Service extends Sender {
  readonly calls = new Map<number, Call>();
  lastId = 0;
  usedAt = 0;

  answer(fields: Fields): void {
    const call = typeof fields.id === 'number' ? this.calls.get(fields.id) : undefined;
    if (call === undefined) return;
    this.calls.delete(fields.id as number);
    call.resolve(fields);
  }
}

export class Backend {
  readonly #services = new Map<string, Service>();
  readonly #byNumber = new Map<number, Service>();
  readonly #deps: { clock: Clock; shards: Shards; routing: Routing; nextNumber(): number };
  stopping = false;

  constructor(deps: { clock: Clock; shards: Shards; routing: Routing; nextNumber(): number }) {
    this.#deps = deps;
  }

  get size(): number {
    return this.#services.size;
  }
  get all(): Iterable<Service> {
    return this.#services.values();
  }
  get open(): number {
    let open = 0;
    for (const { calls } of this.#services.values()) open += calls.size;
    return open;
  }

  get(number: number): Service | undefined {
    return this.#byNumber.get(number);
  }

  /** Resolves to the answer, `ok` or `error`; never rejects. */
  command(principal: Principal, command: Fields): Promise<Fields> {
    const of = typeof command.op === 'string' ? command.op : undefined;
    if (this.stopping) return Promise.resolve(refusalOf(undefined, of, 'draining'));
    try {
      const service = this.#service(principal);
      const now = this.#deps.clock.tick();
      service.usedAt = now;
      // Before JSON makes something else of it; the scan would only say that the body is bad, not where.
      if (command.body !== undefined) checkValue(command.body);
      const id = ++service.lastId;
      const bytes = encode({ ...command, id }, 'json');
      const header = scan(bytes, 'json');
      this.#deps.routing.route(service, bytes, header);
      const repeatable = header.mid !== undefined || (header.op !== 'publish' && header.op !== 'direct');
      return new Promise((resolve) => {
        service.calls.set(id, { op: header.op, repeatable, deadline: now + timeoutMs, resolve });
      });
    } catch (error) {
      if (error instanceof CodedError) return Promise.resolve(refusal(undefined, of, error));
      throw error;
    }
  }

  /** Ends calls whose answer does not come, and services that nobody uses. */
  sweep(): void {
    const now = this.#deps.clock.tick();
    for (const [key, service] of this.#services) {
      for (const [id, { op, repeatable, deadline }] of service.calls) {
        if (deadline > now) continue;
        service.commands.delete(id);
        // Without a mid the message may have been stored, and a repetition would store it twice (DESIGN 11.6).
        service.answer(repeatable ? refusalOf(id, op, 'busy', 'no answer in time') : refusalOf(id, op, 'unknown'));
      }
      if (service.calls.size === 0 && now - service.usedAt >= idleMs) this.#remove(key, service);
    }
  }

  close(): void {
    this.stopping = true;
    for (const [key, service] of this.#services) {
      for (const [id, { op, repeatable }] of service.calls) service.answer(refusalOf(id, op, repeatable ? 'draining' : 'unknown'));
      this.#remove(key, service);
    }
  }

  #service({ user, scopes }: Principal): Service {
    const key = JSON.stringify([user, scopes]);
    let service = this.#services.get(key);
    if (service === undefined) {
      if (this.#services.size >= servicesMax) throw new CodedError('busy', 'too many services at once');
      const { shards } = this.#deps;
      service = new Service(this.#deps.nextNumber(), 'json', true, shards.all.length);
      service.user = user;
      service.scopes = scopes;
      service.home = placeOf(user, shards.all.length);
      this.#services.set(key, service);
      this.#byNumber.set(service.number, service);
    }
    return service;
  }

  #remove(key: string, service: Service): void {
    this.#deps.shards.close(service, true);
    this.#services.delete(key);
    this.#byNumber.delete(service.number);
  }
}
