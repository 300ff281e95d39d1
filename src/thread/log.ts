/** How every part writes to the log. Threads send their lines to the main thread, which owns the output; fields never hold a token. */
export type LogLevel = 'debug' | 'info' | 'warn' | 'error';
export type Log = (level: LogLevel, message: string, fields?: Record<string, unknown>) => void;
