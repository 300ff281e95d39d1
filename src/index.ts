/** The public surface of the server, for those who run a hub inside a process of their own. The client is `hubbub/client`. */

export type { HubStats } from './http/deps.ts';
export { type Hub, startHub } from './hub.ts';
export { type FilledOptions, fillOptions, type HubOptions, OptionError, optionTable } from './options.ts';
export { closeCodes, errorCodes, mayReconnect } from './protocol/codes.ts';
export { type Clock, systemClock } from './thread/clock.ts';
export type { Log, LogLevel } from './thread/log.ts';
