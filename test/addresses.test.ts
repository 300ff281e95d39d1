/** Whose address counts behind proxies, and how much may come from one; the library that counts handshakes reads the clock itself, which stands here. */
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { Addresses, type AddressOptions, networkOf } from '../src/gateway/addresses.ts';
import { OptionError } from '../src/options.ts';

const given: AddressOptions = {
  trustedProxies: ['10.0.0.0/8', '192.0.2.7', 'fd00::/8'],
  proxyHeader: 'x-forwarded-for',
  connectionsPerAddressMax: 3,
  connectsPerAddressMax: 5,
  connectsWindowMs: 10_000,
};
const of = (peer: string, headers: Record<string, string>, options: Partial<AddressOptions> = {}): string =>
  new Addresses({ ...given, ...options }).of({ remoteAddress: peer }, headers);

describe('the address of a client', () => {
  it('is the peer’s, whatever a stranger writes into headers', () => {
    expect(of('203.0.113.5', { 'x-forwarded-for': '198.51.100.1', forwarded: 'for=198.51.100.2' })).toBe('203.0.113.5');
    expect(of('10.1.1.1', { 'x-forwarded-for': '198.51.100.1' }, { trustedProxies: [] })).toBe('10.1.1.1');
    expect(of('::ffff:203.0.113.5', {})).toBe('203.0.113.5');
  });

  it('is the rightmost that no trusted proxy has, so that what the client itself wrote is never looked at', () => {
    expect(of('10.1.1.1', { 'x-forwarded-for': '198.51.100.1' })).toBe('198.51.100.1');
    expect(of('10.1.1.1', { 'x-forwarded-for': '1.1.1.1, 198.51.100.1' })).toBe('198.51.100.1');
    expect(of('10.1.1.1', { 'x-forwarded-for': '1.1.1.1, 198.51.100.1, 192.0.2.7, 10.9.9.9' })).toBe('198.51.100.1');
    expect(of('::ffff:10.1.1.1', { 'x-forwarded-for': '10.0.0.9' })).toBe('10.0.0.9');
    expect(of('fd00::1', { 'x-forwarded-for': '[2001:db8::9]:443' })).toBe('2001:db8::9');
    expect(of('10.1.1.1', { 'x-forwarded-for': '198.51.100.1:5555' })).toBe('198.51.100.1');
  });

  it('ends at a hop that is no address', () => {
    expect(of('10.1.1.1', { 'x-forwarded-for': '198.51.100.1, unknown' })).toBe('10.1.1.1');
    expect(of('10.1.1.1', { 'x-forwarded-for': '198.51.100.1, <script>, 10.2.2.2' })).toBe('10.2.2.2');
    expect(of('10.1.1.1', { 'x-forwarded-for': ',,,' })).toBe('10.1.1.1');
    expect(of('10.1.1.1', {})).toBe('10.1.1.1');
  });

  it('is taken from the one header that the proxies add to', () => {
    const forwarded = { proxyHeader: 'forwarded' } as const;
    expect(of('10.1.1.1', { 'x-forwarded-for': '1.1.1.1', forwarded: 'for=2.2.2.2, for="[2001:db8::1]:80";proto=https;by=10.1.1.1' }, forwarded)).toBe(
      '2001:db8::1',
    );
    expect(of('10.1.1.1', { forwarded: 'for=198.51.100.1;host=x, For=10.3.3.3' }, forwarded)).toBe('198.51.100.1');
    expect(of('10.1.1.1', { forwarded: 'for=198.51.100.1, for=_hidden' }, forwarded)).toBe('10.1.1.1');
    expect(of('10.1.1.1', { 'x-forwarded-for': '1.1.1.1' }, forwarded)).toBe('10.1.1.1');
    expect(of('10.1.1.1', { forwarded: 'for=1.1.1.1' })).toBe('10.1.1.1');
  });

  it('is not asked for where nothing depends on it', () => {
    const asked = {
      get remoteAddress(): string {
        throw new Error('the system was asked');
      },
    };
    const counting = { trustedProxies: [], connectionsPerAddressMax: 0, connectsPerAddressMax: 0 };
    expect(new Addresses({ ...given, ...counting }).of(asked, {})).toBe('');
    expect(() => new Addresses({ ...given, ...counting, connectionsPerAddressMax: 1 }).of(asked, {})).toThrow('asked');
  });

  it('needs proxies that are addresses or networks', () => {
    for (const bad of ['proxy.example.com', '10.0.0.0/33', '10.0.0.0/', '::/129', '10.0.0.0/8/8', '', '*'])
      expect(() => of('10.1.1.1', {}, { trustedProxies: [bad] })).toThrow(OptionError);
  });
});

