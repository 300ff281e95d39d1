/**
 * The process's `Log`: pino behind it, JSON lines for machines or one plain line each for a developer's terminal. Made by
 * the CLI, handed to every part; fields that could hold a credential are blanked here, whoever put them in.
 */
import pino from 'pino';
import type { FilledOptions } from '../options.ts';
import type { Log } from '../thread/log.ts';
import { limited } from './log-limit.ts';

export type LogSettings = { level: FilledOptions['logLevel']; plain: boolean; write(line: string): void };

const secretKeys: readonly string[] = [
  'token',
  'authorization',
  'Authorization',
  'secret',
  'secrets',
  'password',
  'cookie',
  'key',
  'apiKey',
  'apiKeys',
  'jwtSecrets',
];

export function createLog(settings: LogSettings): Log {
  const logger = pino(
    {
      level: settings.level,
      base: { pid: process.pid },
      redact: { paths: secretKeys.flatMap((key) => [key, `*.${key}`, `*.*.${key}`]), censor: '[hidden]' },
      formatters: { level: (label) => ({ level: label }) },
      serializers: { error: errorFields, err: errorFields },
      timestamp: pino.stdTimeFunctions.isoTime,
    },
    { write: settings.plain ? (line: string) => settings.write(plainLine(line)) : settings.write },
  );
  return limited((level, message, fields) => logger[level](fields ?? {}, message));
}

/** An error as fields; what is no error (somebody threw a string) goes through as it is. */
function errorFields(error: unknown): unknown {
  return error instanceof Error ? pino.stdSerializers.err(error) : error;
}

/** `12:30:01.250 warn  message key=value`; a stack goes below its line. */
function plainLine(line: string): string {
  const { level, time, pid: _, msg, error, err, ...fields } = JSON.parse(line) as Record<string, unknown>;
  const fault = (error ?? err) as { stack?: string } | string | undefined;
  const rest = Object.entries(fields).map(([name, value]) => ` ${name}=${typeof value === 'string' ? value : JSON.stringify(value)}`);
  const stack = fault === undefined ? '' : `\n  ${typeof fault === 'string' ? fault : String(fault.stack ?? JSON.stringify(fault)).replaceAll('\n', '\n  ')}`;
  const label = level === 'info' ? '' : `${String(level)}: `;
  return `${String(time).slice(11, 23)} ${label}${String(msg)}${rest.join('')}${stack}\n`;
}
