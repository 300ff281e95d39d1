/**
 * Where a handshake comes from, and how much may come from there. The peer's own address, unless it is a proxy that the
 * operator trusts: then the list its header carries is walked from the right, past every trusted hop, and the first other
 * address is the client's. What a client writes into that header stands further left and is never looked at.
 */
import type { IncomingHttpHeaders } from 'node:http';
import { BlockList, isIP } from 'node:net';
import { OptionError } from '../options.ts';
import { Quota } from '../thread/quota.ts';

/** Addresses whose handshakes are counted; beyond them the longest silent is forgotten. */
const addressesKept = 20_000;

export type AddressOptions = {
  trustedProxies: readonly string[];
  proxyHeader: 'x-forwarded-for' | 'forwarded';
  connectionsPerAddressMax: number;
  connectsPerAddressMax: number;
  connectsWindowMs: number;
};

type Peer = { readonly remoteAddress?: string | undefined };

export class Addresses {
  readonly #options: AddressOptions;
  /** Null: nobody. Asking an empty list costs as much as asking a full one. */
  readonly #trusted: BlockList | null;
  /** Null: any number of handshakes. */
  readonly #handshakes: Quota | null;
  /** Live connections; no more addresses than the process has sockets. */
  readonly #live = new Map<string, number>();

  constructor(options: AddressOptions) {
    this.#options = options;
    const { connectsPerAddressMax, connectsWindowMs } = options;
    this.#handshakes = connectsPerAddressMax === 0 ? null : new Quota(connectsPerAddressMax, connectsWindowMs, addressesKept);
    this.#trusted = options.trustedProxies.length === 0 ? null : trusting(options.trustedProxies);
  }

  /** Whether handshakes are counted, so that one has to wait for its turn. */
  get counting(): boolean {
    return this.#handshakes !== null;
  }

  /** The client's own address; '': that of its socket, which nothing here depends on. */
  of(peer: Peer, headers: IncomingHttpHeaders): string {
    const { connectionsPerAddressMax } = this.#options;
    if (this.#trusted === null && this.#handshakes === null && connectionsPerAddressMax === 0) return '';
    let address = addressOf(peer);
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

  /** As many connections live there as may. */
  full(address: string): boolean {
    const { connectionsPerAddressMax } = this.#options;
    return connectionsPerAddressMax > 0 && (this.#live.get(networkOf(address)) ?? 0) >= connectionsPerAddressMax;
  }

  /** Counts a handshake; resolves to how long it must wait, 0: it may go on. */
  async attempt(address: string): Promise<number> {
    return this.#handshakes === null ? 0 : (await this.#handshakes.take(networkOf(address))).retryAfterMs;
  }

  opened(address: string): void {
    if (this.#options.connectionsPerAddressMax === 0) return;
    const key = networkOf(address);
    this.#live.set(key, (this.#live.get(key) ?? 0) + 1);
  }

  closed(address: string): void {
    if (this.#options.connectionsPerAddressMax === 0) return;
    const key = networkOf(address);
    const left = (this.#live.get(key) ?? 0) - 1;
    if (left > 0) this.#live.set(key, left);
    else this.#live.delete(key);
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

/** Of the peer itself. Every first time the system is asked for it. */
export function addressOf({ remoteAddress = '' }: Peer): string {
  return plain(remoteAddress);
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
