/**
 * Names of users and rooms (DESIGN 11.13): printable UTF-8 in Unicode normal form C, 1 to 128 bytes.
 * `dm:` and `all:` are reserved: a direct-message room is named by its two users, the broadcast room is `all:`.
 */

export const nameBytesMax = 128;
/**
 * Longest name, in UTF-16 units, before it is normalised (a DM room's percent-encodes two users). Composing takes quadratic
 * time: a frame full of combining marks would stop the thread for seconds, so length is checked first.
 */
export const nameUnitsMax = 1_024;
export const allRoom = 'all:';
const dmPrefix = 'dm:';

const plainAscii = /^[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?$/;
// Controls, line separators, surrogates, private use, unassigned; format characters (bidi overrides, zero width) but not the emoji joiners.
const unprintable = /[\p{Cc}\p{Cs}\p{Co}\p{Cn}\p{Zl}\p{Zp}]|(?![\u200c\u200d])\p{Cf}/u;

/** A name in normal form C, as it is stored, compared and routed by. Only for names of at most `nameUnitsMax`. */
export function normalName(name: string): string {
  return plainAscii.test(name) ? name : name.normalize('NFC');
}

/** Whether `name` (already in NFC) may name a user. */
export function isUserName(name: string): boolean {
  if (name.length === 0 || name.length > nameBytesMax) return false;
  if (plainAscii.test(name)) return true;
  return name.trim() === name && !unprintable.test(name) && name.normalize('NFC') === name && utf8Bytes(name) <= nameBytesMax;
}

/** Whether `name` may name a room that a client can address: an ordinary name, `all:`, or the canonical name of a DM. */
export function isRoomName(name: string): boolean {
  if (name.startsWith(dmPrefix)) {
    const users = dmUsers(name);
    return users !== null && dmName(users[0], users[1]) === name;
  }
  if (name.startsWith(allRoom)) return name === allRoom;
  return isUserName(name);
}

export function isReserved(name: string): boolean {
  return name.startsWith(dmPrefix) || name.startsWith(allRoom);
}

/** `dm:` and the two users, each percent-encoded, sorted by code unit, joined by `:`. The same for (a, b) and (b, a). */
export function dmName(a: string, b: string): string {
  const x = encodeURIComponent(a);
  const y = encodeURIComponent(b);
  return x < y ? `${dmPrefix}${x}:${y}` : `${dmPrefix}${y}:${x}`;
}

/** The two users of a DM room's name, or null where it is not one. A DM with oneself has the same user twice. */
export function dmUsers(room: string): [string, string] | null {
  if (!room.startsWith(dmPrefix)) return null;
  const parts = room.slice(dmPrefix.length).split(':');
  if (parts.length !== 2) return null;
  try {
    const users: [string, string] = [decodeURIComponent(parts[0] as string), decodeURIComponent(parts[1] as string)];
    return isUserName(users[0]) && isUserName(users[1]) ? users : null;
  } catch {
    return null; // a stray percent sign
  }
}

function utf8Bytes(text: string): number {
  let bytes = 0;
  for (const character of text) {
    const point = character.codePointAt(0) as number;
    bytes += point < 0x80 ? 1 : point < 0x800 ? 2 : point < 0x10000 ? 3 : 4;
  }
  return bytes;
}