describe('one address', () => {
  beforeEach(() => void vi.useFakeTimers());
  afterEach(() => void vi.useRealTimers());

  it('C4 has so many connections at once', () => {
    const addresses = new Addresses(given);
    for (let i = 0; i < 3; i++) {
      expect(addresses.full('203.0.113.5')).toBe(false);
      addresses.opened('203.0.113.5');
    }
    expect(addresses.full('203.0.113.5')).toBe(true);
    expect(addresses.full('203.0.113.6')).toBe(false);
    addresses.closed('203.0.113.5');
    expect(addresses.full('203.0.113.5')).toBe(false);
    for (let i = 0; i < 3; i++) addresses.closed('203.0.113.5');
    for (let i = 0; i < 3; i++) addresses.opened('203.0.113.5');
    expect(addresses.full('203.0.113.5')).toBe(true);
    expect(new Addresses({ ...given, connectionsPerAddressMax: 0 }).full('203.0.113.5')).toBe(false);
  });

  it('C4 has so many handshakes in a window, and is told when the next one begins', async () => {
    const addresses = new Addresses(given);
    for (let i = 0; i < 5; i++) expect(await addresses.attempt('203.0.113.5')).toBe(0);
    vi.advanceTimersByTime(4_000);
    expect(await addresses.attempt('203.0.113.5')).toBe(6_000);
    expect(await addresses.attempt('203.0.113.6')).toBe(0);
    vi.advanceTimersByTime(6_000);
    expect(await addresses.attempt('203.0.113.5')).toBe(0);
  });

  it('C4 is kept to its rate over a long time', async () => {
    const addresses = new Addresses(given);
    let accepted = 0;
    for (let ms = 0; ms < 100_000; ms += 50) {
      if ((await addresses.attempt('203.0.113.5')) === 0) accepted++;
      vi.advanceTimersByTime(50);
    }
    expect(accepted).toBe(50);
  });

  it('C4 has no limit of handshakes where there is none, and then nothing is remembered', async () => {
    const addresses = new Addresses({ ...given, connectsPerAddressMax: 0 });
    for (let i = 0; i < 10; i++) expect(await addresses.attempt('203.0.113.5')).toBe(0);
    expect(vi.getTimerCount()).toBe(0);
  });

  it('C4 of one who has very many networks, no more than 20,000 are remembered', async () => {
    const addresses = new Addresses(given);
    for (let i = 0; i < 20_100; i++) await addresses.attempt(`2001:db8:${(i >> 8).toString(16)}:${(i & 255).toString(16)}::1`);
    // The library keeps a timer with each.
    expect(vi.getTimerCount()).toBe(20_000);
  });

  it('C4 is a whole /64 of IPv6', async () => {
    expect(networkOf('2001:db8:1:2:3:4:5:6')).toBe('2001:db8:1:2::/64');
    expect(networkOf('2001:0db8:0001:0002::9')).toBe('2001:db8:1:2::/64');
    expect(networkOf('2001:db8::1')).toBe('2001:db8:0:0::/64');
    expect(networkOf('::1')).toBe('0:0:0:0::/64');
    expect(networkOf('64:ff9b::1.2.3.4')).toBe('64:ff9b:0:0::/64');
    expect(networkOf('203.0.113.5')).toBe('203.0.113.5');
    const addresses = new Addresses(given);
    for (let i = 1; i <= 3; i++) addresses.opened(`2001:db8::${i}`);
    expect(addresses.full('2001:db8::ffff')).toBe(true);
    expect(addresses.full('2001:db8:0:1::1')).toBe(false);
    for (let i = 1; i <= 5; i++) expect(await addresses.attempt(`2001:db8::${i}`)).toBe(0);
    expect(await addresses.attempt('2001:db8::ffff')).toBe(10_000);
    expect(await addresses.attempt('2001:db8:0:1::1')).toBe(0);
  });
});
