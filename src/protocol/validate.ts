/**
 * From a decoded frame to a command: the one place where what a client says is checked against the schemas. Called once per
 * command, by whoever carries it out. Server only (zod).
 */
import type { z } from 'zod';
import { type Format, fromBase64 } from './codec.ts';
import { CodedError } from './codes.ts';
import { type Command, commands, isOp } from './commands.ts';
import { deviceBytesMax, tokenMax } from './limits.ts';
import { utf8Bytes } from './utf8.ts';
import { pathText } from './values.ts';

type Issue = z.core.$ZodIssue;
type Path = readonly PropertyKey[];

/** What a message says: as the store keeps it (JSON text, or bytes), and as a value to encode for others (undefined: only the text is at hand). */
export type MessageContent = { stored: string | Uint8Array; value: unknown };

/** In place of a body: its text, where that came as it is to be stored. Nothing that is decoded is one. */
export class JsonText {
  readonly text: string;
  constructor(text: string) {
    this.text = text;
  }
}

/** Names like most: what every rule for rooms and for users takes, and normal already. */
const plainName = /^[\w.-]+$/;
const plainNameMax = 100;
const uuid = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;

/** The field that each frequent command must have; null: none. */
const needs: ReadonlyMap<unknown, string | null> = new Map([
  ['publish', 'room'],
  ['direct', 'to'],
  ['ack', 'through'],
  ['subscribe', 'room'],
  ['hello', null],
]);

/**
 * Throws `unknown-op`, or `bad-request` naming the first bad field. Names come out in normal form C. The command may be
 * `decoded` itself.
 */
export function parseCommand(decoded: Record<string, unknown>): Command {
  const { op } = decoded;
  if (isPlain(decoded, op)) return decoded;
  if (typeof op !== 'string') throw new CodedError('bad-request', op === undefined ? 'op is missing' : 'op must be a string', 'op');
  if (!isOp(op)) throw new CodedError('unknown-op', undefined, 'op');
  const result = commands[op].safeParse(decoded);
  if (result.success) return result.data;
  const [issue] = result.error.issues;
  throw issue === undefined ? new CodedError('bad-request') : refusal(issue, []);
}

/**
 * Whether it is a frequent command with nothing unusual in it, which the schema would take as it is. A schema costs more than
 * the rest of a message's way through the shard; false only means that the schema decides. The cases here are the schemas'
 * own (commands.ts), and test/validate-plain.test.ts compares the two.
 */
function isPlain(decoded: Record<string, unknown>, op: unknown): decoded is Command<'publish' | 'direct' | 'ack' | 'subscribe' | 'hello'> {
  const needed = needs.get(op);
  if (needed === undefined) return false;
  for (const key in decoded) if (!isUsual(op, key, decoded[key])) return false;
  return needed === null || decoded[needed] !== undefined;
}

function isUsual(op: unknown, key: string, value: unknown): boolean {
  switch (key) {
    case 'op':
      return true;
    case 'id':
      return isWhole(value, 1);
    case 'room':
      return (op === 'publish' || op === 'subscribe') && isPlainName(value, plainNameMax);
    case 'to':
      return op === 'direct' && isPlainName(value, plainNameMax);
    case 'body':
      return op === 'publish' || op === 'direct';
    case 'mid':
    case 'thread':
      return (op === 'publish' || op === 'direct') && typeof value === 'string' && uuid.test(value);
    case 'ephemeral':
    case 'echo':
      return op === 'publish' && typeof value === 'boolean';
    case 'through':
      return op === 'ack' && isWhole(value, 0);
    case 'presence':
      return op === 'subscribe' && typeof value === 'boolean';
    case 'user':
      return op === 'hello' && isPlainName(value, plainNameMax);
    case 'device':
      return op === 'hello' && isPlainName(value, deviceBytesMax);
    case 'token':
      return op === 'hello' && typeof value === 'string' && value !== '' && value.length <= tokenMax;
    default:
      return false;
  }
}

function isPlainName(value: unknown, max: number): boolean {
  return typeof value === 'string' && value.length <= max && plainName.test(value);
}

function isWhole(value: unknown, least: number): boolean {
  return Number.isSafeInteger(value) && (value as number) >= least;
}

/**
 * The content of a message: exactly one of `body`, `bin` (msgpack only) and `body64` (json only). The scan of its frame has
 * seen to it that `body` is a JSON value. Throws `bad-request`, `bad-value` for what is no base64, or `too-large` for more than
 * `bodyBytesMax` bytes of JSON text in UTF-8 or of binary.
 */
export function contentOf(command: { body?: unknown; bin?: Uint8Array; body64?: string }, format: Format, bodyBytesMax: number): MessageContent {
  const { body, bin, body64 } = command;
  const count = Number(body !== undefined) + Number(bin !== undefined) + Number(body64 !== undefined);
  if (count !== 1) throw new CodedError('bad-request', count === 0 ? 'body is missing' : 'only one of body, bin and body64', 'body');
  if (bin !== undefined) {
    if (format === 'json') throw new CodedError('bad-request', 'JSON has no binary: use body64', 'bin');
    if (bin.length > bodyBytesMax) throw tooLarge('bin', bodyBytesMax);
    return { stored: bin, value: bin };
  }
  if (body64 !== undefined) {
    if (format === 'msgpack') throw new CodedError('bad-request', 'MessagePack has binary: use bin', 'body64');
    const bytes = fromBase64(body64);
    if (bytes.length > bodyBytesMax) throw tooLarge('body64', bodyBytesMax);
    return { stored: bytes, value: bytes };
  }
  const given = body instanceof JsonText;
  const stored = given ? body.text : JSON.stringify(body);
  // A text of n units has n to 3n bytes; only what lies between needs counting.
  const fits = stored.length * 3 <= bodyBytesMax || (stored.length <= bodyBytesMax && utf8Bytes(stored) <= bodyBytesMax);
  if (!fits) throw tooLarge('body', bodyBytesMax);
  return { stored, value: given ? undefined : body };
}

function tooLarge(field: string, bytesMax: number): CodedError {
  return new CodedError('too-large', `the body is larger than ${bytesMax} bytes`, field);
}

/** One issue of zod as the refusal that a client gets: the field by its path, and why. */
function refusal(issue: Issue, outer: Path): CodedError {
  const path = [...outer, ...issue.path];
  if (issue.code === 'invalid_union') {
    // The alternative that got furthest is the one that was meant.
    const meant = issue.errors.map((issues) => issues[0]).reduce((best, next) => ((next?.path.length ?? 0) > (best?.path.length ?? 0) ? next : best));
    if (meant !== undefined && meant.path.length > 0) return refusal(meant, path);
  }
  if (issue.code === 'invalid_key') return bad(path, issue.issues[0]?.message ?? issue.message);
  if (issue.code === 'unrecognized_keys') return bad([...path, issue.keys[0] ?? ''], 'no such field');
  return bad(path, issue.message);
}

function bad(path: Path, message: string): CodedError {
  const [first = 'op', ...rest] = path.map((part) => (typeof part === 'number' ? part : String(part)));
  return new CodedError('bad-request', message, pathText(String(first), rest));
}
