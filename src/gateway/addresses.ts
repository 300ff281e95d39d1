/**
 * Where a handshake comes from, and how much may come from there. The peer's own address, unless it is a proxy that the
 * operator trusts: then the list its header carries is walked from the right, past every trusted hop, and the first other
 * address is the client's. What a client writes into that header stands further left and is never looked at.
 */
import type { IncomingHttpHeaders } from 'node:http';
import { BlockList, isIP } from 'node:net';
import { OptionError } from '../options.ts';
import { Bucket, Keyed, type Rate } from '../thread/bucket.ts';
import type { Clock } from '../thread/clock.ts';

/** Addresses without a connection that are remembered. */
const addressesKept = 20_000;

export type AddressOptions = {
  trustedProxies: readonly string[];
  proxyHeader: 'x-forwarded-for' | 'forwarded';
  connectionsPerAddressMax: number;
  connectsPerAddressMax: number;
  connectsWindowMs: number;
};

export class Addresses {
  readonly #options: AddressOptions;
  /** Null: nobody. Asking an empty list costs as much as asking a full one. */
  readonly #trusted: BlockList | null;
  readonly #rate: Rate;
  readonly #clock: Clock;
  readonly #table: Keyed<Bucket>;

  constructor(options: AddressOptions, clock: Clock) {
    this.#options = options;
    this.#clock = clock;
    const { connectsPerAddressMax, connectsWindowMs } = options;
    this.#rate = { perSecond: (connectsPerAddressMax * 1_000) / connectsWindowMs, burst: connectsPerAddressMax };
    this.#table = new Keyed(() => new Bucket(this.#rate, clock.tick()), addressesKept);
    this.#trusted = options.trustedProxies.length === 0 ? null : trusting(options.trustedProxies);
  }

  /** The client's own address. */
  of(peer: string | undefined, headers: IncomingHttpHeaders): string {
    let address = plain(peer ?? '');
    if (!this.#trusts(address)) return address;
    const { proxyHeader } = this.#options;
    const header = headers[proxyHeader];
    const hops = proxyHeader === 'forwarded' ? forwardedHops(header) : [header ?? ''].flat().join(',').split(',');
    for (let i = hops.length - 1; i >= 0 && this.#trusts(address); i--) {
      const hop = plain((hops[i] as string).trim());
      // A hop that hides or garbles whom it had before it is the last one known.
      if (isIP(hop) === 0) break;
      address = hop;
    }
    return address;
  }

  /** Why one more may not come from there, if so; counted as an attempt. */
  refuses(address: string): { why: 'address-full' | 'address-rate'; retryAfterMs: number } | null {
    const { connectionsPerAddressMax, connectsPerAddressMax } = this.#options;
    const key = networkOf(address);
    if (connectionsPerAddressMax > 0 && this.#table.holders(key) >= connectionsPerAddressMax) return { why: 'address-full', retryAfterMs: 1_000 };
    if (connectsPerAddressMax === 0) return null;
    const bucket = this.#table.of(key);
    if (bucket.take(this.#rate, this.#clock.tick())) return null;
    return { why: 'address-rate', retryAfterMs: bucket.state(this.#rate).retryAfterMs };
  }

  opened(address: string): void {
    this.#table.hold(networkOf(address));
  }

  closed(address: string): void {
    this.#table.release(networkOf(address));
  }

  #trusts(address: string): boolean {
    if (this.#trusted === null) return false;
    const version = isIP(address);
    return version !== 0 && this.#trusted.check(address, version === 4 ? 'ipv4' : 'ipv6');
  }
}

function trusting(entries: readonly string[]): BlockList {
  const list = new BlockList();
  for (const entry of entries) trust(list, entry);
  return list;
}

function trust(list: BlockList, entry: string): void {
  const [address = '', bits, ...rest] = entry.split('/');
  const version = isIP(address);
  const prefix = bits === undefined ? (version === 4 ? 32 : 128) : Number(bits);
  if (version === 0 || rest.length > 0 || bits === '' || !Number.isInteger(prefix) || prefix < 0 || prefix > (version === 4 ? 32 : 128))
    throw new OptionError('trustedProxies', `${entry} is neither an address nor a network such as 10.0.0.0/8`);
  list.addSubnet(address, prefix, version === 4 ? 'ipv4' : 'ipv6');
}

/** `for=192.0.2.1`, `for="[2001:db8::1]:443"`; other parameters and hidden names yield what is no address (RFC 7239). */
function forwardedHops(header: string | string[] | undefined): string[] {
  return [header ?? '']
    .flat()
    .join(',')
    .split(',')
    .map((element) => /(?:^|;)\s*for\s*=\s*"?([^";]*)"?/i.exec(element.trim())?.[1] ?? '');
}

/** Without port and brackets, IPv4 in its own form. */
function plain(text: string): string {
  const bare = /^\[([^\]]*)\](?::\d+)?$/.exec(text)?.[1] ?? (/^\d+\.\d+\.\d+\.\d+:\d+$/.test(text) ? text.replace(/:\d+$/, '') : text);
  return /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(bare)?.[1] ?? bare;
}

/** What counts as one: an IPv4 address, or the /64 that a subscriber of IPv6 has to himself. */
export function networkOf(address: string): string {
  if (isIP(address) !== 6) return address;
  const [head = '', tail] = (address.split('%')[0] as string).split('::');
  const left = head === '' ? [] : head.split(':');
  const right = tail === undefined || tail === '' ? [] : tail.split(':');
  // A dotted quad at the end stands for two groups.
  const groups = right.length + left.length + (address.includes('.') ? 1 : 0);
  const all = tail === undefined ? left : [...left, ...new Array<string>(Math.max(0, 8 - groups)).fill('0'), ...right];
  return `${all
    .slice(0, 4)
    .map((group) => Number.parseInt(group, 16).toString(16))
    .join(':')}::/64`;
}
