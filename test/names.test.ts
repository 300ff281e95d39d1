/** Names of users, rooms and direct-message rooms. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { dmName, dmUsers, isReserved, isRoomName, isUserName, nameBytesMax, nameUnitsMax, normalName } from '../src/protocol/names.ts';

const user = fc.string({ unit: 'grapheme', minLength: 1, maxLength: 40 }).map(normalName).filter(isUserName);

describe('N1 a name', () => {
  it.each(['a', 'Alice', 'alice smith', 'élise', '語', '👩‍💻', 'a:b', 'a/b%20', '日本 語', 'x'.repeat(128), 'é'.repeat(64)])('N1 may be %j', (name) => {
    expect([isUserName(name), isRoomName(name)]).toEqual([true, true]);
  });
  it.each([
    ['', 'empty'],
    [' a', 'a blank before'],
    ['a ', 'a blank behind'],
    ['\u00a0a', 'a no-break space before'],
    ['a\nb', 'a line feed'],
    ['a\0', 'a NUL'],
    ['a\u007fb', 'a delete character'],
    ['a\u202eb', 'a bidi override'],
    ['a\u200bb', 'a zero-width space'],
    ['a\ufeffb', 'a byte order mark'],
    ['a\u2028b', 'a line separator'],
    ['a\ud800b', 'half of a surrogate pair'],
    ['a\ue000b', 'a private-use character'],
    ['a\u0378b', 'an unassigned character'],
    ['e\u0301', 'not in normal form C'],
    ['x'.repeat(129), '129 bytes'],
    ['é'.repeat(65), '130 bytes of 65 letters'],
    ['語'.repeat(43), '129 bytes of 43 letters'],
  ])('N1 may not be %j (%s)', (name) => expect([isUserName(name), isRoomName(name)]).toEqual([false, false]));
});

describe('N2 normal form C', () => {
  it('N2 makes one name of two spellings, and leaves case alone', () => {
    expect(normalName('cafe\u0301')).toBe('café');
    expect(normalName('\u212b')).toBe('Å');
    expect(normalName('Alice')).toBe('Alice');
    fc.assert(fc.property(fc.string({ unit: 'binary', maxLength: 100 }), (text) => normalName(text) === text.normalize('NFC')));
  });
});

describe('N3 reserved names', () => {
  it('N3 names the room of two users the same from either side, and gives both back', () => {
    fc.assert(
      fc.property(user, user, (a, b) => {
        const room = dmName(a, b);
        expect(dmName(b, a)).toBe(room);
        expect(isRoomName(room)).toBe(true);
        expect(isReserved(room)).toBe(true);
        expect([...(dmUsers(room) ?? [])].sort()).toEqual([a, b].sort());
        expect(room.length).toBeLessThanOrEqual(nameUnitsMax);
      }),
    );
    expect(dmName('bob', 'alice')).toBe('dm:alice:bob');
    expect(dmName('a:b', 'ü')).toBe('dm:%C3%BC:a%3Ab');
    expect(dmName('語'.repeat(42), '字'.repeat(42)).length).toBeLessThanOrEqual(nameUnitsMax);
    expect(nameBytesMax).toBe(128);
  });
  it('N3 has different rooms for different pairs', () => {
    fc.assert(
      fc.property(user, user, user, user, (a, b, c, d) => {
        const same = (a === c && b === d) || (a === d && b === c);
        expect(dmName(a, b) === dmName(c, d)).toBe(same);
      }),
    );
  });
  it.each(['dm:', 'dm:a', 'dm:b:a', 'dm:a:b:c', 'dm:%61:b', 'dm:a:%', 'dm:a: b', 'dm::a', 'dm:%c3%bc:a', 'all:x', 'all: '])('N3 refuses %j', (name) => {
    expect(isRoomName(name)).toBe(false);
  });
  it('N3 has one broadcast room', () => {
    expect(isRoomName('all:')).toBe(true);
    expect(isRoomName('all')).toBe(true);
    expect(isReserved('all')).toBe(false);
  });
});
