/**
 * What comes from this machine: the rule by which development mode tells its own visitors from everybody else's. The gateway asks it
 * for handshakes and http/ for requests. It judges names and headers only, never an address, and resolves nothing.
 */

/** A proxy that adds any of them serves somebody else. */
const forwardedHeaders = ['forwarded', 'x-forwarded-for', 'x-forwarded-host', 'x-real-ip'] as const;

/** Whether `host` (an address or a name, IPv6 with or without brackets) is reached from this machine only. */
export function isLoopbackHost(host: string): boolean {
  const name = host.toLowerCase().replace(/^\[(.*)\]$/, '$1');
  return name === 'localhost' || name.endsWith('.localhost') || name === '::1' || /^(?:::ffff:)?127(?:\.\d{1,3}){3}$/.test(name);
}

export function isLoopbackOrigin(origin: string): boolean {
  return URL.canParse(origin) && isLoopbackHost(new URL(origin).hostname);
}

/** Why a request with these headers (names in lower case) is not one of this machine's, or null. Its origin is asked about apart. */
export function notLocal(headers: Readonly<Record<string, string | string[] | undefined>>): string | null {
  const forwarded = forwardedHeaders.find((name) => headers[name] !== undefined);
  if (forwarded !== undefined) return `development mode is not for use behind a proxy (${forwarded})`;
  // A foreign name that resolves to 127.0.0.1 would make this hub a foreign page's own origin.
  const { host } = headers;
  const name = typeof host === 'string' ? /^(\[[^\]]*\]|[^:]*)(?::\d+)?$/.exec(host)?.[1] : undefined;
  return name !== undefined && isLoopbackHost(name) ? null : 'development mode answers to loopback hosts only';
}
