/** The check that every frame to a test's client passes through: it finds a field that does not belong, wherever it is planted. */
import { describe, expect, it } from 'vitest';
import { wireLimitDefaults } from '../src/protocol/limits.ts';
import { checkFrame } from './kit/wire-schemas.ts';

const canary = { passwordHash: 'canary' };
const entry = { room: 'r', seq: 1, kind: 'message', mid: null, from: 'alice', ts: 1, body: { any: ['thing'] } };
const position = { epoch: 'e', seq: 1 };

describe('what the hub may send', () => {
  it.each<[string, Record<string, unknown>, string | null]>([
    ['a push', { op: 'entry', ...entry }, null],
    ['a push of somebody', { op: 'presence', user: 'alice', status: 'online', lastSeen: null }, null],
    ['an answer', { op: 'ok', id: 1, room: 'r', position, recovered: true }, 'subscribe'],
    [
      'a welcome',
      {
        op: 'welcome',
        id: 1,
        user: 'a',
        connection: 'c',
        device: '',
        epoch: 'e',
        expiresInMs: null,
        heartbeatMs: 1,
        inbox: { head: 0, acked: 0 },
        limits: wireLimitDefaults,
      },
      'hello',
    ],
    ['a list in an answer', { op: 'ok', id: 1, room: 'r', entries: [entry], more: false, asOf: position }, 'history'],
    ['an error', { op: 'error', id: 1, of: 'ping', code: 'busy', message: 'm', retry: true, retryAfterMs: 1 }, null],
  ])('is %s as it is described, and nothing more', (_what, frame, op) => {
    expect(() => checkFrame(frame, op)).not.toThrow();
    expect(() => checkFrame({ ...frame, ...canary }, op)).toThrow('passwordHash');
    for (const [name, value] of Object.entries(frame)) {
      const [first] = Array.isArray(value) ? value : [value];
      if (name === 'body' || typeof first !== 'object' || first === null) continue;
      const planted = Array.isArray(value) ? [{ ...first, ...canary }] : { ...first, ...canary };
      expect(() => checkFrame({ ...frame, [name]: planted }, op), name).toThrow('passwordHash');
    }
  });

  it('is no push and no answer that nobody has described', () => {
    expect(() => checkFrame({ op: 'surprise' }, null)).toThrow();
    expect(() => checkFrame({ op: 'ok', id: 1 }, 'surprise')).toThrow('the hub carried out surprise');
    expect(() => checkFrame({ op: 'error', code: 'stack', message: 'at main.ts:1', retry: false }, null)).toThrow('code');
  });
});
