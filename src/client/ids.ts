/**
 * Message ids: UUIDv7, the time in front so that the hub's unique index grows at one end. Own generator because it is ten
 * lines and the bundle counts every byte.
 */
import type { ClientClock } from './clock.ts';

export function uuidv7(clock: ClientClock): string {
  const bytes = clock.bytes(16);
  let ms = clock.now();
  for (let i = 5; i >= 0; i--) {
    bytes[i] = ms % 256;
    ms = Math.floor(ms / 256);
  }
  bytes[6] = ((bytes[6] as number) & 0x0f) | 0x70;
  bytes[8] = ((bytes[8] as number) & 0x3f) | 0x80;
  let text = '';
  for (let i = 0; i < 16; i++) text += (i === 4 || i === 6 || i === 8 || i === 10 ? '-' : '') + (bytes[i] as number).toString(16).padStart(2, '0');
  return text;
}
