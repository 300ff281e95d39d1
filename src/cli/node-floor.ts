/**
 * Which versions of Node run a hub: older than what the hub is written for is refused, older than a release that mended
 * something a stranger could use is warned of. Called once, before anything else is loaded.
 */
import { Failure } from './format.ts';

/** As `engines` in package.json says. */
const oldest = '20.19.0';
/** Per major: the release since which a crash by deep recursion under async_hooks can be caught (CVE-2025-59466). */
const mended: Readonly<Record<number, string>> = { 20: '20.20.0', 22: '22.22.0', 24: '24.13.0', 25: '25.3.0' };

export function refuseOldNode(version: string): void {
  if (isBefore(version, oldest)) throw new Failure(`Node ${version} is too old: ${oldest} or later is needed`);
}

export function nodeWarnings(version: string): string[] {
  const wanted = mended[Number(version.split('.')[0])];
  return wanted !== undefined && isBefore(version, wanted) ? [`Node ${version} lacks security fixes of ${wanted}: update it`] : [];
}

/** Versions as `20.19.0`; what follows a hyphen is ignored. */
export function isBefore(version: string, other: string): boolean {
  const parts = (text: string): number[] => (text.split('-')[0] ?? '').split('.').map(Number);
  const [a, b] = [parts(version), parts(other)];
  const at = b.findIndex((part, i) => part !== (a[i] ?? 0));
  return at >= 0 && (a[at] ?? 0) < (b[at] ?? 0);
}
