/** The options of a simulated cluster: small limits, so that they are met. */
import { fillOptions } from '../../src/options.ts';

const base = {
  dev: true,
  autoCreate: 'on',
  outboxSoftBytes: 1_024,
  outboxBytesMax: 2_048,
  outboxLowBytes: 256,
  tailItemsMax: 16,
  pageBytesMax: 256,
  roomIdleMs: 500,
  presenceGraceMs: 1_500,
  helloTimeoutMs: 5_000,
  heartbeatMs: 600_000,
  slowMs: 20_000,
  audienceMax: 3,
} as const;
/** One is chosen by the seed. */
export const variants = [
  fillOptions({ ...base, connectionsPerUserMax: 2, connectionPolicy: 'evict-oldest', inboxItemsMax: 4 }),
  fillOptions({ ...base, connectionsPerUserMax: 3, connectionPolicy: 'reject', roomMembersMax: 3 }),
  fillOptions({ ...base, devicesMax: 2, inboxItemsMax: 6, pendingMax: 100 }),
  fillOptions(base),
] as const;
