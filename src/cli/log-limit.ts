/**
 * Keeps a fault that repeats (a full disk refuses every commit) from filling the disk with its lines: of each message so many
 * within a while, then one line that says how many there were more. Made by log.ts, around the output.
 */
import type { Log, LogLevel } from '../thread/log.ts';

/** Of one message within `windowMs`. */
const linesMax = 20;
const windowMs = 10_000;
/** Messages told apart; those beyond share one limit, so that a text with a name in it cannot pass. */
const messagesMax = 200;

type Window = { lines: number; left: number };

export function limited(log: Log): Log {
  const windows = new Map<string, Window>();
  const keyOf = (level: LogLevel, message: string): string => {
    const key = `${level} ${message}`;
    return windows.size < messagesMax || windows.has(key) ? key : '';
  };
  return (level, message, fields) => {
    const key = keyOf(level, message);
    const window = windows.get(key) ?? { lines: 0, left: 0 };
    if (window.lines === 0) {
      windows.set(key, window);
      const over = () => {
        windows.delete(key);
        if (window.left > 0)
          log(level, `${key === '' ? 'other messages' : message}: and more of these lines, left out`, { lines: window.left, withinMs: windowMs });
      };
      setTimeout(over, windowMs).unref();
    }
    if (window.lines++ < linesMax) log(level, message, fields);
    else window.left++;
  };
}
