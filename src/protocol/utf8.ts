/** UTF-8: whether bytes are well-formed, how long a text will be, and short texts without a call into the engine. Browser-safe. */

/** Longer texts are decoded by the engine. A UUID has 36. */
const shortBytes = 40;
const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** The text of the bytes from `start` to `end`, a byte order mark kept. Throws `TypeError` where they are not UTF-8. */
export function textOf(bytes: Uint8Array, start: number, end: number): string {
  if (end - start > shortBytes) return decoder.decode(bytes.subarray(start, end));
  let text = '';
  let at = start;
  for (; at + 4 <= end; at += 4) {
    const a = bytes[at] as number;
    const b = bytes[at + 1] as number;
    const c = bytes[at + 2] as number;
    const d = bytes[at + 3] as number;
    if ((a | b | c | d) >= 0x80) return decoder.decode(bytes.subarray(start, end));
    text += String.fromCharCode(a, b, c, d);
  }
  for (; at < end; at++) {
    const byte = bytes[at] as number;
    if (byte >= 0x80) return decoder.decode(bytes.subarray(start, end));
    text += String.fromCharCode(byte);
  }
  return text;
}

/** Whether the bytes from `start` to `end` are well-formed UTF-8 (RFC 3629: no overlong forms, no surrogates). */
export function isUtf8(bytes: Uint8Array, start: number, end: number): boolean {
  let at = skipAscii(bytes, start, end);
  while (at < end) {
    const lead = bytes[at++] as number;
    if (lead < 0x80) continue;
    if (lead < 0xc2 || lead > 0xf4) return false;
    const more = lead < 0xe0 ? 1 : lead < 0xf0 ? 2 : 3;
    if (more > end - at) return false;
    const second = bytes[at] as number;
    // The second byte's range excludes overlong forms, surrogates, and what lies beyond U+10FFFF.
    const lowest = lead === 0xe0 ? 0xa0 : lead === 0xf0 ? 0x90 : 0x80;
    const highest = lead === 0xed ? 0x9f : lead === 0xf4 ? 0x8f : 0xbf;
    if (second < lowest || second > highest) return false;
    for (let i = 1; i < more; i++) if (((bytes[at + i] as number) & 0xc0) !== 0x80) return false;
    at += more;
  }
  return true;
}

/** The size of a well-formed text in UTF-8. */
export function utf8Bytes(text: string): number {
  let bytes = text.length;
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i);
    if (unit < 0x80) continue;
    // Each half of a surrogate pair is one unit, and the two are four bytes.
    bytes += unit < 0x800 || (unit & 0xf800) === 0xd800 ? 1 : 2;
  }
  return bytes;
}

/** The first place from which bytes need a closer look; four bytes a turn. */
function skipAscii(bytes: Uint8Array, start: number, end: number): number {
  const last = end - 3;
  let at = start;
  while (at < last && ((bytes[at] as number) | (bytes[at + 1] as number) | (bytes[at + 2] as number) | (bytes[at + 3] as number)) < 0x80) at += 4;
  return at;
}
